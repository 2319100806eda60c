//! The agent from outside: one fetch for many, reuse, isolation, the real ssh-add.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::stub::TOKEN;
use crate::world::{World, stderr, stdout};

#[test]
fn two_hundred_parallel_runs_make_one_request() {
    let world = World::new();
    world.script("ssh", "exit 0");
    let children: Vec<_> = (0..200)
        .map(|_| {
            world
                .signet(&["ssh", "-role=my-role", "ubuntu@host", "true"])
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(world.stub.signs(), 1);
}

#[test]
fn a_certificate_is_shared_only_by_equal_requests_with_the_same_token() {
    let world = World::new();
    let run = |words: &[&str], token: &str| {
        let all: Vec<&str> = ["ssh", "-role=my-role"].iter().chain(words).copied().collect();
        let output = world.signet(&all).env("SIGNET_TOKEN", token).output().unwrap();
        assert_eq!(output.status.code(), Some(42), "{}", stderr(&output));
        world.agent_socket()
    };
    let first = run(&["ubuntu@a"], TOKEN);
    assert_eq!(run(&["ubuntu@b"], TOKEN), first, "another host, the same certificate");
    assert_eq!(world.stub.signs(), 1);
    let other_token = run(&["ubuntu@a"], "hvs.good-but-of-somebody-else");
    assert_ne!(other_token, first);
    assert_ne!(run(&["deploy@a"], TOKEN), first);
    assert_ne!(run(&["-ttl=5m", "ubuntu@a"], TOKEN), first);
    assert_eq!(world.stub.signs(), 4);
}

#[test]
fn a_failure_is_shared_by_all_who_wait_and_not_remembered() {
    let world = World::new();
    let run = || world.run(&["ssh", "-role=my-role", "root@host"]);
    let refused = run();
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(
        stderr(&refused).contains("hint: allowed here: ubuntu, deploy"),
        "{}",
        stderr(&refused)
    );
    assert_eq!(run().status.code(), Some(3));
    assert_eq!(world.stub.signs(), 2);
    assert!(world.argv().is_none());
}

#[test]
fn the_authority_may_be_away_while_a_certificate_lives() {
    let world = World::new();
    // So short that it is not fresh any more by the second run, but valid.
    world.stub.certificates_live(600);
    assert_eq!(
        world.run(&["ssh", "-role=my-role", "ubuntu@host"]).status.code(),
        Some(42)
    );
    world.stub.go_down();
    assert_eq!(
        world.run(&["ssh", "-role=my-role", "ubuntu@host"]).status.code(),
        Some(42)
    );
    let other = world.run(&["ssh", "-role=my-role", "deploy@host"]);
    assert_eq!(other.status.code(), Some(5), "{}", stderr(&other));
}

#[test]
fn the_real_ssh_add_sees_one_certificate_and_its_key_works() {
    let world = World::new();
    assert_eq!(
        world.run(&["ssh", "-role=my-role", "ubuntu@host"]).status.code(),
        Some(42)
    );
    let socket = world.agent_socket();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::metadata(world.path("run/signet"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
    let add = |word: &str| {
        Command::new("ssh-add")
            .arg(word)
            .env("SSH_AUTH_SOCK", &socket)
            .output()
            .unwrap()
    };
    let listed = stdout(&add("-l"));
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(listed.contains("(ED25519-CERT)"), "{listed}");
    let public = world.path("cert.pub");
    std::fs::write(&public, add("-L").stdout).unwrap();
    // -T makes the agent sign and checks the signature.
    let tested = Command::new("ssh-add")
        .arg("-T")
        .arg(&public)
        .env("SSH_AUTH_SOCK", &socket)
        .output()
        .unwrap();
    assert!(tested.status.success(), "{}", stderr(&tested));
    // Nothing can be put in or taken out.
    assert!(!add("-D").status.success());
    assert_eq!(stdout(&add("-l")), listed);
    let home = world.files("home");
    assert_eq!(home, Vec::<std::path::PathBuf>::new(), "nothing is written under HOME");
    for file in world.files("run") {
        assert_eq!(std::fs::read(&file).unwrap(), b"", "{} holds nothing", file.display());
    }
}

#[test]
fn the_agent_ends_when_it_is_told_to_and_takes_its_sockets_along() {
    let world = World::new();
    assert_eq!(stdout(&world.run(&["agent", "-status"])), "no agent is running\n");
    assert_eq!(
        world.run(&["ssh", "-role=my-role", "ubuntu@host"]).status.code(),
        Some(42)
    );
    let socket = world.agent_socket();
    assert_eq!(
        stdout(&world.run(&["agent", "-status"])),
        "the agent holds 1 certificates\n"
    );
    assert_eq!(stdout(&world.run(&["logout"])), "logged out: the token is revoked\n");
    assert_eq!(
        stdout(&world.run(&["agent", "-status"])),
        "the agent holds 0 certificates\n",
        "logout forgets"
    );
    assert_eq!(stdout(&world.run(&["agent", "-stop"])), "the agent has ended\n");
    assert!(!socket.exists());
}

#[test]
fn the_agents_process_shows_no_token() {
    let world = World::new();
    assert_eq!(
        world.run(&["ssh", "-role=my-role", "ubuntu@host"]).status.code(),
        Some(42)
    );
    let home = world.path("home").display().to_string();
    let mut seen = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let argv = String::from_utf8_lossy(&read("cmdline")).into_owned();
        let environ = String::from_utf8_lossy(&read("environ")).into_owned();
        if argv.contains("-detached") && environ.contains(&home) {
            seen += 1;
            assert!(!argv.contains(TOKEN) && !environ.contains(TOKEN));
        }
    }
    // An undumpable process shows its environment to root alone.
    assert!(
        seen == 1 || !rustix::process::geteuid().is_root(),
        "the agent was looked at"
    );
}
