//! An enrolled host in a folder: the real `signet host` keeps the files in step there, and a stock sshd reads them, over a
//! pipe. What a whole machine has besides (systemd, PAM, accounts) is not there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::api::Api;
use crate::binaries::ours;
use crate::estate::{Estate, ROLE};
use crate::person::Ran;
use crate::sshd::{Sshd, SshdSetup};
use crate::workdir::Workdir;

/// A host and its sshd.
#[derive(Debug)]
pub struct FolderHost {
    name: String,
    root: Workdir,
    sshd: Sshd,
}

impl FolderHost {
    /// Enrols a host of this name below the estate's domain; people log in to it with the estate's role.
    pub fn enroll(estate: &Estate, operator: &Api, name: &str) -> Self {
        let root = Workdir::new();
        let signet = root.folder("etc/ssh/signet");
        root.folder("var/log");
        root.write("var/log/auth.log", "");
        let sshd = SshdSetup::trusting("")
            .principal(ROLE)
            .line(&format!("RevokedKeys {}", signet.join("revoked.krl").display()))
            .build();
        for half in ["", ".pub"] {
            let from = format!("{}{half}", sshd.host_key().path().display());
            let to = root.path().join(format!("etc/ssh/ssh_host_ed25519_key{half}"));
            std::fs::copy(from, to).expect("the host key");
        }
        // sshd reads the file that `signet host sync` writes.
        let trusted = sshd.folder().path().join("user_ca.pub");
        std::fs::remove_file(&trusted).expect("sshd's own file");
        std::os::unix::fs::symlink(signet.join("user_ca.pub"), trusted).expect("a link");
        let keys = estate.authority.anonymous().get("ssh/trust-bundle/public_key").text;
        root.write("etc/ssh/signet/bundle_keys.pub", &keys);
        let settings = format!(
            "address = \"{}\"\nca_cert = \"{}\"\nmount = \"ssh\"\nlog = \"{}\"\njitter = \"0s\"\n",
            estate.authority.address(),
            estate.authority.tls_certificate().display(),
            root.path().join("var/log/auth.log").display(),
        );
        root.write("etc/ssh/signet/host.toml", &settings);
        let token = root.write("token", &estate.host_token(operator, name, &["web"]));
        std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("mode 0600");
        let host = Self {
            name: name.to_owned(),
            root,
            sshd,
        };
        let flag = format!("-token-file={}", token.display());
        host.signet(&["enroll", &flag]).succeeded();
        host
    }

    /// The name it was enrolled by, without the domain.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its sshd.
    pub fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// A file under its root.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// `signet host sync -now`: fetches what is new and reports what the host trusts.
    pub fn sync(&self) -> Ran {
        self.signet(&["sync", "-now"])
    }

    fn signet(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(ours("signet"));
        command
            .arg("host")
            .args(words)
            .arg("-files-only")
            .arg(format!("-root={}", self.root.path().display()))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null());
        Ran::from(command.output().expect("signet starts"))
    }
}
