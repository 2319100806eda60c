//! The tables in one SQLite file, owned by one writer thread: whatever changes are queued become one transaction.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, params};
use tokio::sync::oneshot;

use super::{Change, Receipt, Store, StoreError, Table};

/// 1 had no tables for revocations and hosts.
const LAYOUT: i64 = 2;
const BATCH_MAX: usize = 256;

/// A store in the file `store.db`.
#[derive(Debug)]
pub struct SqliteStore {
    queue: Sender<Work>,
    /// Behind the queue, which has to end first.
    _writer: Writer,
}

/// The thread that has the file. Who drops the store finds the file closed, with nothing waiting beside it.
#[derive(Debug)]
struct Writer(Option<JoinHandle<()>>);

impl Drop for Writer {
    fn drop(&mut self) {
        if self.0.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's thread ended by a panic");
        }
    }
}

#[derive(Debug)]
enum Work {
    Apply(Vec<Change>, oneshot::Sender<Result<(), StoreError>>),
    Scan(Table, mpsc::Sender<Rows>),
}

/// Changes, and who waits for them.
type Waiting = (Vec<Change>, oneshot::Sender<Result<(), StoreError>>);

type Rows = Result<Vec<(String, Vec<u8>)>, StoreError>;

impl SqliteStore {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened, is damaged, or comes from a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = connect(path)?;
        lay_out(&mut connection)?;
        let (queue, work) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || serve(&mut connection, &work))
            .map_err(|_| StoreError::Gone)?;
        Ok(Self {
            queue,
            _writer: Writer(Some(writer)),
        })
    }
}

impl Store for SqliteStore {
    fn apply(&self, changes: Vec<Change>) -> Receipt {
        let (done, receipt) = Receipt::new();
        if let Err(mpsc::SendError(Work::Apply(_, done))) = self.queue.send(Work::Apply(changes, done)) {
            drop(done.send(Err(StoreError::Gone)));
        }
        receipt
    }

    fn scan(&self, table: Table) -> Rows {
        let (done, rows) = mpsc::channel();
        self.queue.send(Work::Scan(table, done)).map_err(|_| StoreError::Gone)?;
        rows.recv().map_err(|_| StoreError::Gone)?
    }
}

/// Opens a database of ours: write-ahead log, each commit on the disk before it returns.
///
/// # Errors
/// [`rusqlite::Error`] when the file cannot be opened or is no database.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No URI file names: a `?` in a path is then just a character.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // SQLite gives the log beside it the file's own mode. What cannot be made it will tell itself.
    crate::secret_file::make_private(path).ok();
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Whether a file that is only read has our layout; an older one is brought up to date at the next start.
pub(super) fn check_layout(connection: &Connection) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == LAYOUT {
        return Ok(());
    }
    Err(StoreError::Layout { found, known: LAYOUT })
}

fn lay_out(connection: &mut Connection) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == LAYOUT {
        return Ok(());
    }
    if found > LAYOUT {
        return Err(StoreError::Layout { found, known: LAYOUT });
    }
    let transaction = connection.transaction()?;
    for table in Table::ALL {
        let name = table.as_str();
        transaction.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {name} (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT"
        ))?;
    }
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    Ok(transaction.commit()?)
}

fn serve(connection: &mut Connection, work: &Receiver<Work>) {
    let mut batch = Vec::new();
    while let Ok(first) = work.recv() {
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Work::Apply(changes, done) => batch.push((changes, done)),
                Work::Scan(table, rows) => {
                    commit(connection, &mut batch);
                    drop(rows.send(scan(connection, table)));
                }
            }
            next = if batch.len() < BATCH_MAX {
                work.try_recv().ok()
            } else {
                None
            };
        }
        commit(connection, &mut batch);
    }
}

fn commit(connection: &mut Connection, batch: &mut Vec<Waiting>) {
    if batch.is_empty() {
        return;
    }
    let result = write(connection, batch.iter().flat_map(|(changes, _)| changes));
    for (_, done) in batch.drain(..) {
        // Whoever no longer waits has lost interest, not the change.
        drop(done.send(result.clone()));
    }
}

fn write<'a>(connection: &mut Connection, changes: impl Iterator<Item = &'a Change>) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    for change in changes {
        apply_one(&transaction, change)?;
    }
    Ok(transaction.commit()?)
}

fn apply_one(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Put(table, key, value) => transaction
            .prepare_cached(&format!(
                "INSERT INTO {} (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
                table.as_str()
            ))?
            .execute(params![key, value]),
        Change::Delete(table, key) => transaction
            .prepare_cached(&format!("DELETE FROM {} WHERE key = ?1", table.as_str()))?
            .execute([key]),
    }
    .map(drop)
}

pub(super) fn scan(connection: &Connection, table: Table) -> Rows {
    let mut statement =
        connection.prepare_cached(&format!("SELECT key, value FROM {} ORDER BY key", table.as_str()))?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Change {
        Change::Put(Table::Roles, key.to_owned(), value.as_bytes().to_vec())
    }

    #[test]
    fn changes_are_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let store = SqliteStore::open(&path).unwrap();
        store.apply(vec![put("a", "1"), put("b", "2")]).wait().unwrap();
        store
            .apply(vec![
                put("a", "3"),
                Change::Delete(Table::Roles, "b".into()),
                put("c'\"; --", "4"),
            ])
            .wait()
            .unwrap();
        drop(store);
        let rows = SqliteStore::open(&path).unwrap().scan(Table::Roles).unwrap();
        assert_eq!(
            rows,
            [("a".to_owned(), b"3".to_vec()), ("c'\"; --".to_owned(), b"4".to_vec())]
        );
    }

    #[test]
    fn a_store_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        connect(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(
            SqliteStore::open(&path).unwrap_err(),
            StoreError::Layout { found: 99, known: 2 }
        ));
    }

    #[test]
    fn a_refused_change_changes_nothing_and_the_store_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let store = SqliteStore::open(&path).unwrap();
        let trigger = "CREATE TRIGGER full BEFORE INSERT ON tokens BEGIN SELECT RAISE(ABORT, 'disk full'); END";
        connect(&path).unwrap().execute_batch(trigger).unwrap();
        let token = Change::Put(Table::Tokens, "t".into(), vec![1]);
        assert!(store.apply(vec![put("a", "1"), token.clone()]).wait().is_err());
        assert_eq!(store.scan(Table::Roles).unwrap(), []);
        connect(&path).unwrap().execute_batch("DROP TRIGGER full").unwrap();
        store.apply(vec![put("a", "1"), token]).wait().unwrap();
        assert_eq!(store.scan(Table::Roles).unwrap().len(), 1);
    }
}
