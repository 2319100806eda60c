//! CA keys that somebody brings along: OpenSSH's format and PEM. The public half must belong to the private one, which
//! Vault does not check.

use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::SecretDocument;
use ssh_key::private::KeypairData;

use super::{Curve, SignError, SoftwareKey, SoftwareSigner};
use crate::subject_key::{SubjectKey, SubjectKeyError};

/// Why a CA key cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not a private key in a known format.
    #[error("failed to parse private_key: it is neither OpenSSH's format nor PEM")]
    Private,
    /// A private key behind a passphrase.
    #[error(
        "failed to parse private_key: it is encrypted; remove the passphrase with `ssh-keygen -p -N ''` on a copy first"
    )]
    Encrypted,
    /// A key type that makes no certificates.
    #[error("failed to parse private_key: keys of type {0} cannot sign certificates here")]
    Type(String),
    /// The public half does not parse; a certificate, for example.
    #[error("failed to parse public_key: {0}")]
    Public(SubjectKeyError),
    /// The two halves are of different keys.
    #[error("public_key does not belong to private_key")]
    Mismatch,
    /// The key does not sign.
    #[error(transparent)]
    SelfTest(#[from] SignError),
}

impl SoftwareSigner {
    /// Imports a private key (OpenSSH, PKCS#1, SEC 1 or PKCS#8 in PEM, not encrypted) and checks that `public` belongs to
    /// it.
    ///
    /// # Errors
    /// [`ImportError`] saying which half is wrong.
    pub fn import(private: &str, public: &str) -> Result<Self, ImportError> {
        let public = SubjectKey::parse(public).map_err(ImportError::Public)?;
        let signer = Self::new(read_private(private)?)?;
        if signer.public == public {
            Ok(signer)
        } else {
            Err(ImportError::Mismatch)
        }
    }
}

fn read_private(private: &str) -> Result<SoftwareKey, ImportError> {
    let private = private.trim();
    // OpenSSH breaks its lines at 70 characters, which a strict PEM reader does not take.
    if private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
        return from_openssh(private);
    }
    let (label, document) = SecretDocument::from_pem(private).map_err(|_| not_readable(private))?;
    let der = document.as_bytes();
    match label {
        "RSA PRIVATE KEY" => RsaKeyPair::from_der(der)
            .ok()
            .map(SoftwareKey::Rsa)
            .ok_or(ImportError::Private),
        "EC PRIVATE KEY" => each_curve(|curve| EcdsaKeyPair::from_private_key_der(curve.signing(), der).ok()),
        "PRIVATE KEY" => from_pkcs8(der),
        "ENCRYPTED PRIVATE KEY" => Err(ImportError::Encrypted),
        other => Err(ImportError::Type(other.to_owned())),
    }
}

fn not_readable(private: &str) -> ImportError {
    // OpenSSL's old way of encrypting has header lines, which strict PEM readers do not take.
    if private.contains("ENCRYPTED") {
        ImportError::Encrypted
    } else {
        ImportError::Private
    }
}

fn each_curve(make: impl Fn(Curve) -> Option<EcdsaKeyPair>) -> Result<SoftwareKey, ImportError> {
    Curve::ALL
        .into_iter()
        .find_map(|curve| make(curve).map(|key| SoftwareKey::Ecdsa(curve, key)))
        .ok_or(ImportError::Private)
}

fn from_pkcs8(der: &[u8]) -> Result<SoftwareKey, ImportError> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
        .ok()
        .map(SoftwareKey::Ed25519)
        .or_else(|| RsaKeyPair::from_pkcs8(der).ok().map(SoftwareKey::Rsa))
        .map_or_else(
            || each_curve(|curve| EcdsaKeyPair::from_pkcs8(curve.signing(), der).ok()),
            Ok,
        )
}

fn from_openssh(private: &str) -> Result<SoftwareKey, ImportError> {
    let key = ssh_key::PrivateKey::from_openssh(private).map_err(|_| ImportError::Private)?;
    if key.is_encrypted() {
        return Err(ImportError::Encrypted);
    }
    let made = match key.key_data() {
        KeypairData::Ed25519(pair) => from_ed25519(pair),
        KeypairData::Ecdsa(pair) => {
            let curve = Curve::ALL
                .into_iter()
                .find(|curve| curve.ssh_curve_name() == pair.curve().as_str());
            curve.and_then(|curve| {
                let algorithm = curve.signing();
                EcdsaKeyPair::from_private_key_and_public_key(
                    algorithm,
                    pair.private_key_bytes(),
                    pair.public_key_bytes(),
                )
                .ok()
                .map(|key| SoftwareKey::Ecdsa(curve, key))
            })
        }
        KeypairData::Rsa(pair) => rsa::RsaPrivateKey::try_from(pair)
            .ok()
            .and_then(|key| key.to_pkcs1_der().ok())
            .and_then(|der| RsaKeyPair::from_der(der.as_bytes()).ok())
            .map(SoftwareKey::Rsa),
        _ => return Err(ImportError::Type(key.algorithm().to_string())),
    };
    made.ok_or(ImportError::Private)
}

/// The public half is computed from the seed: a file whose halves differ would sign with one key and name another
/// (RUSTSEC-2022-0093).
fn from_ed25519(pair: &ssh_key::private::Ed25519Keypair) -> Option<SoftwareKey> {
    let seed = zeroize::Zeroizing::new(pair.private.to_bytes());
    let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    (public.as_bytes() == &pair.public.0)
        .then(|| Ed25519KeyPair::from_seed_and_public_key(seed.as_slice(), public.as_bytes()).ok())
        .flatten()
        .map(SoftwareKey::Ed25519)
}
