//! The key-file seal: a key that wraps the root key lies in a file that only the server's user can read.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{RootKey, Seal, SealError, SealKind, unwrap_root, wrap_root};
use crate::random::{self, RandomFailed};
use crate::secret_file::{self, SecretFileError};

/// What the file's one line begins with.
const PREFIX: &str = "signet-barrier-key-1 ";

/// A key in a file. Before there were terms that key sealed the store itself; now it wraps the root key.
#[derive(Debug)]
pub struct KeyFileSeal {
    path: PathBuf,
}

impl KeyFileSeal {
    /// The file, which need not be there yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The key, for a store that it sealed by itself.
    ///
    /// # Errors
    /// [`SealError`] as for [`Seal::unwrap`].
    pub(crate) fn key(&self) -> Result<Zeroizing<[u8; 32]>, SealError> {
        read(&self.path).map_err(seal_error)
    }
}

impl Seal for KeyFileSeal {
    fn kind(&self) -> SealKind {
        SealKind::KeyFile
    }

    /// Makes the file if it is not there: the root key is wrapped at the first start and when the seal is changed only.
    fn wrap(&self, root_key: &RootKey) -> Result<Vec<u8>, SealError> {
        let key = match read(&self.path) {
            Err(KeyFileError::Missing { .. }) => create(&self.path),
            other => other,
        };
        wrap_root(SealKind::KeyFile, &*key.map_err(seal_error)?, root_key)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<RootKey, SealError> {
        unwrap_root(SealKind::KeyFile, &*self.key()?, wrapped)
    }
}

/// A file that is not there may be on a disk that comes later; everything else needs somebody's hand.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn seal_error(error: KeyFileError) -> SealError {
    let kind = SealKind::KeyFile;
    let reason = crate::command::chain(&error);
    match error {
        KeyFileError::Missing { .. }
        | KeyFileError::Unusable(SecretFileError::Read { .. })
        | KeyFileError::Random(_) => SealError::Unavailable { kind, reason },
        KeyFileError::Unusable(_) | KeyFileError::NotAKey { .. } | KeyFileError::Write { .. } => {
            SealError::Setup { kind, reason }
        }
    }
}

/// Reads the key file.
///
/// # Errors
/// [`KeyFileError`]: absent, readable by others, or not a key file.
pub fn read(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let broken = || KeyFileError::NotAKey { path: path.to_owned() };
    let text = secret_file::read(path).map_err(|error| match error {
        SecretFileError::Missing { path } => KeyFileError::Missing { path },
        other => KeyFileError::Unusable(other),
    })?;
    let encoded = text.trim_end().strip_prefix(PREFIX).ok_or_else(broken)?;
    let key = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| broken())?);
    let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| broken())?;
    Ok(Zeroizing::new(*key))
}

/// Makes a new key and its file; never touches a file that is there.
///
/// # Errors
/// [`KeyFileError`] when the file exists or cannot be written.
pub fn create(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let mut key = Zeroizing::new([0; 32]);
    random::fill(&mut *key)?;
    let text = Zeroizing::new(format!("{PREFIX}{}\n", STANDARD.encode(*key)));
    secret_file::write_new(path, text.as_bytes()).map_err(|source| KeyFileError::Write {
        path: path.to_owned(),
        source,
    })?;
    Ok(key)
}

/// Why the key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file is not there.
    #[error("the key file `{}` is missing; without it the store cannot be read", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it, or nobody can.
    #[error("{}", .0.of("the key file"))]
    Unusable(SecretFileError),
    /// Its text is something else.
    #[error("`{}` is not a key file of signet", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("the key file `{}` cannot be made", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn the_key_file_is_made_once_0600_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("barrier.key");
        assert!(matches!(read(&path).unwrap_err(), KeyFileError::Missing { .. }));
        let seal = KeyFileSeal::new(path.clone());
        assert!(matches!(seal.unwrap(b"x").unwrap_err(), SealError::Unavailable { .. }));
        let root = RootKey::new(Zeroizing::new([5; 32]));
        let wrapped = seal.wrap(&root).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(seal.unwrap(&wrapped).unwrap().expose(), root.expose());
        for index in 0..wrapped.len() {
            let mut flipped = wrapped.clone();
            flipped[index] ^= 1;
            assert!(
                matches!(seal.unwrap(&flipped).unwrap_err(), SealError::WrongKey { .. }),
                "byte {index}"
            );
        }
        assert!(
            matches!(create(&path).unwrap_err(), KeyFileError::Write { .. }),
            "never overwritten"
        );
    }

    #[test]
    fn a_key_file_that_others_can_read_a_link_and_rubbish_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("barrier.key");
        create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read(&path).unwrap_err(),
            KeyFileError::Unusable(SecretFileError::TooOpen { mode: 0o640, .. })
        ));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let link = folder.path().join("link.key");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(
            read(&link).unwrap_err(),
            KeyFileError::Unusable(SecretFileError::Read { .. })
        ));
        std::fs::write(&path, "signet-barrier-key-1 c2hvcnQ=\n").unwrap();
        assert!(matches!(read(&path).unwrap_err(), KeyFileError::NotAKey { .. }));
    }
}
