//! Signers: what holds a CA key. A software key signs through aws-lc-rs, which is constant-time and the fastest there is
//! (for RSA five times faster than the `rsa` crate); the key is parsed once.

mod generate;
mod import;
pub mod wire;

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair, UnparsedPublicKey,
    VerificationAlgorithm,
};
use zeroize::Zeroizing;

pub use self::generate::{GeneratedKey, generate_key_pair};
pub use self::import::{ImportError, KeyFile};
use self::wire::{blob, ecdsa_blob, sha2_name};

use crate::role::AlgorithmSigner;
use crate::subject_key::SubjectKey;

/// Kind of a CA key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaKeyType {
    /// Ed25519: the suggested one.
    Ed25519,
    /// ECDSA on P-256: good in FIPS mode and on the oldest sshd.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521.
    EcdsaP521,
    /// RSA of 2048, 3072, 4096 or 8192 bits.
    Rsa(RsaBits),
}

/// RSA sizes that are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaBits {
    /// 2048 bits.
    B2048,
    /// 3072 bits.
    B3072,
    /// 4096 bits.
    B4096,
    /// 8192 bits.
    B8192,
}

impl RsaBits {
    /// The size for a number of bits; 0 is 4096, as on Vault.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match bits {
            0 | 4096 => Some(Self::B4096),
            2048 => Some(Self::B2048),
            3072 => Some(Self::B3072),
            8192 => Some(Self::B8192),
            _ => None,
        }
    }

    const fn key_size(self) -> KeySize {
        match self {
            Self::B2048 => KeySize::Rsa2048,
            Self::B3072 => KeySize::Rsa3072,
            Self::B4096 => KeySize::Rsa4096,
            Self::B8192 => KeySize::Rsa8192,
        }
    }
}

/// A key type that is not offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyTypeError {
    /// Neither Vault's nor OpenSSH's word.
    #[error("unknown key type \"{0}\": use ed25519, ec or rsa")]
    Unknown(String),
    /// A size the type does not come in.
    #[error("invalid key_bits {bits} for key type {key_type}: use {allowed}")]
    Bits {
        /// The type.
        key_type: String,
        /// The size asked for.
        bits: u64,
        /// The sizes it comes in.
        allowed: &'static str,
    },
}

impl CaKeyType {
    /// Reads Vault's `key_type` and `key_bits` (0: the type's default).
    ///
    /// # Errors
    /// [`KeyTypeError`] for types and sizes that are not offered.
    pub fn parse(key_type: &str, bits: u64) -> Result<Self, KeyTypeError> {
        let wrong_bits = |allowed| KeyTypeError::Bits {
            key_type: key_type.to_owned(),
            bits,
            allowed,
        };
        match key_type {
            "ssh-ed25519" | "ed25519" => Ok(Self::Ed25519),
            "ecdsa-sha2-nistp256" => Ok(Self::EcdsaP256),
            "ecdsa-sha2-nistp384" => Ok(Self::EcdsaP384),
            "ecdsa-sha2-nistp521" => Ok(Self::EcdsaP521),
            "ec" => match bits {
                0 | 256 => Ok(Self::EcdsaP256),
                384 => Ok(Self::EcdsaP384),
                521 => Ok(Self::EcdsaP521),
                _ => Err(wrong_bits("256, 384 or 521")),
            },
            "ssh-rsa" | "rsa" => RsaBits::from_bits(bits)
                .map(Self::Rsa)
                .ok_or_else(|| wrong_bits("2048, 3072, 4096 or 8192")),
            other => Err(KeyTypeError::Unknown(other.to_owned())),
        }
    }
}

