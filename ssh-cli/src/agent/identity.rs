//! A private key in memory and the certificate for it.

use std::fmt;

use base64::Engine as _;
use ed25519_dalek::{Signer as _, SigningKey};
use signet_core::time::UnixTime;
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Certificate, PublicKey};

/// A key that has no certificate yet. Wiped when dropped; never leaves this process.
pub struct FreshKey(SigningKey);

impl fmt::Debug for FreshKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FreshKey")
    }
}

/// What came back is not a certificate that this key can log in with.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    /// Not a certificate at all.
    #[error("the authority's answer holds no readable certificate: {0}")]
    Unreadable(String),
    /// Somebody else's key.
    #[error("the certificate is for another key than the one that was sent")]
    OtherKey,
    /// A host certificate.
    #[error("the certificate is a host certificate")]
    NotUser,
    /// The CA's signature does not fit.
    #[error("the certificate's signature is wrong")]
    BadSignature,
    /// Over before it began, by this machine's clock.
    #[error("the certificate ended at {valid_before}, and it is {now} on this machine")]
    Expired {
        /// Its end.
        valid_before: UnixTime,
        /// The local time.
        now: UnixTime,
    },
}

impl FreshKey {
    /// Makes a new Ed25519 key.
    ///
    /// # Errors
    /// The kernel's, when it has no random source.
    pub fn generate() -> std::io::Result<Self> {
        Ok(Self(SigningKey::from_bytes(&*crate::random::seed()?)))
    }

    /// The line that is sent to be signed.
    #[must_use]
    pub fn public_line(&self) -> String {
        let key = KeyData::from(Ed25519PublicKey(self.0.verifying_key().to_bytes()));
        PublicKey::from(key).to_openssh().unwrap_or_default()
    }

    /// Joins the key and its certificate after checking that they belong together.
    ///
    /// # Errors
    /// Any [`CertificateError`].
    pub fn certify(self, line: &str, now: UnixTime) -> Result<Identity, CertificateError> {
        let certificate =
            Certificate::from_openssh(line.trim()).map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        if certificate.public_key() != &KeyData::from(Ed25519PublicKey(self.0.verifying_key().to_bytes())) {
            return Err(CertificateError::OtherKey);
        }
        if !certificate.cert_type().is_user() {
            return Err(CertificateError::NotUser);
        }
        certificate
            .verify_signature()
            .map_err(|_| CertificateError::BadSignature)?;
        let valid_before = UnixTime::from_secs(certificate.valid_before());
        if valid_before <= now {
            return Err(CertificateError::Expired { valid_before, now });
        }
        // The blob as it was sent: another encoder's bytes might differ from the signed ones.
        let blob = line.split_ascii_whitespace().nth(1).unwrap_or_default();
        let blob = base64::engine::general_purpose::STANDARD
            .decode(blob)
            .map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        Ok(Identity {
            key: self.0,
            blob,
            key_id: certificate.key_id().to_owned(),
            serial: certificate.serial(),
            obtained: now,
            valid_before,
        })
    }
}

/// A key with its certificate.
pub struct Identity {
    key: SigningKey,
    blob: Vec<u8>,
    key_id: String,
    serial: u64,
    obtained: UnixTime,
    valid_before: UnixTime,
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Identity")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The certificate in SSH wire form.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// What sshd will log.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The certificate's serial.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// When it came.
    #[must_use]
    pub const fn obtained(&self) -> UnixTime {
        self.obtained
    }

    /// When it ends.
    #[must_use]
    pub const fn valid_before(&self) -> UnixTime {
        self.valid_before
    }

    /// The life it had when it came.
    #[must_use]
    pub const fn life_secs(&self) -> u64 {
        self.obtained.secs_until(self.valid_before)
    }

    /// True while it can be handed to a new ssh: more than a tenth of its life and 15 seconds are left, enough for a slow
    /// handshake. A certificate shorter than that is used for half of its life.
    #[must_use]
    pub fn is_fresh(&self, now: UnixTime) -> bool {
        let life = self.life_secs();
        let margin = (life / 10).max(15).min(life / 2);
        now.secs_until(self.valid_before) > margin
    }

    /// True when two thirds of its life are over.
    #[must_use]
    pub fn renewal_time(&self) -> UnixTime {
        self.obtained.plus(self.life_secs() / 3 * 2)
    }

    /// An Ed25519 signature (RFC 8709, section 6), without its SSH frame.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> [u8; 64] {
        self.key.sign(data).to_bytes()
    }
}
