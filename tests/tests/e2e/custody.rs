//! The seal's promises from outside: to the holders of shares, to those who run the server, and to Vault's clients. Each seal
//! and the ways between them are in `seals.rs`.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};
use signet_tests::authority::Authority;
use signet_tests::issuer::Issuer;
use signet_tests::keys::KeyFile;
use signet_tests::person::{Person, Ran};
use signet_tests::python;
use signet_tests::ssh::Ssh;
use signet_tests::sshd::{Sshd, SshdSetup};
use signet_tests::team::{ROLE, Team};
use signet_tests::wait::until;
use signet_tests::workdir::{Workdir, login_name};

const SHAMIR: &str = "[seal]\ntype = \"shamir\"\n";

/// A server under a seal, somebody who logs in to it, and a host that trusts its CA.
struct Scene {
    authority: Authority,
    issuer: Issuer,
    key: KeyFile,
    sshd: Option<Sshd>,
    folder: Workdir,
}

impl Scene {
    fn new(seal: &str) -> Self {
        let folder = Workdir::new();
        let (issuer, key) = (Issuer::new(), KeyFile::ed25519(folder.path(), "job"));
        let config = format!("{seal}{}", issuer.config(folder.path()));
        let authority = Authority::serve_sealed(|policies| Team::default().install(policies), &config);
        Self {
            authority,
            issuer,
            key,
            sshd: None,
            folder,
        }
    }

    fn killed_and_started(&mut self) {
        self.authority.kill();
        self.authority.start();
    }

    fn health(&self) -> u16 {
        self.authority.anonymous().get("sys/health").status
    }

    /// A CI job logs in, has its key signed, and a real sshd accepts it. The host trusts the CA key it saw first.
    fn signs_and_sshd_accepts(&mut self) {
        let api = self.authority.api(&self.authority.ci_token(&self.issuer));
        let signed = api.sign("ssh", ROLE, &self.key.public_line(), &login_name());
        self.key.put_certificate(signed.signed_key());
        let authority = &self.authority;
        let sshd = self
            .sshd
            .get_or_insert_with(|| SshdSetup::trusting(&authority.anonymous().ca_key("ssh")).build());
        let login = Ssh::to(sshd).key(&self.key).run("true");
        assert!(login.accepted, "{}\n{}", login.stderr, sshd.log());
    }

    fn init(&self, body: &Value) -> Value {
        self.authority.anonymous().write("sys/init", body).body
    }

    fn unseal(&self, keys: &[String]) {
        for key in keys {
            let body = json!({"key": key});
            self.authority.anonymous().write("sys/unseal", &body);
        }
        assert_eq!(self.health(), 200, "{}", self.authority.log());
    }
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().expect("a list").iter();
    list.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_shamir_server_is_killed_and_signs_again_when_two_holders_have_come() {
    let mut scene = Scene::new(SHAMIR);
    assert_eq!(scene.health(), 501);
    let made = scene.init(&json!({"secret_shares": 3, "secret_threshold": 2}));
    let keys = texts(&made["keys_base64"]);
    scene.unseal(&keys[..2]);
    scene.signs_and_sshd_accepts();
    // A SIGHUP reloads and never seals.
    scene.authority.signal(rustix::process::Signal::HUP);
    scene.signs_and_sshd_accepts();
    scene.killed_and_started();
    assert_eq!(scene.health(), 503);
    let refused = scene.authority.anonymous().get("ssh/public_key");
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("sealed")));
    scene.unseal(&keys[1..]);
    scene.signs_and_sshd_accepts();
}

#[test]
fn a_key_file_that_comes_back_opens_the_seal_within_seconds() {
    let mut scene = Scene::new("");
    let (file, away) = (
        scene.authority.data().join("barrier.key"),
        scene.folder.path().join("away"),
    );
    scene.authority.kill();
    std::fs::rename(&file, &away).unwrap();
    scene.authority.start();
    let health = scene.authority.anonymous().get("sys/health");
    assert_eq!(health.status, 503);
    assert!(
        health.body["seal_reason"].as_str().unwrap().contains("is missing"),
        "{}",
        health.text
    );
    std::fs::rename(&away, &file).unwrap();
    until("the seal to open", || (scene.health() == 200).then_some(()));
    scene.signs_and_sshd_accepts();
}

