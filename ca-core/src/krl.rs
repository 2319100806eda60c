//! Key revocation lists as OpenSSH reads them (`PROTOCOL.krl`): what is revoked, its bytes, and what a host would say of a
//! certificate. No signature section is ever written: OpenSSH from 9.4 on refuses such lists.

mod format;
mod read;
mod serials;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use crate::subject_key::SubjectKey;
use crate::time::UnixTime;

pub use self::read::KrlError;
pub use self::serials::SerialSet;

/// A revocation list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Krl {
    /// Counts up with each change.
    pub version: u64,
    /// When it was made, seconds since 1970.
    pub generated: u64,
    /// For people; `ssh-keygen -Q -l` shows it.
    pub comment: String,
    /// What is revoked of each CA, by the CA key's blob; the empty blob stands for every CA. Blobs that are no keys are not
    /// written: they sign nothing, and OpenSSH would refuse the whole list.
    pub authorities: BTreeMap<Vec<u8>, CaRevocations>,
    /// Blobs of plain keys. A revoked key takes its certificates along; a revoked CA key all it signed.
    pub keys: BTreeSet<Vec<u8>>,
    /// SHA-1 of the blobs of plain keys: read where ssh-keygen wrote it; ours go into `sha256`.
    pub sha1: BTreeSet<[u8; 20]>,
    /// SHA-256 of the blobs of plain keys.
    pub sha256: BTreeSet<[u8; 32]>,
}

/// What is revoked of one CA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaRevocations {
    /// Serials; never 0, which OpenSSH cannot revoke.
    pub serials: SerialSet,
    /// Key IDs, matched exactly. One with a NUL is not written: no certificate has it, and OpenSSH would refuse the whole list.
    pub key_ids: BTreeSet<String>,
}

/// The words of a certificate that a list can speak about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The CA key's blob.
    pub ca_key: &'a [u8],
    /// The serial.
    pub serial: u64,
    /// The key ID.
    pub key_id: &'a str,
    /// The subject key's blob.
    pub subject_key: &'a [u8],
}

/// Which line of a list hits a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// Its serial.
    Serial,
    /// Its key ID.
    KeyId,
    /// Its subject key.
    SubjectKey,
    /// The key of the CA that signed it.
    CaKey,
}

impl Krl {
    /// An empty list.
    #[must_use]
    pub fn new(version: u64, generated: UnixTime, comment: &str) -> Self {
        Self {
            version,
            generated: generated.secs(),
            comment: comment.to_owned(),
            ..Self::default()
        }
    }

    /// What is revoked of the CA with this key, to be added to.
    pub fn authority(&mut self, ca_key: &SubjectKey) -> &mut CaRevocations {
        self.authorities.entry(ca_key.blob().to_vec()).or_default()
    }

    /// Lays the list out (`PROTOCOL.krl`), in time linear to what it holds. The same list is always the same bytes.
    ///
    /// OpenSSH before 8.2 takes no file of more than 1 MiB, and then lets nobody in; later ones end at 128 MiB.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write::encode(self)
    }

    /// Reads a list. What OpenSSH refuses is refused: truncation, trailing bytes, unknown versions and sections, signature
    /// sections, serial 0.
    ///
    /// # Errors
    /// [`KrlError`]; a host that was given such a list lets nobody in, so a list that does not read back is never used.
    pub fn parse(bytes: &[u8]) -> Result<Self, KrlError> {
        read::parse(bytes)
    }

    /// What of this list hits the certificate, as sshd decides it.
    #[must_use]
    pub fn hit(&self, subject: Subject<'_>) -> Option<Hit> {
        read::hit(self, subject)
    }
}

/// Whether a CA's blob is one that OpenSSH reads in a list: a key, or empty for every CA.
fn is_authority(blob: &[u8]) -> bool {
    blob.is_empty() || SubjectKey::from_blob(blob.to_vec()).is_ok()
}

#[cfg(test)]
mod tests;
