//! `signet login` and what hangs on the token.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use crate::stub::TOKEN;
use crate::world::{World, stderr, stdout};

/// A real ssh-agent, ended with the test.
struct RealAgent(Child, std::path::PathBuf);

impl RealAgent {
    fn start(world: &World) -> Self {
        let socket = world.path("real-agent.sock");
        let child = Command::new("ssh-agent")
            .arg("-Da")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Self(child, socket)
    }

    fn add(&self, key: &std::path::Path) {
        let status = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.1)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for RealAgent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn make_key(world: &World, name: &str, kind: &[&str]) -> std::path::PathBuf {
    let key = world.path(name);
    let status = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-t"])
        .args(kind)
        .arg("-f")
        .arg(&key)
        .status()
        .unwrap();
    assert!(status.success());
    key
}

fn public(key: &std::path::Path) -> String {
    std::fs::read_to_string(key.with_extension("pub")).unwrap()
}

#[test]
fn the_ssh_agents_keys_are_tried_until_one_is_known() {
    let world = World::new();
    let agent = RealAgent::start(&world);
    for (name, kind) in [
        ("a", &["ed25519"][..]),
        ("b", &["ecdsa"]),
        ("c", &["rsa", "-b", "2048"]),
    ] {
        let key = make_key(&world, name, kind);
        agent.add(&key);
        world.stub.know(&public(&key));
        let mut command = world.signet(&["login"]);
        let output = command
            .env("SSH_AUTH_SOCK", &agent.1)
            .env_remove("SIGNET_TOKEN")
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        assert!(!stdout(&output).contains(TOKEN), "the token is not shown");
        assert!(stdout(&output).contains("alice"));
    }
    let file = world.path("home/.config/signet/token");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), TOKEN);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.files("home"), [file]);

    let mut who = world.signet(&["whoami", "-format=json"]);
    let who: serde_json::Value =
        serde_json::from_slice(&who.env_remove("SIGNET_TOKEN").output().unwrap().stdout).unwrap();
    assert_eq!(who["person"], "alice");
    let out = world.signet(&["logout"]).env_remove("SIGNET_TOKEN").output().unwrap();
    assert!(out.status.success());
    let after = world.signet(&["whoami"]).env_remove("SIGNET_TOKEN").output().unwrap();
    assert_eq!(after.status.code(), Some(4), "{}", stderr(&after));
}

#[test]
fn a_key_file_logs_in_without_an_agent_and_an_unknown_key_does_not() {
    let world = World::new();
    let key = make_key(&world, "key", &["ed25519"]);
    let login = |path: &str| {
        let words = ["login", "-key", path, "-no-store", "-field=token"];
        world.signet(&words).env_remove("SIGNET_TOKEN").output().unwrap()
    };
    let refused = login(key.to_str().unwrap());
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    world.stub.know(&public(&key));
    assert_eq!(stdout(&login(key.to_str().unwrap())), format!("{TOKEN}\n"));
    assert_eq!(world.files("home"), Vec::<std::path::PathBuf>::new());
    let missing = login("/no/such/key");
    assert_eq!(missing.status.code(), Some(2), "{}", stderr(&missing));
}

#[test]
fn a_ci_job_logs_in_with_a_jwt_from_a_file_or_a_variable() {
    let world = World::new();
    std::fs::write(world.path("jwt"), "good.jwt\n").unwrap();
    let file = world.path("jwt").display().to_string();
    let words = ["login", "-method=jwt", "-role=ci", "-no-store", "-field=token"];
    let from_file = world.run(&[&words[..], &["-jwt-file", &file]].concat());
    assert_eq!(stdout(&from_file), format!("{TOKEN}\n"), "{}", stderr(&from_file));
    let from_variable = world.signet(&words).env("SIGNET_JWT", "good.jwt").output().unwrap();
    assert_eq!(stdout(&from_variable), format!("{TOKEN}\n"));
    let bad = world.signet(&words).env("SIGNET_JWT", "bad").output().unwrap();
    assert_eq!(bad.status.code(), Some(3), "{}", stderr(&bad));
    let none = world.run(&words);
    assert_eq!(none.status.code(), Some(2), "{}", stderr(&none));
}

#[test]
fn a_token_is_checked_before_it_is_kept() {
    let world = World::new();
    let good = world.run(&["login", "-method=token", TOKEN]);
    assert!(good.status.success(), "{}", stderr(&good));
    let bad = world.run(&["login", "-method=token", "hvs.bad"]);
    assert_eq!(bad.status.code(), Some(4), "{}", stderr(&bad));
    assert_eq!(
        std::fs::read_to_string(world.path("home/.config/signet/token")).unwrap(),
        TOKEN
    );
}

#[test]
fn a_plain_vault_serves_as_well() {
    let world = World::new();
    let roles = stdout(&world.run(&["roles"]));
    assert!(
        roles.contains("my-role   user           ubuntu, deploy   ubuntu    30m   the mount's"),
        "{roles}"
    );
    world.stub.be_a_plain_vault();
    let roles = stdout(&world.run(&["roles", "-format=json"]));
    assert!(roles.contains("\"other\""), "{roles}");
    let who = stdout(&world.run(&["whoami"]));
    assert!(who.contains("token-x"), "{who}");
}

#[test]
fn a_host_key_is_signed_to_a_file() {
    let world = World::new();
    let key = make_key(&world, "host", &["ed25519"]);
    let public = key.with_extension("pub").display().to_string();
    let out = world.path("host-cert.pub").display().to_string();
    let words = [
        "sign",
        "-role=hosts",
        "-cert-type=host",
        "-valid-principals=web1.example.com",
        "-out",
        &out,
        &public,
    ];
    let output = world.run(&words);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&world.run(&["inspect", &out]));
    assert!(shown.starts_with("host certificate for web1.example.com\n"), "{shown}");
}
