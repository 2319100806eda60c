//! Copies of the two databases, taken while a server writes them, and what SQLite itself says of a file.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::sqlite::connect;
use crate::secret_file;

/// Pages copied in one step. A reader holds nobody up, so this is only about how often it looks around.
const PAGES: i32 = 1024;

/// Copies store and ledger as both were at one moment to the files `to`.
///
/// A change is recorded first and happens then. So that the pair is what a power cut at that moment would have left, nothing
/// may be recorded between the two snapshots: the ledger's write lock is held for the microseconds that they take, and never
/// while pages are copied. Snapshots taken one after the other would be wrong in either order: with the store first, a
/// revocation recorded and answered in between is in the ledger and not in force; with the ledger first, a change in the
/// store has no record.
///
/// # Errors
/// When one of them cannot be read, or the disk is full.
pub(crate) fn pair(store: (&Path, &Path), ledger: (&Path, &Path)) -> rusqlite::Result<()> {
    let (from_store, from_ledger) = (reader(store.0)?, reader(ledger.0)?);
    {
        let mut gate = connect(ledger.0)?;
        let held = gate.transaction_with_behavior(TransactionBehavior::Immediate)?;
        begin(&from_store)?;
        begin(&from_ledger)?;
        held.rollback()?;
    }
    copy(&from_store, store.1)?;
    copy(&from_ledger, ledger.1)
}

/// Opens a file of ours for reading, also while a server writes it.
///
/// # Errors
/// When it is absent or no database.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// Begins a snapshot: what is read from now on is as it is now.
fn begin(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN")?;
    // SQLite takes the snapshot with the first read.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn copy(from: &Connection, to: &Path) -> rusqlite::Result<()> {
    secret_file::make_private(to).map_err(|_| rusqlite::Error::InvalidPath(to.to_owned()))?;
    let mut to = Connection::open(to)?;
    {
        let backup = Backup::new(from, &mut to)?;
        while backup.step(PAGES)? != StepResult::Done {}
    }
    to.close().map_err(|(_, error)| error)
}

/// What SQLite's own check finds in a file; nothing in a sound one.
///
/// # Errors
/// When it is no database at all.
pub(crate) fn faults(path: &Path) -> rusqlite::Result<Vec<String>> {
    let connection = reader(path)?;
    let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut faults = lines.collect::<rusqlite::Result<Vec<_>>>()?;
    faults.retain(|line| line != "ok");
    Ok(faults)
}

/// Brings everything into the one file, so that it can be moved without its write-ahead log.
///
/// # Errors
/// When it cannot be written, or somebody else has it open.
pub(crate) fn settle(path: &Path) -> rusqlite::Result<()> {
    let connection = connect(path)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)
}
