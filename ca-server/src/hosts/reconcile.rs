//! All logins that hosts have reported, judged again: a record that was missing then, or a CA key that came later, shows now.
//! Reads only.

use serde_json::Value;
use signet_core::enrollment::AcceptedLogin;
use signet_core::time::UnixTime;

use super::accepted::{Detector, Verdict};
use super::report::{StolenKeyAlarm, alarm};
use crate::ledger::Reader;

const PAGE: u32 = 1_000;

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// How many logins were looked at.
    pub checked: u64,
    /// Those by certificates that were never issued.
    pub alarms: Vec<StolenKeyAlarm>,
}

/// Judges every login that was reported from `since` on; blocks.
///
/// # Errors
/// When the ledger cannot be read.
pub fn reconcile(detector: &Detector, since: UnixTime) -> rusqlite::Result<Reconciled> {
    let reader = detector.reader()?;
    let mut position = before(&reader, since)?;
    let mut found = Reconciled {
        checked: 0,
        alarms: Vec::new(),
    };
    loop {
        let page = reader.after(position, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        position = *last;
        for (_, record) in &page {
            let Some((host, time, login)) = host_login(record) else {
                continue;
            };
            found.checked += 1;
            if let Verdict::NeverIssued(reason) = detector.judge(&reader, &login)? {
                found.alarms.push(alarm(&host, &login, time, reason));
            }
        }
    }
}

/// The last position whose record is older than `since`, by halving: records are in the order of time, but for clocks that
/// were set back.
fn before(reader: &Reader, since: UnixTime) -> rusqlite::Result<u64> {
    let (mut older, mut newest) = (0, reader.newest()?);
    while older < newest {
        let middle = older + (newest - older) / 2;
        let record = reader.after(middle, 1)?;
        if record.first().is_some_and(|(_, record)| time_of(record) < since) {
            older = middle + 1;
        } else {
            newest = middle;
        }
    }
    Ok(older)
}

fn time_of(record: &str) -> UnixTime {
    let record: Value = serde_json::from_str(record).unwrap_or_default();
    let time = record.get("time").and_then(Value::as_str);
    time.and_then(|time| UnixTime::parse_rfc3339(time).ok())
        .unwrap_or(UnixTime::from_secs(0))
}

/// Host, time and login of a `host-login` record. Most records are none, so the word is looked for before anything is parsed.
fn host_login(record: &str) -> Option<(String, String, AcceptedLogin)> {
    if !record.contains("\"event\":\"host-login\"") {
        return None;
    }
    let record: Value = serde_json::from_str(record).ok()?;
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if text("event") != "host-login" {
        return None;
    }
    let login = AcceptedLogin {
        time: record.get("host_time").and_then(Value::as_u64).unwrap_or_default(),
        account: text("account"),
        address: text("login_address"),
        key_type: text("key_type"),
        fingerprint: text("fingerprint"),
        serial: text("serial"),
        key_id: text("key_id"),
        ca_fingerprint: text("ca_fingerprint"),
        breakglass: false,
    };
    Some((text("host"), text("time"), login))
}
