//! The keyring: what stands between secrets and the store. Everything secret passes here on its way in and out. It holds
//! one key a term; the newest seals, all of them open, so that a rotation leaves old data readable. At rest it lies in the
//! store itself, sealed under the root key, which a seal wraps (`seal.rs`).

mod terms;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use signet_core::time::UnixTime;
use zeroize::Zeroizing;

use self::terms::{KEYRING_KEY, Terms};
pub use self::terms::{Recovery, Stored, TermInfo};
use crate::barrier::{Barrier, BarrierError, VERSION, VERSION_TERM};
use crate::random::RandomFailed;
use crate::seal::RootKey;
use crate::store::{Change, Store, StoreError, Table};

/// Seals secrets into the store and opens them again.
#[derive(Debug)]
pub struct Keyring {
    /// `None` once the authority was sealed: whoever still holds this keyring opens nothing any more.
    terms: ArcSwapOption<Terms>,
    store: Arc<dyn Store>,
    changing: Mutex<()>,
}

/// Where a keyring before terms left its proof that the key file belongs to the store.
pub(crate) const CHECK_KEY: &str = "barrier-check";
const CHECK_TEXT: &[u8] = b"signet";

impl Keyring {
    /// Opens the keyring that lies in `store`.
    ///
    /// # Errors
    /// [`KeyringError::Missing`], [`KeyringError::NotThisRoot`]; nothing is changed.
    pub fn unlock(root: &RootKey, store: Arc<dyn Store>) -> Result<Self, KeyringError> {
        let stored = Stored::read(root, store.as_ref())?;
        Ok(Self::holding(Terms::new(&stored, Some(root))?, store))
    }

    /// A keyring for a store that has none, and the change that writes it. It is in force when that is durable.
    ///
    /// # Errors
    /// [`KeyringError`] without randomness.
    pub(crate) fn found(
        stored: &Stored,
        root: &RootKey,
        store: Arc<dyn Store>,
    ) -> Result<(Self, Vec<Change>), KeyringError> {
        let keyring = Self::holding(Terms::new(stored, Some(root))?, store);
        let check = keyring.seal(Table::Settings, CHECK_KEY, CHECK_TEXT)?;
        Ok((keyring, vec![stored.change(root)?, check]))
    }

    /// Puts one key before `store`, as it was before there were terms: for tests that need no seal.
    ///
    /// # Errors
    /// [`KeyringError::WrongKey`] when another key sealed this store.
    #[cfg(test)]
    pub fn open(barrier: Barrier, store: Arc<dyn Store>) -> Result<Self, KeyringError> {
        let keyring = Self::holding(Terms::only(barrier), store);
        let settings = keyring.store.scan(Table::Settings)?;
        let Some((key, sealed)) = settings.iter().find(|(key, _)| key == CHECK_KEY) else {
            let change = keyring.seal(Table::Settings, CHECK_KEY, CHECK_TEXT)?;
            keyring.store.apply(vec![change]).wait()?;
            return Ok(keyring);
        };
        match keyring.unseal(Table::Settings, key, sealed) {
            Ok(text) if text.as_slice() == CHECK_TEXT => Ok(keyring),
            Ok(_) | Err(_) => Err(KeyringError::WrongKey),
        }
    }

    fn holding(terms: Terms, store: Arc<dyn Store>) -> Self {
        Self {
            terms: ArcSwapOption::from_pointee(terms),
            store,
            changing: Mutex::default(),
        }
    }

    /// The change that writes `secret`, sealed under the newest term.
    ///
    /// # Errors
    /// [`BarrierError`] without randomness, or after [`Keyring::forget`].
    pub fn seal(&self, table: Table, key: &str, secret: &[u8]) -> Result<Change, BarrierError> {
        let terms = self.terms()?;
        let sealed = terms
            .newest()?
            .encrypt_term(terms.newest_term(), &place(table, key), secret)?;
        Ok(Change::Put(table, key.to_owned(), sealed))
    }

