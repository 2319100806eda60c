//! Looks for what an image must not carry: keys that open it, keys that are its own on every host, traces of its builder.
//! Follows no link, reads no more than the beginning of large files, and stays on one file system unless told otherwise.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use signet_core::krl::Krl;
use ssh_key::HashAlg;

use super::accounts;
use super::config_text;
use super::files::FileError;
use super::layout::Layout;

/// A private key stands at the beginning of its file; a mebibyte is far more than any bundle of them.
const READ_BYTES_MAX: u64 = 1024 * 1024;
const OTHERS_WRITE: u32 = 0o022;
/// Not files of the image.
const KERNEL_FOLDERS: [&str; 3] = ["proc", "sys", "dev"];
const HISTORY: [&str; 8] = [
    ".bash_history",
    ".zsh_history",
    ".ash_history",
    ".sh_history",
    ".python_history",
    ".mysql_history",
    ".psql_history",
    ".lesshst",
];
/// Folders that must be empty or absent.
const EMPTY_FOLDERS: [(&str, &str); 6] = [
    (
        "var/lib/cloud/instances",
        "cloud-init's state: the next host takes itself for this one",
    ),
    (
        "var/lib/cloud/data",
        "cloud-init's state: the next host takes itself for this one",
    ),
    (
        "var/lib/cloud/sem",
        "cloud-init's state: what ran once does not run again",
    ),
    ("var/lib/dhcp", "DHCP leases of the build"),
    ("var/lib/dhclient", "DHCP leases of the build"),
    ("var/log/journal", "the journal of the build"),
];

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Paths inside the root, and everything below them, that may have what they have.
    pub allow: Vec<PathBuf>,
    /// Whether to go into other file systems.
    pub cross: bool,
    /// A bill of trust that the image must agree with.
    pub bill: Option<Value>,
}

/// One thing that must not be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Found {
    /// The path inside the root.
    pub path: PathBuf,
    /// What kind, one word.
    pub kind: &'static str,
    /// What it is.
    pub text: String,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// What must not be there, by path.
    pub found: Vec<Found>,
    /// How many files were looked at.
    pub files: u64,
    /// What could not be looked at: it is not known to be clean.
    pub unread: Vec<PathBuf>,
}

/// Scans an image.
///
/// # Errors
/// [`FileError`] when its root cannot be read.
pub fn scan(layout: &Layout, options: &Options) -> Result<Scan, FileError> {
    let root = layout.root();
    let device = std::fs::metadata(root).map_err(FileError::of("read", root))?.dev();
    let mut eye = Eye {
        root,
        options,
        device,
        scan: Scan::default(),
    };
    std::fs::read_dir(root).map_err(FileError::of("read", root))?;
    eye.walk(root, 0);
    eye.folders();
    eye.machine_id();
    eye.passwords(layout);
    eye.trust(layout);
    eye.bill();
    eye.scan.found.sort();
    eye.scan.found.dedup();
    Ok(eye.scan)
}

struct Eye<'a> {
    root: &'a Path,
    options: &'a Options,
    device: u64,
    scan: Scan,
}

