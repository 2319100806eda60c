//! `signet ca` against the stub.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use signet_core::signer::{KeyFile, Signer as _, SoftwareSigner};

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

/// A key by the real ssh-keygen, without its `.pub`; the line of that.
fn key_file(path: &Path, passphrase: &str) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ecdsa", "-a", "4", "-C", "", "-N", passphrase, "-f"])
        .arg(path)
        .output()
        .expect("ssh-keygen is missing: apt-get install openssh-client");
    assert!(made.status.success(), "{made:?}");
    let public = path.with_extension("pub");
    let line = std::fs::read_to_string(&public).unwrap();
    std::fs::remove_file(public).unwrap();
    line.trim().to_owned()
}

fn private_file(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn an_encrypted_key_is_opened_here_and_sent_as_vault_takes_it() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    let public = key_file(&at("ca"), "the right one");
    let import = format!("-import={}", at("ca").display());
    let stage = ["ca", "rotate", "-step=stage", "-yes", import.as_str()];
    private_file(&at("right"), "the right one\n");
    private_file(&at("wrong"), "the wrong one\n");
    let by_file = |name: &str| format!("-passphrase-file={}", at(name).display());
    for (flag, says) in [
        ("", "there is no terminal to ask for the passphrase"),
        (
            by_file("wrong").as_str(),
            "the passphrase is wrong, or the file is damaged",
        ),
        (by_file("none").as_str(), "cannot be read"),
    ] {
        let words: Vec<&str> = stage
            .iter()
            .copied()
            .chain(Some(flag).filter(|flag| !flag.is_empty()))
            .collect();
        let output = world.run(&words);
        assert_ne!(output.status.code(), Some(0), "{flag}");
        assert!(stderr(&output).contains(says), "{flag}: {}", stderr(&output));
    }
    assert!(
        world.stub.requests().iter().all(|(method, _, _)| method == "GET"),
        "nothing was sent"
    );
    // From a file and from stdin; the public half beside it is checked if it is there.
    let sent = |output: &std::process::Output| {
        assert!(output.status.success(), "{}", stderr(output));
        let (_, _, body) = world.stub.requests().pop().unwrap();
        assert_eq!(body["public_key"].as_str().unwrap().trim(), public);
        assert!(
            body.get("private_key_passphrase").is_none(),
            "the passphrase stays here"
        );
        let signer = SoftwareSigner::import(KeyFile {
            private: body["private_key"].as_str().unwrap(),
            public: None,
            passphrase: None,
        });
        assert_eq!(signer.unwrap().public_key().line(), public);
    };
    sent(&world.run(&[&stage[..], &[&by_file("right")]].concat()));
    let mut typing = world
        .signet(&[&stage[..], &["-passphrase-file=-"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    typing.stdin.take().unwrap().write_all(b"the right one\n").unwrap();
    sent(&typing.wait_with_output().unwrap());
    std::fs::write(at("ca.pub"), &public).unwrap();
    sent(&world.run(&[&stage[..], &[&by_file("right")]].concat()));
    let before = world.stub.requests().len();
    std::fs::write(at("ca.pub"), key_file(&at("other"), "")).unwrap();
    let mismatch = world.run(&[&stage[..], &[&by_file("right")]].concat());
    assert!(
        stderr(&mismatch).contains("is not the public half of"),
        "{}",
        stderr(&mismatch)
    );
    assert_eq!(world.stub.requests().len(), before);
}

#[test]
fn a_key_on_a_token_or_in_kms_is_named_and_never_beside_a_file() {
    let world = World::new();
    let stage = ["ca", "rotate", "-step=stage", "-yes"];
    let named = world.run(
        &[
            &stage[..],
            &["-key-holder=hsm", "-key-label=ca 2027", "-key-type=ec", "-key-bits=256"],
        ]
        .concat(),
    );
    assert!(named.status.success(), "{}", stderr(&named));
    let (_, _, body) = world.stub.requests().pop().unwrap();
    let wanted =
        json!({"step": "stage", "key_holder": "hsm", "key_label": "ca 2027", "key_type": "ec", "key_bits": "256"});
    assert_eq!(body, wanted);
    for flags in [
        &["-key-holder=hsm", "-import=/x"][..],
        &["-key-label=x"],
        &["-key-id=x"],
        &["-key-holder=hsm", "-key-label=x", "-key-id=y"],
        &["-passphrase-file=/x"],
    ] {
        let output = world.run(&[&stage[..], flags].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {}", stderr(&output));
    }
}
