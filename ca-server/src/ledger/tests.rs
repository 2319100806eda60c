//! The ledger under load, failure and restart; its sinks.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use signet_core::ledger::{Verification, Verifier};
use signet_core::serial::NodeId;
use signet_core::time::UnixTime;

use super::mend::{Mending, Source};
use super::{EventKind, FILE, Ledger, LedgerError, LedgerOpenError, Reader};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::sqlite::connect;

fn open_node(data: &Path, node: u16, sinks: &[PathBuf]) -> Result<Ledger, LedgerOpenError> {
    Ledger::open(
        data,
        NodeId(node),
        sinks,
        Clock::fixed(UnixTime::from_secs(1_700_000_000)),
        Metrics::new(),
    )
}

fn open(data: &Path, sinks: &[PathBuf]) -> Ledger {
    open_node(data, 1, sinks).unwrap()
}

fn record(ledger: &Ledger, person: &str) -> Result<u64, LedgerError> {
    ledger.record_blocking(ledger.event(EventKind::Deny).text("person", person))
}

fn lines(data: &Path) -> Vec<String> {
    let records = Reader::open(&data.join(FILE)).unwrap().after(0, u32::MAX).unwrap();
    records.into_iter().map(|(_, line)| line).collect()
}

fn verify<'a>(lines: impl IntoIterator<Item = &'a str>) -> Verification {
    let mut verifier = Verifier::new();
    lines.into_iter().for_each(|line| verifier.check(line));
    verifier.finish()
}

/// Waits until `path` has `count` lines; sinks run in threads of their own.
fn wait_for_lines(path: &Path, count: usize) -> String {
    let given_up = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count && text.ends_with('\n') {
            return text;
        }
        assert!(Instant::now() < given_up, "{} lines after 20 s", text.lines().count());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn many_writers_share_one_unbroken_chain_over_restarts() {
    let data = tempfile::tempdir().unwrap();
    for round in 0..3_u64 {
        let ledger = open(data.path(), &[]);
        let positions = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| (0..20).map(|_| record(&ledger, "alice").unwrap()).collect::<Vec<_>>()))
                .collect();
            writers
                .into_iter()
                .flat_map(|writer| writer.join().unwrap())
                .collect::<std::collections::BTreeSet<_>>()
        });
        let first = round * 320 + 1;
        assert!(
            positions.into_iter().eq(first..first + 320),
            "positions are contiguous and given once"
        );
        ledger.close();
        assert!(matches!(record(&ledger, "late").unwrap_err(), LedgerError::Closed));
    }
    let lines = lines(data.path());
    let verification = verify(lines.iter().map(String::as_str));
    assert_eq!((verification.records, verification.findings), (960, vec![]));
}

#[test]
fn a_full_disk_refuses_clearly_and_recovers_without_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let ledger = open(data.path(), &[]);
    record(&ledger, "before").unwrap();
    let other = connect(&data.path().join(FILE)).unwrap();
    other.execute_batch("CREATE TRIGGER full BEFORE INSERT ON ledger WHEN NEW.record LIKE '%unlucky%' BEGIN SELECT RAISE(ABORT, 'disk full'); END").unwrap();
    let error = record(&ledger, "unlucky").unwrap_err();
    assert!(matches!(error, LedgerError::Store(_)) && error.to_string() == "the ledger cannot be written");
    assert_eq!(
        record(&ledger, "lucky").unwrap(),
        2,
        "the refused record took no position"
    );
    other.execute_batch("DROP TRIGGER full").unwrap();
    record(&ledger, "unlucky").unwrap();
    ledger.close();
    let verification = verify(lines(data.path()).iter().map(String::as_str));
    assert_eq!((verification.records, verification.findings), (3, vec![]));
}

#[test]
fn a_changed_newest_record_and_another_node_are_refused_at_start() {
    let data = tempfile::tempdir().unwrap();
    let ledger = open(data.path(), &[]);
    record(&ledger, "alice").unwrap();
    ledger.close();
    assert!(matches!(
        open_node(data.path(), 2, &[]).unwrap_err(),
        LedgerOpenError::OtherNode { found: 1, .. }
    ));
    let other = connect(&data.path().join(FILE)).unwrap();
    other
        .execute_batch("UPDATE ledger SET record = replace(record, 'alice', 'carol')")
        .unwrap();
    assert!(matches!(
        open_node(data.path(), 1, &[]).unwrap_err(),
        LedgerOpenError::Altered { .. }
    ));
}

#[test]
fn serials_go_on_after_the_last_recorded_one() {
    let data = tempfile::tempdir().unwrap();
    let ledger = open(data.path(), &[]);
    let first = 1_700_000_000_000 << 6;
    assert!(!ledger.has_issued());
    assert_eq!(ledger.reserve_serial().unwrap().number(), first);
    assert!(ledger.has_issued());
    record(&ledger, "alice").unwrap();
    ledger.close();
    let other = connect(&data.path().join(FILE)).unwrap();
    other
        .execute_batch(&format!("UPDATE ledger SET number = {}", first + 41))
        .unwrap();
    let ledger = open(data.path(), &[]);
    assert!(ledger.has_issued());
    let serial = ledger.reserve_serial().unwrap();
    assert_eq!((serial.node(), serial.number()), (NodeId(1), first + 42));
}

