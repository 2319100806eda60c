//! Cleans a machine before it becomes an image: whatever would be the same on every host started from it, or would let its
//! builder in, goes. The last step of a build, since nobody can log in afterwards but by certificate or break-glass.

use std::path::{Path, PathBuf};

use super::accounts;
use super::config_text;
use super::layout::Layout;
use super::sshd::Sshd;

const HISTORY: [&str; 9] = [
    ".bash_history",
    ".zsh_history",
    ".ash_history",
    ".sh_history",
    ".python_history",
    ".lesshst",
    ".viminfo",
    ".wget-hsts",
    ".sudo_as_admin_successful",
];
/// Files that go, by folder and pattern.
const FILES: [(&str, &str); 15] = [
    ("etc/ssh", "ssh_host_*key*"),
    ("var/lib/dhcp", "*"),
    ("var/lib/dhclient", "*"),
    ("var/lib/NetworkManager", "*lease*"),
    ("var/lib/systemd", "random-seed"),
    ("var/lib/dbus", "machine-id"),
    ("var/lib/signet-host", "state.json"),
    ("var/lib/signet-host", "incoming-bundle"),
    ("var/lib/signet-host", "lock"),
    ("var/log", "cloud-init*.log"),
    ("tmp", "packer*"),
    ("tmp", "script_*.sh"),
    ("var/tmp", "packer*"),
    ("root", "packer*"),
    ("etc/sudoers.d", "packer*"),
];
const FOLDERS: [&str; 6] = [
    "var/lib/cloud/instance",
    "var/lib/cloud/instances",
    "var/lib/cloud/data",
    "var/lib/cloud/sem",
    "var/log/journal",
    "var/log/amazon",
];
/// Logs that are emptied, since daemons hold them open.
const LOGS: [&str; 10] = [
    "auth.log",
    "secure",
    "syslog",
    "messages",
    "daemon.log",
    "user.log",
    "wtmp",
    "btmp",
    "lastlog",
    "dpkg.log",
];

/// What went, and what could not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Paths inside the root.
    pub removed: Vec<PathBuf>,
    /// What is still there, with the reason.
    pub failed: Vec<String>,
}

/// Cleans the machine.
#[must_use]
pub fn clean(layout: &Layout) -> Cleaned {
    let mut cleaned = Cleaned::default();
    cloud_init(layout);
    for (folder, pattern) in FILES {
        for path in config_text::glob(&layout.root().join(folder), pattern) {
            cleaned.remove(layout, &path);
        }
    }
    for folder in FOLDERS {
        cleaned.remove(layout, &layout.root().join(folder));
    }
    for account in accounts::all(layout) {
        let home = config_text::outside(layout, Path::new(&account.home));
        // `/` is the home of some daemons, and has nothing of theirs.
        if home == layout.root() || !home.is_dir() {
            continue;
        }
        for name in HISTORY {
            cleaned.remove(layout, &home.join(name));
        }
        for path in config_text::glob(&home.join(".ssh"), "authorized_keys*") {
            cleaned.remove(layout, &path);
        }
        cleaned.remove(layout, &home.join(".aws/credentials"));
    }
    for name in LOGS {
        cleaned.empty(layout, &layout.root().join("var/log").join(name));
    }
    // systemd makes a new one at the first boot of an empty file; a missing file makes it run its first-boot questions.
    cleaned.empty(layout, &layout.root().join("etc/machine-id"));
    cleaned
}

/// cloud-init knows best what it keeps; the folders that old versions leave are removed behind it.
fn cloud_init(layout: &Layout) {
    let is_there = layout.root().join("usr/bin/cloud-init").exists();
    if is_there {
        let mut command = Sshd::host_command(layout.root(), "cloud-init");
        drop(command.args(["clean", "--logs"]).output());
    }
}

impl Cleaned {
    fn remove(&mut self, layout: &Layout, path: &Path) {
        let Ok(found) = std::fs::symlink_metadata(path) else {
            return;
        };
        let result = if found.is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
        self.took(layout, path, result);
    }

    fn empty(&mut self, layout: &Layout, path: &Path) {
        let is_worth_it = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
        if is_worth_it {
            let result = std::fs::OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(path)
                .map(drop);
            self.took(layout, path, result);
        }
    }

    fn took(&mut self, layout: &Layout, path: &Path, result: std::io::Result<()>) {
        let inside = Path::new("/").join(path.strip_prefix(layout.root()).unwrap_or(path));
        match result {
            Ok(()) => self.removed.push(inside),
            Err(error) => self.failed.push(format!("{}: {error}", inside.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_the_same_on_every_host_goes_and_the_rest_stays() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        let goes = [
            "etc/ssh/ssh_host_ed25519_key",
            "etc/ssh/ssh_host_ed25519_key.pub",
            "home/u/.ssh/authorized_keys",
            "home/u/.bash_history",
            "var/lib/cloud/instances/i-1/sem/x",
            "tmp/packer-shell1",
            "var/lib/signet-host/state.json",
            "var/lib/signet-host/incoming-bundle",
            "var/lib/signet-host/lock",
        ];
        let stays = [
            "etc/ssh/sshd_config",
            "etc/ssh/signet/breakglass_keys",
            "home/u/.profile",
            "var/lib/cloud/scripts/x",
        ];
        for path in goes.iter().chain(&stays) {
            put(path);
        }
        put("etc/machine-id");
        std::fs::write(root.path().join("etc/passwd"), "u:x:1:1::/home/u:/bin/sh\n").unwrap();
        let cleaned = clean(&Layout::under(root.path()));
        assert_eq!(cleaned.failed, Vec::<String>::new());
        for path in goes {
            assert!(!root.path().join(path).exists(), "{path}");
        }
        for path in stays {
            assert!(root.path().join(path).exists(), "{path}");
        }
        assert_eq!(std::fs::read(root.path().join("etc/machine-id")).unwrap(), b"");
    }
}
