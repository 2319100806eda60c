//! `signet hosts` and `signet audit reconcile` against the stub.

use crate::world::{World, stderr, stdout};

#[test]
fn hosts_are_listed_in_the_server_s_order_and_shown_escaped() {
    let world = World::new();
    insta::assert_snapshot!("hosts_ls", stdout(&world.run(&["hosts", "ls"])));
    let stale = stdout(&world.run(&["hosts", "ls", "-stale"]));
    assert!(
        stale.contains("old.example.com") && !stale.contains("new.example.com"),
        "{stale}"
    );
    let json = stdout(&world.run(&["hosts", "ls", "-format=json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["hosts"][0]["host"], "old.example.com");
    assert_eq!(
        stdout(&world.run(&["hosts", "ls", "-field=host"])),
        "old.example.com\nnew.example.com\n"
    );
    let shown = stdout(&world.run(&["hosts", "show", "NEW.example.com"]));
    assert!(
        shown.contains("report.sshd_version") && shown.contains("\\u{1b}"),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn tokens_are_made_and_hosts_forgotten() {
    let world = World::new();
    let words = [
        "hosts",
        "token",
        "-host=db-1.example.com",
        "-tags=db,web",
        "-ttl=30m",
        "-field=token",
    ];
    assert_eq!(stdout(&world.run(&words)), "hst.one\n");
    let (_, path, body) = world.stub.requests().pop().unwrap();
    assert_eq!(path, "/v1/sys/signet/host-tokens");
    assert_eq!(
        body,
        serde_json::json!({"host": "db-1.example.com", "tags": ["db", "web"], "ttl": 1800})
    );
    let forgotten = world.run(&["hosts", "forget", "old.example.com"]);
    assert_eq!(stdout(&forgotten), "old.example.com is forgotten and can enrol anew\n");
    assert!(stderr(&forgotten).contains("stays valid"), "{}", stderr(&forgotten));
    for (words, code, says) in [
        (
            ["hosts", "forget", "no.example.com"],
            1,
            "no host has enrolled as `no.example.com`",
        ),
        (["hosts", "show", "../x"], 2, "the name of a host"),
        (["hosts", "token", "-host=a b"], 2, "the name of a host"),
    ] {
        let output = world.run(&words);
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert!(
            stderr(&output).contains(says) && stderr(&output).contains("hint: "),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn reconcile_ends_in_3_when_a_certificate_was_never_issued() {
    let world = World::new();
    let clean = world.run(&["audit", "reconcile", "-since=7d"]);
    assert_eq!(clean.status.code(), Some(0), "{}", stderr(&clean));
    assert_eq!(
        stdout(&clean),
        "12 logins since 2026-11-19T00:00:00Z, each by a certificate that was issued\n"
    );
    for format in ["-format=table", "-format=json", "-format=yaml"] {
        let alarmed = world.run(&["audit", "reconcile", format]);
        assert_eq!(alarmed.status.code(), Some(3), "{format}");
        assert!(stdout(&alarmed).contains("281474976710999") && !stdout(&alarmed).contains('\u{1b}'));
        assert!(stderr(&alarmed).contains("treat the CA key as stolen"));
    }
    let other = world.run(&["audit", "reconcile", "-since=1h"]);
    assert_eq!(
        other.status.code(),
        Some(1),
        "an answer of another kind is not a clean one"
    );
    assert_eq!(world.run(&["audit", "reconcile", "-since=a&b"]).status.code(), Some(2));
}
