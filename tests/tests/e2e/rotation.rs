//! A whole rotation of the CA key on a live server: people log in all the while, the server is killed in the middle of each
//! step, the host does nothing but fetch `public_key` after each, and no login fails.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signet_tests::api::Api;
use signet_tests::authority::Authority;
use signet_tests::issuer::Issuer;
use signet_tests::keys::KeyFile;
use signet_tests::ssh::Ssh;
use signet_tests::sshd::{Sshd, SshdSetup};
use signet_tests::team::{GROUP, ROLE, Team};
use signet_tests::workdir::{Workdir, login_name, write};

const PATIENCE: Duration = Duration::from_mins(2);

fn states(api: &Api) -> Vec<String> {
    let answer = api.get("ssh/rotate");
    let issuers = answer.body["data"]["issuers"].as_array().cloned().unwrap_or_default();
    let state = |issuer: &Value| issuer["state"].as_str().unwrap_or_default().to_owned();
    issuers.iter().map(state).collect()
}

/// As a host's timer does it.
fn fetch_keys(api: &Api, sshd: &Sshd) -> usize {
    let keys = api.get("ssh/public_key").text;
    let fresh = sshd.folder().write("user_ca.pub.new", &keys);
    std::fs::rename(fresh, sshd.folder().path().join("user_ca.pub")).unwrap();
    keys.lines().count()
}

/// Asks for the step, kills the server meanwhile, and asks again until it is done.
fn step(authority: &mut Authority, api: &Api, step: &str, wanted: &[&str]) {
    let body = json!({ "step": step });
    let (asking, asked) = (api.clone(), body.clone());
    let first = std::thread::spawn(move || drop(asking.try_send("POST", "ssh/rotate", Some(&asked))));
    std::thread::sleep(Duration::from_millis(3));
    authority.kill();
    authority.start();
    first.join().unwrap();
    let started = Instant::now();
    while states(api) != wanted {
        let answer = api.post("ssh/rotate", &body);
        let (status, code) = (answer.status, answer.body["code"].as_str().unwrap_or_default());
        assert!(status == 200 || code == "rotation-unsafe", "{step}: {}", answer.text);
        assert!(started.elapsed() < PATIENCE, "{step} is not done: {}", answer.text);
        std::thread::sleep(Duration::from_millis(if status == 200 { 0 } else { 500 }));
    }
}

/// Logs in with one fresh certificate after another until told to stop; counts logins.
fn log_in_on_and_on(api: &Api, sshd: &Sshd, folder: &Path, stop: &AtomicBool, logins: &AtomicU64) {
    let key = KeyFile::ed25519(folder, "subject");
    let body = json!({"public_key": key.public_line(), "valid_principals": login_name(), "ttl": "1m"});
    while !stop.load(Ordering::SeqCst) {
        // While the server is being started again there is no certificate, which is no failed login.
        let Some(answer) = api.try_send("POST", &format!("ssh/sign/{ROLE}"), Some(&body)) else {
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

#[test]
fn no_login_fails_while_the_ca_key_is_rotated_and_the_server_killed_at_each_step() {
    let folder = Workdir::new();
    let issuer = Issuer::new();
    let team = Team::default().person("alice", &[GROUP], &KeyFile::ed25519(folder.path(), "alice"));
    let install = |policies: &Path| {
        team.install(policies);
        let operator = "@id(\"operator\")\npermit (principal in Group::\"ci\", action, resource);\n";
        write(&policies.join("access/operator.cedar"), operator);
    };
    let config = format!("{}\n[rotation]\npublish_for = \"2s\"\n", issuer.config(folder.path()));
    let mut authority = Authority::serve(install, &config);
    let api = authority.api(&authority.ci_token(&issuer));
    let old = api.ca_key("ssh");
    let sshd = SshdSetup::trusting(&old).build();
    let (stop, logins) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| log_in_on_and_on(&api, &sshd, folder.path(), &stop, &logins));
        for (name, wanted, keys) in [
            ("stage", &["default", "staged"][..], 1),
            ("publish", &["default", "published"], 2),
            ("promote", &["published", "default"], 2),
            ("retire", &["retired", "default"], 2),
            ("remove", &["default"], 1),
        ] {
            let before = logins.load(Ordering::SeqCst);
            step(&mut authority, &api, name, wanted);
            assert_eq!(fetch_keys(&api, &sshd), keys, "after {name}");
            let started = Instant::now();
            while logins.load(Ordering::SeqCst) < before + 3 && !load.is_finished() {
                assert!(started.elapsed() < PATIENCE, "nobody logs in after {name}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        stop.store(true, Ordering::SeqCst);
        load.join().unwrap();
    });
    assert_ne!(api.ca_key("ssh"), old);
    for event in ["ca-stage", "ca-publish", "ca-promote", "ca-retire", "ca-remove"] {
        assert!(!authority.records(event).is_empty(), "{event}");
    }
}
