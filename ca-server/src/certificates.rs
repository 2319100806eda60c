//! Certificates that were issued, read back from the ledger, newest first. Never from anywhere else: what is not in the
//! ledger was never given away.

mod longest;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use signet_core::ledger::{EventKind, Query};
use signet_core::serial::{NodeId, Serial};
use signet_core::time::UnixTime;

use crate::ledger::Reader;

pub use self::longest::{CoverError, Longest};

/// Records read at once.
const BATCH: u32 = 2048;
/// Seconds by which clocks may have been wrong while the ledger was written.
const CLOCK_MARGIN_SECS: u64 = 3600;

/// An issued certificate as its record tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The position of its record in the ledger.
    pub position: u64,
    /// The serial, decimal: JSON's numbers end at 2^53.
    pub serial: String,
    /// The key ID.
    pub key_id: String,
    /// Who had it issued.
    pub person: String,
    /// How that person is called in key IDs.
    #[serde(default)]
    pub display_name: String,
    /// The role.
    pub role: String,
    /// The mount.
    pub mount: String,
    /// `user` or `host`.
    pub cert_type: String,
    /// Its principals.
    pub principals: Vec<String>,
    /// When it was issued, RFC 3339.
    pub time: String,
    /// RFC 3339.
    pub valid_after: String,
    /// RFC 3339.
    pub valid_before: String,
    /// The subject key's, `SHA256:…`.
    pub fingerprint: String,
    /// The CA key's; records of older versions do not say.
    #[serde(default)]
    pub ca_fingerprint: Option<String>,
    /// The address it was asked for from.
    #[serde(default)]
    pub address: String,
}

impl Certificate {
    /// Reads a record; `None` if it is not of an issued certificate.
    #[must_use]
    pub fn of_record(line: &str) -> Option<Self> {
        let record: Value = serde_json::from_str(line).ok()?;
        Self::of_value(&record)
    }

    fn of_value(record: &Value) -> Option<Self> {
        (record.get("event")?.as_str()? == EventKind::Issue.as_str()).then_some(())?;
        Self::deserialize(record).ok()
    }

    /// The serial as a number; 0 for a record that has none.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.serial.parse().unwrap_or(0)
    }

    /// When it ends. A time that cannot be read never comes, so that nothing is forgotten too early.
    #[must_use]
    pub fn ends(&self) -> UnixTime {
        UnixTime::parse_rfc3339(&self.valid_before).unwrap_or(UnixTime::from_secs(u64::MAX))
    }

    /// Whether sshd would still take it at `now`, as far as time goes.
    #[must_use]
    pub fn is_live(&self, now: UnixTime) -> bool {
        now < self.ends()
    }
}

/// Which certificates are looked for; every part that is given must fit.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The mount that issued them, exactly.
    pub mount: String,
    /// What their records say.
    pub query: Query,
    /// `user` or `host`.
    pub cert_type: Option<String>,
    /// Only these serials, unless empty.
    pub serials: BTreeSet<u64>,
    /// Only those that have not ended at this time.
    pub live_at: Option<UnixTime>,
    /// Only those recorded before this position: the next page.
    pub before: Option<u64>,
}

impl Wanted {
    fn fits(&self, certificate: &Certificate, record: &Value) -> bool {
        certificate.mount == self.mount
            && self
                .cert_type
                .as_ref()
                .is_none_or(|wanted| *wanted == certificate.cert_type)
            && (self.serials.is_empty() || self.serials.contains(&certificate.number()))
            && self.live_at.is_none_or(|now| certificate.is_live(now))
            && self.query.fits(record)
    }
}

/// The time before which no certificate was issued that lives at `now`, if none was ever issued for longer than
/// `longest_secs`.
#[must_use]
pub const fn oldest_issue(now: UnixTime, longest_secs: u64) -> UnixTime {
    now.minus(longest_secs.saturating_add(CLOCK_MARGIN_SECS))
}

/// Walks the ledger from its end and shows each certificate that fits, until `show` has enough or the records are older than
/// `oldest`.
///
/// # Errors
/// When the ledger's file cannot be read.
pub fn search(
    ledger: &Path,
    wanted: &Wanted,
    oldest: Option<UnixTime>,
    mut show: impl FnMut(Certificate) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let reader = Reader::open(ledger)?;
    let needle = wanted.query.needle();
    let mut position = wanted.before.unwrap_or(u64::MAX);
    loop {
        let batch = reader.before(position, BATCH)?;
        let Some((last, _)) = batch.last() else {
            return Ok(());
        };
        position = *last;
        // A whole batch must be too old: one record written under a wrong clock must not end the search.
        let mut all_too_old = oldest.is_some();
        for (_, line) in &batch {
            let too_old = oldest.is_some_and(|oldest| time_of(line).is_some_and(|time| time < oldest));
            all_too_old &= too_old;
            if !line.contains(ISSUE) || needle.as_ref().is_some_and(|needle| !line.contains(needle)) {
                continue;
            }
            let record: Value = serde_json::from_str(line).unwrap_or_default();
            if let Some(found) = Certificate::of_value(&record).filter(|found| wanted.fits(found, &record))
                && show(found).is_break()
            {
                return Ok(());
            }
        }
        if all_too_old {
            return Ok(());
        }
    }
}

/// The certificate with this serial, if `node`'s ledger has it.
///
/// # Errors
/// When the ledger's file cannot be read.
pub fn by_serial(reader: &Reader, node: NodeId, serial: u64) -> rusqlite::Result<Option<Certificate>> {
    let Some(serial) = Serial::from_u64(serial).filter(|serial| serial.node() == node) else {
        return Ok(None);
    };
    Ok(reader
        .by_number(serial.number())?
        .and_then(|line| Certificate::of_record(&line)))
}

/// What every record of an issued certificate holds; see `Event::new`.
const ISSUE: &str = "\"event\":\"issue\"";

/// The record's time, without parsing the record.
fn time_of(line: &str) -> Option<UnixTime> {
    let (_, rest) = line.split_once("\"time\":\"")?;
    UnixTime::parse_rfc3339(rest.split('"').next()?).ok()
}
