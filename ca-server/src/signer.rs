//! CA keys as the store keeps them. A row begins with a word and a newline: the type of a software key, then its secret;
//! or what else holds the key, then how to find it there. All rows are sealed.

pub mod aws_kms;
pub mod pkcs11;

use std::collections::HashMap;
use std::sync::Arc;

use signet_core::signer::{SignError, Signer, SoftwareSigner};
use zeroize::Zeroizing;

use self::aws_kms::AwsKmsSigner;
use self::pkcs11::Pkcs11Signer;
use crate::config::{AwsCaKey, CaKeyConfig, Config, KeyHolderWay, MountConfig, Pkcs11Token, SealSettings, TokenName};

/// What a row of a key on a token begins with.
const PKCS11_WORD: &[u8] = b"pkcs11\n";
/// What a row of a key in AWS KMS begins with.
const AWS_KMS_WORD: &[u8] = b"awskms\n";

/// What reaches the CA keys that lie elsewhere, as `signet.toml` describes it.
#[derive(Debug, Default)]
pub struct KeySources {
    /// The token of each mount's own `ca_key`.
    by_mount: HashMap<String, Pkcs11Token>,
    /// All tokens that are described anywhere.
    tokens: Vec<Pkcs11Token>,
    /// The way to KMS of each mount's own `ca_key`.
    aws_by_mount: HashMap<String, AwsCaKey>,
    /// The ways of `[[key_holder]]`, by name.
    holders: HashMap<String, KeyHolderWay>,
}

/// What a reference says of who holds its key, if a request named it.
#[derive(serde::Deserialize)]
struct Held {
    key_holder: Option<String>,
}

fn key_holder_of(reference: &[u8]) -> Option<String> {
    serde_json::from_slice::<Held>(reference).ok()?.key_holder
}

impl KeySources {
    /// All that the configuration names.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let own = |mount: &MountConfig| match &mount.ca_key {
            Some(CaKeyConfig::Pkcs11 { key, .. }) => Some((mount.path.clone(), key.token.clone())),
            Some(CaKeyConfig::AwsKms(_)) | None => None,
        };
        let aws = |mount: &MountConfig| match &mount.ca_key {
            Some(CaKeyConfig::AwsKms(key)) => Some((mount.path.clone(), key.clone())),
            Some(CaKeyConfig::Pkcs11 { .. }) | None => None,
        };
        let by_mount: HashMap<_, _> = config.mounts.iter().filter_map(own).collect();
        let mut tokens: Vec<Pkcs11Token> = by_mount.values().cloned().collect();
        for seal in [Some(&config.seal.current), config.seal.previous.as_ref()] {
            if let Some(SealSettings::Pkcs11(seal)) = seal {
                tokens.push(seal.key.token.clone());
            }
        }
        let holders: HashMap<_, _> = config
            .key_holders
            .iter()
            .map(|holder| (holder.name.clone(), holder.way.clone()))
            .collect();
        tokens.extend(holders.values().filter_map(|way| match way {
            KeyHolderWay::Pkcs11 { token, .. } => Some(token.clone()),
            KeyHolderWay::AwsKms(_) => None,
        }));
        Self {
            by_mount,
            tokens,
            holders,
            aws_by_mount: config.mounts.iter().filter_map(aws).collect(),
        }
    }

    /// The token that a mount's key lies on: the key holder's, else the mount's own, else any of that name. The key that is
    /// found there must be the one in the store, whatever led to it.
    fn token(&self, mount: &str, holder: Option<&str>, name: &TokenName) -> Option<&Pkcs11Token> {
        let held = match holder.and_then(|holder| self.holders.get(holder)) {
            Some(KeyHolderWay::Pkcs11 { token, .. }) if token.token == *name => Some(token),
            Some(_) | None => None,
        };
        let own = || self.by_mount.get(mount).filter(|token| token.token == *name);
        held.or_else(own)
            .or_else(|| self.tokens.iter().find(|token| token.token == *name))
    }

    /// The way to a mount's key in KMS.
    fn aws(&self, mount: &str, holder: Option<&str>) -> Option<&AwsCaKey> {
        let Some(holder) = holder else {
            return self.aws_by_mount.get(mount);
        };
        match self.holders.get(holder) {
            Some(KeyHolderWay::AwsKms(way)) => Some(way),
            Some(KeyHolderWay::Pkcs11 { .. }) | None => None,
        }
    }
}

