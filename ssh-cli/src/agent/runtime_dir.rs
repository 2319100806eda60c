//! The folder that holds sockets and short-lived public files: ours alone, or not used at all.

use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A Unix socket's path has 108 bytes; the longest name we put in the folder needs this much of it.
const PATH_BYTES_MAX: usize = 108 - 40;

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// Making or reading it failed.
    #[error("the runtime folder `{path}` cannot be used")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It belongs to somebody else, is a link, or others can get in.
    #[error("the runtime folder `{path}` is not private: {why}")]
    NotPrivate {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The path cannot be handed to ssh.
    #[error("the runtime folder's path `{path}` {why}")]
    BadPath {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

/// A folder that only this user can enter.
#[derive(Debug, Clone)]
pub struct RuntimeDir(PathBuf);

impl RuntimeDir {
    /// Makes the folder if it is missing and checks it.
    ///
    /// # Errors
    /// Any [`RuntimeDirError`].
    ///
    /// # Security
    /// In a shared temporary folder somebody else may have made it first: owner, type and mode are checked without
    /// following links.
    pub fn open(path: PathBuf) -> Result<Self, RuntimeDirError> {
        let Some(text) = path.to_str() else {
            return Err(RuntimeDirError::BadPath {
                path,
                why: "is not UTF-8",
            });
        };
        if text.len() > PATH_BYTES_MAX {
            return Err(RuntimeDirError::BadPath {
                path,
                why: "is too long for a socket",
            });
        }
        // ssh expands `%`, `$` and `~` in option values and splits at blanks and quotes.
        if text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || "%$~\"'\\".contains(c))
        {
            return Err(RuntimeDirError::BadPath {
                path,
                why: "holds characters that ssh would expand",
            });
        }
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(RuntimeDirError::Io { path, source: error });
            }
            _ => {}
        }
        let seen = match std::fs::symlink_metadata(&path) {
            Ok(seen) => seen,
            Err(source) => return Err(RuntimeDirError::Io { path, source }),
        };
        let why = if !seen.is_dir() {
            "it is no folder"
        } else if seen.uid() != rustix::process::geteuid().as_raw() {
            "it belongs to another user"
        } else if seen.mode() & 0o077 != 0 {
            "other users can enter it"
        } else {
            return Ok(Self(path));
        };
        Err(RuntimeDirError::NotPrivate { path, why })
    }

    /// A fresh folder inside, for one run without an agent.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub fn private_folder(&self) -> Result<PrivateFolder, RuntimeDirError> {
        let path = self.0.join(format!("run.{}", std::process::id()));
        // Left behind by a process of the same number that was killed.
        drop(std::fs::remove_dir_all(&path));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(PrivateFolder(path)),
            Err(source) => Err(RuntimeDirError::Io { path, source }),
        }
    }

    /// Where a file of this name is.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// A folder that is removed with all it holds when this value is dropped.
#[derive(Debug)]
pub struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Where a file of this name is.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Writes a new file, 0600, in place of an old one.
///
/// # Errors
/// The file system's.
pub fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    drop(std::fs::remove_file(&fresh));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("signet");
        assert!(RuntimeDir::open(path.clone()).is_ok());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(
            RuntimeDir::open(path.clone()),
            Err(RuntimeDirError::NotPrivate { .. })
        ));
        std::fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink(base.path(), &path).unwrap();
        assert!(matches!(
            RuntimeDir::open(path),
            Err(RuntimeDirError::NotPrivate { .. })
        ));
    }

    #[test]
    fn a_path_that_ssh_would_expand_is_refused() {
        for name in ["a b", "%h", "$x", "a\"b"] {
            assert!(matches!(
                RuntimeDir::open(PathBuf::from("/tmp").join(name)),
                Err(RuntimeDirError::BadPath { .. })
            ));
        }
        assert!(matches!(
            RuntimeDir::open(PathBuf::from("/tmp/".to_owned() + &"x".repeat(99))),
            Err(RuntimeDirError::BadPath { .. })
        ));
    }
}
