//! Logging in: with a key in a real ssh-agent, with a CI job's JSON web token, and the ways that must fail.

use std::path::Path;

use serde_json::{Value, json};
use signet_tests::agent::SshAgent;
use signet_tests::authority::Authority;
use signet_tests::issuer::Issuer;
use signet_tests::issuing::now;
use signet_tests::keys::KeyFile;
use signet_tests::person::Person;
use signet_tests::team::{GROUP, ROLE, Team};
use signet_tests::workdir::{Workdir, login_name};

#[test]
fn a_person_logs_in_with_a_key_in_ssh_agent() {
    let folder = Workdir::new();
    let agent = SshAgent::start(folder.path());
    for (name, kind, bits) in [
        ("ed", "ed25519", None),
        ("ec", "ecdsa", Some(384)),
        ("rsa", "rsa", Some(3072)),
    ] {
        let key = KeyFile::generate(folder.path(), name, kind, bits);
        let team = Team::default().person("alice", &[GROUP], &key);
        let authority = Authority::dev_with(|policies| team.install(policies));
        agent.add(&key);
        let alice = Person::using(&authority.address()).with("SSH_AUTH_SOCK", agent.socket().to_str().unwrap());
        alice.run(&["login", "-method=ssh-key"]).succeeded();
        let whoami = alice.run(&["whoami", "-format=json"]).succeeded();
        let whoami: Value = serde_json::from_str(&whoami.stdout).unwrap();
        assert!(
            whoami.to_string().contains("alice") && whoami.to_string().contains(GROUP),
            "{whoami}"
        );
        let logins = authority.records("login");
        assert_eq!(logins.last().unwrap()["person"], "alice", "{logins:?}");
    }
}

#[test]
fn a_key_that_nobody_has_does_not_log_in() {
    let folder = Workdir::new();
    let (known, stranger) = (
        KeyFile::ed25519(folder.path(), "known"),
        KeyFile::ed25519(folder.path(), "stranger"),
    );
    let team = Team::default().person("alice", &[GROUP], &known);
    let authority = Authority::dev_with(|policies| team.install(policies));
    let agent = SshAgent::start(folder.path());
    agent.add(&stranger);
    let mallory = Person::using(&authority.address()).with("SSH_AUTH_SOCK", agent.socket().to_str().unwrap());
    let ran = mallory.run(&["login", "-method=ssh-key"]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("error:"), "{}", ran.stderr);
    assert!(authority.records("login").is_empty());
    assert!(!mallory.home().join(".config/signet/token").exists());
}

/// An authority that trusts the issuer's key for jobs on the main branch.
fn authority_for_ci(issuer: &Issuer, folder: &Path) -> Authority {
    let key = KeyFile::ed25519(folder, "alice");
    let team = Team::default().person("alice", &[GROUP], &key);
    Authority::serve(|policies| team.install(policies), &issuer.config(folder))
}

#[test]
fn a_ci_job_logs_in_with_its_token_and_gets_a_certificate() {
    let folder = Workdir::new();
    let issuer = Issuer::new();
    let authority = authority_for_ci(&issuer, folder.path());
    let token = authority.ci_token(&issuer);
    let subject = KeyFile::ed25519(folder.path(), "subject").public_line();
    let body = json!({"public_key": subject, "valid_principals": login_name(), "ttl": "5m"});
    let signed = authority.api(&token).post(&format!("ssh/sign/{ROLE}"), &body);
    assert_eq!(signed.status, 200, "{}", signed.text);
    let record = authority.records("issue").pop().unwrap();
    assert!(record["person"].as_str().unwrap().contains("repo:acme/app"), "{record}");
    // The rule for CI allows 15 minutes; an hour is the role's maximum but not theirs.
    let long = json!({"public_key": subject, "valid_principals": login_name(), "ttl": "1h"});
    assert_eq!(
        authority.api(&token).post(&format!("ssh/sign/{ROLE}"), &long).status,
        403
    );
}

#[test]
fn a_ci_job_with_wrong_claims_does_not_log_in() {
    let folder = Workdir::new();
    let (issuer, impostor) = (Issuer::new(), Issuer::new());
    let authority = authority_for_ci(&issuer, folder.path());
    let api = authority.anonymous();
    let login = |jwt: &str| api.post("auth/jwt/login", &json!({"role": "deploy", "jwt": jwt}));
    assert_eq!(
        login(&issuer.token(|_| {})).status,
        200,
        "the row beside which all others stand"
    );

    let past = now().secs() - 3600;
    let wrong: Vec<(&str, String)> = vec![
        (
            "another branch",
            issuer.token(|claims| claims["branch"] = json!("feature")),
        ),
        (
            "no branch",
            issuer.token(|claims| drop(claims.as_object_mut().unwrap().remove("branch"))),
        ),
        (
            "another issuer",
            issuer.token(|claims| claims["iss"] = json!("https://ci.example.com.evil.net")),
        ),
        (
            "no issuer",
            issuer.token(|claims| drop(claims.as_object_mut().unwrap().remove("iss"))),
        ),
        (
            "another audience",
            issuer.token(|claims| claims["aud"] = json!("vault")),
        ),
        (
            "no audience",
            issuer.token(|claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
        ),
        (
            "a nested audience",
            issuer.token(|claims| claims["aud"] = json!([["signet"]])),
        ),
        ("expired", issuer.token(|claims| claims["exp"] = json!(past))),
        (
            "no expiry",
            issuer.token(|claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ),
        (
            "an expiry that is text",
            issuer.token(|claims| claims["exp"] = json!("9999999999")),
        ),
        (
            "not yet valid",
            issuer.token(|claims| claims["nbf"] = json!(past + 7200)),
        ),
        ("the right claims, signed by somebody else", impostor.token(|_| {})),
        (
            "no signature",
            issuer.token(|_| {}).rsplit_once('.').unwrap().0.to_owned() + ".",
        ),
        ("nothing", String::new()),
    ];
    for (name, jwt) in wrong {
        let answer = login(&jwt);
        assert!(
            (400..500).contains(&answer.status) && answer.status != 404,
            "{name}: {} {}",
            answer.status,
            answer.text
        );
        assert!(answer.body["auth"].is_null(), "{name}: {}", answer.text);
    }
    assert_eq!(authority.records("login").len(), 1);
}
