//! Store and ledger are of one time: at each start and each orderly end both get the same new mark, the ledger beforehand. A file
//! that was put back alone to an older state has another one.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use crate::random;
use crate::store::sqlite::connect;
use crate::store::{Change, Store, StoreError, Table, copy};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS bond (name TEXT PRIMARY KEY, mark TEXT NOT NULL) STRICT";
const PUT: &str = "INSERT INTO bond (name, mark) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET mark = ?2";
const READ: &str = "SELECT mark FROM bond WHERE name = ?1";
const KNOWN: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'bond'";
/// The mark that both have, as far as the ledger knows.
const CURRENT: &str = "current";
/// The mark that the store is about to get.
const NEXT: &str = "next";
/// The store's, in [`Table::Settings`]; in the clear, as it is compared before the seal is open.
pub(crate) const KEY: &str = "bond";

/// What the two say.
struct Marks {
    store: Option<String>,
    current: Option<String>,
    next: Option<String>,
}

impl Marks {
    fn read(store: &dyn Store, ledger: &Connection) -> Result<Self, BondError> {
        let rows = store.scan(Table::Settings)?;
        let mark = rows.iter().find(|(key, _)| key == KEY);
        let known: i64 = ledger.query_row(KNOWN, [], |row| row.get(0))?;
        let read = |name: &str| {
            let mark = |row: &rusqlite::Row<'_>| row.get(0);
            (known > 0)
                .then(|| ledger.query_row(READ, [name], mark).optional())
                .transpose()
        };
        Ok(Self {
            store: mark.map(|(_, mark)| String::from_utf8_lossy(mark).into_owned()),
            current: read(CURRENT)?.flatten(),
            next: read(NEXT)?.flatten(),
        })
    }

    /// A server that was killed while it changed them left the store with either.
    fn agree(&self) -> bool {
        self.store == self.current || (self.store.is_some() && self.store == self.next)
    }
}

/// Whether store and ledger are of one time. Reads only.
///
/// # Errors
/// [`BondError`]
pub(crate) fn holds(store: &dyn Store, ledger: &Path) -> Result<bool, BondError> {
    Ok(Marks::read(store, &copy::reader(ledger)?)?.agree())
}

/// Gives both a new mark, if they are of one time. Blocking.
///
/// # Errors
/// [`BondError::NotOneTime`]; nothing is changed then.
pub(crate) fn renew(store: &dyn Store, ledger: &Path) -> Result<(), BondError> {
    let connection = connect(ledger)?;
    let marks = Marks::read(store, &connection)?;
    if !marks.agree() {
        return Err(BondError::NotOneTime);
    }
    give(store, &connection, marks.store.as_deref())
}

/// Gives both a new mark, whatever they had: for data that was made safe. Blocking.
///
/// # Errors
/// [`BondError`]
pub(crate) fn join(store: &dyn Store, ledger: &Path) -> Result<(), BondError> {
    give(store, &connect(ledger)?, None)
}

fn give(store: &dyn Store, ledger: &Connection, had: Option<&str>) -> Result<(), BondError> {
    ledger.execute_batch(CREATE)?;
    let put = |name: &str, mark: &str| ledger.execute(PUT, params![name, mark]);
    // INVARIANT: at each moment the store's mark is one of the ledger's two.
    if let Some(had) = had {
        put(CURRENT, had)?;
    }
    let mark = random::uuid();
    put(NEXT, &mark)?;
    let change = Change::Put(Table::Settings, KEY.to_owned(), mark.clone().into_bytes());
    store.apply(vec![change]).wait()?;
    put(CURRENT, &mark)?;
    Ok(())
}

/// Why the two do not go together.
#[derive(Debug, thiserror::Error)]
pub enum BondError {
    /// One of them is older.
    #[error(
        "the store and the ledger are not of one time: one of them was put back alone to an older state; put the other back \
         too, or run `signet-ca store restored`"
    )]
    NotOneTime,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error("the ledger's mark cannot be read or written")]
    Ledger(#[from] rusqlite::Error),
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::store::sqlite::SqliteStore;

    struct Pair {
        folder: tempfile::TempDir,
        store: SqliteStore,
    }

    impl Pair {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(&folder.path().join("store.db")).unwrap();
            connect(&folder.path().join("ledger.db")).unwrap();
            Self { folder, store }
        }

        fn ledger(&self) -> PathBuf {
            self.folder.path().join("ledger.db")
        }

        fn mark(&self) -> Option<Vec<u8>> {
            let rows = self.store.scan(Table::Settings).unwrap();
            rows.into_iter().find(|(key, _)| key == KEY).map(|(_, mark)| mark)
        }

        fn put_back(&self, mark: Vec<u8>) {
            let change = Change::Put(Table::Settings, KEY.to_owned(), mark);
            self.store.apply(vec![change]).wait().unwrap();
        }

        fn renew(&self) -> Result<(), BondError> {
            renew(&self.store, &self.ledger())
        }
    }

    #[test]
    fn a_store_of_an_earlier_start_is_refused_and_joined_when_it_was_made_safe() {
        let pair = Pair::new();
        pair.renew().unwrap();
        let old = pair.mark().unwrap();
        pair.renew().unwrap();
        assert!(holds(&pair.store, &pair.ledger()).unwrap());
        pair.put_back(old);
        assert!(matches!(pair.renew().unwrap_err(), BondError::NotOneTime));
        join(&pair.store, &pair.ledger()).unwrap();
        pair.renew().unwrap();
    }

    #[test]
    fn a_ledger_without_a_mark_does_not_go_with_a_store_that_has_one_nor_the_other_way_round() {
        let pair = Pair::new();
        pair.renew().unwrap();
        let lost = pair.folder.path().join("other.db");
        connect(&lost).unwrap();
        assert!(matches!(renew(&pair.store, &lost).unwrap_err(), BondError::NotOneTime));
        let change = Change::Delete(Table::Settings, KEY.to_owned());
        pair.store.apply(vec![change]).wait().unwrap();
        assert!(matches!(pair.renew().unwrap_err(), BondError::NotOneTime));
    }

    #[test]
    fn a_server_killed_between_the_two_starts_again_and_again() {
        let pair = Pair::new();
        pair.renew().unwrap();
        for _ in 0..3 {
            // Killed before the store was written, then after.
            let ledger = connect(&pair.ledger()).unwrap();
            ledger.execute(PUT, params![NEXT, "x"]).unwrap();
            assert!(holds(&pair.store, &pair.ledger()).unwrap());
            pair.put_back(b"x".to_vec());
            assert!(holds(&pair.store, &pair.ledger()).unwrap());
            pair.renew().unwrap();
        }
    }
}
