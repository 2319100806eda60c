//! What can be said of a data folder without serving from it: files, chain, seals, references, and whether store and ledger
//! are of one time. Reads only.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;
use signet_core::ledger::{EventKind, Verifier};

use crate::backup::STORE;
use crate::config::Config;
use crate::keyring::Keyring;
use crate::ledger::bond::BondError;
use crate::ledger::{FILE, Reader};
use crate::ledger::{bond, mend};
use crate::store::{Store, StoreError, Table, copy};

/// Something that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// The next step.
    pub next: &'static str,
}

impl Finding {
    fn new(what: impl Into<String>, next: &'static str) -> Self {
        Self {
            what: what.into(),
            next,
        }
    }
}

const RESTORE: &str =
    "restore the newest backup (`signet-ca store restore`); what its ledger lost comes back from the sinks";

/// Rows of [`Table::Settings`] that are not under the keyring.
const PLAIN: [&str; 3] = ["seal", "keyring", bond::KEY];

/// What needs no key: the files and their modes, the two databases, the chain, and the sinks.
#[must_use]
pub fn files(config: &Config) -> Vec<Finding> {
    let mut findings = modes(&config.data);
    for name in [STORE, FILE] {
        let path = config.data.join(name);
        match copy::faults(&path) {
            Ok(faults) => {
                let fault = |fault: String| Finding::new(format!("`{}`: {fault}", path.display()), RESTORE);
                findings.extend(faults.into_iter().map(fault));
            }
            Err(error) => findings.push(Finding::new(format!("`{}`: {error}", path.display()), RESTORE)),
        }
    }
    findings.extend(chain(&config.data.join(FILE)));
    findings.extend(
        config
            .sinks
            .iter()
            .filter_map(|sink| followed(&config.data.join(FILE), sink)),
    );
    findings
}

/// Whether store and ledger are of one time.
///
/// # Errors
/// When one of them cannot be read.
pub fn times(store: &dyn Store, ledger: &Path) -> Result<Option<Finding>, BondError> {
    let finding = || {
        Finding::new(
            BondError::NotOneTime.to_string(),
            "`signet-ca store restored` once both are there",
        )
    };
    Ok((!bond::holds(store, ledger)?).then(finding))
}

/// What lies in a data folder is for its owner alone.
fn modes(data: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut look = |path: &Path| {
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o7777);
        if mode & 0o077 != 0 {
            let what = format!("`{}` has mode {mode:04o}: others can read it", path.display());
            findings.push(Finding::new(
                what,
                "run `chmod go=` on it, and ask who has read it meanwhile",
            ));
        }
    };
    look(data);
    let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        // A certificate is public.
        if path.file_name().is_none_or(|name| name != "tls.crt") {
            look(&path);
        }
    }
    findings
}

fn chain(ledger: &Path) -> Vec<Finding> {
    const NEXT: &str = "somebody changed the ledger: keep a copy, compare with a sink (`signet-ca audit verify`)";
    let unreadable = |error: rusqlite::Error| vec![Finding::new(format!("`{}`: {error}", ledger.display()), RESTORE)];
    let mut verifier = Verifier::new();
    let read = each_record(ledger, |line| verifier.check(line));
    if let Err(error) = read {
        return unreadable(error);
    }
    let findings = verifier.finish().findings;
    findings
        .iter()
        .map(|finding| Finding::new(finding.to_string(), NEXT))
        .collect()
}

fn each_record(ledger: &Path, mut show: impl FnMut(&str)) -> rusqlite::Result<()> {
    let reader = Reader::open(ledger)?;
    let mut position = 0;
    loop {
        let records = reader.after(position, 4096)?;
        let Some((last, _)) = records.last() else {
            return Ok(());
        };
        position = *last;
        for (_, line) in &records {
            show(line);
        }
    }
}

fn followed(ledger: &Path, sink: &Path) -> Option<Finding> {
    let shown = sink.display();
    match mend::goes_on(ledger, sink) {
        Ok(true) => None,
        Ok(false) => Some(Finding::new(
            format!("the audit sink `{shown}` holds records that the ledger has not got"),
            "the data folder was put back to an older state: run `signet-ca store restored`",
        )),
        Err(error) => Some(Finding::new(
            crate::command::chain(&error),
            "make it readable for the server's user",
        )),
    }
}

