//! The one thread that appends. A batch is whatever waits when the disk is free, so a lone request waits for one commit
//! and a thousand share one.

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use signet_core::ledger::{Event, EventKind, Head, Verifier, seal};
use signet_core::serial::{NodeId, Serial};
use tokio::sync::oneshot;

use super::reader::{signed, unsigned};
use super::sink::Progress;
use super::{LedgerError, LedgerOpenError};
use crate::metrics::Metrics;
use crate::store::sqlite::connect;

/// More than this many waiting means that the disk has stopped; connections are capped far below.
const WAITING_MAX: usize = 65_536;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS ledger (position INTEGER PRIMARY KEY, number INTEGER UNIQUE, record TEXT NOT NULL) STRICT";
const INSERT: &str = "INSERT INTO ledger (position, number, record) VALUES (?1, ?2, ?3)";
const NEWEST: &str = "SELECT record FROM ledger ORDER BY position DESC LIMIT 1";
const LAST_NUMBER: &str = "SELECT max(number) FROM ledger";

type Done = oneshot::Sender<Result<u64, LedgerError>>;

/// Events that wait for the disk.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    events: Vec<(Event, Done)>,
    closed: bool,
}

impl Queue {
    pub(super) fn push(&self, event: Event, done: Done) -> Result<(), LedgerError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.closed {
            return Err(LedgerError::Closed);
        }
        if waiting.events.len() >= WAITING_MAX {
            return Err(LedgerError::Busy);
        }
        waiting.events.push((event, done));
        let first = waiting.events.len() == 1;
        drop(waiting);
        // While events wait the writer is either awake or already called.
        if first {
            self.arrived.notify_one();
        }
        Ok(())
    }

    pub(super) fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.arrived.notify_all();
    }

    /// Everything that waits, in `batch`; `false` when nothing will come any more.
    fn take(&self, batch: &mut Vec<(Event, Done)>) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |waiting: &mut Waiting| waiting.events.is_empty() && !waiting.closed;
        let mut waiting = self
            .arrived
            .wait_while(waiting, idle)
            .unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut waiting.events, batch);
        !batch.is_empty()
    }
}

/// The ledger's file, before and while it is written.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    path: PathBuf,
    node: NodeId,
    head: Head,
    /// A commit failed: what the file holds is known only after reading it again.
    unsure: bool,
}

impl Writer {
    pub(super) fn open(path: &Path, node: NodeId) -> Result<Self, LedgerOpenError> {
        let fail = |source| LedgerOpenError::Database {
            path: path.to_owned(),
            source,
        };
        let connection = connect(path).map_err(fail)?;
        connection.execute_batch(CREATE).map_err(fail)?;
        let newest: Option<String> = connection
            .query_row(NEWEST, [], |row| row.get(0))
            .optional()
            .map_err(fail)?;
        let head = match newest {
            Some(line) => checked_head(path, &line, node)?,
            None => Head::EMPTY,
        };
        Ok(Self {
            connection,
            path: path.to_owned(),
            node,
            head,
            unsure: false,
        })
    }

    /// The newest record.
    pub(super) const fn head(&self) -> Head {
        self.head
    }

    /// The number of the last serial that was recorded; by index, whatever the length.
    pub(super) fn last_number(&self) -> Result<u64, LedgerOpenError> {
        let number: rusqlite::Result<Option<i64>> = self.connection.query_row(LAST_NUMBER, [], |row| row.get(0));
        number
            .map(|number| unsigned(number.unwrap_or_default()))
            .map_err(|source| LedgerOpenError::Database {
                path: self.path.clone(),
                source,
            })
    }

    pub(super) fn start(
        self,
        queue: Arc<Queue>,
        progress: Arc<Progress>,
        metrics: Metrics,
    ) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || self.serve(&queue, &progress, &metrics))
    }

    fn serve(mut self, queue: &Queue, progress: &Progress, metrics: &Metrics) {
        let mut batch = Vec::new();
        while queue.take(&mut batch) {
            let begun = std::time::Instant::now();
            let result = self.append(&batch);
            metrics.ledger_batch(batch.len(), begun.elapsed().as_secs_f64());
            match result {
                Ok(head) => {
                    let first = self.head.position + 1;
                    self.head = head;
                    for (position, (_, done)) in (first..).zip(batch.drain(..)) {
                        // A requester that hung up loses its answer, not its record.
                        drop(done.send(Ok(position)));
                    }
                    progress.advance(head.position);
                }
                Err(error) => {
                    tracing::error!(%error, records = batch.len(), "the ledger cannot be written; nothing is issued");
                    self.unsure = true;
                    metrics.ledger_failure();
                    let error = LedgerError::Store(error.into());
                    batch
                        .drain(..)
                        .for_each(|(_, done)| drop(done.send(Err(error.clone()))));
                }
            }
        }
    }

    /// Appends the whole batch or nothing.
    fn append(&mut self, batch: &[(Event, Done)]) -> rusqlite::Result<Head> {
        if self.unsure {
            self.head = head_of(&self.connection)?;
            self.unsure = false;
        }
        let mut head = self.head;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for (event, _) in batch {
                let (line, next) = seal(head, self.node, event);
                let number = event.serial().map(|serial| signed(serial.number()));
                insert.execute(params![signed(next.position), number, line])?;
                head = next;
            }
        }
        transaction.commit()?;
        Ok(head)
    }

    /// Appends one event, while no thread serves.
    pub(super) fn append_one(&mut self, event: Event) -> rusqlite::Result<Head> {
        let (done, _) = oneshot::channel();
        self.head = self.append(&[(event, done)])?;
        Ok(self.head)
    }

    /// Appends records that were sealed onto the newest one before, such as a sink's; stops at the first that was not.
    /// How many there were.
    pub(super) fn append_sealed<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) -> rusqlite::Result<u64> {
        let (mut head, mut count) = (self.head, 0);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for line in lines {
                let Some(next) = head.then(line) else { break };
                insert.execute(params![signed(next.position), number_of(line), line])?;
                (head, count) = (next, count + 1);
            }
        }
        transaction.commit()?;
        self.head = head;
        Ok(count)
    }
}

/// The number in the serial of a record; only an `issue` has one.
fn number_of(line: &str) -> Option<i64> {
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    (record.get("event")?.as_str()? == EventKind::Issue.as_str()).then_some(())?;
    let serial = Serial::from_u64(record.get("serial")?.as_str()?.parse().ok()?)?;
    Some(signed(serial.number()))
}

fn head_of(connection: &Connection) -> rusqlite::Result<Head> {
    let newest: Option<String> = connection
        .prepare_cached(NEWEST)?
        .query_row([], |row| row.get(0))
        .optional()?;
    match newest {
        Some(line) => Head::of_line(&line).ok_or(rusqlite::Error::InvalidQuery),
        None => Ok(Head::EMPTY),
    }
}

/// The head, if the newest record is intact and ours.
fn checked_head(path: &Path, line: &str, node: NodeId) -> Result<Head, LedgerOpenError> {
    let mut verifier = Verifier::of_part();
    verifier.check(line);
    let verification = verifier.finish();
    let record: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let found = record.get("node").and_then(serde_json::Value::as_u64);
    match found {
        Some(found) if verification.findings.is_empty() && found != u64::from(node.0) => {
            Err(LedgerOpenError::OtherNode {
                path: path.to_owned(),
                found,
                configured: node,
            })
        }
        Some(_) if verification.findings.is_empty() => Ok(verification.head),
        Some(_) | None => Err(LedgerOpenError::Altered { path: path.to_owned() }),
    }
}
