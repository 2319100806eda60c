//! Lines of principals files, and the address lists in options, read as sshd reads them.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use signet_core::source_address::SourceAddresses;

use crate::host::accounts::Account;
use crate::host::config_text;
use crate::host::layout::Layout;

/// How a line of a principals file fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// It lists this principal, and its options let the login be.
    Yes(String),
    /// It lists another.
    No,
    /// It lists a principal, and an option refuses the login.
    Refused(String),
}

/// Fills in the tokens of a path pattern (`sshd_config(5)`, "TOKENS").
pub(super) fn expand(pattern: &str, account: &Account) -> PathBuf {
    let path = pattern
        .replace("%%", "\0")
        .replace("%u", &account.name)
        .replace("%h", &account.home)
        .replace("%U", &account.uid.to_string())
        .replace('\0', "%");
    Path::new(&account.home).join(path)
}

/// Options may stand in front of the name; the name is what follows the last blank outside quotes.
pub(super) fn principal(line: &str, principals: &[String], from: Option<IpAddr>, forced: Option<&str>) -> Fit {
    let line = line.trim_matches([' ', '\t']);
    let line = line.split('#').next().unwrap_or_default().trim_end_matches([' ', '\t']);
    if line.is_empty() {
        return Fit::No;
    }
    let (options, name) = match line.rfind([' ', '\t']) {
        Some(at) => line.split_at_checked(at).unwrap_or(("", line)),
        None => ("", line),
    };
    let name = name.trim_start_matches([' ', '\t']);
    if !principals.iter().any(|principal| principal == name) {
        return Fit::No;
    }
    if let Some(list) = option(options, "from")
        && from_fits(&list, from) == Some(false)
    {
        return Fit::Refused(format!("`from=\"{list}\"` of its line does not have the address"));
    }
    match (option(options, "command"), forced) {
        (Some(command), Some(forced)) if command != forced => {
            Fit::Refused("its line and the certificate force different commands".to_owned())
        }
        _ => Fit::Yes(name.to_owned()),
    }
}

fn option(options: &str, name: &str) -> Option<String> {
    let (_, rest) = options.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// Whether an address is in a list of networks and patterns; `None` when no address was given. A negated entry that fits
/// refuses, whatever else is in the list.
pub(super) fn from_fits(list: &str, from: Option<IpAddr>) -> Option<bool> {
    let from = from?;
    let text = from.to_string();
    let mut fits = false;
    for entry in list.split(',').map(str::trim) {
        let (is_negated, pattern) = entry.strip_prefix('!').map_or((false, entry), |rest| (true, rest));
        let is_in = match SourceAddresses::parse(pattern) {
            Ok(networks) => networks.contains(from),
            Err(_) => config_text::matches(pattern, &text),
        };
        if is_in && is_negated {
            return Some(false);
        }
        fits |= is_in;
    }
    Some(fits)
}

/// What sshd's `StrictModes` holds against a file or a folder above it.
pub(super) fn strict_modes(layout: &Layout, path: &Path) -> Option<String> {
    const OTHERS_WRITE: u32 = 0o022;
    let root_uid = std::fs::metadata(layout.root()).map_or(0, |found| found.uid());
    let parts = path.ancestors().take_while(|part| part.starts_with(layout.root()));
    let mut bad = parts.filter(|part| {
        std::fs::metadata(part).is_ok_and(|found| found.mode() & OTHERS_WRITE != 0 || found.uid() != root_uid)
    });
    bad.next().map(|part| {
        let shown = Path::new("/").join(part.strip_prefix(layout.root()).unwrap_or(part));
        format!(
            "sshd refuses the file: bad ownership or modes for `{}`",
            shown.display()
        )
    })
}
