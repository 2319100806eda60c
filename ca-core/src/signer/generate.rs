//! New keys, and keys to and from the store.

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, Curve25519SeedBin, EcPrivateKeyRfc5915Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use rsa::BoxedUint;
use rsa::pkcs1::{DecodeRsaPublicKey as _, EncodeRsaPrivateKey as _, LineEnding};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use ssh_encoding::Encode as _;
use zeroize::Zeroizing;

use super::{CaKeyType, Curve, SignError, SoftwareKey};
use crate::subject_key::SubjectKey;

/// A key pair made for a caller that has none (`issue/:role`).
pub struct GeneratedKey {
    /// The public half.
    pub public: SubjectKey,
    /// The private half in the format that Vault answers: PKCS#1 for RSA, SEC 1 for ECDSA, OpenSSH's for Ed25519.
    pub private_pem: Zeroizing<String>,
}

impl std::fmt::Debug for GeneratedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GeneratedKey({})", self.public.fingerprint())
    }
}

/// Makes a key pair. RSA takes up to seconds.
///
/// # Errors
/// [`SignError::Failed`] when the random source or an encoder fails.
pub fn generate_key_pair(key_type: CaKeyType) -> Result<GeneratedKey, SignError> {
    let key = SoftwareKey::generate(key_type).map_err(|_| SignError::Failed)?;
    Ok(GeneratedKey {
        public: key.public()?,
        private_pem: key.private_pem()?,
    })
}

const ED25519_WORD: &str = "ed25519";
const RSA_WORD: &str = "rsa";

impl SoftwareKey {
    pub(super) fn generate(key_type: CaKeyType) -> Result<Self, Unspecified> {
        let ecdsa = |curve: Curve| EcdsaKeyPair::generate(curve.signing()).map(|key| Self::Ecdsa(curve, key));
        match key_type {
            CaKeyType::Ed25519 => Ed25519KeyPair::generate().map(Self::Ed25519),
            CaKeyType::EcdsaP256 => ecdsa(Curve::P256),
            CaKeyType::EcdsaP384 => ecdsa(Curve::P384),
            CaKeyType::EcdsaP521 => ecdsa(Curve::P521),
            CaKeyType::Rsa(bits) => RsaKeyPair::generate(bits.key_size()).map(Self::Rsa),
        }
    }

    /// The public key as aws-lc-rs verifies with it.
    pub(super) fn raw_public(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.public_key().as_ref().to_vec(),
            Self::Ecdsa(_, key) => key.public_key().as_ref().to_vec(),
            Self::Rsa(key) => key.public_key().as_ref().to_vec(),
        }
    }

    pub(super) fn public(&self) -> Result<SubjectKey, SignError> {
        let mut blob = Vec::new();
        let fields: Vec<Vec<u8>> = match self {
            Self::Ed25519(_) => vec![b"ssh-ed25519".to_vec(), self.raw_public()],
            Self::Ecdsa(curve, _) => {
                vec![
                    curve.ssh_key_name().into(),
                    curve.ssh_curve_name().into(),
                    self.raw_public(),
                ]
            }
            Self::Rsa(_) => {
                let key = rsa::RsaPublicKey::from_pkcs1_der(&self.raw_public()).map_err(|_| SignError::Failed)?;
                let bytes = |number: &BoxedUint| number.to_be_bytes_trimmed_vartime().to_vec();
                // An mpint whose first bit is set needs a zero byte in front; a modulus always has it set.
                vec![b"ssh-rsa".to_vec(), bytes(key.e()), [vec![0], bytes(key.n())].concat()]
            }
        };
        for field in fields {
            field.encode(&mut blob).map_err(|_| SignError::Failed)?;
        }
        SubjectKey::from_blob(blob).map_err(|_| SignError::Failed)
    }

    pub(super) fn to_secret(&self) -> Result<Zeroizing<Vec<u8>>, SignError> {
        let failed = |_| SignError::Failed;
        let (word, der) = match self {
            Self::Ed25519(key) => (
                ED25519_WORD,
                Zeroizing::new(key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()),
            ),
            Self::Ecdsa(curve, key) => (
                curve.ssh_curve_name(),
                Zeroizing::new(key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()),
            ),
            Self::Rsa(key) => {
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
                (RSA_WORD, Zeroizing::new(der.as_ref().to_vec()))
            }
        };
        let mut secret = Zeroizing::new(Vec::with_capacity(word.len() + 1 + der.len()));
        secret.extend_from_slice(word.as_bytes());
        secret.push(b'\n');
        secret.extend_from_slice(&der);
        Ok(secret)
    }

    pub(super) fn from_secret(secret: &[u8]) -> Option<Self> {
        let newline = secret.iter().position(|byte| *byte == b'\n')?;
        let (word, der) = (secret.get(..newline)?, secret.get(newline + 1..)?);
        if word == ED25519_WORD.as_bytes() {
            return Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Self::Ed25519);
        }
        if word == RSA_WORD.as_bytes() {
            return RsaKeyPair::from_pkcs8(der).ok().map(Self::Rsa);
        }
        let curve = Curve::ALL
            .into_iter()
            .find(|curve| curve.ssh_curve_name().as_bytes() == word)?;
        EcdsaKeyPair::from_pkcs8(curve.signing(), der)
            .ok()
            .map(|key| Self::Ecdsa(curve, key))
    }

    pub(super) fn private_pem(&self) -> Result<Zeroizing<String>, SignError> {
        match self {
            Self::Ed25519(key) => {
                let seed = key.seed().map_err(|_| SignError::Failed)?;
                let seed: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(|_| SignError::Failed)?;
                let seed = Zeroizing::new(<[u8; 32]>::try_from(seed.as_ref()).map_err(|_| SignError::Failed)?);
                let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
                ssh_key::PrivateKey::from(pair)
                    .to_openssh(ssh_key::LineEnding::LF)
                    .map_err(|_| SignError::Failed)
            }
            Self::Ecdsa(_, key) => {
                let private = key.private_key();
                let der: EcPrivateKeyRfc5915Der<'_> = private.as_der().map_err(|_| SignError::Failed)?;
                Ok(pem("EC PRIVATE KEY", der.as_ref()))
            }
            Self::Rsa(key) => {
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().map_err(|_| SignError::Failed)?;
                let key = rsa::RsaPrivateKey::from_pkcs8_der(der.as_ref()).map_err(|_| SignError::Failed)?;
                key.to_pkcs1_pem(LineEnding::LF).map_err(|_| SignError::Failed)
            }
        }
    }
}

fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    const LINE_CHARS: usize = 64;
    let body = Zeroizing::new(data_encoding::BASE64.encode(der));
    let mut out = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    for (index, c) in body.chars().enumerate() {
        if index > 0 && index % LINE_CHARS == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push_str("\n-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}
