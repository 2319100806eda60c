//! The logins that sshd accepted, read from the journal or from a log file, each once and none lost when the log is rotated.
//!
//! A local user can write lines that look like sshd's: in the journal the sender's user id tells them apart, in a file
//! nothing does. A forged line can only add a login that then raises an alarm; it can hide none.

pub mod file;
pub mod journal;
mod parse;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use signet_core::enrollment::AcceptedLogin;
use signet_core::time::UnixTime;

pub use parse::accepted;

use super::settings::LogSource;

/// How far back the first reading looks.
pub const FIRST_LOOK_SECS: u64 = 24 * 3600;
/// A log line that sshd writes has at most 1 KiB of text; longer ones are nobody's.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// How far the log was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Position {
    /// Nothing was read yet.
    #[default]
    Start,
    /// The journal's own cursor, and the time of its entry for when the journal has dropped it.
    Journal {
        /// `__CURSOR`.
        cursor: String,
        /// Seconds since 1970.
        time: u64,
    },
    /// A file by its inode, and the bytes of it that were read.
    File {
        /// Which file.
        path: String,
        /// Its inode, which a rotation keeps.
        inode: u64,
        /// Bytes.
        offset: u64,
    },
}

/// What one reading gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Oldest first.
    pub logins: Vec<AcceptedLogin>,
    /// Where the next reading starts.
    pub position: Position,
    /// What could not be read, one sentence each.
    pub problems: Vec<String>,
}

/// Why nothing could be read; the position stays.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file or its folder.
    #[error("the log `{path}` cannot be read")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// journalctl did not run or broke off.
    #[error("journalctl cannot be read: {why}")]
    Journal {
        /// Its words, or the system's.
        why: String,
    },
}

/// Reads up to `logins_max` logins from `position` on.
///
/// # Errors
/// [`LogError`].
pub fn read(source: &LogSource, position: &Position, now: UnixTime, logins_max: usize) -> Result<Reading, LogError> {
    match source {
        LogSource::Journal => journal::read("journalctl", position, now, logins_max),
        LogSource::File(path) => file::read(path, position, now, file::local_offset_secs, logins_max),
    }
}
