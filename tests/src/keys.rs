//! Key pairs made by the real `ssh-keygen`, and what it says about a certificate.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries::system;

/// A private key in a file, its public half beside it.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// Makes a key pair, `kind` in ssh-keygen's words (`ed25519`, `ecdsa`, `rsa`) with its size where it has one.
    pub fn generate(folder: &Path, name: &str, kind: &str, bits: Option<u32>) -> Self {
        let path = folder.join(name);
        let mut command = Command::new(system("ssh-keygen"));
        command.args(["-q", "-N", "", "-C", name, "-t", kind, "-f"]).arg(&path);
        if let Some(bits) = bits {
            command.args(["-b", &bits.to_string()]);
        }
        assert!(
            command.status().expect("ssh-keygen").success(),
            "ssh-keygen makes a {kind} key"
        );
        Self { path }
    }

    /// Makes an Ed25519 key pair.
    pub fn ed25519(folder: &Path, name: &str) -> Self {
        Self::generate(folder, name, "ed25519", None)
    }

    /// The private key's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public key's line.
    pub fn public_line(&self) -> String {
        std::fs::read_to_string(self.path.with_extension("pub"))
            .expect("the public key")
            .trim()
            .to_owned()
    }

    /// Puts a certificate where ssh finds it by itself: beside the key, as `NAME-cert.pub`.
    pub fn put_certificate(&self, line: &str) -> PathBuf {
        let path = PathBuf::from(format!("{}-cert.pub", self.path.display()));
        std::fs::write(&path, line).expect("the certificate");
        path
    }
}

/// What `ssh-keygen -L` prints about a certificate.
pub fn describe(certificate: &Path) -> String {
    let printed = Command::new(system("ssh-keygen"))
        .arg("-Lf")
        .arg(certificate)
        .env("TZ", "UTC")
        .output();
    let printed = printed.expect("ssh-keygen -L");
    assert!(
        printed.status.success(),
        "ssh-keygen -L refused: {}",
        String::from_utf8_lossy(&printed.stderr)
    );
    String::from_utf8(printed.stdout).expect("text")
}
