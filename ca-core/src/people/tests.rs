//! What `people.toml` may say, and what is told when it says something else.

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIa+WAsDQ1rqRRG6+nLT+gFN0ee/bipaztddk+RtZ5u3";

#[test]
fn a_person_is_found_by_name_and_by_key() {
    let text = format!(
        "groups = [\"backend\", \"empty\"]\nlogin_groups = [\"acme/ci\"]\n[people.alice]\ngroups = [\"backend\"]\nkeys = [\"{KEY} alice@laptop\"]\nmetadata = {{ team = \"x\" }}\n[people.\"bob.b@example.com\"]\n"
    );
    let people = People::from_toml("people.toml", &text).unwrap();
    let alice = people.person("alice").unwrap();
    assert!(alice.groups().contains("backend"));
    assert_eq!(alice.metadata().get("team").map(String::as_str), Some("x"));
    assert_eq!(
        people.by_key_blob(alice.keys()[0].blob()).map(Person::name),
        Some("alice")
    );
    assert!(people.by_key_blob(b"other").is_none());
    assert!(people.person("bob.b@example.com").unwrap().keys().is_empty());
    assert!(people.knows_group("empty") && people.knows_group("acme/ci") && !people.knows_group("x"));
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = format!(
        r#"groups = ["backend", "on-call", "a b"]
login_groups = ["ci"]
grups = []

[people.alice]
groups = ["bakend", "ci"]
keys = ["{KEY}", "ssh-dss AAAA", 5]

[people.bob]
key = "x"
keys = ["{KEY}"]

[people."bob,root"]
groups = "backend"

[people.carol]
metadata = {{ team = "a\nb" }}
"#
    );
    let mistakes = People::from_toml("people.toml", &text).unwrap_err();
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// GHSA-59w7-v8rr-pr4p: a name that a template would fill in as two names, or as a wildcard.
#[test]
fn names_that_could_become_two_principals_are_refused() {
    for name in ["bob,root", "*", "b*", "bob/../x", "bob root", "", "bob\\n", "bób"] {
        let text = format!("[people.\"{name}\"]\n");
        assert!(People::from_toml("people.toml", &text).is_err(), "{name:?}");
    }
}