#[test]
fn hvac_drives_the_seal_as_it_drives_vaults() {
    let scene = Scene::new(SHAMIR);
    let ran = python::run(include_str!("hvac.py"), &[&scene.authority.address()]);
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// `signet` with a text on its standard input.
fn with_stdin(person: &Person, arguments: &[&str], text: &str) -> Ran {
    let mut child = person
        .signet(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn lines<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let ours = text.lines().filter(|line| line.starts_with(begin));
    ours.filter_map(|line| line.split(": ").nth(1)).collect()
}

#[test]
fn an_operator_cares_for_the_seal_with_the_client_alone() {
    let scene = Scene::new(SHAMIR);
    let person = Person::using(&scene.authority.address()).with("SIGNET_SKIP_VERIFY", "true");
    assert_eq!(person.run(&["operator", "init", "-status"]).code, Some(2));
    let sealed = person.run(&["operator", "status"]);
    assert_eq!(sealed.code, Some(2), "{}{}", sealed.stdout, sealed.stderr);
    assert!(sealed.stdout.contains("shamir"));
    let made = person
        .run(&["operator", "init", "-key-shares=3", "-t", "2"])
        .succeeded();
    let keys = lines(&made.stdout, "Unseal Key");
    let root = lines(&made.stdout, "Initial Root Token");
    assert_eq!((keys.len(), root.len()), (3, 1), "{}", made.stdout);
    for key in &keys[..2] {
        with_stdin(&person, &["operator", "unseal", "-"], key).succeeded();
    }
    let open = person.run(&["operator", "status", "-format=json"]);
    assert_eq!(open.code, Some(0), "{}", open.stdout);
    assert_eq!(serde_json::from_str::<Value>(&open.stdout).unwrap()["sealed"], false);
    let nobody = Person::using("http://127.0.0.1:1");
    assert_eq!(nobody.run(&["operator", "status"]).code, Some(1));
    assert_eq!(person.run(&["operator", "seal"]).code, Some(4), "without a token");

    // New shares, proved by their holders; started by a holder of an old one.
    let begun = with_stdin(&person, &["operator", "rekey", "-init", "-n=2", "-t=2", "-"], keys[0]).succeeded();
    assert!(begun.stdout.contains("0/2"), "{}", begun.stdout);
    with_stdin(&person, &["operator", "rekey", "-"], keys[0]).succeeded();
    let made = with_stdin(&person, &["operator", "rekey", "-"], keys[2]).succeeded();
    let new = lines(&made.stdout, "Key ");
    assert_eq!(new.len(), 2, "{}", made.stdout);
    with_stdin(&person, &["operator", "rekey", "-verify", "-"], new[0]).succeeded();
    let done = with_stdin(&person, &["operator", "rekey", "-verify", "-"], new[1]).succeeded();
    assert!(done.stdout.contains("in force"), "{}", done.stdout);

    // A root token of their own making.
    let begun = with_stdin(
        &person,
        &["operator", "generate-root", "-init", "-field=otp", "-"],
        new[0],
    )
    .succeeded();
    let otp = begun.stdout.trim();
    with_stdin(&person, &["operator", "generate-root", "-"], new[0]).succeeded();
    let veiled = with_stdin(
        &person,
        &["operator", "generate-root", "-field=encoded_token", "-"],
        new[1],
    )
    .succeeded();
    let otp_flag = format!("-otp={otp}");
    let token = with_stdin(
        &person,
        &["operator", "generate-root", "-decode=-", &otp_flag],
        &veiled.stdout,
    )
    .succeeded();
    let operator = Person::using(&scene.authority.address())
        .with("SIGNET_SKIP_VERIFY", "true")
        .with("SIGNET_TOKEN", token.stdout.trim());
    let rotated = operator.run(&["operator", "rotate"]).succeeded();
    assert!(rotated.stdout.contains("Key Term"), "{}", rotated.stdout);
    operator.run(&["operator", "seal"]).succeeded();
    let old = with_stdin(&person, &["operator", "unseal", "-"], keys[0]);
    assert_eq!(old.code, Some(3), "{}", old.stderr);
    assert!(old.stderr.contains("another split"), "{}", old.stderr);
    for key in &new {
        with_stdin(&person, &["operator", "unseal", "-"], key).succeeded();
    }
    assert_eq!(person.run(&["operator", "status"]).code, Some(0));
    // What was shown once stands nowhere else: not in the ledger, not in the log, not in the store.
    let mut bytes = scene.authority.log().into_bytes();
    for name in ["ledger.db", "ledger.db-wal", "store.db", "store.db-wal"] {
        bytes.extend(std::fs::read(scene.authority.data().join(name)).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&bytes);
    for secret in keys.iter().chain(&new).chain(&root).chain([&token.stdout.trim(), &otp]) {
        assert!(!text.contains(*secret), "{secret}");
    }
}
