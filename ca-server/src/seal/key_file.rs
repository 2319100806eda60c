//! The key-file seal: the barrier key lies in a file that only the server's user can read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::barrier::Barrier;
use crate::random::{self, RandomFailed};

/// What the file's one line begins with.
const PREFIX: &str = "signet-barrier-key-1 ";

/// Reads the key file.
///
/// # Errors
/// [`KeyFileError`]: absent, readable by others, or not a key file.
pub fn unseal(path: &Path) -> Result<Barrier, KeyFileError> {
    let fail = |source| KeyFileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match open_options().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyFileError::Missing { path: path.to_owned() });
        }
        other => other.map_err(fail)?,
    };
    check_mode(path, &file).map_err(fail)??;
    let mut text = Zeroizing::new(String::with_capacity(128));
    file.take(1024).read_to_string(&mut text).map_err(fail)?;
    let broken = || KeyFileError::NotAKey { path: path.to_owned() };
    let encoded = text.trim_end().strip_prefix(PREFIX).ok_or_else(broken)?;
    let key = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| broken())?);
    Barrier::new(&key).ok_or_else(broken)
}

/// Makes a new key and its file; never touches a file that is there.
///
/// # Errors
/// [`KeyFileError`] when the file exists or cannot be written.
pub fn create(path: &Path) -> Result<Barrier, KeyFileError> {
    let mut key = Zeroizing::new([0; 32]);
    random::fill(&mut *key)?;
    let barrier = Barrier::new(&*key).ok_or_else(|| KeyFileError::NotAKey { path: path.to_owned() })?;
    let text = Zeroizing::new(format!("{PREFIX}{}\n", STANDARD.encode(*key)));
    write_new(path, text.as_bytes()).map_err(|source| KeyFileError::Write {
        path: path.to_owned(),
        source,
    })?;
    Ok(barrier)
}

/// Writes a file of mode 0600 that was not there, and makes it and its name durable.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open_options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // A link could lead to a file whose name others may replace.
    options.custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0));
    options
}

fn check_mode(path: &Path, file: &File) -> io::Result<Result<(), KeyFileError>> {
    let metadata = file.metadata()?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Ok(Err(KeyFileError::TooOpen {
            path: path.to_owned(),
            mode,
        }));
    }
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    Ok(if owner == user {
        Ok(())
    } else {
        Err(KeyFileError::Owner {
            path: path.to_owned(),
            owner,
        })
    })
}

/// Why the barrier key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file is not there.
    #[error("the key file `{}` is missing; without it the store cannot be read", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("the key file `{}` has mode {mode:04o}; others can read it (run `chmod 600` on it, and consider the key known)", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Somebody else owns it.
    #[error("the key file `{}` belongs to user {owner}, not to the server's user", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The owner's user id.
        owner: u32,
    },
    /// Its text is something else.
    #[error("`{}` is not a key file of signet", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("the key file `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_file_is_made_once_0600_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("barrier.key");
        assert!(matches!(unseal(&path).unwrap_err(), KeyFileError::Missing { .. }));
        let sealed = create(&path).unwrap().encrypt("t/k", b"secret").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(&**unseal(&path).unwrap().decrypt("t/k", &sealed).unwrap(), b"secret");
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
            unseal(&path).unwrap_err(),
            KeyFileError::TooOpen { mode: 0o640, .. }
        ));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let link = folder.path().join("link.key");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(unseal(&link).unwrap_err(), KeyFileError::Read { .. }));
        std::fs::write(&path, "signet-barrier-key-1 c2hvcnQ=\n").unwrap();
        assert!(matches!(unseal(&path).unwrap_err(), KeyFileError::NotAKey { .. }));
    }
}
