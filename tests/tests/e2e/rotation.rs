//! A whole rotation of the CA key on a live server: people log in all the while, the server is killed in the middle of each
//! step, one host does nothing but fetch `public_key` after each, others follow the trust bundle, and no login fails.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signet_tests::api::Api;
use signet_tests::authority::Authority;
use signet_tests::estate::{self, DOMAIN, Estate};
use signet_tests::folder_host::FolderHost;
use signet_tests::keys::KeyFile;
use signet_tests::person::{Person, Ran};
use signet_tests::ssh::{HERMETIC, Ssh};
use signet_tests::sshd::{Sshd, SshdSetup};
use signet_tests::workdir::{Workdir, login_name};

const PATIENCE: Duration = Duration::from_mins(3);
/// Of every certificate here, the shortest there is: a key can be removed once its certificates have ended.
const TTL: &str = "1m";

pub(crate) fn states(api: &Api) -> Vec<String> {
    let answer = api.get("ssh/rotate");
    let issuers = answer.body["data"]["issuers"].as_array().cloned().unwrap_or_default();
    let state = |issuer: &Value| issuer["state"].as_str().unwrap_or_default().to_owned();
    issuers.iter().map(state).collect()
}

/// As a host's timer does it.
pub(crate) fn fetch_keys(api: &Api, sshd: &Sshd) -> usize {
    let keys = api.get("ssh/public_key").text;
    let fresh = sshd.folder().write("user_ca.pub.new", &keys);
    std::fs::rename(fresh, sshd.folder().path().join("user_ca.pub")).unwrap();
    keys.lines().count()
}

/// Asks for the step, kills the server meanwhile, and asks again until it is done.
pub(crate) fn step(authority: &mut Authority, api: &Api, body: &Value, wanted: &[&str]) {
    let (asking, asked) = (api.clone(), body.clone());
    let first = std::thread::spawn(move || drop(asking.try_send("POST", "ssh/rotate", Some(&asked))));
    std::thread::sleep(Duration::from_millis(3));
    authority.kill();
    authority.start();
    first.join().unwrap();
    let started = Instant::now();
    while states(api) != wanted {
        let answer = api.post("ssh/rotate", body);
        let (status, code) = (answer.status, answer.body["code"].as_str().unwrap_or_default());
        assert!(status == 200 || code == "rotation-unsafe", "{body}: {}", answer.text);
        assert!(started.elapsed() < PATIENCE, "{body} is not done: {}", answer.text);
        std::thread::sleep(Duration::from_millis(if status == 200 { 0 } else { 500 }));
    }
}

/// Where people log in, each with how often they did.
pub(crate) struct Goals<'a> {
    sshds: Vec<(&'a Sshd, AtomicU64)>,
    stop: AtomicBool,
}

