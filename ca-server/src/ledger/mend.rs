//! A ledger that was put back to an older state takes back what it lost, from a newer copy or from a sink. Only records that
//! were sealed onto its own newest one are taken, each of them intact. No server runs on it meanwhile.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use signet_core::ledger::{Event, Head};
use signet_core::serial::NodeId;

use super::LedgerOpenError;
use super::reader::Reader;
use super::sink::{holds, last_record};
use super::writer::Writer;

const CHUNK: u32 = 512;

/// Where newer records may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A ledger's file.
    Database(PathBuf),
    /// A sink's file of JSON lines.
    Sink(PathBuf),
}

/// A ledger that is being mended.
#[derive(Debug)]
pub struct Mending {
    writer: Writer,
}

impl Mending {
    /// Opens the ledger's file.
    ///
    /// # Errors
    /// [`LedgerOpenError`]
    pub fn open(path: &Path, node: NodeId) -> Result<Self, LedgerOpenError> {
        Writer::open(path, node).map(|writer| Self { writer })
    }

    /// The newest record.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.writer.head()
    }

    /// Takes what `source` holds beyond our newest record; how many records that were. A source of another ledger, or one
    /// that is not there, has none.
    ///
    /// # Errors
    /// [`MendError`]
    pub fn take_from(&mut self, source: &Source) -> Result<u64, MendError> {
        match source {
            Source::Database(path) => self.take_from_database(path),
            Source::Sink(path) => self.take_from_lines(path),
        }
    }

    /// Records an event.
    ///
    /// # Errors
    /// [`MendError`]
    pub fn record(&mut self, event: Event) -> Result<Head, MendError> {
        Ok(self.writer.append_one(event)?)
    }

    fn take_from_database(&mut self, path: &Path) -> Result<u64, MendError> {
        if !path.exists() {
            return Ok(0);
        }
        let fail = |source: rusqlite::Error| MendError::Source {
            path: path.to_owned(),
            source: source.into(),
        };
        let reader = Reader::open(path).map_err(fail)?;
        if !holds(&reader, self.head()).map_err(fail)? {
            return Ok(0);
        }
        let mut taken = 0;
        loop {
            let records = reader.after(self.head().position, CHUNK).map_err(fail)?;
            let count = self
                .writer
                .append_sealed(records.iter().map(|(_, line)| line.as_str()))?;
            taken += count;
            if count == 0 {
                return Ok(taken);
            }
        }
    }

    fn take_from_lines(&mut self, path: &Path) -> Result<u64, MendError> {
        let fail = |source: io::Error| MendError::Source {
            path: path.to_owned(),
            source: source.into(),
        };
        // A pipe is not read: that would take its records from somebody else.
        if last_record(path).map_err(fail)?.is_none() {
            return Ok(0);
        }
        let (mut taken, mut batch) = (0, Vec::new());
        for line in BufReader::new(File::open(path).map_err(fail)?).lines() {
            let line = line.map_err(fail)?;
            let newer = Head::of_line(&line).is_some_and(|head| head.position > self.head().position);
            if newer {
                batch.push(line);
            }
            if batch.len() >= usize::try_from(CHUNK).unwrap_or(usize::MAX) {
                let count = self.writer.append_sealed(batch.iter().map(String::as_str))?;
                taken += count;
                if count == 0 {
                    return Ok(taken);
                }
                batch.clear();
            }
        }
        Ok(taken + self.writer.append_sealed(batch.iter().map(String::as_str))?)
    }
}

/// Whether the ledger at `path` holds the last record of the sink `sink`, so that the sink can go on; a sink without records
/// can.
///
/// # Errors
/// [`MendError`]
pub fn goes_on(path: &Path, sink: &Path) -> Result<bool, MendError> {
    let fail = |source: io::Error| MendError::Source {
        path: sink.to_owned(),
        source: source.into(),
    };
    match last_record(sink).map_err(fail)? {
        None => Ok(true),
        Some(head) => Ok(holds(&Reader::open(path)?, head)?),
    }
}

/// Why a ledger cannot be mended.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// The database refused.
    #[error("the ledger cannot be read or written")]
    Database(#[from] rusqlite::Error),
    /// A sink or another copy cannot be read. What was taken of it stays.
    #[error("`{}` cannot be read", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