/// Why a certificate could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key made no signature.
    #[error("the CA key made no signature")]
    Failed,
    /// The CA key cannot make this signature: an RSA algorithm with another key.
    #[error("a CA key of type {key} cannot sign with {algorithm}")]
    Algorithm {
        /// Type of the CA key.
        key: &'static str,
        /// What the role wants.
        algorithm: &'static str,
    },
    /// The encoded certificate does not read back as planned. Nothing was signed.
    #[error("the certificate does not read back as planned: {0}")]
    ReadBack(&'static str),
    /// The certificate is longer than hosts take.
    #[error("the certificate has {0} bytes, at most 16384 are issued")]
    TooLong(usize),
    /// What holds the CA key has more to do than it gets done.
    #[error("{holder} has too many signatures to make, try again in a moment")]
    Busy {
        /// What holds the key.
        holder: String,
    },
    /// What holds the CA key is away, or refuses.
    #[error("the CA key is not available: {reason}")]
    Unavailable {
        /// Why, and what to do.
        reason: String,
    },
    /// What holds the CA key is there, but the key is not as it was described.
    #[error("the CA key cannot be used: {reason}")]
    Unusable {
        /// Why, and what to do.
        reason: String,
    },
    /// What holds the CA key answered with something that is no signature of that key. Nobody gets it.
    #[error("the signature that {holder} made does not verify under the CA's public key")]
    BadSignature {
        /// What holds the key.
        holder: String,
    },
}

/// How a signer fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It signs.
    Ready,
    /// It would not sign now.
    NotReady {
        /// Why, and what to do.
        reason: String,
    },
}

/// What holds a CA key and signs with it.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The CA's public key.
    fn public_key(&self) -> &SubjectKey;

    /// Signs the to-be-signed part of a certificate. Answers the signature in SSH wire format, its algorithm in front
    /// (draft-ietf-sshm-cert, "signature").
    ///
    /// # Errors
    /// [`SignError::Algorithm`] when the key cannot make such a signature, [`SignError::Failed`] when it did not.
    fn sign(&self, tbs: &[u8], algorithm: AlgorithmSigner) -> Result<Vec<u8>, SignError>;

    /// Whether one signature takes milliseconds, so that it belongs off the network threads.
    fn is_slow(&self) -> bool;

    /// What holds the key, in one word: `software`, `pkcs11`, `awskms`.
    fn holder(&self) -> &'static str {
        "software"
    }

    /// Where the key is, if it is not in the store.
    fn place(&self) -> Option<String> {
        None
    }

    /// How it fares, as far as is known without asking anybody.
    fn condition(&self) -> Condition {
        Condition::Ready
    }

    /// The line of the CA's public key, newline-terminated, as `public_key` and `TrustedUserCAKeys` have it.
    fn public_line(&self) -> String {
        format!("{}\n", self.public_key().line())
    }
}

/// A CA key in memory.
pub struct SoftwareSigner {
    key: SoftwareKey,
    public: SubjectKey,
}

enum SoftwareKey {
    Ed25519(Ed25519KeyPair),
    Ecdsa(Curve, EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A NIST curve with what signs and verifies on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    const fn ssh_key_name(self) -> &'static str {
        match self {
            Self::P256 => "ecdsa-sha2-nistp256",
            Self::P384 => "ecdsa-sha2-nistp384",
            Self::P521 => "ecdsa-sha2-nistp521",
        }
    }

    const fn ssh_curve_name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
            Self::P521 => "nistp521",
        }
    }

    const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
        }
    }
}

impl fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareSigner({})", self.public.fingerprint())
    }
}

impl SoftwareSigner {
    /// Makes a new CA key. RSA takes up to seconds.
    ///
    /// # Errors
    /// [`SignError::Failed`] when the random source fails.
    pub fn generate(key_type: CaKeyType) -> Result<Self, SignError> {
        let key = SoftwareKey::generate(key_type).map_err(|_| SignError::Failed)?;
        Self::new(key)
    }

    /// Wraps a key and proves that it signs.
    fn new(key: SoftwareKey) -> Result<Self, SignError> {
        let public = key.public()?;
        let signer = Self { key, public };
        signer.self_test()?;
        Ok(signer)
    }

