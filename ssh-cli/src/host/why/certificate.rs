//! The bytes of a certificate that a KRL speaks about.

use ssh_key::{Certificate, PublicKey};

/// What can be had of a certificate.
#[derive(Debug)]
pub(super) struct Parts {
    /// `None` for one that only a lenient reader reads; sshd refuses most of those.
    pub(super) bytes: Option<Bytes>,
}

/// Raw fields.
#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) ca_key: Vec<u8>,
    pub(super) subject_key: Vec<u8>,
    pub(super) serial: u64,
    pub(super) key_id: String,
}

impl Parts {
    pub(super) fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split_ascii_whitespace().take(2).collect();
        let bytes = Certificate::from_openssh(&words.join(" "))
            .ok()
            .and_then(|certificate| {
                let blob = |key: &ssh_key::public::KeyData| PublicKey::from(key.clone()).to_bytes().ok();
                Some(Bytes {
                    ca_key: blob(certificate.signature_key())?,
                    subject_key: blob(certificate.public_key())?,
                    serial: certificate.serial(),
                    key_id: certificate.key_id().to_owned(),
                })
            });
        Self { bytes }
    }
}
