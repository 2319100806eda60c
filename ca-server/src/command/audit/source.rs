//! Where records come from: a server's own database, also while it runs, or a file of JSON lines.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;
use signet_core::serial::Serial;

use crate::ledger::{FILE, Reader};

const CHUNK: u32 = 4096;

/// An opened ledger.
pub(super) enum Source {
    Database { reader: Reader, position: u64 },
    Lines(BufReader<File>),
}

type Show<'a> = &'a mut dyn FnMut(&str) -> anyhow::Result<()>;

impl Source {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let path = if path.is_dir() {
            path.join(FILE)
        } else {
            path.to_owned()
        };
        let shown = || format!("`{}` cannot be read as a ledger", path.display());
        if path.extension().is_some_and(|kind| kind == "db") {
            return Ok(Self::Database {
                reader: Reader::open(&path).with_context(shown)?,
                position: 0,
            });
        }
        Ok(Self::Lines(BufReader::new(File::open(&path).with_context(shown)?)))
    }

    /// Every record in order.
    pub(super) fn each(mut self, mut show: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.more(&mut show)
    }

    /// The record of one serial: by index where there is one.
    pub(super) fn with_serial(self, serial: Serial, show: Show<'_>) -> anyhow::Result<()> {
        match &self {
            Self::Database { reader, .. } => reader
                .by_number(serial.number())?
                .iter()
                .try_for_each(|line| show(line)),
            Self::Lines(_) => self.each(show),
        }
    }

    /// The last `count` records.
    pub(super) fn newest(&mut self, count: u64, show: Show<'_>) -> anyhow::Result<()> {
        if let Self::Database { reader, position } = self {
            *position = reader.newest()?.saturating_sub(count);
            return self.more(show);
        }
        let keep = usize::try_from(count).unwrap_or(usize::MAX);
        let mut lines = std::collections::VecDeque::new();
        self.more(&mut |line| {
            lines.push_back(line.to_owned());
            if lines.len() > keep {
                lines.pop_front();
            }
            Ok(())
        })?;
        lines.iter().try_for_each(|line| show(line))
    }

    /// What came since the last call.
    pub(super) fn more(&mut self, show: Show<'_>) -> anyhow::Result<()> {
        match self {
            Self::Database { reader, position } => loop {
                let records = reader.after(*position, CHUNK)?;
                if records.is_empty() {
                    return Ok(());
                }
                for (at, record) in records {
                    show(&record)?;
                    *position = at;
                }
            },
            Self::Lines(file) => {
                let mut line = String::new();
                while file.read_line(&mut line)? > 0 {
                    show(line.trim_end_matches('\n'))?;
                    line.clear();
                }
                Ok(())
            }
        }
    }
}