    /// Opens what lies at `key`, of whichever term it is.
    ///
    /// # Errors
    /// [`BarrierError::Damaged`] when it was altered or moved.
    pub fn unseal(&self, table: Table, key: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BarrierError> {
        self.unseal_outside(&place(table, key), sealed)
    }

    /// Seals what lies outside the store, at a place that no table has, under the newest term.
    ///
    /// # Errors
    /// As [`Keyring::seal`].
    pub(crate) fn seal_outside(&self, place: &str, secret: &[u8]) -> Result<Vec<u8>, BarrierError> {
        let terms = self.terms()?;
        terms.newest()?.encrypt_term(terms.newest_term(), place, secret)
    }

    /// Opens what [`Keyring::seal_outside`] made.
    ///
    /// # Errors
    /// As [`Keyring::unseal`].
    pub(crate) fn unseal_outside(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BarrierError> {
        let terms = self.terms()?;
        let damaged = || BarrierError::Damaged {
            place: place.to_owned(),
        };
        match sealed.split_first().ok_or_else(damaged)? {
            (&VERSION, _) => terms.get(1, place)?.decrypt(place, sealed),
            (&VERSION_TERM, rest) => {
                let (term, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
                let term = u32::from_be_bytes(*term);
                terms.get(term, place)?.decrypt_term(term, place, rest)
            }
            _ => Err(damaged()),
        }
    }

    /// The keyring of a copy of this store, as it was when the copy was made.
    ///
    /// # Errors
    /// [`KeyringError::NotThisRoot`] when the root key has changed in between.
    pub(crate) fn of_copy(&self, store: Arc<dyn Store>) -> Result<Self, KeyringError> {
        let terms = self.terms()?;
        let stored = Stored::read_with(terms.root()?, store.as_ref())?;
        Ok(Self::holding(terms.renewed(&stored)?, store))
    }

    /// The store behind the barrier.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Adds a term: what is sealed from now on is under its key, what was sealed stays readable. Blocking.
    ///
    /// # Errors
    /// [`KeyringError`]; the old term stays in force then.
    pub fn rotate(&self, now: UnixTime) -> Result<TermInfo, KeyringError> {
        self.rewrite(|stored| stored.add_term(now))
            .map(|stored| stored.newest())
    }

    /// Puts others in the place of the recovery keys, or takes them away. Blocking.
    ///
    /// # Errors
    /// [`KeyringError`]; the old ones stay valid then.
    pub(crate) fn set_recovery(&self, recovery: Option<Recovery>, beside: Vec<Change>) -> Result<(), KeyringError> {
        self.rewrite_beside(beside, |stored| {
            stored.recovery = recovery;
            Ok(())
        })
        .map(drop)
    }

    /// The recovery keys' check, if the server has recovery keys.
    ///
    /// # Errors
    /// [`KeyringError`] when the keyring cannot be read.
    pub(crate) fn recovery(&self) -> Result<Option<Recovery>, KeyringError> {
        let terms = self.terms()?;
        Ok(Stored::read_with(terms.root()?, self.store.as_ref())?.recovery)
    }

    /// The term in force.
    ///
    /// # Errors
    /// [`BarrierError::Sealed`]
    pub fn newest(&self) -> Result<TermInfo, BarrierError> {
        Ok(self.terms()?.info())
    }

    /// Throws all keys away: who still holds the keyring opens nothing from now on.
    pub fn forget(&self) {
        self.terms.store(None);
    }

    fn rewrite(&self, change: impl FnOnce(&mut Stored) -> Result<(), RandomFailed>) -> Result<Stored, KeyringError> {
        self.rewrite_beside(Vec::new(), change)
    }

    /// Puts the keyring under another root key and begins a term, in one step of the store with `beside`. Blocking.
    ///
    /// # Errors
    /// [`KeyringError`]; the old root key stays then.
    pub(crate) fn adopt(&self, root: &RootKey, beside: Vec<Change>, now: UnixTime) -> Result<(), KeyringError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let terms = self.terms()?;
        let mut stored = Stored::read_with(terms.root()?, self.store.as_ref())?;
        stored.add_term(now)?;
        let mut changes = beside;
        changes.push(stored.change(root)?);
        self.store.apply(changes).wait()?;
        self.replace(&terms, Terms::new(&stored, Some(root))?);
        Ok(())
    }

    /// Takes `new` into use, unless the keyring was forgotten in the meantime.
    fn replace(&self, old: &Arc<Terms>, new: Terms) {
        drop(self.terms.compare_and_swap(old, Some(Arc::new(new))));
    }

    /// Changes the stored keyring in one step of the store with `beside`, then takes it into use.
    fn rewrite_beside(
        &self,
        beside: Vec<Change>,
        change: impl FnOnce(&mut Stored) -> Result<(), RandomFailed>,
    ) -> Result<Stored, KeyringError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let terms = self.terms()?;
        let mut stored = Stored::read_with(terms.root()?, self.store.as_ref())?;
        change(&mut stored)?;
        let mut changes = beside;
        changes.push(stored.change_with(terms.root()?)?);
        self.store.apply(changes).wait()?;
        self.replace(&terms, terms.renewed(&stored)?);
        Ok(stored)
    }

    fn terms(&self) -> Result<Arc<Terms>, BarrierError> {
        self.terms.load_full().ok_or(BarrierError::Sealed)
    }
}

/// Whether `store` holds a keyring, or was sealed before there were terms.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub(crate) fn traces(store: &dyn Store) -> Result<Traces, StoreError> {
    let settings = store.scan(Table::Settings)?;
    let value = |name: &str| {
        settings
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    Ok(Traces {
        keyring: value(KEYRING_KEY).is_some(),
        check: value(CHECK_KEY),
    })
}

/// What [`traces`] found.
#[derive(Debug)]
pub(crate) struct Traces {
    /// There is a keyring.
    pub(crate) keyring: bool,
    /// The check value.
    pub(crate) check: Option<Vec<u8>>,
}

/// Whether `barrier` is the key that sealed a store of before there were terms.
pub(crate) fn is_key_of(barrier: &Barrier, check: &[u8]) -> bool {
    let place = place(Table::Settings, CHECK_KEY);
    barrier
        .decrypt(&place, check)
        .is_ok_and(|text| text.as_slice() == CHECK_TEXT)
}

fn place(table: Table, key: &str) -> String {
    format!("{}/{key}", table.as_str())
}

/// Why secrets cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyringError {
    /// The key belongs to another store, or the check value was altered.
    #[error(
        "the key does not open this store: it belongs to another one, or the store was altered; nothing was changed"
    )]
    WrongKey,
    /// The store has a seal and no keyring.
    #[error("the store has no keyring: a part of it was lost or rolled back; restore it from a backup")]
    Missing,
    /// The keyring is sealed under another root key.
    #[error("the keyring does not open under this root key: a part of the store was altered or rolled back")]
    NotThisRoot,
    /// A value does not open.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}
