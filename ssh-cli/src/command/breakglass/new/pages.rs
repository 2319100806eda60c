//! What stands on the pages: who keeps which, and what to do on the day.

use std::path::{Path, PathBuf};

use signet_core::time::UnixTime;
use zeroize::Zeroizing;

use super::{Made, Role, Secret};
use crate::breakglass::page::{Kept, Page};
use crate::breakglass::share::Share;
use crate::breakglass::{day, files};
use crate::report::{Exit, Failure};

/// Writes the pages of one key: the key itself, and its passphrase or shares.
///
/// # Errors
/// [`Failure`]
pub(super) fn write(made: &Made, folder: &Path, now: UnixTime) -> Result<Vec<PathBuf>, Failure> {
    let mut pages = vec![("key".to_owned(), key_page(made, now)?)];
    match &made.secret {
        Secret::Passphrase(passphrase) => {
            let text = Zeroizing::new(passphrase.expose().to_owned());
            pages.push(("passphrase".to_owned(), passphrase_page(made, text, now)));
        }
        Secret::Shares(shares) => pages.extend(shares.iter().map(|share| {
            let name = format!("share-{}-of-{}", share.index(), share.count());
            (name, share_page(made, share, now))
        })),
        Secret::Known => {}
    }
    let mut written = Vec::new();
    for (name, page) in pages {
        let path = folder.join(format!("{}-{name}.svg", made.role.file()));
        let svg = page
            .to_svg()
            .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        files::write_new(&path, svg.as_bytes(), 0o600)?;
        written.push(path);
    }
    Ok(written)
}

fn facts(made: &Made, now: UnixTime, more: &[(&str, String)]) -> Vec<(String, String)> {
    let own = [("Key", made.public.fingerprint()), ("Made on", day(now))];
    own.iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn opens(made: &Made) -> String {
    match made.role {
        Role::OfflineCa => {
            "the offline CA of break-glass. It issues certificates of at most four hours for the account `breakglass` on every \
             host, without the authority, the network or the login provider."
        }
        Role::SealedKey => {
            "the sealed key of break-glass: the account `breakglass` on every host, also when the hosts' clocks are wrong and no \
             certificate is valid. Unless the hosts' line for it has an expiry-time, it has no end: use it last."
        }
    }
    .to_owned()
}

fn key_page(made: &Made, now: UnixTime) -> Result<Page, Failure> {
    let file = made.role.file();
    let ask = if matches!(made.secret, Secret::Shares(_)) {
        " -ask-shares"
    } else {
        ""
    };
    Ok(Page {
        title: format!("Break-glass: {}, the encrypted key", made.role.words()),
        keeper: "the safe, away from every passphrase and share. It opens nothing alone.".to_owned(),
        opens: opens(made),
        facts: facts(made, now, &[("File", file.to_owned())]),
        kept: Kept::File(files::read(&made.path)?),
        steps: vec![
            format!(
                "Take the stick with the file `{file}`. If it cannot be read, scan the code above into a file of this name, or type it."
            ),
            format!("`chmod 600 {file}`, then `ssh-keygen -lf {file}` must show the fingerprint above."),
            match made.role {
                Role::OfflineCa => format!(
                    "On a machine without a network: `signet breakglass issue -ca={file} -who=NAME -reason=TEXT{ask}`."
                ),
                Role::SealedKey => format!(
                    "`signet breakglass ssh -key={file}{ask} breakglass@HOST`; with a passphrase, plain `ssh -i {file} breakglass@HOST` does too."
                ),
            },
            "Afterwards open an incident, and replace both keys with `signet breakglass rotate`.".to_owned(),
        ],
    })
}

fn passphrase_page(made: &Made, text: Zeroizing<String>, now: UnixTime) -> Page {
    Page {
        title: format!("Break-glass: {}, the passphrase", made.role.words()),
        keeper: "another safe than the key's. Whoever has this page and the key is in.".to_owned(),
        opens: opens(made),
        facts: facts(
            made,
            now,
            &[(
                "Last group",
                "a checksum over the others; it belongs to the passphrase".to_owned(),
            )],
        ),
        kept: Kept::Secret(text),
        steps: vec![
            "Two people open the envelope and write down when and why.".to_owned(),
            "Type the passphrase with its dashes, in capital letters; it never holds the letters I, L, O or U."
                .to_owned(),
            "Afterwards open an incident, and replace both keys with `signet breakglass rotate`: this page is burnt."
                .to_owned(),
        ],
    }
}

fn share_page(made: &Made, share: &Share, now: UnixTime) -> Page {
    let (index, count, need) = (share.index(), share.count(), share.threshold());
    Page {
        title: format!("Break-glass: {}, share {index} of {count}", made.role.words()),
        keeper: format!("custodian {index}: ______________________  in a sealed envelope. One share tells nothing; {need} open the key."),
        opens: opens(made),
        facts: facts(
            made,
            now,
            &[
                ("Set", share.set()),
                ("Share", format!("{index} of {count}, {need} needed")),
                ("Groups", "the fifth character of each group is its check".to_owned()),
            ],
        ),
        kept: Kept::Secret(share.text()),
        steps: vec![
            "Make sure by voice or in person who asks, and that there is an incident. Write down when and why you opened this.".to_owned(),
            format!("Meet {} other custodians of this set at one machine without a network.", need.saturating_sub(1)),
            match made.role {
                Role::OfflineCa => "`signet breakglass issue -ca=breakglass_ca -who=NAME -reason=TEXT -ask-shares`; type your share, or scan the code, when it is asked for.",
                Role::SealedKey => "`signet breakglass ssh -key=breakglass_key -ask-shares breakglass@HOST`; type your share, or scan the code, when it is asked for.",
            }
            .to_owned(),
            "A mistyped group is named by its number. It never holds the letters I, L, O or U; case and blanks do not matter.".to_owned(),
            "Afterwards both keys are replaced with `signet breakglass rotate`: you get a new page, and this one is destroyed.".to_owned(),
        ],
    }
}
