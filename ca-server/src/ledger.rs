//! The ledger: no record, no certificate. Handlers lay out their event and wait; one thread chains whatever waits, makes
//! it durable in one transaction, and lets all of them go at once.

pub mod bond;
pub mod mend;
mod reader;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use signet_core::certificate::SignedCertificate;
pub use signet_core::ledger::{Event, EventKind, IssueContext};
use signet_core::serial::{NodeId, Serial, first_number};
use signet_core::time::UnixTime;
use tokio::sync::oneshot;

use self::sink::Sinks;
use self::writer::{Queue, Writer};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::{StoreError, wait};

pub use self::reader::Reader;

/// The file's name in the data folder.
pub const FILE: &str = "ledger.db";

/// The ledger of this node; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    node: NodeId,
    clock: Clock,
    /// Whether records of certificates were there at the start.
    had_issued: bool,
    /// The number that this run began with.
    first_number: u64,
    next_number: AtomicU64,
    queue: Arc<Queue>,
    sinks: Sinks,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// A certificate whose record is durable: the only thing that may become an answer. Only [`Ledger::record_issue`] makes it.
#[derive(Debug)]
pub struct IssuedCertificate {
    line: String,
    serial: Serial,
    key_id: String,
    valid_before: UnixTime,
    position: u64,
    warnings: Vec<String>,
}

impl Ledger {
    /// Opens or makes the ledger in the folder `data` and starts its writer and its sinks. Costs the same for any number
    /// of past records.
    ///
    /// # Errors
    /// [`LedgerOpenError`].
    pub fn open(
        data: &Path,
        node: NodeId,
        sinks: &[PathBuf],
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, LedgerOpenError> {
        let path = data.join(FILE);
        let writer = Writer::open(&path, node)?;
        let last_number = writer.last_number()?;
        // INVARIANT: whatever older copy of the folder this is, no number is given twice.
        let first_number = first_number(last_number, clock.now_millis());
        let sinks = Sinks::start(&path, sinks, writer.head())?;
        let queue = Arc::new(Queue::default());
        let thread = writer
            .start(Arc::clone(&queue), sinks.progress(), metrics)
            .map_err(LedgerOpenError::Thread)?;
        let writer = Mutex::new(Some(thread));
        Ok(Self(Arc::new(Shared {
            node,
            clock,
            had_issued: last_number > 0,
            first_number,
            next_number: AtomicU64::new(first_number),
            queue,
            sinks,
            writer,
        })))
    }

    /// Begins an event that happens now.
    #[must_use]
    pub fn event(&self, kind: EventKind) -> Event {
        Event::new(kind, self.0.clock.now_millis())
    }

    /// Whether this node has ever issued a certificate.
    #[must_use]
    pub fn has_issued(&self) -> bool {
        self.0.had_issued || self.0.next_number.load(Ordering::Relaxed) > self.0.first_number
    }

    /// The next serial. A number whose record is never written is skipped; none is ever given twice.
    ///
    /// # Errors
    /// [`LedgerError::SerialsUsedUp`] after 2^48 certificates.
    pub fn reserve_serial(&self) -> Result<Serial, LedgerError> {
        let number = self.0.next_number.fetch_add(1, Ordering::Relaxed);
        Serial::new(self.0.node, number).ok_or(LedgerError::SerialsUsedUp)
    }

    /// Records a certificate; what comes back may be given away.
    ///
    /// # Errors
    /// [`LedgerError`]; the certificate is dropped with it and nobody ever holds it.
    pub async fn record_issue(
        &self,
        certificate: SignedCertificate,
        context: IssueContext<'_>,
    ) -> Result<IssuedCertificate, LedgerError> {
        let event = Event::issued(&certificate, &context, self.0.clock.now_millis());
        let position = self.record(event).await?;
        let plan = certificate.plan();
        Ok(IssuedCertificate {
            serial: plan.serial(),
            key_id: plan.resolved().key_id().as_str().to_owned(),
            valid_before: plan.validity().valid_before(),
            warnings: plan.resolved().warnings().to_vec(),
            position,
            line: certificate.into_line(),
        })
    }

    /// Records an event; its position once it is durable.
    ///
    /// # Errors
    /// [`LedgerError`]; the event is then not in the ledger, and what it tells of must not happen.
    pub async fn record(&self, event: Event) -> Result<u64, LedgerError> {
        self.submit(event)?.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// Records an event, blocking the thread: for start and end, where nobody else runs on it.
    ///
    /// # Errors
    /// As [`Ledger::record`].
    pub fn record_blocking(&self, event: Event) -> Result<u64, LedgerError> {
        wait(self.submit(event)?).unwrap_or(Err(LedgerError::Closed))
    }

    /// Opens the sinks' files again, after they were rotated.
    pub fn reopen_sinks(&self) {
        self.0.sinks.reopen();
    }

    /// Writes what waits, lets the sinks catch up for a moment, and ends both. Later records are refused.
    pub fn close(&self) {
        self.0.queue.close();
        let thread = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the ledger's writer had crashed");
        }
        self.0.sinks.close();
    }

    fn submit(&self, event: Event) -> Result<oneshot::Receiver<Result<u64, LedgerError>>, LedgerError> {
        let (done, position) = oneshot::channel();
        self.0.queue.push(event, done)?;
        Ok(position)
    }
}

impl IssuedCertificate {
    /// The certificate's line, `type base64` and line end.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Its serial.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        self.serial
    }

    /// Its key ID.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The first second at which it is no longer valid.
    #[must_use]
    pub const fn valid_before(&self) -> UnixTime {
        self.valid_before
    }

    /// Its record's position in the ledger.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// What the requester should be told.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Why an event is not in the ledger.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The record could not be made durable, such as on a full disk. It will work again when there is space.
    #[error("the ledger cannot be written")]
    Store(#[source] StoreError),
    /// Too many records wait for the disk.
    #[error("too many records wait for the disk")]
    Busy,
    /// The server is stopping.
    #[error("the ledger is closed")]
    Closed,
    /// This node has no serials left.
    #[error("this node has used up its serials")]
    SerialsUsedUp,
}

/// Why the ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LedgerOpenError {
    /// The file is no ledger, or cannot be opened.
    #[error("the ledger `{}` cannot be opened", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The newest record was altered: nothing may be chained onto it.
    #[error("the newest record of `{}` was altered; run `signet-ca audit verify`", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// Another node wrote it.
    #[error("the ledger `{}` was written by node {found}, `signet.toml` says node {configured}: serials would repeat", path.display())]
    OtherNode {
        /// The file.
        path: PathBuf,
        /// Its node.
        found: u64,
        /// Ours.
        configured: NodeId,
    },
    /// A sink's file cannot be opened.
    #[error("the audit sink `{}` cannot be opened", path.display())]
    Sink {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A sink holds what the ledger does not: the ledger was put back to an older state.
    #[error(
        "the audit sink `{}` holds record {theirs}, which this ledger, at {ours}, has not got: the data folder was put back to \
         an older state; run `signet-ca store restored`, or move the sink away if it is of another server", path.display()
    )]
    RolledBack {
        /// The sink's file.
        path: PathBuf,
        /// The position of its last record.
        theirs: u64,
        /// The position of the ledger's last record.
        ours: u64,
    },
    /// No thread to be had.
    #[error("the ledger's thread cannot be started")]
    Thread(#[source] std::io::Error),
}
