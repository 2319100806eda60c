//! Reads records back: for the sinks, and for `signet-ca audit`. Never writes.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use signet_core::ledger::Head;

/// Reads a ledger's file, also while a server writes it.
#[derive(Debug)]
pub struct Reader(Connection);

impl Reader {
    /// Opens the file.
    ///
    /// # Errors
    /// When it is absent or no database.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        Ok(Self(connection))
    }

    /// Up to `most` records behind `position`, in order, each with its position.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn after(&self, position: u64, most: u32) -> rusqlite::Result<Vec<(u64, String)>> {
        let mut statement = self
            .0
            .prepare_cached("SELECT position, record FROM ledger WHERE position > ?1 ORDER BY position LIMIT ?2")?;
        statement
            .query_map(params![signed(position), most], |row| {
                Ok((unsigned(row.get(0)?), row.get(1)?))
            })?
            .collect()
    }

    /// Up to `most` records before `position`, newest first, each with its position.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn before(&self, position: u64, most: u32) -> rusqlite::Result<Vec<(u64, String)>> {
        let mut statement = self.0.prepare_cached(
            "SELECT position, record FROM ledger WHERE position < ?1 ORDER BY position DESC LIMIT ?2",
        )?;
        statement
            .query_map(params![signed(position), most], |row| {
                Ok((unsigned(row.get(0)?), row.get(1)?))
            })?
            .collect()
    }

    /// The position of the newest record; 0 for none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn newest(&self) -> rusqlite::Result<u64> {
        let newest: Option<i64> = self
            .0
            .query_row("SELECT max(position) FROM ledger", [], |row| row.get(0))?;
        Ok(unsigned(newest.unwrap_or_default()))
    }

    /// The newest record.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn head(&self) -> rusqlite::Result<Head> {
        let newest = self.before(u64::MAX, 1)?;
        Ok(newest
            .first()
            .and_then(|(_, line)| Head::of_line(line))
            .unwrap_or(Head::EMPTY))
    }

    /// The record of a certificate, by the number in its serial.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn by_number(&self, number: u64) -> rusqlite::Result<Option<String>> {
        self.0
            .query_row("SELECT record FROM ledger WHERE number = ?1", [signed(number)], |row| {
                row.get(0)
            })
            .optional()
    }
}

/// SQLite's integers have 63 bits for us; positions and numbers have 48.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