#[test]
fn a_sink_follows_is_rotated_and_repairs_a_half_line() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("audit.jsonl");
    let sinks = [path.clone()];
    let ledger = open(data.path(), &sinks);
    (0..3).for_each(|_| assert!(record(&ledger, "alice").is_ok()));
    wait_for_lines(&path, 3);
    let rotated = data.path().join("audit.jsonl.1");
    std::fs::rename(&path, &rotated).unwrap();
    ledger.reopen_sinks();
    let given_up = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < given_up, "never reopened");
        std::thread::sleep(Duration::from_millis(5));
    }
    (0..2).for_each(|_| assert!(record(&ledger, "bob").is_ok()));
    wait_for_lines(&path, 2);
    ledger.close();
    // A crash while writing leaves a half line; the next start cuts it off and writes it whole.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.split_at(text.len() - 10).0).unwrap();
    let ledger = open(data.path(), &sinks);
    record(&ledger, "carol").unwrap();
    wait_for_lines(&path, 3);
    ledger.close();
    let all = std::fs::read_to_string(&rotated).unwrap() + &std::fs::read_to_string(&path).unwrap();
    assert_eq!(verify(all.lines()).findings, []);
    assert_eq!(all.lines().map(str::to_owned).collect::<Vec<_>>(), lines(data.path()));
}

#[test]
fn a_half_line_of_a_very_long_record_is_repaired_too() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("audit.jsonl");
    let ledger = open(data.path(), std::slice::from_ref(&path));
    record(&ledger, "alice").unwrap();
    record(&ledger, &"long".repeat(500_000)).unwrap();
    wait_for_lines(&path, 2);
    ledger.close();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.split_at(text.len() - 10).0).unwrap();
    let ledger = open(data.path(), std::slice::from_ref(&path));
    let text = wait_for_lines(&path, 2);
    ledger.close();
    assert_eq!(text.lines().map(str::to_owned).collect::<Vec<_>>(), lines(data.path()));
}

#[test]
fn a_failing_sink_holds_nobody_up_and_catches_up() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("logs");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("audit.jsonl");
    let ledger = open(data.path(), std::slice::from_ref(&path));
    record(&ledger, "alice").unwrap();
    wait_for_lines(&path, 1);
    // The folder goes away: reopening fails until it is back.
    std::fs::rename(&folder, data.path().join("away")).unwrap();
    ledger.reopen_sinks();
    (0..10).for_each(|_| assert!(record(&ledger, "bob").is_ok()));
    std::fs::rename(data.path().join("away"), &folder).unwrap();
    let text = wait_for_lines(&path, 11);
    assert_eq!(verify(text.lines()).findings, []);
    ledger.close();
}

/// What lies in the folder, at another place: what a snapshot of the disk holds.
fn snapshot(data: &Path, to: &Path) {
    for name in ["ledger.db", "ledger.db-wal"] {
        if data.join(name).exists() {
            std::fs::copy(data.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_ledger_that_was_put_back_is_refused_when_a_sink_knows_better() {
    let (data, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = data.path().join("audit.jsonl");
    let sinks = std::slice::from_ref(&path);
    let ledger = open(data.path(), sinks);
    record(&ledger, "alice").unwrap();
    wait_for_lines(&path, 1);
    ledger.close();
    snapshot(data.path(), kept.path());
    let ledger = open(data.path(), sinks);
    (0..2).for_each(|_| assert!(record(&ledger, "bob").is_ok()));
    wait_for_lines(&path, 3);
    ledger.close();
    snapshot(kept.path(), data.path());
    let refused = open_node(data.path(), 1, sinks).unwrap_err();
    assert!(
        matches!(refused, LedgerOpenError::RolledBack { theirs: 3, ours: 1, .. }),
        "{refused}"
    );
    // Not even when the ledger has gone on from there, as far as the sink and further.
    let ledger = open(data.path(), &[]);
    (0..5).for_each(|_| assert!(record(&ledger, "carol").is_ok()));
    ledger.close();
    assert!(matches!(
        open_node(data.path(), 1, sinks).unwrap_err(),
        LedgerOpenError::RolledBack { theirs: 3, ours: 6, .. }
    ));
    // A sink that lags behind is no sign of anything.
    std::fs::remove_file(&path).unwrap();
    let ledger = open(data.path(), sinks);
    wait_for_lines(&path, 1);
    ledger.close();
}

#[test]
fn what_a_sink_holds_comes_back_into_a_ledger_that_lost_it() {
    let (data, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = data.path().join("audit.jsonl");
    let sinks = std::slice::from_ref(&path);
    let ledger = open(data.path(), sinks);
    record(&ledger, "alice").unwrap();
    ledger.close();
    snapshot(data.path(), kept.path());
    let ledger = open(data.path(), sinks);
    (0..1500).for_each(|_| drop(record(&ledger, "bob")));
    ledger.close();
    let all = lines(data.path());
    let (database, sink) = (data.path().join(FILE), path.clone());
    for source in [Source::Database(database), Source::Sink(sink)] {
        let fresh = tempfile::tempdir().unwrap();
        snapshot(kept.path(), fresh.path());
        let mut mending = Mending::open(&fresh.path().join(FILE), NodeId(1)).unwrap();
        assert_eq!(mending.take_from(&source).unwrap(), 1500, "{source:?}");
        assert_eq!(mending.take_from(&source).unwrap(), 0, "nothing twice");
        drop(mending);
        assert_eq!(lines(fresh.path()), all, "{source:?}");
    }
    // Another server's records, and ours once altered, stay out.
    let text = std::fs::read_to_string(&path).unwrap();
    let altered = text.replacen("bob", "eve", 1);
    std::fs::write(&path, altered).unwrap();
    let mut mending = Mending::open(&kept.path().join(FILE), NodeId(1)).unwrap();
    assert_eq!(mending.take_from(&Source::Sink(path)).unwrap(), 0);
}
