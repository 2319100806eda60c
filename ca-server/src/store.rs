//! What must survive a restart, apart from the ledger: a few tables of key and value. The store is never trusted with plain
//! text of a secret: whoever puts one in has sealed it under the barrier first.

pub(crate) mod copy;
pub(crate) mod readonly;
pub mod sqlite;

use std::fmt::Debug;
use std::sync::Arc;

use tokio::sync::oneshot;

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Node number, barrier check value, sinks' places, name keys.
    Settings,
    /// Mounts by path, as JSON.
    Mounts,
    /// CA keys by mount UUID, under the barrier.
    CaKeys,
    /// Roles written over the API, by mount UUID and name, as JSON.
    Roles,
    /// Tokens by hash, under the barrier.
    Tokens,
    /// Revocations by mount UUID and id, under the barrier.
    Revocations,
    /// Enrolled hosts by name, under the barrier.
    Hosts,
    /// One-time tokens for enrolment by hash, under the barrier.
    HostTokens,
}

impl Table {
    /// Every table.
    pub const ALL: &[Self] = &[
        Self::Settings,
        Self::Mounts,
        Self::CaKeys,
        Self::Roles,
        Self::Tokens,
        Self::Revocations,
        Self::Hosts,
        Self::HostTokens,
    ];

    /// The table's name in SQL and in the barrier's associated data.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Mounts => "mounts",
            Self::CaKeys => "ca_keys",
            Self::Roles => "roles",
            Self::Tokens => "tokens",
            Self::Revocations => "revocations",
            Self::Hosts => "hosts",
            Self::HostTokens => "host_tokens",
        }
    }
}

/// One change; a list of them happens wholly or not at all.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes or replaces.
    Put(Table, String, Vec<u8>),
    /// Removes; absent is fine.
    Delete(Table, String),
}

impl Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Put(table, key, _) => write!(f, "Put({table:?}, {key}, …)"),
            Self::Delete(table, key) => write!(f, "Delete({table:?}, {key})"),
        }
    }
}

/// A durable place for the tables.
pub trait Store: Send + Sync + Debug {
    /// Makes all `changes` durable in one step. The receipt tells when they are.
    fn apply(&self, changes: Vec<Change>) -> Receipt;

    /// Reads a whole table, in the order of its keys; only at start.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn scan(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
}

/// The promise that changes become durable.
#[derive(Debug)]
#[must_use = "changes are not durable before the receipt says so"]
pub struct Receipt(oneshot::Receiver<Result<(), StoreError>>);

impl Receipt {
    /// A receipt and the end that fulfils it.
    pub fn new() -> (oneshot::Sender<Result<(), StoreError>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// Waits until the changes are durable.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed then.
    pub async fn durable(self) -> Result<(), StoreError> {
        self.0.await.unwrap_or(Err(StoreError::Gone))
    }

    /// Waits, blocking the thread: for start and end, where nobody else runs on it.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed then.
    pub fn wait(self) -> Result<(), StoreError> {
        wait(self.0).unwrap_or(Err(StoreError::Gone))
    }
}

/// Waits for an answer in a thread of its own, as tokio allows no waiting on a thread that drives a runtime. `None` when
/// nobody is left to answer.
pub(crate) fn wait<T: Send>(answer: oneshot::Receiver<T>) -> Option<T> {
    std::thread::scope(|scope| scope.spawn(|| answer.blocking_recv().ok()).join().ok().flatten())
}

/// Why the store did not do it. Cheap to clone, as one failure answers a whole batch.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database refused: full disk, damaged file.
    #[error("the store refused")]
    Database(#[source] Arc<rusqlite::Error>),
    /// The file is not one of ours, or from a newer version.
    #[error("the store has layout {found}, this program knows {known}")]
    Layout {
        /// The file's layout number.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The store's thread has ended; the server is stopping.
    #[error("the store is closed")]
    Gone,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}
