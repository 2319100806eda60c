//! AWS's certificate of one region, as its page "regions-certs" shows it: only the key in it counts.

use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts as _;
use x509_cert::Certificate;
use x509_cert::der::DecodePem as _;

use super::RSA_ENCRYPTION;
use crate::time::UnixTime;

/// The key that signs a region's documents, and when its certificate ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionCertificate {
    /// PKCS #1, DER.
    public_key: Vec<u8>,
    ends: UnixTime,
}

/// Why a file is not a region's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegionCertificateError {
    /// No certificate in PEM.
    #[error("it is not one certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NotPem,
    /// AWS has a DSA certificate for `pkcs7` and one with a short RSA key for `signature`, too.
    #[error("its key is not RSA with 2048 bits or more: take the certificate of the column `RSA-2048`")]
    Key,
}

impl RegionCertificate {
    /// Reads a PEM file's text.
    ///
    /// # Errors
    /// [`RegionCertificateError`]
    pub fn from_pem(text: &str) -> Result<Self, RegionCertificateError> {
        // Its signature and names mean nothing here: it is believed because somebody wrote it into the configuration.
        let certificate = Certificate::from_pem(text.trim()).map_err(|_| RegionCertificateError::NotPem)?;
        let fields = certificate.tbs_certificate();
        let info = fields.subject_public_key_info();
        let public_key = info.subject_public_key.as_bytes().unwrap_or_default();
        let key = RsaPublicKey::from_pkcs1_der(public_key).map_err(|_| RegionCertificateError::Key)?;
        if info.algorithm.oid != RSA_ENCRYPTION || key.size() < 256 {
            return Err(RegionCertificateError::Key);
        }
        Ok(Self {
            public_key: public_key.to_vec(),
            ends: UnixTime::from_secs(fields.validity().not_after.to_unix_duration().as_secs()),
        })
    }

    /// When the certificate ends. AWS then signs with another key.
    #[must_use]
    pub const fn ends(&self) -> UnixTime {
        self.ends
    }

    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}
