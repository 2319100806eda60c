//! Running the authority: what lies on its disk, how it ends, what its sinks hold, and what it says about a bad
//! configuration.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use signet_tests::authority::{Authority, ROOT_TOKEN};
use signet_tests::binaries::ours;
use signet_tests::issuer::Issuer;
use signet_tests::keys::KeyFile;
use signet_tests::person::Person;
use signet_tests::team::{GROUP, ROLE, Team};
use signet_tests::wait::until;
use signet_tests::workdir::{Workdir, login_name};

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path] })
        .collect()
}

/// A served authority with a CI issuer and a sink, and the folder of both.
fn served() -> (Authority, Issuer, Workdir) {
    let folder = Workdir::new();
    let issuer = Issuer::new();
    let team = Team::default().person("alice", &[GROUP], &KeyFile::ed25519(folder.path(), "alice"));
    let sink = format!(
        "\n[[audit.sink]]\ntype = \"file\"\npath = \"{}\"\n",
        folder.path().join("audit.jsonl").display()
    );
    let config = issuer.config(folder.path()) + &sink;
    (
        Authority::serve(|policies| team.install(policies), &config),
        issuer,
        folder,
    )
}

#[test]
fn cve_2021_38553_nothing_on_the_disk_or_in_a_log_opens_anything() {
    let (authority, issuer, folder) = served();
    let jwt = issuer.token(|_| {});
    let answer = authority
        .anonymous()
        .write("auth/jwt/login", &json!({"role": "deploy", "jwt": jwt}));
    let token = answer.body["auth"]["client_token"].as_str().unwrap().to_owned();
    let subject = KeyFile::ed25519(folder.path(), "subject").public_line();
    assert_eq!(
        authority.api(&token).sign("ssh", ROLE, &subject, &login_name()).status,
        200
    );
    // A token that is no token must not end up in a log either.
    authority.api("hvs.canary-of-the-tests").get("auth/token/lookup-self");

    let signature = jwt.rsplit('.').next().unwrap();
    let secrets = [
        token.as_str(),
        signature,
        "hvs.canary-of-the-tests",
        "PRIVATE KEY",
        "openssh-key-v1",
    ];
    let mut looked_at = files_under(&authority.data());
    for path in &looked_at {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} can be read by others: {mode:o}", path.display());
    }
    looked_at.push(folder.path().join("audit.jsonl"));
    looked_at.push(authority.folder().path().join("signet-ca.log"));
    for path in looked_at {
        let bytes = std::fs::read(&path).unwrap();
        // The TLS key opens no host and is read by this server alone; CA keys lie encrypted.
        let tls = path.file_name().is_some_and(|name| name == "tls.key");
        for secret in secrets.into_iter().filter(|secret| !(tls && *secret == "PRIVATE KEY")) {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds `{secret}`", path.display());
        }
    }
}

