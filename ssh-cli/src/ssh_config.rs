//! Whom ssh would log in as when the command line does not say.
//!
//! Asking ssh (`ssh -G`) costs as much as a warm `signet ssh` several times over, so it is asked only when a configuration
//! file says anything about users at all; else it is the person's own name, as in Vault.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::destination::Destination;

/// The system's configuration folder for ssh.
const SYSTEM: &str = "/etc/ssh";

/// The login name that ssh would take.
#[must_use]
pub fn user(ssh: &str, destination: &Destination, home: Option<&Path>) -> Option<String> {
    if !mentions_user(destination.config_file.as_ref(), home) {
        return whoami::username().ok();
    }
    asked(ssh, destination).or_else(|| whoami::username().ok())
}

fn mentions_user(config_file: Option<&OsString>, home: Option<&Path>) -> bool {
    // With -F, ssh reads that file and no other.
    let files = config_file.map_or_else(|| own_files(home), |file| vec![PathBuf::from(file)]);
    files
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .any(|text| text.lines().any(decides_user))
}

/// The person's file and the system's, with its drop-ins.
fn own_files(home: Option<&Path>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = home.map(|home| home.join(".ssh/config")).into_iter().collect();
    files.push(Path::new(SYSTEM).join("ssh_config"));
    let drop_ins = std::fs::read_dir(Path::new(SYSTEM).join("ssh_config.d"));
    files.extend(drop_ins.into_iter().flatten().flatten().map(|entry| entry.path()));
    files
}

/// A `User` line, or an `Include` of files not looked at here.
fn decides_user(line: &str) -> bool {
    let mut words = line
        .split(|c: char| c.is_whitespace() || c == '=')
        .filter(|word| !word.is_empty());
    match words.next() {
        Some(word) if word.eq_ignore_ascii_case("user") => true,
        Some(word) if word.eq_ignore_ascii_case("include") => words.next() != Some("/etc/ssh/ssh_config.d/*.conf"),
        _ => false,
    }
}

fn asked(ssh: &str, destination: &Destination) -> Option<String> {
    let output = Command::new(ssh)
        .arg("-G")
        .args(destination.words_without_command())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let user = text.lines().find_map(|line| line.strip_prefix("user "))?;
    Some(user.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_could_set_a_user_make_us_ask_ssh() {
        let rows = [
            ("User deploy", true),
            ("\tuser=deploy", true),
            ("Include ~/.ssh/more", true),
            ("Include /etc/ssh/ssh_config.d/*.conf", false),
            ("UserKnownHostsFile /dev/null", false),
            ("# User deploy", false),
            ("Host *", false),
            ("", false),
        ];
        for (line, want) in rows {
            assert_eq!(decides_user(line), want, "{line}");
        }
    }
}