/// A CA key that can be stored.
#[derive(Debug)]
pub enum CaKey {
    /// The secret is in the store.
    Software(Arc<SoftwareSigner>),
    /// The store says on which token it is.
    Pkcs11(Arc<Pkcs11Signer>),
    /// The store says which key in KMS it is.
    AwsKms(Arc<AwsKmsSigner>),
}

impl From<SoftwareSigner> for CaKey {
    fn from(signer: SoftwareSigner) -> Self {
        Self::Software(Arc::new(signer))
    }
}

impl CaKey {
    /// Takes a key into use that lies elsewhere, making it there if that is asked for. Waits for whoever holds it.
    ///
    /// # Errors
    /// [`SignError::Unavailable`] or [`SignError::Unusable`] saying what is wrong.
    pub fn adopt(config: &CaKeyConfig) -> Result<Self, SignError> {
        match config {
            CaKeyConfig::Pkcs11 { key, key_type } => {
                Pkcs11Signer::adopt(key, *key_type).map(|signer| Self::Pkcs11(Arc::new(signer)))
            }
            CaKeyConfig::AwsKms(key) => AwsKmsSigner::adopt(key).map(|signer| Self::AwsKms(Arc::new(signer))),
        }
    }

    /// As [`Self::adopt`], of a key holder that a request named; the row says so.
    ///
    /// # Errors
    /// As [`Self::adopt`].
    pub fn adopt_from(holder: &str, config: &CaKeyConfig) -> Result<Self, SignError> {
        Ok(match config {
            CaKeyConfig::Pkcs11 { key, key_type } => {
                Self::Pkcs11(Arc::new(Pkcs11Signer::adopt(key, *key_type)?.held_by(holder)))
            }
            CaKeyConfig::AwsKms(key) => Self::AwsKms(Arc::new(AwsKmsSigner::adopt(key)?.held_by(holder))),
        })
    }

    /// The row for the store.
    ///
    /// # Errors
    /// [`SignError::Failed`] when a software key cannot be written out.
    ///
    /// # Security
    /// Of a software key, the bytes are the key itself: seal them.
    pub fn to_row(&self) -> Result<Zeroizing<Vec<u8>>, SignError> {
        match self {
            Self::Software(signer) => signer.to_secret(),
            Self::Pkcs11(signer) => {
                let mut row = Zeroizing::new(PKCS11_WORD.to_vec());
                row.extend(signer.to_reference());
                Ok(row)
            }
            Self::AwsKms(signer) => {
                let mut row = Zeroizing::new(AWS_KMS_WORD.to_vec());
                row.extend(signer.to_reference());
                Ok(row)
            }
        }
    }

    /// Reads what [`Self::to_row`] wrote. A software key is tested; what lies elsewhere is asked in the background.
    ///
    /// # Errors
    /// [`SignError::Failed`] when the row is none of ours.
    pub fn from_row(row: &[u8], mount: &str, sources: &KeySources) -> Result<Self, SignError> {
        if let Some(reference) = row.strip_prefix(AWS_KMS_WORD) {
            let holder = key_holder_of(reference);
            let signer = AwsKmsSigner::from_reference(reference, sources.aws(mount, holder.as_deref()))?;
            return Ok(Self::AwsKms(Arc::new(signer)));
        }
        match row.strip_prefix(PKCS11_WORD) {
            Some(reference) => {
                let holder = key_holder_of(reference);
                let find = |name: &TokenName| sources.token(mount, holder.as_deref(), name);
                Pkcs11Signer::from_reference(reference, find).map(|signer| Self::Pkcs11(Arc::new(signer)))
            }
            None => SoftwareSigner::from_secret(row).map(Self::from),
        }
    }

    /// What signs with it.
    #[must_use]
    pub fn signer(&self) -> Arc<dyn Signer> {
        match self {
            Self::Software(signer) => Arc::<SoftwareSigner>::clone(signer),
            Self::Pkcs11(signer) => Arc::<Pkcs11Signer>::clone(signer),
            Self::AwsKms(signer) => Arc::<AwsKmsSigner>::clone(signer),
        }
    }
}

impl CaKeyConfig {
    /// Whether a mount's signer is the one that is named here.
    #[must_use]
    pub fn names(&self, signer: &dyn Signer) -> bool {
        match self {
            Self::Pkcs11 { key, .. } => signer.place() == Some(pkcs11::place(&key.token.token, &key.key_label)),
            Self::AwsKms(key) => signer
                .place()
                .is_some_and(|place| aws_kms::names(&key.key.key_id, &place)),
        }
    }
}
