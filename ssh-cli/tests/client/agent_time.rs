//! The agent over hours, by a clock that stands still until it is moved: nothing here sleeps.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use signet_cli::agent::cache::Cache;
use signet_cli::agent::client::ask_running;
use signet_cli::agent::control::{Answer, CertificateRequest, Handle, Question};
use signet_cli::agent::runtime_dir::RuntimeDir;
use signet_cli::agent::server::{Pace, serve};
use signet_cli::clock::Clock;
use signet_cli::endpoint::Endpoint;
use signet_cli::report::{Exit, Failure};
use signet_core::time::UnixTime;

use crate::stub::{Stub, TOKEN, now};
use crate::world::stdout;

/// How long the stub's certificates live here.
const LIFE: u64 = 600;

/// An agent's cache, the authority and their time.
struct Day {
    _folder: tempfile::TempDir,
    dir: RuntimeDir,
    stub: Stub,
    clock: Clock,
    cache: Cache,
}

impl Day {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("sg").tempdir_in("/tmp").unwrap();
        let dir = RuntimeDir::open(folder.path().join("run")).unwrap();
        let (start, stub) = (now(), Stub::start());
        stub.time_stands_at(start);
        let clock = Clock::standing(UnixTime::from_secs(start));
        Self {
            cache: Cache::new(dir.clone(), clock.clone()),
            _folder: folder,
            dir,
            stub,
            clock,
        }
    }

    fn request(&self) -> CertificateRequest {
        CertificateRequest {
            endpoint: Endpoint::plain(&self.stub.address),
            mount: "ssh".to_owned(),
            role: "my-role".to_owned(),
            principals: "ubuntu".to_owned(),
            or_default_user: true,
            ttl_secs: None,
            extensions: BTreeMap::new(),
            host_keys: None,
        }
    }

    fn ask(&self) -> Result<Handle, Failure> {
        self.cache.certificate(self.request(), token())
    }

    /// The agent and the authority have the same time.
    fn pass(&self, secs: u64) {
        self.clock.advance(secs);
        self.stub.time_passes(secs);
    }

    fn tend(&self) {
        self.cache.tend(Duration::ZERO);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the cache takes it")]
fn token() -> Option<SecretString> {
    Some(SecretString::from(TOKEN.to_owned()))
}

/// What ssh would see; `words` go to the real ssh-add.
fn ssh_add(socket: &Path, words: &[&str]) -> String {
    let mut command = Command::new("ssh-add");
    stdout(&command.args(words).env("SSH_AUTH_SOCK", socket).output().unwrap())
}

#[test]
fn a_certificate_in_use_is_renewed_at_two_thirds_of_its_life_behind_the_same_socket() {
    let day = Day::new();
    let socket = day.ask().unwrap().socket;
    let first = ssh_add(&socket, &["-L"]);
    day.pass(LIFE / 3 + 1);
    assert_eq!(day.ask().unwrap().socket, socket, "used in its second third");
    day.tend();
    day.pass(LIFE / 3 - 2);
    day.tend();
    assert_eq!(day.stub.signs(), 1, "a second before two thirds");
    day.pass(1);
    day.tend();
    assert_eq!(day.stub.signs(), 2, "at two thirds");
    let second = ssh_add(&socket, &["-L"]);
    assert_ne!(second, first, "a fresh key and certificate");
    assert_eq!(second.lines().count(), 1);
    day.tend();
    assert_eq!(day.stub.signs(), 2, "and once");
    day.pass(LIFE - 100);
    assert_eq!(day.cache.held(), 1, "it outlives the first");
}

#[test]
fn a_signature_counts_as_use() {
    let day = Day::new();
    let handle = day.ask().unwrap();
    day.pass(LIFE / 3 + 1);
    let public = day.dir.join("cert.pub");
    std::fs::write(&public, ssh_add(&handle.socket, &["-L"])).unwrap();
    let tested = Command::new("ssh-add")
        .arg("-T")
        .arg(&public)
        .env("SSH_AUTH_SOCK", &handle.socket)
        .output()
        .unwrap();
    assert!(tested.status.success());
    day.pass(LIFE / 3);
    day.tend();
    assert_eq!(day.stub.signs(), 2);
}

#[test]
fn what_nobody_uses_is_not_renewed_and_goes_with_its_end() {
    let day = Day::new();
    let socket = day.ask().unwrap().socket;
    day.pass(LIFE / 3 * 2);
    day.tend();
    day.pass(LIFE / 3 - 1);
    day.tend();
    assert_eq!((day.stub.signs(), day.cache.held()), (1, 1));
    day.pass(1);
    assert_eq!(
        ssh_add(&socket, &["-L"]),
        "The agent has no identities.\n",
        "its end is to the second"
    );
    day.tend();
    assert_eq!((day.stub.signs(), day.cache.held()), (1, 0));
    assert!(!socket.exists());
}

#[test]
fn a_certificate_that_is_old_but_valid_serves_while_the_authority_is_away() {
    let day = Day::new();
    let handle = day.ask().unwrap();
    // Not fresh any more: less than a tenth of its life is left.
    day.pass(LIFE - 50);
    day.stub.go_down();
    assert_eq!(day.ask().unwrap().socket, handle.socket);
    assert_eq!(day.stub.knocks(), 2, "the authority was asked first");
    day.pass(14);
    assert_eq!(day.ask().unwrap().socket, handle.socket);
    assert_eq!(day.stub.knocks(), 2, "and is left alone for a while");
    day.pass(1);
    assert_eq!(day.ask().unwrap().socket, handle.socket);
    assert_eq!(day.stub.knocks(), 3);
    day.pass(34);
    assert_eq!(
        day.ask().unwrap_err().exit,
        Exit::Later,
        "too near its end for a handshake"
    );
}

#[test]
fn an_old_certificate_does_not_outlast_a_refusal() {
    let day = Day::new();
    day.ask().unwrap();
    day.pass(LIFE - 50);
    day.stub.refuse();
    assert_eq!(day.ask().unwrap_err().exit, Exit::Refused);
    assert_eq!(day.stub.signs(), 2);
}

#[test]
fn the_agent_ends_by_itself_after_its_last_certificate() {
    let day = Day::new();
    let pace = Pace {
        grace: Duration::from_millis(50),
        look_again: Duration::from_millis(10),
    };
    let (send, ready) = std::sync::mpsc::channel();
    let (dir, clock) = (day.dir.clone(), day.clock.clone());
    let agent = std::thread::spawn(move || serve(&dir, &clock, pace, || send.send(()).unwrap()));
    ready.recv().unwrap();
    let question = Question::Certificate(Box::new(day.request()));
    let Some(Answer::Certificate(handle)) = ask_running(&day.dir, &question, token().as_ref()) else {
        panic!("the agent has a certificate");
    };
    day.pass(LIFE - 1);
    let patience = Instant::now();
    while patience.elapsed() < Duration::from_millis(200) {
        let status = ask_running(&day.dir, &Question::Status, None);
        assert!(
            matches!(status, Some(Answer::Held(1))),
            "it stays while the certificate is valid"
        );
    }
    day.pass(1);
    agent.join().unwrap().unwrap();
    assert!(!handle.socket.exists() && !day.dir.join("control.sock").exists());
    assert!(ask_running(&day.dir, &Question::Status, None).is_none());
}
