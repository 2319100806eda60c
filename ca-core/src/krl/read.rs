//! Reads a list back, and answers as sshd would.

use super::{Hit, Krl, Subject};

/// Why bytes are no list that OpenSSH reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KrlError {
    /// Not a KRL at all, such as an empty file, which sshd takes for an empty list of keys.
    #[error("it is no KRL")]
    NotAKrl,
    /// The fields are cut short, run on, or hold what they may not.
    #[error("the KRL is damaged")]
    Damaged,
    /// A format or section that OpenSSH does not read.
    #[error("the KRL holds what OpenSSH does not read: {0}")]
    Unknown(&'static str),
}

pub(super) fn parse(bytes: &[u8]) -> Result<Krl, KrlError> {
    let _unfinished = bytes;
    Err(KrlError::NotAKrl)
}

pub(super) fn hit(krl: &Krl, subject: Subject<'_>) -> Option<Hit> {
    let _unfinished = (krl, subject);
    None
}
