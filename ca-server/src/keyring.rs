//! The keyring: what stands between secrets and the store. Everything secret passes here on its way in and out.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::barrier::{Barrier, BarrierError};
use crate::store::{Change, Store, StoreError, Table};

/// Seals secrets into the store and opens them again.
#[derive(Debug)]
pub struct Keyring {
    barrier: Barrier,
    store: Arc<dyn Store>,
}

const CHECK_KEY: &str = "barrier-check";
const CHECK_TEXT: &[u8] = b"signet";

impl Keyring {
    /// Puts `barrier` before `store`. The first time it leaves a check value there; later it proves that the key file
    /// still belongs to this store.
    ///
    /// # Errors
    /// [`KeyringError::WrongKey`] when it does not; nothing is lost, the right key file mends it.
    pub fn open(barrier: Barrier, store: Arc<dyn Store>) -> Result<Self, KeyringError> {
        let keyring = Self { barrier, store };
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

    /// Whether `store` was ever put behind a barrier.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn is_sealed(store: &dyn Store) -> Result<bool, StoreError> {
        Ok(store.scan(Table::Settings)?.iter().any(|(key, _)| key == CHECK_KEY))
    }

    /// The change that writes `secret`, sealed.
    ///
    /// # Errors
    /// [`BarrierError`] without randomness.
    pub fn seal(&self, table: Table, key: &str, secret: &[u8]) -> Result<Change, BarrierError> {
        Ok(Change::Put(
            table,
            key.to_owned(),
            self.barrier.encrypt(&place(table, key), secret)?,
        ))
    }

    /// Opens what lies at `key`.
    ///
    /// # Errors
    /// [`BarrierError::Damaged`] when it was altered or moved.
    pub fn unseal(&self, table: Table, key: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BarrierError> {
        self.barrier.decrypt(&place(table, key), sealed)
    }

    /// The store behind the barrier.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

fn place(table: Table, key: &str) -> String {
    format!("{}/{key}", table.as_str())
}

/// Why secrets cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyringError {
    /// The key file belongs to another store, or the check value was altered.
    #[error(
        "the key file does not open this store: it belongs to another one, or the store was altered; nothing was changed"
    )]
    WrongKey,
    /// A value does not open.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