impl Eye<'_> {
    fn inside(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(self.root).unwrap_or(path))
    }

    fn find(&mut self, path: &Path, kind: &'static str, text: impl Into<String>) {
        let path = self.inside(path);
        if !self.options.allow.iter().any(|allowed| path.starts_with(allowed)) {
            self.scan.found.push(Found {
                path,
                kind,
                text: text.into(),
            });
        }
    }

    fn walk(&mut self, folder: &Path, depth: usize) {
        // Deeper than any path that can be opened.
        const DEPTH_MAX: usize = 1_000;
        let Ok(entries) = std::fs::read_dir(folder) else {
            self.scan.unread.push(self.inside(folder));
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                let is_kernels = folder == self.root && KERNEL_FOLDERS.iter().any(|name| entry.file_name() == *name);
                let is_elsewhere = !self.options.cross && found.dev() != self.device;
                if !is_kernels && !is_elsewhere && depth < DEPTH_MAX {
                    self.walk(&path, depth + 1);
                }
            } else if found.is_file() {
                self.file(&path, &found);
            }
        }
    }

    fn file(&mut self, path: &Path, found: &Metadata) {
        self.scan.files += 1;
        if found.len() == 0 {
            return;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new("/"));
        if folder == self.root.join("etc/ssh") && config_text::matches("ssh_host_*key*", &name) {
            self.find(
                path,
                "host-key",
                "a host key: every host of this image would have the same",
            );
        }
        if HISTORY.contains(&name.as_str()) {
            self.find(path, "history", "a shell's history");
        }
        if name == "credentials" && folder.file_name() == Some(".aws".as_ref()) {
            self.find(path, "credentials", "AWS credentials");
        }
        if config_text::matches("*packer*", &name) && (folder.ends_with("tmp") || folder.ends_with("sudoers.d")) {
            self.find(path, "packer", "left by Packer");
        }
        let Some(bytes) = read_beginning(path) else {
            self.scan.unread.push(self.inside(path));
            return;
        };
        if name.starts_with("authorized_keys") {
            self.authorized_keys(path, &bytes);
        }
        if has_private_key(&bytes) {
            self.find(path, "private-key", "a private key");
        }
        let is_settings = path.starts_with(self.root.join("root"))
            || path.starts_with(self.root.join("home"))
            || path.starts_with(self.root.join("etc"));
        if is_settings && has_aws_secret(&bytes) {
            self.find(path, "credentials", "an AWS secret key");
        }
    }

    fn authorized_keys(&mut self, path: &Path, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        if lines.is_empty() {
            return;
        }
        let packers = lines.iter().filter(|line| line.contains("packer")).count();
        let text = if packers > 0 {
            format!(
                "{} key(s) open this account, Packer's temporary key among them",
                lines.len()
            )
        } else {
            format!("{} key(s) open this account on every host of this image", lines.len())
        };
        self.find(path, "authorized-keys", text);
    }

    fn folders(&mut self) {
        for (name, text) in EMPTY_FOLDERS {
            let folder = self.root.join(name);
            let is_full = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
            if is_full {
                self.find(&folder, "state", text);
            }
        }
    }

    fn machine_id(&mut self) {
        let path = self.root.join("etc/machine-id");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if !matches!(text.trim(), "" | "uninitialized") {
            self.find(
                &path,
                "machine-id",
                "a machine ID: every host of this image would have the same",
            );
        }
        let seed = self.root.join("var/lib/systemd/random-seed");
        if seed.exists() {
            self.find(
                &seed,
                "random-seed",
                "a random seed: every host of this image would start with the same",
            );
        }
    }

    fn passwords(&mut self, layout: &Layout) {
        let shadow = self.root.join("etc/shadow");
        for account in accounts::all(layout) {
            match account.password.as_deref() {
                Some("") => self.find(&shadow, "password", format!("`{}` has an empty password", account.name)),
                Some(field) if field.starts_with('$') || field.starts_with('_') => {
                    self.find(&shadow, "password", format!("`{}` has a password", account.name));
                }
                _ => {}
            }
        }
    }

    /// Trust files that others can write, and a KRL with which nobody, or everybody revoked, gets in.
    fn trust(&mut self, layout: &Layout) {
        let mut paths = vec![
            layout.sshd_config(),
            layout.sshd_config_d(),
            layout.folder(),
            layout.principals(),
        ];
        paths.extend(config_text::glob(&layout.sshd_config_d(), "*"));
        paths.extend(config_text::glob(&layout.folder(), "*"));
        paths.extend(config_text::glob(&layout.principals(), "*"));
        let root_uid = std::fs::metadata(self.root).map_or(0, |found| found.uid());
        for path in paths {
            let Ok(found) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            if !found.is_symlink() && found.mode() & OTHERS_WRITE != 0 {
                self.find(&path, "mode", "others than root can write it");
            }
            if found.uid() != root_uid {
                self.find(&path, "owner", format!("it belongs to user {}", found.uid()));
            }
        }
        for path in [layout.krl(), layout.breakglass_krl()] {
            let Ok(bytes) = std::fs::read(&path) else { continue };
            if bytes.is_empty() {
                self.find(&path, "krl", "a KRL of 0 bytes, which revokes nothing");
            } else if let Err(error) = Krl::parse(&bytes) {
                self.find(&path, "krl", format!("{error}: sshd refuses every key"));
            }
        }
    }

    /// Whether the files are those of the bill of trust, byte by byte.
    fn bill(&mut self) {
        let Some(bill) = &self.options.bill else { return };
        let listed = bill.get("files").and_then(Value::as_array).into_iter().flatten();
        let wanted: BTreeMap<PathBuf, String> = listed
            .filter_map(|file| {
                let path = file.get("path")?.as_str()?;
                Some((PathBuf::from(path), file.get("sha256")?.as_str()?.to_owned()))
            })
            .collect();
        if wanted.is_empty() {
            let root = self.root.to_owned();
            self.find(&root, "bill", "the bill of trust lists no files");
        }
        for (inside, sha256) in wanted {
            let path = self.root.join(inside.strip_prefix("/").unwrap_or(&inside));
            match std::fs::read(&path) {
                Ok(bytes) if data_encoding::HEXLOWER.encode(&HashAlg::Sha256.digest(&bytes)) == sha256 => {}
                Ok(_) => self.find(&path, "bill", "it is not the file that the bill of trust lists"),
                Err(_) => self.find(&path, "bill", "the bill of trust lists it, and it cannot be read"),
            }
        }
    }
}

