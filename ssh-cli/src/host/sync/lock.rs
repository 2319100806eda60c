//! One sync at a time.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use super::super::layout::Layout;

/// Held until dropped, or until the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

/// It is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another sync or enrolment runs.
    #[error("another `signet host sync` or `enroll` is running")]
    Busy,
    /// The file cannot be opened.
    #[error("`{path}` cannot be opened")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Lock {
    /// Takes it without waiting. The folder of the state is there already.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(layout: &Layout) -> Result<Self, LockError> {
        let path = layout.state_folder().join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(|source| LockError::Open { path, source })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(_) => Err(LockError::Busy),
        }
    }
}
