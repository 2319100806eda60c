//! The tamper table: each thing that can be done to a ledger, and how the verifier names it.

use super::{Event, EventKind, Finding, Head, Query, Verification, Verifier, seal};
use crate::serial::NodeId;

fn chain(length: u64) -> Vec<String> {
    let mut head = Head::EMPTY;
    let mut lines = Vec::new();
    for number in 1..=length {
        let event = Event::new(EventKind::Deny, 1_700_000_000_000 + number)
            .text("person", "alice")
            .number("n", number);
        let (line, next) = seal(head, NodeId(1), &event);
        lines.push(line);
        head = next;
    }
    lines
}

/// A record sealed properly at a place of the forger's choice.
fn forged(after: &str, person: &str) -> String {
    let event = Event::new(EventKind::Deny, 1_700_000_000_000).text("person", person);
    seal(Head::of_line(after).unwrap(), NodeId(1), &event).0
}

fn verify(lines: &[String]) -> Verification {
    let mut verifier = Verifier::new();
    for line in lines {
        verifier.check(line);
    }
    verifier.finish()
}

#[test]
fn a_record_is_one_line_of_json_with_its_hash_last() {
    let event = Event::new(EventKind::Deny, 1_700_000_000_123)
        .text("person", "al\"ice\n\u{1b}[2J\u{2028}")
        .list("principals", ["a", "b"])
        .map("critical_options", [("force-command", "/bin/true")])
        .flag("touch", true)
        .optional("absent", None);
    let (line, head) = seal(Head::EMPTY, NodeId(3), &event);
    assert!(line.starts_with(&format!(
        "{{\"prev\":\"{}\",\"position\":1,\"node\":3,\"time\":\"2023-11-14T22:13:20.123Z\"",
        "0".repeat(64)
    )));
    assert!(line.ends_with(&format!(",\"hash\":\"{}\"}}", head.hash)));
    assert!(
        !line.contains(['\n', '\u{1b}', '\u{2028}']),
        "no value ends its line: {line}"
    );
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["person"], "al\"ice\n\u{1b}[2J\u{2028}");
    assert_eq!(value["critical_options"]["force-command"], "/bin/true");
    assert_eq!(Head::of_line(&line), Some(head));
}

#[test]
fn a_sound_ledger_has_no_findings_and_tells_its_head() {
    let lines = chain(9);
    let verification = verify(&lines);
    assert_eq!(verification.findings, []);
    assert_eq!(
        (verification.records, verification.head),
        (9, Head::of_line(&lines[8]).unwrap())
    );
}