fn read_beginning(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A private key in text: its first line at the start of a line, and base64 behind it. Programs that only know the words
/// (ssh-keygen, this one) have no base64 there.
fn has_private_key(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"-----BEGIN ";
    let starts = bytes
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK)
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || bytes.get(at - 1) == Some(&b'\n'));
    starts.into_iter().any(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        let mut lines = rest.split(|byte| *byte == b'\n');
        let is_private = lines.next().is_some_and(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            line.ends_with(b"PRIVATE KEY-----")
        });
        is_private && lines.take(5).any(is_base64)
    })
}

fn is_base64(line: &[u8]) -> bool {
    const LINE_MIN: usize = 32;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.len() >= LINE_MIN
        && line
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

fn has_aws_secret(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    text.lines().any(|line| {
        let value = line.split_once("aws_secret_access_key").map(|(_, value)| value.trim());
        let value = value.and_then(|value| value.strip_prefix(['=', ':'])).map(str::trim);
        value.is_some_and(|value| value.len() >= 20 && !value.contains(' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8x3pKbTNxtA7+dGyMHzCwY5yH5SLBlD+3GD1Lp3QmV";
    const PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
                           b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n";

    fn image(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn each_trace_is_found_and_its_harmless_twin_is_not() {
        let rows: [(&str, &str, Option<&str>); 18] = [
            ("root/.ssh/authorized_keys", KEY, Some("authorized-keys")),
            ("root/.ssh/authorized_keys", "# none\n\n", None),
            ("home/u/.ssh/authorized_keys2", KEY, Some("authorized-keys")),
            ("etc/ssh/signet/breakglass_keys", KEY, None),
            ("etc/ssh/ssh_host_rsa_key.pub", KEY, Some("host-key")),
            ("etc/ssh/moduli", "x", None),
            ("srv/backup/old", PRIVATE, Some("private-key")),
            (
                "usr/bin/ssh-keygen",
                "\0-----BEGIN OPENSSH PRIVATE KEY-----\0b3Bl\0",
                None,
            ),
            ("usr/share/doc/x", "see\n-----BEGIN PRIVATE KEY-----\nand so on\n", None),
            ("root/.bash_history", "ls\n", Some("history")),
            ("var/lib/cloud/instances/i-1/x", "x", Some("state")),
            ("etc/machine-id", "0123456789abcdef\n", Some("machine-id")),
            ("etc/machine-id", "uninitialized\n", None),
            ("home/u/.aws/credentials", "[default]\n", Some("credentials")),
            (
                "etc/app.env",
                "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIbPxRfiCYEXAMPLE\n",
                Some("credentials"),
            ),
            ("tmp/packer-shell123", "x", Some("packer")),
            ("var/lib/dhcp/dhclient.leases", "lease", Some("state")),
            ("etc/ssh/signet/revoked.krl", "garbage", Some("krl")),
        ];
        for (path, text, want) in rows {
            let root = image(&[(path, text)]);
            let scan = scan(&Layout::under(root.path()), &Options::default()).unwrap();
            let kinds: Vec<&str> = scan.found.iter().map(|found| found.kind).collect();
            assert_eq!(kinds, Vec::from_iter(want), "{path}");
        }
    }

    #[test]
    fn packers_temporary_key_is_named() {
        let root = image(&[("root/.ssh/authorized_keys", &format!("{KEY} packer_66f0c1a2"))]);
        let scan = scan(&Layout::under(root.path()), &Options::default()).unwrap();
        let text = &scan.found.first().unwrap().text;
        assert_eq!(text, "1 key(s) open this account, Packer's temporary key among them");
    }

    #[test]
    fn what_is_allowed_is_left_out_and_links_are_not_followed() {
        let root = image(&[("srv/keys/a", PRIVATE)]);
        let elsewhere = image(&[("b", PRIVATE)]);
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("srv/link")).unwrap();
        let options = Options {
            allow: vec!["/srv/keys".into()],
            ..Options::default()
        };
        let layout = Layout::under(root.path());
        assert_eq!(scan(&layout, &options).unwrap().found, Vec::<Found>::new());
        assert_eq!(scan(&layout, &Options::default()).unwrap().found.len(), 1);
    }

    #[test]
    fn a_file_that_differs_from_the_bill_is_found() {
        let root = image(&[("etc/ssh/signet/user_ca.pub", "a")]);
        let bill = |sha256: &str| Options {
            bill: Some(serde_json::json!({"files": [{"path": "/etc/ssh/signet/user_ca.pub", "sha256": sha256}]})),
            ..Options::default()
        };
        let layout = Layout::under(root.path());
        let right = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
        assert_eq!(scan(&layout, &bill(right)).unwrap().found, Vec::<Found>::new());
        assert_eq!(scan(&layout, &bill("00")).unwrap().found.len(), 1);
        assert!(
            !scan(
                &layout,
                &Options {
                    bill: Some(Value::Null),
                    ..Options::default()
                }
            )
            .unwrap()
            .found
            .is_empty()
        );
    }
}
