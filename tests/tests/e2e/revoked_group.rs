//! Somebody leaves a group: the next certificate is refused at once, and the refusal names the policy.

use serde_json::Value;
use signet_tests::agent::SshAgent;
use signet_tests::authority::Authority;
use signet_tests::keys::KeyFile;
use signet_tests::person::Person;
use signet_tests::team::{GROUP, ROLE, Team};
use signet_tests::wait::until;
use signet_tests::workdir::{Workdir, login_name};

#[test]
fn removing_a_group_ends_the_next_certificate_and_the_refusal_names_the_policy() {
    let folder = Workdir::new();
    let (key, subject) = (
        KeyFile::ed25519(folder.path(), "alice"),
        KeyFile::ed25519(folder.path(), "subject"),
    );
    let member = Team::default().person("alice", &[GROUP], &key);
    let authority = Authority::dev_with(|policies| member.install(policies));
    let agent = SshAgent::start(folder.path());
    agent.add(&key);
    let alice = Person::using(&authority.address()).with("SSH_AUTH_SOCK", agent.socket().to_str().unwrap());
    alice.run(&["login", "-method=ssh-key"]).succeeded();

    let public_key = subject.path().with_extension("pub");
    let sign = || {
        let account = format!("-valid-principals={}", login_name());
        alice.run(&["sign", &format!("-role={ROLE}"), &account, public_key.to_str().unwrap()])
    };
    sign().succeeded();

    // The token from before stays good; what it may do is decided anew at each request.
    authority.replace_policy("people.toml", &Team::default().person("alice", &[], &key).people_toml());
    let refused = until("the new people.toml", || Some(sign()).filter(|ran| ran.code != Some(0)));
    assert_eq!(refused.code, Some(3), "refused, not failed: {}", refused.stderr);
    assert!(
        refused.stderr.contains("backend-logs-in"),
        "the policy is named: {}",
        refused.stderr
    );
    assert!(refused.stderr.contains(ROLE), "the role is named: {}", refused.stderr);

    let denials = authority.records("deny");
    let denial = denials.last().unwrap_or(&Value::Null);
    assert_eq!(denial["person"], "alice", "{denial}");
    assert_eq!(denial["role"], ROLE, "{denial}");

    // Back in the group: back in.
    authority.replace_policy("people.toml", &member.people_toml());
    until("the old people.toml", || Some(sign()).filter(|ran| ran.code == Some(0)));
}

#[test]
fn a_policy_folder_with_a_mistake_is_not_loaded_and_the_old_one_stays() {
    let folder = Workdir::new();
    let key = KeyFile::ed25519(folder.path(), "alice");
    let team = Team::default().person("alice", &[GROUP], &key);
    let authority = Authority::dev_with(|policies| team.install(policies));
    let root = authority.root();
    let subject = KeyFile::ed25519(folder.path(), "subject").public_line();
    let account = login_name();
    assert_eq!(root.sign("ssh", ROLE, &subject, &account).status, 200);

    authority.replace_policy(
        "people.toml",
        "groups = [\"backend\"]\n\n[people.alice]\ngruops = []\nkeys = [\"no key\"]\n",
    );
    let log = until("the mistakes in the log", || {
        Some(authority.log()).filter(|log| log.contains("gruops"))
    });
    assert!(log.contains("people.toml:4"), "file and line: {log}");
    assert!(log.contains("groups"), "the nearest right word: {log}");
    assert!(log.contains("people.toml:5"), "several mistakes at once: {log}");
    assert_eq!(root.sign("ssh", ROLE, &subject, &account).status, 200);
}