/// What is wrong with the rows of a store.
#[derive(Debug, Default)]
pub struct Rows {
    /// Nothing can be served with these.
    pub unsound: Vec<Finding>,
    /// These are only in the way: the next start drops them.
    pub left_over: Vec<Finding>,
}

/// What the keyring shows: every sealed row opens, and belongs to something.
///
/// # Errors
/// When the store cannot be read.
pub fn rows(keyring: &Keyring) -> Result<Rows, StoreError> {
    const LEFT: &str = "the mount was deleted while somebody revoked in it: the next start drops the row";
    const LOST: &str = "the mount was deleted or its row is lost: restore a backup if you miss it";
    let store = keyring.store();
    let (mut findings, mut left_over) = (Vec::new(), Vec::new());
    let mut mounts = BTreeSet::new();
    for (path, sealed) in store.scan(Table::Mounts)? {
        match keyring.unseal(Table::Mounts, &path, &sealed) {
            Ok(json) => {
                let mount: Value = serde_json::from_slice(&json).unwrap_or_default();
                let uuid = mount.get("uuid").and_then(Value::as_str).unwrap_or_default();
                mounts.insert(uuid.to_owned());
            }
            Err(error) => findings.push(Finding::new(error.to_string(), RESTORE)),
        }
    }
    for table in Table::ALL.iter().filter(|table| **table != Table::Mounts) {
        for (key, sealed) in store.scan(*table)? {
            if *table == Table::Settings && PLAIN.contains(&key.as_str()) {
                continue;
            }
            if let Err(error) = keyring.unseal(*table, &key, &sealed) {
                findings.push(Finding::new(error.to_string(), RESTORE));
            }
            let owned = matches!(table, Table::CaKeys | Table::Roles | Table::Revocations);
            let uuid = key.split('/').next().unwrap_or_default();
            if owned && !mounts.contains(uuid) {
                let what = format!("`{}/{key}` is of a mount that is not there", table.as_str());
                match table {
                    Table::Revocations => left_over.push(Finding::new(what, LEFT)),
                    _ => findings.push(Finding::new(what, LOST)),
                }
            }
        }
    }
    Ok(Rows {
        unsound: findings,
        left_over,
    })
}

/// What store and ledger say of each other: each CA key in the store has the record of its making, and the newest one that
/// the ledger tells of is in the store.
///
/// # Errors
/// When the ledger cannot be read.
pub fn agreement(keys: &BTreeSet<String>, ledger: &Path) -> rusqlite::Result<Vec<Finding>> {
    let mut told = Told::default();
    each_record(ledger, |line| told.read(line))?;
    let unrecorded = keys.difference(&told.ever).map(|fingerprint| {
        Finding::new(
            format!("the ledger has no record of the making of the CA key {fingerprint}"),
            "the ledger is older than the store, or somebody put the key in: compare with a sink before it signs on",
        )
    });
    let mut findings: Vec<Finding> = unrecorded.collect();
    if let Some((newest, _)) = told.live.last().filter(|(newest, _)| !keys.contains(newest)) {
        findings.push(Finding::new(
            format!("the ledger tells of the CA key {newest}, which the store has not got"),
            "the store is older than the ledger: restore a newer backup, or run `signet-ca store restored`; harmless if the \
             server was killed just as it made that key",
        ));
    }
    Ok(findings)
}

/// The CA keys that a ledger tells of.
#[derive(Debug, Default)]
struct Told {
    /// All of them.
    ever: BTreeSet<String>,
    /// Those that are there still, with their mounts, the newest last.
    live: Vec<(String, String)>,
}

impl Told {
    fn read(&mut self, line: &str) {
        // Most records are of certificates.
        if !line.contains("\"event\":\"ca-") && !line.contains("\"event\":\"mount-delete\"") {
            // What was put back is older than what was told before.
            if line.contains("\"event\":\"restore\"") {
                self.live.clear();
            }
            return;
        }
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let is = |kinds: &[EventKind]| kinds.iter().any(|kind| text("event") == kind.as_str());
        let fingerprint = [text("fingerprint"), text("ca_fingerprint")].concat();
        if is(&[EventKind::CaCreate, EventKind::CaStage]) {
            self.ever.insert(fingerprint.clone());
            self.live.push((fingerprint, text("mount")));
        } else if is(&[EventKind::CaDelete, EventKind::CaRemove]) {
            self.live.retain(|(live, _)| *live != fingerprint);
        } else if is(&[EventKind::MountDelete]) {
            self.live.retain(|(_, mount)| *mount != text("mount"));
        }
    }
}