    /// Signs and verifies a fixed text, so that a damaged key is found when it is loaded and not by hosts.
    fn self_test(&self) -> Result<(), SignError> {
        const TEXT: &[u8] = b"signet: self-test of a CA key";
        let (signature, verification): (Vec<u8>, &'static dyn VerificationAlgorithm) = match &self.key {
            SoftwareKey::Ed25519(key) => (key.sign(TEXT).as_ref().to_vec(), &ED25519),
            SoftwareKey::Ecdsa(curve, key) => (ecdsa_sign(key, TEXT)?, curve.verification()),
            SoftwareKey::Rsa(key) => (
                rsa_sign(key, AlgorithmSigner::RsaSha512, TEXT)?,
                &RSA_PKCS1_2048_8192_SHA512,
            ),
        };
        let public = self.key.raw_public();
        UnparsedPublicKey::new(verification, public)
            .verify(TEXT, &signature)
            .map_err(|_| SignError::Failed)
    }

    /// The key for the store, where the barrier encrypts it: a type word, a newline, PKCS#8 (Ed25519, ECDSA) or PKCS#8 of
    /// RSA in DER.
    ///
    /// # Errors
    /// [`SignError::Failed`] when the key cannot be written out.
    ///
    /// # Security
    /// The bytes are the CA key itself.
    pub fn to_secret(&self) -> Result<Zeroizing<Vec<u8>>, SignError> {
        self.key.to_secret()
    }

    /// Reads what [`Self::to_secret`] wrote, and tests the key.
    ///
    /// # Errors
    /// [`SignError::Failed`] when the bytes are not such a key.
    pub fn from_secret(secret: &[u8]) -> Result<Self, SignError> {
        Self::new(SoftwareKey::from_secret(secret).ok_or(SignError::Failed)?)
    }
}

impl Curve {
    const fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
        }
    }
}

impl Signer for SoftwareSigner {
    fn public_key(&self) -> &SubjectKey {
        &self.public
    }

    fn sign(&self, tbs: &[u8], algorithm: AlgorithmSigner) -> Result<Vec<u8>, SignError> {
        let other_algorithm = |key| match algorithm {
            AlgorithmSigner::Default => Ok(()),
            wanted => Err(SignError::Algorithm {
                key,
                algorithm: wanted.as_str(),
            }),
        };
        match &self.key {
            SoftwareKey::Ed25519(key) => {
                other_algorithm("ssh-ed25519")?;
                blob("ssh-ed25519", key.sign(tbs).as_ref())
            }
            SoftwareKey::Ecdsa(curve, key) => {
                other_algorithm(curve.ssh_key_name())?;
                blob(curve.ssh_key_name(), &ecdsa_blob(&ecdsa_sign(key, tbs)?)?)
            }
            SoftwareKey::Rsa(key) => blob(sha2_name(algorithm), &rsa_sign(key, algorithm, tbs)?),
        }
    }

    fn is_slow(&self) -> bool {
        matches!(self.key, SoftwareKey::Rsa(_))
    }
}

fn ecdsa_sign(key: &EcdsaKeyPair, text: &[u8]) -> Result<Vec<u8>, SignError> {
    key.sign(&SystemRandom::new(), text)
        .map(|signature| signature.as_ref().to_vec())
        .map_err(|_| SignError::Failed)
}

fn rsa_sign(key: &RsaKeyPair, algorithm: AlgorithmSigner, text: &[u8]) -> Result<Vec<u8>, SignError> {
    let mut signature = vec![0; key.public_modulus_len()];
    let encoding = if algorithm == AlgorithmSigner::RsaSha512 {
        &RSA_PKCS1_SHA512
    } else {
        &RSA_PKCS1_SHA256
    };
    key.sign(encoding, &SystemRandom::new(), text, &mut signature)
        .map_err(|_| SignError::Failed)?;
    Ok(signature)
}

#[cfg(test)]
mod tests;
