//! The keys of a keyring: one a term, as they lie in the store and as they are held.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use signet_core::time::UnixTime;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::KeyringError;
use crate::barrier::{Barrier, BarrierError};
use crate::random::{self, RandomFailed};
use crate::seal::RootKey;
use crate::seal::shamir::ShareSet;
use crate::store::{Change, Store, Table};

/// Where the keyring lies, in [`Table::Settings`].
pub(super) const KEYRING_KEY: &str = "keyring";
/// What is bound into the sealed keyring.
const PLACE: &str = "settings/keyring";
const VERSION: u32 = 1;

/// The keyring as it lies in the store, under the root key: JSON.
#[derive(Serialize, Deserialize)]
pub struct Stored {
    version: u32,
    terms: Vec<StoredTerm>,
    /// What proves recovery keys. It lies under the root key, so that who can write the store only cannot put in their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) recovery: Option<Recovery>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct StoredTerm {
    #[zeroize(skip)]
    term: u32,
    /// Base64 of 32 bytes.
    key: String,
    #[zeroize(skip)]
    created: u64,
}

/// What proves recovery keys: a value that only the secret they were split from opens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recovery {
    /// Which set of shares.
    pub set: ShareSet,
    /// Base64 of the sealed check value.
    pub check: String,
}

/// A term, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermInfo {
    /// Its number, from 1.
    pub term: u32,
    /// When it began.
    pub created: UnixTime,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stored")
    }
}

impl Stored {
    /// A keyring with one new key.
    ///
    /// # Errors
    /// [`RandomFailed`]
    pub(crate) fn new(now: UnixTime, recovery: Option<Recovery>) -> Result<Self, RandomFailed> {
        let mut stored = Self {
            version: VERSION,
            terms: Vec::new(),
            recovery,
        };
        stored.add_term(now)?;
        Ok(stored)
    }

    /// A keyring for a store that one key sealed before there were terms: it is term 1, and a new one is in force.
    ///
    /// # Errors
    /// [`RandomFailed`]
    pub(crate) fn taking_over(key: &[u8; 32], now: UnixTime) -> Result<Self, RandomFailed> {
        let mut stored = Self {
            version: VERSION,
            terms: vec![StoredTerm {
                term: 1,
                key: STANDARD.encode(key),
                created: 0,
            }],
            recovery: None,
        };
        stored.add_term(now)?;
        Ok(stored)
    }

    pub(crate) fn add_term(&mut self, now: UnixTime) -> Result<(), RandomFailed> {
        let mut key = Zeroizing::new([0; 32]);
        random::fill(&mut *key)?;
        let newest = self.terms.iter().map(|term| term.term).max().unwrap_or(0);
        self.terms.push(StoredTerm {
            term: newest.checked_add(1).ok_or(RandomFailed)?,
            key: STANDARD.encode(*key),
            created: now.secs(),
        });
        Ok(())
    }

    pub(super) fn newest(&self) -> TermInfo {
        let newest = self.terms.iter().max_by_key(|term| term.term);
        TermInfo {
            term: newest.map_or(0, |term| term.term),
            created: UnixTime::from_secs(newest.map_or(0, |term| term.created)),
        }
    }

    /// Reads the keyring of `store`.
    ///
    /// # Errors
    /// [`KeyringError::Missing`], [`KeyringError::NotThisRoot`].
    pub(crate) fn read(root: &RootKey, store: &dyn Store) -> Result<Self, KeyringError> {
        Self::read_with(&Barrier::of_key(root.expose())?, store)
    }

    pub(super) fn read_with(root: &Barrier, store: &dyn Store) -> Result<Self, KeyringError> {
        let settings = store.scan(Table::Settings)?;
        let (_, sealed) = settings
            .iter()
            .find(|(key, _)| key == KEYRING_KEY)
            .ok_or(KeyringError::Missing)?;
        let json = root.decrypt(PLACE, sealed).map_err(|_| KeyringError::NotThisRoot)?;
        let stored: Self = serde_json::from_slice(&json).map_err(|_| KeyringError::NotThisRoot)?;
        if stored.version == VERSION && !stored.terms.is_empty() {
            Ok(stored)
        } else {
            Err(KeyringError::NotThisRoot)
        }
    }

    /// Puts recovery keys in, or takes them away.
    pub(crate) fn with_recovery(mut self, recovery: Option<Recovery>) -> Self {
        self.recovery = recovery;
        self
    }

    /// What proves recovery keys.
    pub(crate) fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// The change that writes it under `root`.
    ///
    /// # Errors
    /// [`BarrierError`] without randomness.
    pub(crate) fn change(&self, root: &RootKey) -> Result<Change, BarrierError> {
        self.change_with(&Barrier::of_key(root.expose())?)
    }

    pub(super) fn change_with(&self, root: &Barrier) -> Result<Change, BarrierError> {
        // A struct of texts and numbers always has a JSON form.
        let json = Zeroizing::new(serde_json::to_vec(self).unwrap_or_default());
        let sealed = root.encrypt(PLACE, &json)?;
        Ok(Change::Put(Table::Settings, KEYRING_KEY.to_owned(), sealed))
    }
}

/// The keys in use.
#[derive(Debug)]
pub(super) struct Terms {
    keys: BTreeMap<u32, Arc<Barrier>>,
    newest: TermInfo,
    root: Option<Arc<Barrier>>,
}

impl Terms {
    pub(super) fn new(stored: &Stored, root: Option<&RootKey>) -> Result<Self, KeyringError> {
        let root = root.map(|root| Barrier::of_key(root.expose())).transpose()?;
        Ok(Self {
            keys: keys(stored)?,
            newest: stored.newest(),
            root: root.map(Arc::new),
        })
    }

    #[cfg(test)]
    pub(super) fn only(barrier: Barrier) -> Self {
        Self {
            keys: [(1, Arc::new(barrier))].into(),
            newest: TermInfo {
                term: 1,
                created: UnixTime::from_secs(0),
            },
            root: None,
        }
    }

    /// The same root key over the keys of `stored`.
    pub(super) fn renewed(&self, stored: &Stored) -> Result<Self, KeyringError> {
        Ok(Self {
            keys: keys(stored)?,
            newest: stored.newest(),
            root: self.root.clone(),
        })
    }

    pub(super) fn get(&self, term: u32, place: &str) -> Result<&Barrier, BarrierError> {
        self.keys
            .get(&term)
            .map(AsRef::as_ref)
            .ok_or_else(|| BarrierError::UnknownTerm {
                place: place.to_owned(),
                term,
                newest: self.newest.term,
            })
    }

    pub(super) fn newest(&self) -> Result<&Barrier, BarrierError> {
        self.get(self.newest.term, "settings/keyring")
    }

    pub(super) const fn newest_term(&self) -> u32 {
        self.newest.term
    }

    pub(super) const fn info(&self) -> TermInfo {
        self.newest
    }

    pub(super) fn root(&self) -> Result<&Barrier, BarrierError> {
        self.root.as_deref().ok_or(BarrierError::Sealed)
    }
}

fn keys(stored: &Stored) -> Result<BTreeMap<u32, Arc<Barrier>>, KeyringError> {
    stored
        .terms
        .iter()
        .map(|term| {
            let key = Zeroizing::new(STANDARD.decode(&term.key).map_err(|_| KeyringError::NotThisRoot)?);
            let barrier = Barrier::new(&key).ok_or(KeyringError::NotThisRoot)?;
            Ok((term.term, Arc::new(barrier)))
        })
        .collect()
}