#[test]
fn the_sink_holds_the_ledgers_lines_in_order() {
    let (authority, issuer, folder) = served();
    let api = authority.api(&authority.ci_token(&issuer));
    let subject = KeyFile::ed25519(folder.path(), "subject").public_line();
    for _ in 0..5 {
        assert_eq!(api.sign("ssh", ROLE, &subject, &login_name()).status, 200);
    }
    let ledger = String::from_utf8(authority.audit(&["export"]).stdout).unwrap();
    let path = folder.path().join("audit.jsonl");
    until("the sink to catch up", || {
        (std::fs::read_to_string(&path).ok()? == ledger).then_some(())
    });
    // A sink is a ledger too: it proves itself.
    let verified = Command::new(ours("signet-ca"))
        .args(["audit", "verify"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );

    // Each way to tamper is found, with the record named.
    let lines: Vec<&str> = ledger.lines().collect();
    let changed = ledger.replacen("\"event\":\"issue\"", "\"event\":\"login\"", 1);
    let mut removed = lines.clone();
    removed.remove(2);
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    let mut inserted = lines.clone();
    inserted.insert(2, lines[1]);
    let tampered = [
        ("changed", changed),
        ("removed", removed.join("\n") + "\n"),
        ("reordered", swapped.join("\n") + "\n"),
        ("inserted", inserted.join("\n") + "\n"),
    ];
    for (name, text) in tampered {
        let path = folder.write(&format!("{name}.jsonl"), &text);
        let found = Command::new(ours("signet-ca"))
            .args(["audit", "verify"])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(found.status.code(), Some(1), "{name}");
        let said = String::from_utf8_lossy(&found.stdout).into_owned() + &String::from_utf8_lossy(&found.stderr);
        assert!(
            said.chars().any(|c| c.is_ascii_digit()),
            "{name}: the record is named: {said}"
        );
    }
}

#[test]
fn sigterm_lets_the_requests_in_flight_finish() {
    let (mut authority, issuer, folder) = served();
    let api = authority.api(&authority.ci_token(&issuer));
    let subject = KeyFile::ed25519(folder.path(), "subject").public_line();
    let (ended, account) = (AtomicBool::new(false), login_name());
    let held = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut held = 0;
                    while !ended.load(Ordering::Relaxed) {
                        let body = json!({"public_key": subject, "valid_principals": account});
                        match api.try_send("POST", &format!("ssh/sign/{ROLE}"), Some(&body)) {
                            Some(answer) if answer.status == 200 => held += 1,
                            // Refused at the door or told to come back: nothing is half done.
                            Some(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
                            None => {}
                        }
                    }
                    held
                })
            })
            .collect();
        until("some certificates", || {
            (authority.records("issue").len() >= 20).then_some(())
        });
        assert_eq!(authority.stop(), Some(0), "it ends as asked:\n{}", authority.log());
        ended.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    assert_eq!(
        authority.records("issue").len(),
        held,
        "each recorded certificate has arrived"
    );
    assert_eq!(authority.records("stop").len(), 1);
}

#[test]
fn a_configuration_with_mistakes_is_refused_with_all_of_them_and_the_right_words() {
    let folder = Workdir::new();
    let text =
        "data = \"data\"\naddresses = [\"https://ca.example.com:8200\"]\nlissten = 1\n\n[limits]\nbody_bytes = 1\n";
    let file = folder.write("signet.toml", text);
    for command in ["check", "serve"] {
        let ran = Command::new(ours("signet-ca"))
            .arg(command)
            .arg(format!("--config={}", file.display()))
            .env_clear()
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
        assert_ne!(ran.status.code(), Some(0), "{command}: {said}");
        assert!(
            said.contains("signet.toml:3") && said.contains("listen"),
            "{command}: {said}"
        );
        assert!(
            said.contains("signet.toml:6") && said.contains("body_bytes_max"),
            "{command}: {said}"
        );
        assert!(!folder.path().join("data").exists(), "{command} made nothing");
    }
}

#[test]
fn dev_mode_stays_on_loopback() {
    let ran = Command::new(ours("signet-ca"))
        .args(["dev", "--listen=0.0.0.0:0"])
        .env_clear()
        .output()
        .unwrap();
    assert_ne!(ran.status.code(), Some(0));
    assert!(
        String::from_utf8_lossy(&ran.stderr).contains("loopback"),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn a_self_signed_authority_is_believed_only_by_whom_it_was_told() {
    let (authority, issuer, folder) = served();
    let token = authority.ci_token(&issuer);
    let subject = KeyFile::ed25519(folder.path(), "subject").path().with_extension("pub");
    let sign = |person: &Person| {
        let (role, account) = (format!("-role={ROLE}"), format!("-valid-principals={}", login_name()));
        person.run(&["sign", &role, &account, subject.to_str().unwrap()])
    };
    let newcomer = Person::using(&authority.address()).with("SIGNET_TOKEN", &token);
    let ran = sign(&newcomer);
    assert_ne!(ran.code, Some(0), "an unknown certificate is not believed");
    assert!(ran.stderr.contains("certificate"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(ROOT_TOKEN) && !ran.stderr.contains(&token));

    let certificate = files_under(&authority.data()).into_iter().find(|path| {
        path.extension()
            .is_some_and(|ending| ending == "pem" || ending == "crt")
            && std::fs::read_to_string(path).is_ok_and(|text| text.contains("BEGIN CERTIFICATE"))
    });
    let certificate = certificate.expect("the self-signed certificate");
    let told = newcomer.with("SIGNET_CACERT", certificate.to_str().unwrap());
    sign(&told).succeeded();
}
