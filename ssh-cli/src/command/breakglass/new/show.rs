//! What `signet breakglass new` prints.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Made, Plan, Secret};
use crate::output::{self, Format};
use crate::report::Failure;

/// Prints what opens a key.
///
/// # Errors
/// [`Failure`]
pub(super) fn secret(made: &Made) -> Result<(), Failure> {
    let role = made.role.words();
    match &made.secret {
        Secret::Passphrase(passphrase) => output::text(&format!("Passphrase of the {role}: {}\n", passphrase.expose())),
        Secret::Shares(shares) => shares.iter().try_for_each(|share| {
            let (index, count, need) = (share.index(), share.count(), share.threshold());
            output::text(&format!(
                "Share {index} of {count} of the {role} ({need} open it): {}\n",
                *share.text()
            ))
        }),
        Secret::Known => Ok(()),
    }
}

/// Prints what was made: never a secret.
///
/// # Errors
/// [`Failure`]
pub(super) fn result(
    plan: &Plan,
    made: &[Made],
    document: &Path,
    pages: &[PathBuf],
    format: Format,
) -> Result<(), Failure> {
    let keys: Vec<Value> = made
        .iter()
        .map(|made| {
            json!({
                "for": made.role.words(),
                "file": made.path.display().to_string(),
                "type": made.public.kind().ssh_name(),
                "fingerprint": made.public.fingerprint(),
                "unlock_secs": made.unlock_secs.map(|secs| (secs * 100.0).round() / 100.0),
                "shares": plan.split.filter(|_| matches!(made.secret, Secret::Shares(_))).map(|(threshold, count)| json!({
                    "threshold": threshold, "count": count,
                })),
            })
        })
        .collect();
    let pages: Vec<String> = pages.iter().map(|page| page.display().to_string()).collect();
    if format != Format::Table {
        let value = json!({
            "keys": keys, "kdf_rounds": plan.rounds, "document": document.display().to_string(), "pages": pages,
        });
        return output::document(&value, format);
    }
    let rows: Vec<Vec<String>> = made
        .iter()
        .map(|made| {
            let unlock = made
                .unlock_secs
                .map_or_else(|| "by touch".to_owned(), |secs| format!("{secs:.1} s"));
            let cells = [
                made.role.words().to_owned(),
                made.path.display().to_string(),
                made.public.fingerprint(),
            ];
            cells.into_iter().chain([unlock]).collect()
        })
        .collect();
    output::table(&["Key", "File", "Fingerprint", "Opens in"], &rows)?;
    let (document, rounds) = (document.display(), plan.rounds);
    output::text(&format!(
        "\nDocument for hosts and policies/: {document}\nKey derivation: {rounds} rounds\n"
    ))?;
    let Some(folder) = pages
        .first()
        .map(|page| super::super::folder_of(Path::new(page)).display().to_string())
    else {
        return Ok(());
    };
    output::text(&format!(
        "Pages, secret: {} files in {folder}\n\nPrint the pages, read each share back with `signet breakglass verify`, then \
         destroy the files.\n",
        pages.len(),
    ))
}
