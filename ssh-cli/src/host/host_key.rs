//! The host's own key: what proves to the authority who is asking. It is read, used and dropped; it never leaves this process.

use std::path::PathBuf;

use signet_core::subject_key::{SubjectKey, SubjectKeyError};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::layout::Layout;

/// In the order of preference. A host in FIPS mode has no Ed25519 key.
const KINDS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// A host key pair.
#[derive(Debug)]
pub struct HostKey {
    private: PrivateKey,
    public: SubjectKey,
}

/// Why the host key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// None of the usual files is there.
    #[error("there is no host key yet (`{0}` and its kin)")]
    None(PathBuf),
    /// It cannot be read.
    #[error("the host key `{path}` cannot be read")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ssh_key::Error,
    },
    /// Its public half is not one that is certified.
    #[error("the host key `{path}` cannot be certified")]
    Kind {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SubjectKeyError,
    },
    /// Signing failed.
    #[error("the host key cannot sign")]
    Sign(#[source] ssh_key::Error),
}

impl HostKey {
    /// The host key that `wanted` is the public half of; without `wanted` the first that is there.
    ///
    /// # Errors
    /// [`HostKeyError`].
    pub fn read(layout: &Layout, wanted: Option<&SubjectKey>) -> Result<Self, HostKeyError> {
        let mut first = None;
        let mut trouble = None;
        for path in KINDS.map(|kind| path(layout, kind)) {
            if !path.exists() {
                continue;
            }
            match Self::from_file(path) {
                Ok(key) if wanted.is_none_or(|wanted| *wanted == key.public) => return Ok(key),
                Ok(key) => first = first.or(Some(key)),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        first.ok_or_else(|| trouble.unwrap_or_else(|| HostKeyError::None(path(layout, "ed25519"))))
    }

    fn from_file(path: PathBuf) -> Result<Self, HostKeyError> {
        let private = match PrivateKey::read_openssh_file(&path) {
            Ok(private) => private,
            Err(source) => return Err(HostKeyError::Read { path, source }),
        };
        let line = private.public_key().to_openssh();
        let line = match line {
            Ok(line) => line,
            Err(source) => return Err(HostKeyError::Read { path, source }),
        };
        match SubjectKey::parse(&line) {
            Ok(public) => Ok(Self { private, public }),
            Err(source) => Err(HostKeyError::Kind { path, source }),
        }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &SubjectKey {
        &self.public
    }

    /// An armored SSH signature (`PROTOCOL.sshsig`) over `message`.
    ///
    /// # Errors
    /// [`HostKeyError::Sign`].
    pub fn sign(&self, namespace: &str, message: &str) -> Result<String, HostKeyError> {
        let signature = self.private.sign(namespace, HashAlg::Sha512, message.as_bytes());
        signature
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .map_err(HostKeyError::Sign)
    }
}

fn path(layout: &Layout, kind: &str) -> PathBuf {
    layout.root().join(format!("etc/ssh/ssh_host_{kind}_key"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use signet_core::sshsig::SshSignature;

    use super::*;

    #[test]
    fn each_kind_of_host_key_signs_and_the_certified_one_is_preferred() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::under(folder.path());
        std::fs::create_dir_all(folder.path().join("etc/ssh")).unwrap();
        assert!(matches!(HostKey::read(&layout, None), Err(HostKeyError::None(_))));
        let mut publics = Vec::new();
        // From the least to the most preferred, so that each is first when it is made.
        for kind in ["rsa", "ecdsa", "ed25519"] {
            let file = path(&layout, kind);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-N", "", "-t", kind, "-f"])
                .arg(&file)
                .status()
                .unwrap();
            assert!(made.success());
            let key = HostKey::read(&layout, None).unwrap();
            assert_eq!(key.public().kind().family(), kind);
            let armor = key.sign("x.signet", "message").unwrap();
            let signature = SshSignature::from_armor(&armor).unwrap();
            signature.verify(key.public(), "x.signet", b"message").unwrap();
            publics.push(key.public().clone());
        }
        for public in &publics {
            assert_eq!(HostKey::read(&layout, Some(public)).unwrap().public(), public);
        }
    }
}