#[test]
fn every_tampering_is_found_and_named() {
    let sound = chain(9);
    let edited = |edit: &dyn Fn(&mut Vec<String>)| {
        let mut lines = sound.clone();
        edit(&mut lines);
        verify(&lines).findings
    };
    let rows: Vec<(&str, Vec<Finding>, Vec<Finding>)> = vec![
        (
            "a changed record",
            edited(&|lines| lines[4] = lines[4].replace("alice", "carol")),
            vec![Finding::Changed { position: 5 }],
        ),
        (
            "a changed record, its hash computed again",
            edited(&|lines| lines[4] = forged(&lines[3], "carol")),
            vec![Finding::Resealed { position: 5 }],
        ),
        (
            "a removed record",
            edited(&|lines| drop(lines.remove(4))),
            vec![Finding::Removed { first: 5, last: 5 }],
        ),
        (
            "removed records",
            edited(&|lines| drop(lines.drain(2..5))),
            vec![Finding::Removed { first: 3, last: 5 }],
        ),
        (
            "the first removed",
            edited(&|lines| drop(lines.remove(0))),
            vec![Finding::Removed { first: 1, last: 1 }],
        ),
        (
            "two swapped",
            edited(&|lines| lines.swap(4, 5)),
            vec![Finding::Reordered { position: 5, line: 6 }],
        ),
        (
            "one moved to the end",
            edited(&|lines| {
                let line = lines.remove(2);
                lines.push(line);
            }),
            vec![Finding::Reordered { position: 3, line: 9 }],
        ),
        (
            "a copy inserted",
            edited(&|lines| lines.insert(6, lines[1].clone())),
            vec![Finding::Inserted { position: 2, line: 7 }],
        ),
        (
            "a forgery before the genuine one",
            edited(&|lines| lines.insert(4, forged(&lines[3], "carol"))),
            vec![Finding::Inserted { position: 5, line: 5 }],
        ),
        (
            "a forgery behind the genuine one",
            edited(&|lines| lines.insert(5, forged(&lines[3], "carol"))),
            vec![Finding::Inserted { position: 5, line: 6 }],
        ),
        (
            "a forgery in the first place",
            edited(&|lines| lines[0] = seal(Head::EMPTY, NodeId(1), &Event::new(EventKind::Stop, 1)).0),
            vec![Finding::Resealed { position: 1 }],
        ),
        (
            "rubbish",
            edited(&|lines| lines.insert(3, "{}".to_owned())),
            vec![Finding::Malformed { line: 4 }],
        ),
    ];
    for (name, found, expected) in rows {
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_cut_or_rewritten_ledger_is_found_by_a_noted_head() {
    let lines = chain(9);
    let noted = Head::of_line(&lines[8]).unwrap();
    let check = |lines: &[String]| {
        let mut verifier = Verifier::new().noted(noted);
        for line in lines {
            verifier.check(line);
        }
        verifier.finish().findings
    };
    assert_eq!(check(&lines), []);
    assert_eq!(check(&lines[..7]), [Finding::NotAsNoted { position: 9 }], "cut");
    let mut rewritten = lines[..3].to_vec();
    while rewritten.len() < 12 {
        rewritten.push(forged(&rewritten[rewritten.len() - 1], "carol"));
    }
    assert_eq!(check(&rewritten), [Finding::NotAsNoted { position: 9 }], "written anew");
}

#[test]
fn a_part_of_a_ledger_verifies_as_a_part_only() {
    let lines = chain(9);
    let mut verifier = Verifier::of_part();
    for line in &lines[4..] {
        verifier.check(line);
    }
    assert_eq!(verifier.finish().findings, []);
    assert_eq!(verify(&lines[4..]).findings, [Finding::Removed { first: 1, last: 4 }]);
}

#[test]
fn wild_positions_cost_no_memory() {
    let far = seal(
        Head {
            position: u64::MAX - 2,
            ..Head::EMPTY
        },
        NodeId(1),
        &Event::new(EventKind::Stop, 1),
    )
    .0;
    let findings = verify(&[far.clone(), far]).findings;
    assert_eq!(
        findings.first(),
        Some(&Finding::Removed {
            first: 1,
            last: u64::MAX - 2
        })
    );
}

#[test]
fn a_search_finds_by_every_part() {
    let record = serde_json::json!({"time":"2026-11-22T03:00:00.500Z","event":"issue","person":"alice","role":"r",
        "principals":["ubuntu"],"serial":"281474976710657","key_id":"k","fingerprint":"SHA256:x"});
    let at = |text| Some(crate::time::UnixTime::parse_rfc3339(text).unwrap());
    let fits = [
        Query {
            person: Some("alice".into()),
            ..Query::default()
        },
        Query {
            principal: Some("ubuntu".into()),
            ..Query::default()
        },
        Query {
            serial: Some(281_474_976_710_657),
            ..Query::default()
        },
        Query {
            event: Some(EventKind::Issue),
            fingerprint: Some("SHA256:x".into()),
            ..Query::default()
        },
        Query {
            since: at("2026-11-22T03:00:00Z"),
            until: at("2026-11-22T03:00:01Z"),
            ..Query::default()
        },
    ];
    for query in fits {
        assert!(query.fits(&record), "{query:?}");
        assert!(
            query.needle().is_none_or(|needle| record.to_string().contains(&needle)),
            "{query:?}"
        );
    }
    let misses = [
        Query {
            person: Some("ali".into()),
            ..Query::default()
        },
        Query {
            principal: Some("root".into()),
            ..Query::default()
        },
        Query {
            event: Some(EventKind::Deny),
            ..Query::default()
        },
        Query {
            until: at("2026-11-22T03:00:00Z"),
            ..Query::default()
        },
    ];
    for query in misses {
        assert!(!query.fits(&record), "{query:?}");
    }
    assert_eq!(Query::event_of("isue").unwrap_err().hint, Some("issue"));
}
