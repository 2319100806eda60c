//! The three requests of the slides made with curl, and then `signet ssh`: what a newcomer does in the first minutes.

use signet_tests::authority::{Authority, ROOT_TOKEN};
use signet_tests::person::{Person, Ran, private_keys_under};
use signet_tests::slides::{MOUNT, curl, requests};
use signet_tests::ssh::HERMETIC;
use signet_tests::sshd::{Sshd, SshdSetup};
use signet_tests::workdir::login_name;

/// An authority after the three requests, a host that trusts it, and somebody with the root token.
pub(crate) struct Scene {
    pub(crate) authority: Authority,
    pub(crate) sshd: Sshd,
    pub(crate) person: Person,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let authority = Authority::dev();
        for (path, body) in requests() {
            drop(curl(&authority, &path, body));
        }
        let mut sshd = SshdSetup::trusting(&authority.anonymous().ca_key(MOUNT)).build();
        sshd.listen();
        let person = Person::using(&authority.address()).with("SIGNET_TOKEN", ROOT_TOKEN);
        Self {
            authority,
            sshd,
            person,
        }
    }

    /// `signet ssh` to the host with more flags of ours and a remote command.
    pub(crate) fn ssh(&self, flags: &[&str], remote: &[&str]) -> Ran {
        let destination = format!("{}@127.0.0.1", login_name());
        let port = self.sshd.port().to_string();
        let mount = format!("-mount-point={MOUNT}");
        let known_hosts = format!("-user-known-hosts-file={}", self.sshd.known_hosts().display());
        let mut arguments = vec!["ssh", &mount, &known_hosts, "-strict-host-key-checking=yes"];
        arguments.extend(flags);
        arguments.extend([destination.as_str(), "-p", port.as_str()]);
        arguments.extend(HERMETIC);
        arguments.extend(remote);
        self.person.run(&arguments)
    }
}

#[test]
fn signet_ssh_logs_in_after_the_three_requests_of_the_slides() {
    let scene = Scene::new();
    let ran = scene.ssh(&["-role=my-role"], &["id", "-un"]).succeeded();
    assert_eq!(ran.stdout.trim(), login_name());

    let logged = scene.sshd.log_line("Accepted publickey");
    let records = scene.authority.records("issue");
    assert_eq!(records.len(), 1, "one login, one certificate");
    let (serial, key_id) = (
        records[0]["serial"].as_str().unwrap(),
        records[0]["key_id"].as_str().unwrap(),
    );
    assert!(
        logged.contains(&format!("ID {key_id} (serial {serial}) CA")),
        "{logged}\n{}",
        records[0]
    );
}

#[test]
fn signet_ssh_leaves_no_private_key_under_home() {
    let scene = Scene::new();
    for flags in [&["-role=my-role"][..], &["-role=my-role", "-no-agent"]] {
        scene.ssh(flags, &["true"]).succeeded();
    }
    assert_eq!(
        private_keys_under(&scene.person.home()),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(
        private_keys_under(&scene.person.runtime()),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn signet_ssh_passes_on_the_exit_code_of_the_remote_command() {
    let scene = Scene::new();
    for flags in [&["-role=my-role"][..], &["-role=my-role", "-no-agent"]] {
        assert_eq!(scene.ssh(flags, &["exit 42"]).code, Some(42), "{flags:?}");
    }
}

#[test]
fn signet_ssh_takes_one_dash_or_two_and_a_value_beside_the_flag() {
    let scene = Scene::new();
    for flags in [
        &["--role=my-role"][..],
        &["-role", "my-role"],
        &["--role", "my-role", "--mode=ca"],
    ] {
        scene.ssh(flags, &["true"]).succeeded();
    }
}

#[test]
fn an_unknown_role_is_refused_with_its_name() {
    let scene = Scene::new();
    let ran = scene.ssh(&["-role=no-such-role"], &["true"]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    assert!(ran.stderr.contains("no-such-role"), "{}", ran.stderr);
    assert!(ran.stderr.contains("error:"), "{}", ran.stderr);
}

#[test]
fn a_principal_that_no_host_account_has_does_not_open_it() {
    let scene = Scene::new();
    // The certificate names another account than the one that is knocked at.
    let ran = scene.ssh(&["-role=my-role", "-valid-principals=somebody-else"], &["true"]);
    assert_eq!(ran.code, Some(255), "{}", ran.stderr);
    assert!(!scene.sshd.log().contains("Accepted publickey"), "{}", scene.sshd.log());
}
