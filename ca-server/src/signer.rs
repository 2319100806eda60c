//! CA keys as the store keeps them. A row begins with a word and a newline: the type of a software key, then its secret;
//! or what else holds the key, then how to find it there. All rows are sealed.

use std::sync::Arc;

use signet_core::signer::{SignError, Signer, SoftwareSigner};
use zeroize::Zeroizing;

use crate::config::Config;

/// What reaches the CA keys that lie elsewhere, as `signet.toml` describes it.
#[derive(Debug, Default)]
pub struct KeySources {}

impl KeySources {
    /// All that the configuration names.
    #[must_use]
    pub fn of(_config: &Config) -> Self {
        Self {}
    }
}

/// A CA key that can be stored.
#[derive(Debug)]
pub enum CaKey {
    /// The secret is in the store.
    Software(SoftwareSigner),
}

impl From<SoftwareSigner> for CaKey {
    fn from(signer: SoftwareSigner) -> Self {
        Self::Software(signer)
    }
}

impl CaKey {
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
        }
    }

    /// Reads what [`Self::to_row`] wrote. A software key is tested; what lies elsewhere is not asked yet.
    ///
    /// # Errors
    /// [`SignError::Failed`] when the row is none of ours.
    pub fn from_row(row: &[u8], _mount: &str, _sources: &KeySources) -> Result<Self, SignError> {
        SoftwareSigner::from_secret(row).map(Self::Software)
    }

    /// What signs with it.
    #[must_use]
    pub fn into_signer(self) -> Arc<dyn Signer> {
        match self {
            Self::Software(signer) => Arc::new(signer),
        }
    }
}
