//! Seals: what stands between the store and whoever has it. A seal wraps the root key; the root key opens the keyring, the
//! keyring everything else. One file a kind, one small trait.

pub mod aws_kms;
pub mod key_file;
pub mod kmip;
pub mod passphrase;
pub mod pkcs11;
pub mod shamir;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use self::aws_kms::AwsKmsSeal;
use self::key_file::KeyFileSeal;
use self::kmip::KmipSeal;
use self::passphrase::PassphraseSeal;
use self::pkcs11::Pkcs11Seal;
use crate::barrier::Barrier;
use crate::config::SealSettings;
use crate::random::{self, RandomFailed};

/// The kinds of seal, in the words of `[seal] type` and of `sys/seal-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealKind {
    /// A file that only the server's user can read.
    KeyFile,
    /// t of n people, each with a share.
    Shamir,
    /// A passphrase, from a systemd credential, a file or a prompt.
    Passphrase,
    /// AWS KMS.
    AwsKms,
    /// A PKCS#11 token.
    Pkcs11,
    /// A KMIP server.
    Kmip,
}

impl SealKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::KeyFile,
        Self::Shamir,
        Self::Passphrase,
        Self::AwsKms,
        Self::Pkcs11,
        Self::Kmip,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyFile => "key-file",
            Self::Shamir => "shamir",
            Self::Passphrase => "passphrase",
            Self::AwsKms => "awskms",
            Self::Pkcs11 => "pkcs11",
            Self::Kmip => "kmip",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether the server unseals itself, without people.
    #[must_use]
    pub const fn is_automatic(self) -> bool {
        !matches!(self, Self::Shamir)
    }
}

/// The key that opens the keyring: 32 bytes, in memory only while they are needed.
pub struct RootKey(Zeroizing<[u8; 32]>);

impl RootKey {
    /// Takes 32 bytes.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// A new one.
    ///
    /// # Errors
    /// [`RandomFailed`]
    pub fn generate() -> Result<Self, RandomFailed> {
        let mut bytes = Zeroizing::new([0; 32]);
        random::fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes.
    ///
    /// # Security
    /// For wrapping only: they never go into a log, an error or an answer.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey")
    }
}

/// Wraps and unwraps the root key. Blocking; call it off the request threads.
pub trait Seal: Send + Sync + fmt::Debug {
    /// Which kind.
    fn kind(&self) -> SealKind;

    /// Wraps the root key. What comes back may lie in the open.
    ///
    /// # Errors
    /// [`SealError`]
    fn wrap(&self, root_key: &RootKey) -> Result<Vec<u8>, SealError>;

    /// Opens what [`Seal::wrap`] made.
    ///
    /// # Errors
    /// [`SealError::Unavailable`] when it may work later; everything else needs somebody's hand.
    fn unwrap(&self, wrapped: &[u8]) -> Result<RootKey, SealError>;
}

/// What is bound into a root key that a seal wraps by itself.
const ROOT_PLACE: &str = "seal/root-key";

/// Wraps the root key under a key that the seal holds in memory.
///
/// # Errors
/// [`SealError::Unavailable`] without randomness.
pub fn wrap_root(kind: SealKind, key: &[u8; 32], root: &RootKey) -> Result<Vec<u8>, SealError> {
    wrap_root_at(kind, key, ROOT_PLACE, root)
}

/// Opens what [`wrap_root`] made.
///
/// # Errors
/// [`SealError::WrongKey`]
pub fn unwrap_root(kind: SealKind, key: &[u8; 32], wrapped: &[u8]) -> Result<RootKey, SealError> {
    unwrap_root_at(kind, key, ROOT_PLACE, wrapped)
}

/// As [`wrap_root`]; what lies beside the wrapped root key is bound into it.
///
/// # Errors
/// [`SealError::Unavailable`] without randomness.
pub fn wrap_root_bound(kind: SealKind, key: &[u8; 32], bound: &str, root: &RootKey) -> Result<Vec<u8>, SealError> {
    wrap_root_at(kind, key, &format!("{ROOT_PLACE} {bound}"), root)
}

/// Opens what [`wrap_root_bound`] made, if nothing beside it has changed.
///
/// # Errors
/// [`SealError::WrongKey`]
pub fn unwrap_root_bound(kind: SealKind, key: &[u8; 32], bound: &str, wrapped: &[u8]) -> Result<RootKey, SealError> {
    unwrap_root_at(kind, key, &format!("{ROOT_PLACE} {bound}"), wrapped)
}

fn wrap_root_at(kind: SealKind, key: &[u8; 32], place: &str, root: &RootKey) -> Result<Vec<u8>, SealError> {
    Barrier::of_key(key)
        .and_then(|barrier| barrier.encrypt(place, root.expose()))
        .map_err(|error| SealError::Unavailable {
            kind,
            reason: error.to_string(),
        })
}

fn unwrap_root_at(kind: SealKind, key: &[u8; 32], place: &str, wrapped: &[u8]) -> Result<RootKey, SealError> {
    let wrong = SealError::WrongKey { kind };
    let Ok(bytes) = Barrier::of_key(key).and_then(|barrier| barrier.decrypt(place, wrapped)) else {
        return Err(wrong);
    };
    let bytes: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| wrong)?;
    Ok(RootKey::new(Zeroizing::new(*bytes)))
}

/// Why a seal did not do it. `Display` never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The service, the token or the file is not there now; it is tried again.
    #[error("the {} seal is not available: {reason}", kind.as_str())]
    Unavailable {
        /// Which seal.
        kind: SealKind,
        /// Why, and what to do.
        reason: String,
    },
    /// It refuses what must not be tried again and again, as a wrong PIN, which would lock the token.
    #[error("the {} seal refuses: {reason}", kind.as_str())]
    Refused {
        /// Which seal.
        kind: SealKind,
        /// Why, and what to do.
        reason: String,
    },
    /// The wrapped root key is not this seal's, or was altered.
    #[error("the root key does not open under this {} seal: another key wrapped it, or the store was altered", kind.as_str())]
    WrongKey {
        /// Which seal.
        kind: SealKind,
    },
    /// The settings in `[seal]` cannot be used.
    #[error("the {} seal cannot be set up: {reason}", kind.as_str())]
    Setup {
        /// Which seal.
        kind: SealKind,
        /// Why, and what to do.
        reason: String,
    },
}

/// The seal that settings describe; `None` for one that people open. Nothing is asked of it yet.
///
/// # Errors
/// [`SealError::Setup`] when the settings cannot be used.
pub fn automatic(settings: &SealSettings) -> Result<Option<Arc<dyn Seal>>, SealError> {
    Ok(match settings {
        SealSettings::Shamir => None,
        SealSettings::KeyFile { path } => Some(Arc::new(KeyFileSeal::new(path.clone()))),
        SealSettings::Passphrase { source } => Some(Arc::new(PassphraseSeal::new(source.clone()))),
        SealSettings::AwsKms(config) => Some(Arc::new(AwsKmsSeal::new(config)?)),
        SealSettings::Pkcs11(settings) => Some(Arc::new(Pkcs11Seal::new(settings.clone()))),
        SealSettings::Kmip(config) => Some(Arc::new(KmipSeal::new(config.clone()))),
    })
}
