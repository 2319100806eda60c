//! `signet trust`: the @cert-authority line, put in, kept, taken out, and read by the real ssh-keygen.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::stub::ca;
use crate::world::{World, stderr, stdout};

fn known_hosts(world: &World) -> String {
    std::fs::read_to_string(world.path("home/.ssh/known_hosts")).unwrap()
}

#[test]
fn the_line_is_written_once_and_taken_out_again() {
    let world = World::new();
    let words = [
        "trust",
        "-mount-point=hosts",
        "-hostnames=*.example.com,!bad.example.com",
    ];
    // No token: whoever wants to believe an authority need not be known to it.
    let first = world.signet(&words).env_remove("SIGNET_TOKEN").output().unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    assert!(
        stderr(&first).contains("StrictHostKeyChecking yes"),
        "{}",
        stderr(&first)
    );
    let key = ca().public_key().to_openssh().unwrap();
    let line = format!("@cert-authority *.example.com,!bad.example.com {}\n", key.trim());
    let written = known_hosts(&world);
    assert!(written.contains(&line), "{written}");
    assert_eq!(written.lines().count(), 3);
    let path = world.path("home/.ssh/known_hosts");
    let found = Command::new("ssh-keygen")
        .args(["-F", "web.example.com", "-f"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(stdout(&found).contains("@cert-authority"), "{}", stdout(&found));
    let folder = std::fs::metadata(world.path("home/.ssh")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let again = world.run(&words);
    assert!(stdout(&again).contains("nothing was changed"), "{}", stdout(&again));
    assert_eq!(known_hosts(&world), written);
    let undone = world.run(&["trust", "-mount-point=hosts", "-undo"]);
    assert_eq!(undone.status.code(), Some(0), "{}", stderr(&undone));
    assert_eq!(known_hosts(&world), "");
}

#[test]
fn other_lines_and_the_files_mode_are_kept() {
    let world = World::new();
    let path = world.path("kh");
    let mine = "a.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICkfIJ02iFsTrsJsj4NvDfaQ5XFUC1VTzYKbqBJHfYI+";
    std::fs::write(&path, mine).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = path.display().to_string();
    for hostnames in ["*.x.test", "*.y.test"] {
        let output = world.run(&[
            "trust",
            "-mount-point=hosts",
            "-known-hosts",
            &file,
            "-hostnames",
            hostnames,
        ]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written.starts_with(&format!("{mine}\n# signet trust begin ")),
        "{written}"
    );
    assert!(
        written.contains("*.y.test") && !written.contains("*.x.test"),
        "{written}"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    world.run(&["trust", "-mount-point=hosts", "-known-hosts", &file, "-undo"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{mine}\n"));
}

#[test]
fn what_a_server_sends_becomes_no_line_of_its_own() {
    let world = World::new();
    let output = world.run(&["trust", "-mount-point=evil"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(!world.path("home/.ssh").exists());
    for hostnames in ["a b", "*\n@cert-authority *", "!a", "", "#"] {
        let output = world.run(&["trust", "-mount-point=hosts", &format!("-hostnames={hostnames}")]);
        assert_eq!(output.status.code(), Some(2), "{hostnames:?}");
    }
    let printed = world.run(&["trust", "-mount-point=hosts", "-print"]);
    assert!(
        stdout(&printed).starts_with("@cert-authority * ssh-ed25519 "),
        "{}",
        stdout(&printed)
    );
    assert!(!world.path("home/.ssh").exists());
}
