//! `signet host` where no root is needed: what cannot be read is never taken for sound.

use std::fs;

use crate::world::{World, stderr, stdout};

#[test]
fn cve_2026_44310_what_cannot_be_read_ends_in_a_failure() {
    let world = World::new();
    fs::create_dir(world.path("image")).unwrap();
    fs::write(world.path("garbage"), "garbage").unwrap();
    fs::write(world.path("empty"), "").unwrap();
    let root = format!("-root={}", world.path("image").display());
    let file = |name: &str| world.path(name).display().to_string();
    let bill = |name: &str| format!("-bill={}", file(name));
    let rows: Vec<(Vec<String>, i32)> = vec![
        (vec!["check".into(), root.clone()], 1),
        (vec!["why".into(), root.clone(), file("garbage")], 1),
        (vec!["why".into(), root.clone(), file("empty")], 1),
        (vec!["why".into(), root.clone(), file("missing")], 2),
        (vec!["scan".into(), root.clone(), bill("garbage")], 2),
        (vec!["scan".into(), root.clone(), bill("empty")], 2),
        (vec!["scan".into(), root.clone(), bill("missing")], 2),
        (vec!["scan".into(), format!("-root={}", file("missing"))], 1),
        (
            vec!["bake".into(), root.clone(), format!("-ca-keys={}", file("missing"))],
            2,
        ),
        (vec!["bake".into(), root, "-principals=ubuntu=backend".into()], 2),
    ];
    for (words, code) in rows {
        let words: Vec<&str> = std::iter::once("host")
            .chain(words.iter().map(String::as_str))
            .collect();
        let output = world.run(&words);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{words:?}: {}{}",
            stdout(&output),
            stderr(&output)
        );
    }
}

#[test]
fn a_scan_lists_what_it_finds_as_json_and_ends_in_1() {
    let world = World::new();
    let folder = world.path("image").join("root/.ssh");
    fs::create_dir_all(&folder).unwrap();
    let root = format!("-root={}", world.path("image").display());
    let clean = world.run(&["host", "scan", &root]);
    assert_eq!(
        (clean.status.code(), stdout(&clean).as_str()),
        (Some(0), "0 files, nothing found\n")
    );
    fs::write(folder.join("authorized_keys"), "ssh-ed25519 AAAA packer_1\n").unwrap();
    let found = world.run(&["host", "scan", &root, "-format=json"]);
    assert_eq!(found.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(json["found"][0]["path"], "/root/.ssh/authorized_keys");
    let allowed = world.run(&["host", "scan", &root, "-allow=/root/.ssh"]);
    assert_eq!(allowed.status.code(), Some(0));
}
