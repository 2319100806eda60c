//! `signet revoke`: shown first, asked, then done.

use serde_json::{Value, json};

use crate::stub::ca;
use crate::world::{World, stderr, stdout};

/// The bodies of what was asked of `<mount>/revoke`.
fn bodies(world: &World) -> Vec<Value> {
    let requests = world.stub.requests();
    let revokes = requests.into_iter().filter(|(_, path, _)| path.ends_with("/revoke"));
    revokes.map(|(_, _, body)| body).collect()
}

#[test]
fn it_shows_what_it_hits_then_does_it() {
    let world = World::new();
    let output = world.run(&[
        "revoke",
        "-person=alice",
        "-since=2026-11-22T00:00:00Z",
        "-reason=laptop lost",
        "-yes",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("Serial") && text.contains("ubuntu, deploy"), "{text}");
    assert!(!text.contains('\u{1b}'), "a key ID cannot drive the terminal: {text}");
    assert!(
        text.ends_with("revoked 2 certificates; the list has version 5, hosts refuse them when they have fetched it\n")
    );
    assert!(stderr(&output).contains("warning: only certificates that live now are revoked"));
    let fields = json!({"person": "alice", "issued_since": "2026-11-22T00:00:00Z", "reason": "laptop lost"});
    let mut dry = fields.clone();
    dry["dry_run"] = json!(true);
    assert_eq!(bodies(&world), [dry, fields]);
}

#[test]
fn without_somebody_to_ask_it_does_nothing() {
    let world = World::new();
    let output = world.run(&["revoke", "-serial=7", "-reason=x", "-non-interactive"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("use -yes"), "{}", stderr(&output));
    assert_eq!(bodies(&world), Vec::<Value>::new());
}

#[test]
fn a_dry_run_asks_nobody_and_needs_no_reason() {
    let world = World::new();
    let output = world.run(&[
        "revoke",
        "-serial=7,8",
        "-serial=0x9",
        "-dry-run",
        "-format=json",
        "-non-interactive",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&shown["dry_run"], &shown["hits"][1]["serial"]),
        (&json!(true), &json!("7"))
    );
    let bodies = bodies(&world);
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0]["serial"], json!(["7", "8", "0x9"]));
}

#[test]
fn what_hits_nothing_is_not_sent_again() {
    let world = World::new();
    let output = world.run(&["revoke", "-person=nobody", "-reason=x", "-yes"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stdout(&output).ends_with("nothing was revoked\n"),
        "{}",
        stdout(&output)
    );
    assert_eq!(bodies(&world).len(), 1);
}

#[test]
fn the_public_key_is_sent_bare() {
    let world = World::new();
    let line = ca().public_key().to_openssh().unwrap();
    std::fs::write(world.path("key.pub"), format!("{line} alice@laptop\n")).unwrap();
    let key = world.path("key.pub").display().to_string();
    let output = world.run(&["revoke", "-public-key", &key, "-reason=x", "-yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(bodies(&world)[1]["public_key"], json!(line.trim()));
    std::fs::write(world.path("key"), "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let key = world.path("key").display().to_string();
    let output = world.run(&["revoke", "-public-key", &key, "-reason=x", "-yes"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(bodies(&world).len(), 2, "a private key goes nowhere");
}

#[test]
fn what_selects_nothing_is_a_mistake_on_the_command_line() {
    let world = World::new();
    for words in [
        &["revoke", "-reason=x", "-yes"][..],
        &["revoke", "-person=", "-reason=x", "-yes"],
        &["revoke", "-serial=", "-reason=x", "-yes"],
        &["revoke", "-person=alice", "-yes"],
        &["revoke", "-person=alice", "-reason= ", "-yes"],
        &["revoke", "-person=alice", "-since=yesterday", "-reason=x", "-yes"],
        &["revoke", "-public-key=/no/key.pub", "-reason=x", "-yes"],
    ] {
        let output = world.run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
    }
    assert_eq!(bodies(&world), Vec::<Value>::new());
    let output = world.run(&["revoke", "-person=mallory", "-reason=x", "-yes"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn what_is_revoked_is_listed_and_can_be_taken_back() {
    let world = World::new();
    let listed = world.run(&["revocations", "ls"]);
    assert_eq!(listed.status.code(), Some(0), "{}", stderr(&listed));
    let text = stdout(&listed);
    assert!(
        text.contains("e-1") && text.contains("person alice") && text.contains("petra"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "a reason cannot drive the terminal: {text}");
    let none = world.run(&["revocations", "ls", "-mount-point=other"]);
    assert_eq!(stdout(&none), "nothing is revoked\n");
    let taken = world.run(&["revocations", "rm", "e-1"]);
    assert_eq!(taken.status.code(), Some(0), "{}", stderr(&taken));
    assert!(stdout(&taken).starts_with("e-1 is taken back"), "{}", stdout(&taken));
    let unknown = world.run(&["revocations", "rm", "e-2"]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(
        stderr(&unknown).contains("there is no revocation `e-2`"),
        "{}",
        stderr(&unknown)
    );
    let climbing = world.run(&["revocations", "rm", "../roles/x"]);
    assert_eq!(climbing.status.code(), Some(2), "{}", stderr(&climbing));
}
