//! `signet ca` against the stub.

use serde_json::{Value, json};

use crate::world::{World, stderr, stdout};

#[test]
fn the_status_shows_issuers_the_next_step_and_who_it_waits_for() {
    let world = World::new();
    let shown = stdout(&world.run(&["ca", "status"]));
    for text in [
        "SHA256:old",
        "SHA256:new",
        "next step: promote SHA256:new",
        "not safe now: 1 of 2 enrolled hosts",
        "waiting for old.example.com",
    ] {
        assert!(shown.contains(text), "`{text}` is missing:\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let document: Value = serde_json::from_str(&stdout(&world.run(&["ca", "status", "-format=json"]))).unwrap();
    assert_eq!(document["next"]["laggards"], json!(["old.example.com"]));
}

#[test]
fn the_next_step_is_asked_for_by_name_and_a_refusal_says_why() {
    let world = World::new();
    let refused = world.run(&["ca", "rotate", "-yes"]);
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(
        stderr(&refused).contains("not safe to promote issuer `next`"),
        "{}",
        stderr(&refused)
    );
    let (method, path, body) = world.stub.requests().pop().unwrap();
    assert_eq!((method.as_str(), path.as_str()), ("PUT", "/v1/ssh/rotate"));
    assert_eq!(body, json!({"step": "promote"}));
    let forced = world.run(&["ca", "rotate", "-step=promote", "-force", "-yes"]);
    assert!(stdout(&forced).starts_with("done: promote\n"), "{}", stderr(&forced));
    assert!(stderr(&forced).contains("was forced"), "{}", stderr(&forced));
}

#[test]
fn a_rotation_is_not_begun_unasked_nor_with_flags_of_another_step() {
    let world = World::new();
    for (words, says) in [
        (&["ca", "rotate"][..], "nobody to ask"),
        (
            &["ca", "rotate", "-step=jump", "-yes"],
            "stage, publish, promote, retire, remove",
        ),
        (&["ca", "rotate", "-key-type=rsa", "-yes"], "are for the step stage"),
        (
            &["ca", "rotate", "-step=stage", "-import=/nowhere", "-yes"],
            "cannot be read",
        ),
    ] {
        let output = world.run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{words:?}: {}", stderr(&output));
    }
    let sent = world.stub.requests();
    assert!(sent.iter().all(|(method, _, _)| method == "GET"), "{sent:?}");
}
