//! `signet inspect` from outside.

use std::io::Write as _;
use std::process::Stdio;

use crate::world::{World, stderr, stdout};

#[test]
fn garbage_an_empty_file_and_a_missing_file_all_fail() {
    let world = World::new();
    std::fs::write(world.path("garbage"), [0xff; 40]).unwrap();
    std::fs::write(world.path("empty"), "").unwrap();
    std::fs::write(world.path("text"), "hello\n").unwrap();
    for name in ["garbage", "empty", "text", "missing"] {
        let output = world.run(&["inspect", &world.path(name).display().to_string()]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", stderr(&output));
        assert!(stdout(&output).is_empty());
    }
    assert_eq!(world.run(&["inspect"]).status.code(), Some(1), "empty stdin");
}

#[test]
fn ssh_keygens_own_certificates_are_read_also_those_that_live_for_ever() {
    let world = World::new();
    let keygen = |words: &[&str]| {
        let status = std::process::Command::new("ssh-keygen")
            .args(words)
            .current_dir(world.path("home"))
            .status();
        assert!(status.unwrap().success());
    };
    for (ca, subject) in [("ed25519", "rsa"), ("ecdsa", "ed25519"), ("rsa", "ecdsa")] {
        keygen(&["-q", "-N", "", "-t", ca, "-f", &format!("ca-{ca}")]);
        keygen(&["-q", "-N", "", "-t", subject, "-f", &format!("key-{subject}")]);
        let public = format!("key-{subject}.pub");
        keygen(&[
            "-q",
            "-s",
            &format!("ca-{ca}"),
            "-I",
            "me",
            "-n",
            "root",
            "-z",
            "5",
            "-O",
            "force-command=id",
            &public,
        ]);
        let path = world.path(&format!("home/key-{subject}-cert.pub"));
        let output = world.run(&["inspect", "-format=json", &path.display().to_string()]);
        assert!(output.status.success(), "{}", stderr(&output));
        let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(seen["signature"], "right");
        assert_eq!(seen["critical_options"][0]["value"], "id");
        let odd: Vec<&str> = seen["oddities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|odd| odd["text"].as_str().unwrap())
            .collect();
        assert_eq!(odd, ["valid for ever"], "{ca} {subject}");
        let listed = std::process::Command::new("ssh-keygen")
            .arg("-Lf")
            .arg(&path)
            .output()
            .unwrap();
        let fingerprint = seen["subject_key"]["fingerprint"].as_str().unwrap();
        assert!(stdout(&listed).contains(fingerprint), "{fingerprint}");
    }
}

#[test]
fn a_certificate_on_stdin_with_a_changed_byte_fails() {
    let world = World::new();
    std::fs::write(
        world.path("key.pub"),
        crate::stub::ca().public_key().to_openssh().unwrap(),
    )
    .unwrap();
    let key = world.path("key.pub").display().to_string();
    let line = stdout(&world.run(&["sign", "-role=my-role", &key]));
    let inspect = |text: &str| {
        let mut command = world.signet(&["inspect", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(inspect(&line).status.success());
    let mut changed = line.trim().to_owned();
    let end = changed.len() - 8;
    let other = if changed.get(end..=end) == Some("A") { "B" } else { "A" };
    changed.replace_range(end..=end, other);
    let output = inspect(&changed);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("refused: the signature is not the CA key's"),
        "{}",
        stdout(&output)
    );
}
