//! The row of [`Table::Settings`] that says which seal stands before the store. Plain JSON, as it must be read first; what
//! it holds may be read by anybody, and whoever alters it locks the store at worst.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::CustodyError;
use crate::seal::SealKind;
use crate::seal::shamir::ShareSet;
use crate::store::{Change, Store, Table};

const SEAL_KEY: &str = "seal";
const VERSION: u32 = 1;

/// Which seal, and the root key that it wrapped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SealRow {
    version: u32,
    kind: String,
    /// Base64.
    wrapped: String,
    /// The key shares of a Shamir seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shares: Option<ShareSet>,
    /// The recovery keys of another, for people: what proves them lies in the keyring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovery: Option<ShareSet>,
    /// New key shares that wait for their verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<Pending>,
}

/// New key shares beside those in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    #[serde(flatten)]
    pub(super) waiting: Waiting,
    wrapped: String,
}

/// New key shares that are not in force before their verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Names the rekey that made them.
    #[serde(default)]
    pub rekey: String,
    /// Names the verification.
    #[serde(rename = "nonce")]
    pub verification: String,
    /// The split.
    #[serde(rename = "shares")]
    pub set: ShareSet,
}

impl Pending {
    pub(super) fn new(waiting: Waiting, wrapped: &[u8]) -> Self {
        Self {
            waiting,
            wrapped: STANDARD.encode(wrapped),
        }
    }

    pub(super) fn wrapped(&self) -> Result<Vec<u8>, CustodyError> {
        STANDARD.decode(&self.wrapped).map_err(|_| CustodyError::RowBroken)
    }
}

impl SealRow {
    pub(super) fn new(kind: SealKind, wrapped: &[u8]) -> Self {
        Self {
            version: VERSION,
            kind: kind.as_str().to_owned(),
            wrapped: STANDARD.encode(wrapped),
            shares: None,
            recovery: None,
            pending: None,
        }
    }

    pub(super) fn read(store: &dyn Store) -> Result<Option<Self>, CustodyError> {
        let settings = store.scan(Table::Settings)?;
        let Some((_, json)) = settings.iter().find(|(key, _)| key == SEAL_KEY) else {
            return Ok(None);
        };
        let row: Self = serde_json::from_slice(json).map_err(|_| CustodyError::RowBroken)?;
        if row.version == VERSION {
            Ok(Some(row))
        } else {
            Err(CustodyError::RowBroken)
        }
    }

    pub(super) fn with_shares(mut self, shares: Option<ShareSet>) -> Self {
        self.shares = shares;
        self
    }

    pub(super) fn with_recovery(mut self, recovery: Option<ShareSet>) -> Self {
        self.recovery = recovery;
        self
    }

    pub(super) fn with_pending(mut self, pending: Option<Pending>) -> Self {
        self.pending = pending;
        self
    }

    pub(super) fn change(&self) -> Change {
        // A struct of texts and numbers always has a JSON form.
        let json = serde_json::to_vec(self).unwrap_or_default();
        Change::Put(Table::Settings, SEAL_KEY.to_owned(), json)
    }

    /// Which kind of seal.
    ///
    /// # Errors
    /// [`CustodyError::RowBroken`] for a word of a newer program.
    pub fn kind(&self) -> Result<SealKind, CustodyError> {
        SealKind::parse(&self.kind).ok_or(CustodyError::RowBroken)
    }

    /// The split of a Shamir seal.
    #[must_use]
    pub const fn shares(&self) -> Option<ShareSet> {
        self.shares
    }

    /// The split of the recovery keys, as far as can be told without the root key.
    #[must_use]
    pub const fn recovery(&self) -> Option<ShareSet> {
        self.recovery
    }

    pub(super) const fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// The wrapped root key.
    ///
    /// # Errors
    /// [`CustodyError::RowBroken`]
    pub fn wrapped(&self) -> Result<Vec<u8>, CustodyError> {
        STANDARD.decode(&self.wrapped).map_err(|_| CustodyError::RowBroken)
    }
}
