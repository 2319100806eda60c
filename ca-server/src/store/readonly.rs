//! The tables for somebody who only looks: works beside a server that writes them, and changes nothing.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::{Change, Receipt, Store, StoreError, Table, copy, sqlite};

/// A store's file, opened for reading.
#[derive(Debug)]
pub(crate) struct ReadOnlyStore(Mutex<Connection>);

impl ReadOnlyStore {
    /// Opens the file.
    ///
    /// # Errors
    /// [`StoreError`] when it is absent, damaged, or of a newer version.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = copy::reader(path)?;
        sqlite::check_layout(&connection)?;
        Ok(Self(Mutex::new(connection)))
    }
}

impl Store for ReadOnlyStore {
    fn apply(&self, _: Vec<Change>) -> Receipt {
        let (done, receipt) = Receipt::new();
        drop(done.send(Err(StoreError::Gone)));
        receipt
    }

    fn scan(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        sqlite::scan(&self.0.lock().unwrap_or_else(PoisonError::into_inner), table)
    }
}
