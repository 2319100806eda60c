//! The stolen-key detector: a login that a host accepted by a certificate of ours which this ledger never saw. Whoever has a
//! CA key can make such certificates; only the ledger tells them apart.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use signet_core::enrollment::AcceptedLogin;
use signet_core::serial::{NodeId, Serial};

use crate::authority::Authority;
use crate::ledger::{FILE, Reader};

/// What the ledger knows of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// By a plain key, which no authority gives.
    PlainKey,
    /// By a certificate of a CA that is none of ours (the break-glass CA, a neighbour's).
    ForeignCa,
    /// By a certificate of ours that is in the ledger.
    Issued,
    /// By a certificate of ours that was never issued: an alarm.
    NeverIssued(&'static str),
}

/// What is needed to judge logins; can go to a thread that may wait.
#[derive(Debug, Clone)]
pub struct Detector {
    ledger: PathBuf,
    node: NodeId,
    ca_keys: BTreeSet<String>,
}

impl Detector {
    /// For this server's ledger and the CA keys of its mounts.
    #[must_use]
    pub fn new(authority: &Authority) -> Self {
        let issuers = authority.mounts.list().into_iter().flat_map(|mount| mount.issuers());
        Self {
            ledger: authority.config.data.join(FILE),
            node: authority.config.node,
            ca_keys: issuers.map(|issuer| issuer.fingerprint()).collect(),
        }
    }

    /// Opens the ledger for reading; blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reader(&self) -> rusqlite::Result<Reader> {
        Reader::open(&self.ledger)
    }

    /// Judges a login by the record that its serial leads to; blocks.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn judge(&self, reader: &Reader, login: &AcceptedLogin) -> rusqlite::Result<Verdict> {
        // sshd's log lines end after 1 KiB, and a long key ID pushes serial and CA out of them. Nobody here issues such a one.
        if login.key_type.ends_with("-CERT") && (login.serial.is_empty() || login.ca_fingerprint.is_empty()) {
            return Ok(Verdict::NeverIssued("its serial and CA are not in the host's log"));
        }
        if login.serial.is_empty() && login.ca_fingerprint.is_empty() {
            return Ok(Verdict::PlainKey);
        }
        if !self.ca_keys.contains(&login.ca_fingerprint) {
            return Ok(Verdict::ForeignCa);
        }
        let number = login.serial.parse().ok().and_then(Serial::from_u64);
        let Some(serial) = number.filter(|serial| serial.node() == self.node) else {
            return Ok(Verdict::NeverIssued("no authority here gives such a serial"));
        };
        let record = reader.by_number(serial.number())?;
        Ok(record.map_or(
            Verdict::NeverIssued("no certificate with this serial was issued"),
            |record| compare(&record, login),
        ))
    }
}

fn compare(record: &str, login: &AcceptedLogin) -> Verdict {
    // A record that does not read is no proof of anything.
    let record: Value = serde_json::from_str(record).unwrap_or_default();
    let is = |name: &str, wanted: &str| record.get(name).and_then(Value::as_str) == Some(wanted);
    if !is("serial", &login.serial) {
        Verdict::NeverIssued("no certificate with this serial was issued")
    } else if !is("fingerprint", &login.fingerprint) {
        Verdict::NeverIssued("the certificate with this serial was issued for another key")
    } else if !is("key_id", &login.key_id) {
        Verdict::NeverIssued("the certificate with this serial was issued with another key ID")
    } else if is("cert_type", "user") {
        Verdict::Issued
    } else {
        Verdict::NeverIssued("the certificate with this serial was issued for a host")
    }
}
