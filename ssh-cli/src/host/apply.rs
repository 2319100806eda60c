//! Puts a verified trust bundle in force: KRL, principals, CA keys, and last the bundle itself, so that it names what is
//! there. Everything is checked before the first file is written, and each file is whole or untouched, so a run that is cut
//! short leaves a host on which the next run goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use signet_core::breakglass;
use signet_core::host_policy::principals_by_account;
use signet_core::krl::{Krl, KrlError};
use signet_core::principal::Principal;
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;
use signet_core::trust_bundle::VerifiedBundle;

use super::authorized_keys;
use super::files::{self, FOLDER, FileError, Files, PUBLIC};
use super::layout::{BREAKGLASS_ACCOUNT, Layout};

const ACCOUNT_BYTES_MAX: usize = 32;

/// What the files are to say.
#[derive(Debug, Clone)]
pub struct Trust {
    /// CA keys that sign user certificates; at least one.
    pub user_ca_keys: Vec<SubjectKey>,
    /// CA keys that sign host certificates.
    pub host_ca_keys: Vec<SubjectKey>,
    /// The KRL's bytes.
    pub krl: Vec<u8>,
    /// Account → principals that open it.
    pub principals: BTreeMap<String, BTreeSet<String>>,
}

/// What became of the break-glass document in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breakglass {
    /// The bundle has none.
    Absent,
    /// It says what is in place.
    Same,
    /// It was signed by a key in place, and now stands in its stead.
    Replaced,
    /// It is not believed; the keys in place stay.
    Refused(String),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Files that changed.
    pub changed: Vec<PathBuf>,
    /// What became of the break-glass document.
    pub breakglass: Breakglass,
}

/// A bundle cannot be put in force; what the host holds stays.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// No CA key: nobody could log in.
    #[error("there is no CA key")]
    NoCaKey,
    /// The KRL is none that sshd reads: nobody could log in.
    #[error("the KRL cannot be used")]
    Krl(#[from] KrlError),
    /// A rule for an account that no host has.
    #[error("`{0}` cannot be the name of an account")]
    Account(String),
    /// A rule with a principal that sshd would read as something else.
    #[error("`{principal}` cannot open `{account}`: it is no principal")]
    Principal {
        /// The account.
        account: String,
        /// As written.
        principal: String,
    },
}

/// Puts a bundle in force on a host with these tags. `text` is the bundle's text, which is kept.
///
/// # Errors
/// [`ApplyError`]; before anything was written, except where the disk fails half-way, and then the next run goes on.
pub fn apply_bundle(
    files: &Files,
    layout: &Layout,
    bundle: &VerifiedBundle,
    text: &str,
    tags: &BTreeSet<String>,
) -> Result<Applied, ApplyError> {
    let trust = Trust {
        user_ca_keys: bundle.user_ca_keys().to_vec(),
        host_ca_keys: bundle.host_ca_keys().to_vec(),
        krl: bundle.krl().to_vec(),
        principals: principals_by_account(&bundle.bundle().rules, tags),
    };
    let mut changed = apply_trust(files, layout, &trust)?;
    let breakglass = apply_breakglass(files, layout, &bundle.bundle().breakglass)?;
    if breakglass == Breakglass::Replaced {
        changed.push(layout.breakglass_keys());
    }
    // The bundle before the keys: a held bundle is always signed by one of the held keys, whichever run was cut short.
    if files.put(&layout.bundle(), text.as_bytes(), PUBLIC)? {
        changed.push(layout.bundle());
    }
    let keys = key_file(bundle.bundle_keys());
    if !bundle.bundle_keys().is_empty() && files.put(&layout.bundle_keys(), keys.as_bytes(), PUBLIC)? {
        changed.push(layout.bundle_keys());
    }
    Ok(Applied { changed, breakglass })
}

/// Writes the files that sshd reads; answers which changed.
///
/// # Errors
/// [`ApplyError`], as [`apply_bundle`].
pub fn apply_trust(files: &Files, layout: &Layout, trust: &Trust) -> Result<Vec<PathBuf>, ApplyError> {
    if trust.user_ca_keys.is_empty() {
        return Err(ApplyError::NoCaKey);
    }
    // With a KRL that sshd cannot read, every login with a key fails; an empty file would revoke nothing.
    Krl::parse(&trust.krl)?;
    let principals = principals_files(&trust.principals)?;
    files.folder(&layout.folder(), FOLDER)?;
    files.folder(&layout.principals(), FOLDER)?;
    let mut changed = Vec::new();
    let mut put = |path: PathBuf, bytes: &[u8]| -> Result<(), FileError> {
        if files.put(&path, bytes, PUBLIC)? {
            changed.push(path);
        }
        Ok(())
    };
    put(layout.krl(), &trust.krl)?;
    for (account, text) in &principals {
        put(layout.principals_of(account), text.as_bytes())?;
    }
    put(layout.user_ca_keys(), key_file(&trust.user_ca_keys).as_bytes())?;
    if !trust.host_ca_keys.is_empty() {
        put(layout.host_ca_keys(), key_file(&trust.host_ca_keys).as_bytes())?;
    }
    for path in stale_principals(layout, &principals)? {
        if files.remove(&path)? {
            changed.push(path);
        }
    }
    Ok(changed)
}

/// A KRL that revokes nothing. An empty file would do the same today and hide a truncated one tomorrow.
#[must_use]
pub fn empty_krl(now: UnixTime) -> Vec<u8> {
    Krl::new(0, now, "signet").encode()
}

