//! Checks a chain line by line and names what was done to it.

use std::collections::BTreeSet;
use std::fmt;

use super::chain::{ChainHash, Head, Parts};

/// Something done to the ledger after it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The line is not a record.
    Malformed {
        /// Line, counted from 1.
        line: u64,
    },
    /// The record's text no longer gives its hash.
    Changed {
        /// The record.
        position: u64,
    },
    /// Record and successor were both sealed properly, but not onto each other.
    Resealed {
        /// The record; the next one was sealed onto another.
        position: u64,
    },
    /// Records are missing.
    Removed {
        /// The first missing record.
        first: u64,
        /// The last missing record.
        last: u64,
    },
    /// A record stands where none belongs.
    Inserted {
        /// The position it claims.
        position: u64,
        /// Line, counted from 1.
        line: u64,
    },
    /// A record stands behind its successor.
    Reordered {
        /// The record.
        position: u64,
        /// Line, counted from 1.
        line: u64,
    },
    /// The ledger does not hold the record that was noted down earlier.
    NotAsNoted {
        /// The noted record.
        position: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { line } => write!(f, "line {line} is not a ledger record"),
            Self::Changed { position } => write!(f, "record {position} was changed: its hash does not fit its text"),
            Self::Resealed { position } => {
                write!(
                    f,
                    "record {position} or the one after it was changed and sealed again: they do not fit together"
                )
            }
            Self::Removed { first, last } if first == last => write!(f, "record {first} was removed"),
            Self::Removed { first, last } => write!(f, "records {first} to {last} were removed"),
            Self::Inserted { position, line } => {
                write!(
                    f,
                    "record {position} on line {line} was inserted: that position is another record's"
                )
            }
            Self::Reordered { position, line } => write!(
                f,
                "record {position} on line {line} was moved: later ones stand before it"
            ),
            Self::NotAsNoted { position } => {
                write!(
                    f,
                    "record {position} is not the one noted earlier: the ledger was cut or written anew"
                )
            }
        }
    }
}

/// What checking found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Lines that are records.
    pub records: u64,
    /// The newest record: note it down elsewhere, and a later check can prove that nothing before it was cut.
    pub head: Head,
    /// What was done to the ledger; empty for a sound one.
    pub findings: Vec<Finding>,
}

/// Checks records in the order they are given.
#[derive(Debug)]
pub struct Verifier {
    position: u64,
    /// The records that claim the newest position, by line; more than one when somebody inserted.
    heads: Vec<(u64, ChainHash)>,
    missing: BTreeSet<u64>,
    noted: Option<Head>,
    partial: bool,
    line: u64,
    records: u64,
    findings: Vec<Finding>,
}

/// A gap wider than this is one `Removed`, whatever turns up later: memory stays small however wild the positions are.
const GAP_MAX: u64 = 10_000;

impl Verifier {
    /// Checks a ledger from its first record on.
    #[must_use]
    pub fn new() -> Self {
        Self {
            position: 0,
            heads: vec![(0, ChainHash::ZERO)],
            missing: BTreeSet::new(),
            noted: None,
            partial: false,
            line: 0,
            records: 0,
            findings: Vec::new(),
        }
    }

    /// Checks a part, such as a rotated file: whatever comes first is taken as the beginning.
    #[must_use]
    pub fn of_part() -> Self {
        Self {
            partial: true,
            ..Self::new()
        }
    }

    /// Demands that the record noted down earlier is there: the one way to see that the end was cut off or the whole
    /// chain was sealed anew.
    #[must_use]
    pub fn noted(mut self, head: Head) -> Self {
        self.noted = Some(head);
        self
    }

    /// Checks the next line.
    pub fn check(&mut self, line: &str) {
        self.line += 1;
        let Some(record) = Parts::of(line) else {
            self.findings.push(Finding::Malformed { line: self.line });
            return;
        };
        self.records += 1;
        if !record.is_intact() {
            self.findings.push(Finding::Changed {
                position: record.position,
            });
        }
        if self.noted
            == Some(Head {
                position: record.position,
                hash: record.hash,
            })
        {
            self.noted = None;
        }
        if self.partial && self.records == 1 {
            self.position = record.position.saturating_sub(1);
            self.heads = vec![(self.line, record.prev)];
        }
        self.place(&record);
    }

    /// Says what was found.
    #[must_use]
    pub fn finish(mut self) -> Verification {
        self.settle_head(None);
        self.report_missing();
        if let Some(noted) = self.noted {
            self.findings.push(Finding::NotAsNoted {
                position: noted.position,
            });
        }
        let hash = self.heads.first().map_or(ChainHash::ZERO, |(_, hash)| *hash);
        Verification {
            records: self.records,
            head: Head {
                position: self.position,
                hash,
            },
            findings: self.findings,
        }
    }

    fn place(&mut self, record: &Parts<'_>) {
        let next = self.position.saturating_add(1);
        if record.position == next {
            self.settle_head(Some(record.prev));
            self.become_head(record);
        } else if record.position > next {
            self.settle_head(None);
            self.note_gap(next, record.position - 1);
            self.become_head(record);
        } else if self.missing.remove(&record.position) {
            self.findings.push(Finding::Reordered {
                position: record.position,
                line: self.line,
            });
        } else if record.position == self.position && self.records > 1 {
            // Which of the two belongs here is known when their successor comes.
            self.heads.push((self.line, record.hash));
        } else {
            self.findings.push(Finding::Inserted {
                position: record.position,
                line: self.line,
            });
        }
    }

    /// Decides which of the newest records the successor was sealed onto; all others were inserted.
    fn settle_head(&mut self, prev: Option<ChainHash>) {
        let genuine = prev.map_or(Some(0), |prev| self.heads.iter().position(|(_, hash)| *hash == prev));
        if genuine.is_none() {
            self.findings.push(Finding::Resealed {
                position: self.position,
            });
        }
        let position = self.position;
        let inserted = self
            .heads
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != genuine.unwrap_or(0));
        self.findings
            .extend(inserted.map(|(_, (line, _))| Finding::Inserted { position, line: *line }));
        self.heads = self.heads.get(genuine.unwrap_or(0)).copied().into_iter().collect();
    }

    fn become_head(&mut self, record: &Parts<'_>) {
        self.position = record.position;
        self.heads.clear();
        self.heads.push((self.line, record.hash));
    }

    fn note_gap(&mut self, first: u64, last: u64) {
        if last - first < GAP_MAX {
            self.missing.extend(first..=last);
        } else {
            self.findings.push(Finding::Removed { first, last });
        }
    }

    fn report_missing(&mut self) {
        let mut range: Option<(u64, u64)> = None;
        for position in std::mem::take(&mut self.missing) {
            range = match range {
                Some((first, last)) if last + 1 == position => Some((first, position)),
                Some((first, last)) => {
                    self.findings.push(Finding::Removed { first, last });
                    Some((position, position))
                }
                None => Some((position, position)),
            };
        }
        if let Some((first, last)) = range {
            self.findings.push(Finding::Removed { first, last });
        }
    }
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}