impl<'a> Goals<'a> {
    pub(crate) fn new(sshds: &[&'a Sshd]) -> Self {
        Self {
            sshds: sshds.iter().map(|sshd| (*sshd, AtomicU64::new(0))).collect(),
            stop: AtomicBool::new(false),
        }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Ends everybody when it is dropped, also by a failure.
    pub(crate) fn ends_all(&self) -> EndsAll<'_> {
        EndsAll(self)
    }

    fn go_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    pub(crate) fn count(&self) -> u64 {
        self.sshds.iter().map(|(_, logins)| logins.load(Ordering::SeqCst)).sum()
    }

    /// Waits until people have logged in everywhere again.
    pub(crate) fn await_more(&self, after: &str, more: u64) {
        let before: Vec<u64> = self
            .sshds
            .iter()
            .map(|(_, logins)| logins.load(Ordering::SeqCst))
            .collect();
        let started = Instant::now();
        let few = || {
            let mut goals = self.sshds.iter().zip(&before);
            goals.any(|((_, logins), before)| logins.load(Ordering::SeqCst) < before + more)
        };
        while few() {
            assert!(self.go_on(), "somebody could not log in after {after}");
            assert!(started.elapsed() < PATIENCE, "nobody logs in after {after}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Logs in everywhere in turn, with one fresh certificate after another, until told to stop. A failed login ends all.
    pub(crate) fn log_in_on_and_on(&self, api: &Api, (role, principal): (&str, &str), folder: &Path, name: &str) {
        let _ends = self.ends_all();
        let key = KeyFile::ed25519(folder, name);
        let body = json!({"public_key": key.public_line(), "valid_principals": principal, "ttl": TTL});
        for (sshd, logins) in self.sshds.iter().cycle().take_while(|_| self.go_on()) {
            // While the server is being started again there is no certificate, which is no failed login.
            let Some(answer) = api.try_send("POST", &format!("ssh/sign/{role}"), Some(&body)) else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            assert_eq!(answer.status, 200, "{}", answer.text);
            key.put_certificate(answer.signed_key());
            let login = Ssh::to(sshd).key(&key).run("id -un");
            assert!(login.accepted, "a login failed: {}\n{}", login.stderr, sshd.log());
            logins.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// As [`Self::log_in_on_and_on`], by `signet ssh`. Answers how often the server was not there.
    fn signet_ssh_on_and_on(&self, person: &Person, flags: &[&str]) -> u64 {
        let _ends = self.ends_all();
        let mut waits = 0;
        for (sshd, logins) in self.sshds.iter().cycle().take_while(|_| self.go_on()) {
            let ran = signet_ssh(person, sshd, flags);
            match ran.code {
                Some(0) => drop(logins.fetch_add(1, Ordering::SeqCst)),
                // ssh's own code is 255. Before it is run, there may be nobody who signs.
                Some(1 | 5) if ran.stderr.contains("cannot be reached") => waits += 1,
                _ => panic!("a login failed: {}\n{}", ran.stderr, sshd.log()),
            }
        }
        waits
    }
}

/// A failed login has to end the others too: the test would wait for them.
pub(crate) struct EndsAll<'a>(&'a Goals<'a>);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn signet_ssh(person: &Person, sshd: &Sshd, flags: &[&str]) -> Ran {
    let (role, ttl) = (format!("-role={}", estate::ROLE), format!("-ttl={TTL}"));
    let known_hosts = format!("-user-known-hosts-file={}", sshd.known_hosts().display());
    let destination = format!("{}@web.{DOMAIN}", login_name());
    let proxy = format!("-oProxyCommand={}", sshd.proxy_command());
    let mut words = vec!["ssh", &role, &ttl, &known_hosts, "-strict-host-key-checking=yes"];
    words.extend(flags);
    words.extend([destination.as_str(), proxy.as_str()]);
    words.extend(HERMETIC);
    words.push("id -un");
    person.run(&words)
}

/// The steps, the states after each, and how many keys hosts trust then.
const STEPS: [(&str, &[&str], usize); 5] = [
    ("stage", &["default", "staged"], 1),
    ("publish", &["default", "published"], 2),
    ("promote", &["published", "default"], 2),
    ("retire", &["retired", "default"], 2),
    ("remove", &["default"], 1),
];

fn alice(estate: &Estate) -> Person {
    let alice = Person::using(&estate.authority.address())
        .with("SIGNET_CACERT", estate.authority.tls_certificate().to_str().unwrap());
    let key = format!("-key={}", estate.key_of("alice").display());
    alice.run(&["login", &key]).succeeded();
    alice
}

/// Alice's token, for those who ask the API themselves.
fn api_of_alice(estate: &Estate, alice: &Person) -> Api {
    let printed = alice.run(&[
        "login",
        "-no-store",
        "-field=token",
        &format!("-key={}", estate.key_of("alice").display()),
    ]);
    estate.authority.api(printed.succeeded().stdout.trim())
}

#[test]
fn no_login_fails_while_the_ca_key_is_rotated_and_the_server_killed_at_each_step() {
    let mut estate = Estate::local_with("\n[rotation]\npublish_for = \"2s\"\n");
    let operator = estate.operator();
    let hosts = ["web-1", "web-2", "web-3"].map(|name| FolderHost::enroll(&estate, &operator, name));
    let old = operator.ca_key("ssh");
    let plain = SshdSetup::trusting(&old).principal(estate::ROLE).build();
    let (folder, person, second) = (Workdir::new(), alice(&estate), alice(&estate));
    let api = api_of_alice(&estate, &person);
    let goals = Goals::new(&[&plain, hosts[0].sshd(), hosts[1].sshd(), hosts[2].sshd()]);
    let (seen, goals_of) = (AtomicU64::new(0), &goals);
    std::thread::scope(|scope| {
        let ends = goals_of.ends_all();
        for name in ["one", "two"] {
            let (api, folder) = (&api, &folder);
            scope.spawn(move || goals_of.log_in_on_and_on(api, (estate::ROLE, estate::ROLE), folder.path(), name));
        }
        scope.spawn(|| seen.fetch_add(goals_of.signet_ssh_on_and_on(&person, &[]), Ordering::SeqCst));
        scope.spawn(|| seen.fetch_add(goals_of.signet_ssh_on_and_on(&second, &["-no-agent"]), Ordering::SeqCst));
        for host in &hosts {
            scope.spawn(move || {
                while goals_of.go_on() {
                    // The server may be away.
                    host.sync();
                    std::thread::sleep(Duration::from_millis(300));
                }
            });
        }
        for (name, wanted, keys) in STEPS {
            step(&mut estate.authority, &operator, &json!({ "step": name }), wanted);
            assert_eq!(fetch_keys(&operator, &plain), keys, "after {name}");
            goals_of.await_more(name, 2);
        }
        drop(ends);
    });
    println!(
        "{} logins, and {} times no certificate while the server was away",
        goals.count(),
        seen.into_inner()
    );
    let new = operator.ca_key("ssh");
    assert_ne!(new, old);
    for host in &hosts {
        host.sync().succeeded();
        let trusted = std::fs::read_to_string(host.path("etc/ssh/signet/user_ca.pub")).unwrap();
        let blob = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
        assert!(
            trusted.contains(&blob(&new)) && !trusted.contains(&blob(&old)),
            "{trusted}"
        );
    }
    for (name, ..) in STEPS {
        let event = format!("ca-{name}");
        assert!(!estate.authority.records(&event).is_empty(), "{event}");
    }
    let forced = estate.authority.records("ca-promote");
    assert!(
        forced.iter().all(|record| record["forced_against"].is_null()),
        "{forced:?}"
    );
}

#[test]
fn a_promotion_waits_for_the_stated_share_of_the_hosts_and_names_who_lags() {
    let estate = Estate::local_with("\n[rotation]\ntrusting_percent = 75\n");
    let operator = estate.operator();
    let hosts = ["web-1", "web-2", "web-3", "web-4"].map(|name| FolderHost::enroll(&estate, &operator, name));
    for host in &hosts {
        host.sync().succeeded();
    }
    for name in ["stage", "publish"] {
        operator.write("ssh/rotate", &json!({ "step": name }));
    }
    for host in &hosts[..2] {
        host.sync().succeeded();
    }
    let full = |host: &FolderHost| format!("{}.{DOMAIN}", host.name());
    let laggards = || operator.get("ssh/rotate").body["data"]["next"]["laggards"].clone();
    assert_eq!(laggards(), json!([full(&hosts[2]), full(&hosts[3])]));
    let refused = operator.post("ssh/rotate", &json!({"step": "promote"}));
    assert_eq!(refused.body["code"], "rotation-unsafe", "{}", refused.text);
    assert!(
        refused
            .errors()
            .contains("2 of 4 enrolled hosts have not reported that they trust SHA256:")
            && refused
                .errors()
                .ends_with("and 75 % have to: web-3.internal.example.com, web-4.internal.example.com"),
        "{}",
        refused.text
    );
    assert_eq!(states(&operator), ["default", "published"]);
    hosts[2].sync().succeeded();
    assert_eq!(laggards(), json!([full(&hosts[3])]));
    // Three of four are the share that was stated; the fourth is named still.
    operator.write("ssh/rotate", &json!({"step": "promote"}));
    assert_eq!(states(&operator), ["published", "default"]);
    let trusted = |host: &FolderHost| std::fs::read_to_string(host.path("etc/ssh/signet/user_ca.pub")).unwrap();
    assert_eq!(
        trusted(&hosts[2])
            .lines()
            .filter(|line| line.starts_with("ssh-"))
            .count(),
        2
    );
    assert_eq!(
        trusted(&hosts[3])
            .lines()
            .filter(|line| line.starts_with("ssh-"))
            .count(),
        1
    );
}