/// Puts a break-glass document in place if a key that is in place has signed it.
///
/// # Errors
/// [`FileError`]
pub fn apply_breakglass(files: &Files, layout: &Layout, document: &str) -> Result<Breakglass, FileError> {
    if document.is_empty() {
        return Ok(Breakglass::Absent);
    }
    let held_text = files::read_text(&layout.breakglass_keys())?.unwrap_or_default();
    let held: Vec<SubjectKey> = authorized_keys::lines(&held_text)
        .filter_map(|line| line.ok().map(|line| line.key))
        .collect();
    let refused = |why: &dyn std::fmt::Display| Ok(Breakglass::Refused(why.to_string()));
    // What an image brought has no signature, and needs none where it is in place already.
    if breakglass::is_in_place(document, &held_text) == Ok(true) {
        return Ok(Breakglass::Same);
    }
    let text = match breakglass::accept(document, &held) {
        Ok(text) => text,
        Err(error) => return refused(&error),
    };
    match authorized_keys::breakglass(&text) {
        Ok(lines) if lines.is_empty() => refused(&"it holds no key"),
        Err(error) => refused(&error),
        Ok(_) => Ok(if files.put(&layout.breakglass_keys(), text.as_bytes(), PUBLIC)? {
            Breakglass::Replaced
        } else {
            Breakglass::Same
        }),
    }
}

/// Lines of keys, as `TrustedUserCAKeys` wants them.
#[must_use]
pub fn key_file(keys: &[SubjectKey]) -> String {
    let lines = keys.iter().map(SubjectKey::line);
    lines.flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// Letters, digits, `_`, `-` and `.`, as account names have them; never a path.
#[must_use]
pub fn is_account(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= ACCOUNT_BYTES_MAX
        && !name.starts_with(['-', '.'])
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn principals_files(accounts: &BTreeMap<String, BTreeSet<String>>) -> Result<BTreeMap<String, String>, ApplyError> {
    let mut files = BTreeMap::new();
    for (account, principals) in accounts {
        if !is_account(account) {
            return Err(ApplyError::Account(account.clone()));
        }
        // Its `Match` trusts no online CA, so such a file would only mislead whoever reads it.
        if account == BREAKGLASS_ACCOUNT {
            continue;
        }
        let mut text = String::new();
        for principal in principals {
            // A blank in a name would make sshd read options, a comma one name that nobody has.
            let valid = Principal::parse(principal).map_err(|_| ApplyError::Principal {
                account: account.clone(),
                principal: principal.clone(),
            })?;
            text.extend([valid.as_str(), "\n"]);
        }
        files.insert(account.clone(), text);
    }
    Ok(files)
}

/// Principals files of accounts that no rule opens any more.
fn stale_principals(layout: &Layout, wanted: &BTreeMap<String, String>) -> Result<Vec<PathBuf>, FileError> {
    let folder = layout.principals();
    let entries = std::fs::read_dir(&folder).map_err(FileError::of("read", &folder))?;
    let mut stale: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_none_or(|name| !wanted.contains_key(name))
        })
        .map(|entry| entry.path())
        .collect();
    stale.sort();
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8x3pKbTNxtA7+dGyMHzCwY5yH5SLBlD+3GD1Lp3QmV";

    fn trust(principals: &[(&str, &[&str])]) -> Trust {
        Trust {
            user_ca_keys: vec![SubjectKey::parse(KEY).unwrap()],
            host_ca_keys: Vec::new(),
            krl: empty_krl(UnixTime::from_secs(1_000)),
            principals: principals
                .iter()
                .map(|(account, names)| {
                    let names = names.iter().map(ToString::to_string).collect();
                    ((*account).to_owned(), names)
                })
                .collect(),
        }
    }

    #[test]
    fn a_second_run_changes_nothing_and_an_account_that_is_closed_loses_its_file() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let files = Files::new(&layout, None);
        let both = trust(&[("ubuntu", &["backend", "on-call"]), ("root", &["on-call"])]);
        assert_eq!(apply_trust(&files, &layout, &both).unwrap().len(), 4);
        assert_eq!(apply_trust(&files, &layout, &both).unwrap(), Vec::<PathBuf>::new());
        let ubuntu = std::fs::read_to_string(layout.principals_of("ubuntu")).unwrap();
        assert_eq!(ubuntu, "backend\non-call\n");
        let one = trust(&[("ubuntu", &["backend", "on-call"])]);
        assert_eq!(
            apply_trust(&files, &layout, &one).unwrap(),
            [layout.principals_of("root")]
        );
    }

    #[test]
    fn what_sshd_would_misread_is_refused_before_anything_is_written() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let files = Files::new(&layout, None);
        for (account, principal, want) in [
            ("../x", "a", "`../x` cannot be the name of an account"),
            (".x", "a", "`.x` cannot be the name of an account"),
            ("root", "a b", "`a b` cannot open `root`: it is no principal"),
            ("root", "a,b", "`a,b` cannot open `root`: it is no principal"),
            ("root", "a\nb", "`a\nb` cannot open `root`: it is no principal"),
        ] {
            let error = apply_trust(&files, &layout, &trust(&[(account, &[principal])])).unwrap_err();
            assert_eq!(error.to_string(), want);
        }
        let mut empty = trust(&[]);
        empty.krl = Vec::new();
        assert!(apply_trust(&files, &layout, &empty).is_err(), "a 0-byte KRL");
        empty.user_ca_keys = Vec::new();
        assert!(apply_trust(&files, &layout, &empty).is_err(), "no CA key");
        assert_eq!(files.steps(), 0);
    }

    #[test]
    fn the_break_glass_account_is_never_opened_by_a_rule() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let files = Files::new(&layout, None);
        apply_trust(&files, &layout, &trust(&[("breakglass", &["admins"])])).unwrap();
        assert!(!layout.principals_of("breakglass").exists());
    }
}
