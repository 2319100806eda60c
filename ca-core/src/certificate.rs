//! The bytes of a certificate: laid out by hand, read back by another reader, and only then signed.

mod encode;
mod read_back;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::plan::CertificatePlan;
use crate::signer::{SignError, Signer};

/// Longest certificate that is issued, in bytes. sshd's monitor drops connections above some 200 KiB; real ones have
/// about 500 bytes.
const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// A signed certificate that nobody holds yet: its record is not durable. Only the ledger turns it into an issued one.
#[derive(Debug)]
pub struct SignedCertificate {
    plan: CertificatePlan,
    ca_fingerprint: String,
    line: String,
}

impl CertificatePlan {
    /// Encodes the plan, reads the bytes back with an independent reader, compares every field, and signs.
    ///
    /// # Errors
    /// [`SignError::ReadBack`] when a field reads back differently (nothing was signed then), [`SignError::TooLong`], or
    /// the signer's own error.
    pub fn sign(self, signer: &dyn Signer) -> Result<SignedCertificate, SignError> {
        let mut bytes = encode::to_be_signed(&self, signer.public_key().blob())?;
        read_back::check(&self, signer.public_key(), &bytes)?;
        let signature = signer.sign(&bytes, self.algorithm())?;
        encode::append_signature(&mut bytes, &signature)?;
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(SignError::TooLong(bytes.len()));
        }
        let line = line(self.resolved().key().kind().certificate_name(), &bytes);
        Ok(SignedCertificate {
            plan: self,
            ca_fingerprint: signer.public_key().fingerprint(),
            line,
        })
    }
}

fn line(certificate_type: &str, bytes: &[u8]) -> String {
    let mut line = String::with_capacity(certificate_type.len() + bytes.len() * 4 / 3 + 8);
    line.push_str(certificate_type);
    line.push(' ');
    STANDARD.encode_string(bytes, &mut line);
    line.push('\n');
    line
}

impl SignedCertificate {
    /// What was signed.
    #[must_use]
    pub const fn plan(&self) -> &CertificatePlan {
        &self.plan
    }

    /// Fingerprint of the CA key that signed it.
    #[must_use]
    pub fn ca_fingerprint(&self) -> &str {
        &self.ca_fingerprint
    }

    /// Takes the certificate's line (`type base64`, newline-terminated) out.
    ///
    /// # Security
    /// Call it only where the record of this certificate is durable: no record, no certificate.
    #[must_use]
    pub fn into_line(self) -> String {
        self.line
    }
}

#[cfg(test)]
mod tests;
