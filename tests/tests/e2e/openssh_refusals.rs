//! The real sshd refuses what it must, and obeys what a certificate restricts. Each refusal stands beside the login that
//! is accepted but for the one thing that is wrong.

use signet_core::request::SigningRequest;
use signet_core::role::Role;
use signet_tests::agent::SshAgent;
use signet_tests::issuing::{Ca, Issued, ago, hence, now, request, role};
use signet_tests::keys::KeyFile;
use signet_tests::ssh::{Login, Ssh};
use signet_tests::sshd::{Sshd, SshdSetup};
use signet_tests::workdir::{Workdir, is_root, login_name};

/// A CA, a host that trusts it, and somebody's key.
struct Scene {
    ca: Ca,
    sshd: Sshd,
    key: KeyFile,
    folder: Workdir,
}

impl Scene {
    fn new() -> Self {
        Self::with(|setup| setup)
    }

    fn with(change: impl FnOnce(SshdSetup) -> SshdSetup) -> Self {
        let ca = Ca::ed25519();
        let sshd = change(SshdSetup::trusting(&ca.public_line())).build();
        let folder = Workdir::new();
        let key = KeyFile::ed25519(folder.path(), "key");
        Self { ca, sshd, key, folder }
    }

    fn ask(&self) -> SigningRequest {
        request(&self.key.public_line(), &login_name())
    }

    fn login(&self, issued: &Issued) -> Login {
        self.key.put_certificate(&issued.line);
        Ssh::to(&self.sshd).key(&self.key).run("echo in")
    }

    fn accepts(&self, issued: &Issued) {
        let login = self.login(issued);
        assert!(login.accepted, "{}", login.stderr);
        assert_eq!(login.stdout, "in\n");
    }

    fn refuses(&self, issued: &Issued, logged: &str) {
        let login = self.login(issued);
        assert!(
            !login.accepted && login.stdout.is_empty(),
            "it was let in: {}",
            login.stdout
        );
        assert!(login.stderr.contains("Permission denied"), "{}", login.stderr);
        self.sshd.log_line(logged);
    }
}

fn plain_role() -> Role {
    role(
        "my-role",
        &format!("allowed_users = [\"{}\", \"deploy\"]\nttl = \"5m\"\n", login_name()),
    )
}

#[test]
fn sshd_refuses_expired_user_certificate() {
    let scene = Scene::new();
    scene.accepts(&scene.ca.issue(&plain_role(), &scene.ask()));
    let expired = scene.ca.try_issue(&plain_role(), &scene.ask(), ago(301)).unwrap();
    scene.refuses(&expired, "expired");
}

#[test]
fn sshd_refuses_user_certificate_that_is_not_yet_valid() {
    let scene = Scene::new();
    // Backdating covers a host whose clock is a little behind the authority's, not one that is an hour behind.
    scene.accepts(&scene.ca.try_issue(&plain_role(), &scene.ask(), hence(10)).unwrap());
    let early = scene.ca.try_issue(&plain_role(), &scene.ask(), hence(3600)).unwrap();
    scene.refuses(&early, "not yet valid");
}

#[test]
fn sshd_refuses_user_certificate_for_another_account() {
    let scene = Scene::new();
    let other = scene
        .ca
        .issue(&plain_role(), &request(&scene.key.public_line(), "deploy"));
    scene.refuses(&other, "principal");
}

#[test]
fn sshd_lets_in_by_the_principals_file_and_nobody_else() {
    let scene = Scene::with(|setup| setup.principal("deploy"));
    scene.accepts(
        &scene
            .ca
            .issue(&plain_role(), &request(&scene.key.public_line(), "deploy")),
    );
    // With a principals file the account's own name no longer suffices.
    scene.refuses(&scene.ca.issue(&plain_role(), &scene.ask()), "principal");
}

#[test]
fn sshd_refuses_user_certificate_of_another_ca() {
    let scene = Scene::new();
    let foreign = Ca::ed25519().issue(&plain_role(), &scene.ask());
    scene.refuses(&foreign, &format!("ID {} (serial {})", foreign.key_id, foreign.serial));
    assert!(!scene.sshd.log().contains("Accepted"), "{}", scene.sshd.log());
}

#[test]
fn sshd_refuses_host_certificate_of_a_user() {
    let scene = Scene::new();
    let hosts = role(
        "hosts",
        &format!(
            "certificates = \"host\"\nallowed_domains = [\"{}\"]\nallow_bare_domains = true\nttl = \"5m\"\n",
            login_name()
        ),
    );
    let ask = SigningRequest {
        cert_type: Some("host".to_owned()),
        ..scene.ask()
    };
    // ssh itself would not offer it from a file; an agent can be made to.
    let issued = scene.ca.issue(&hosts, &ask);
    scene.key.put_certificate(&issued.line);
    let agent = SshAgent::start(scene.folder.path());
    agent.add(&scene.key);
    let login = Ssh::to(&scene.sshd).agent(&agent).run("echo in");
    assert!(!login.accepted && login.stdout.is_empty());
    scene.sshd.log_line("not a user certificate");
}

#[test]
fn sshd_refuses_revoked_serial_and_takes_the_next() {
    let scene = Scene::new();
    let (revoked, kept) = (
        scene.ca.issue(&plain_role(), &scene.ask()),
        scene.ca.issue(&plain_role(), &scene.ask()),
    );
    let folder = scene.sshd.folder();
    let list = folder.write("revoked", &format!("serial: {}\n", revoked.serial));
    let krl = folder.path().join("krl");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-k", "-s"])
        .arg(folder.path().join("user_ca.pub"))
        .arg("-f")
        .arg(&krl)
        .arg(list)
        .status()
        .unwrap();
    assert!(made.success());
    scene.sshd.configure(&format!("RevokedKeys {}", krl.display()));
    scene.refuses(&revoked, "revoked");
    scene.accepts(&kept);
}

#[test]
fn sshd_runs_the_forced_command_and_nothing_else() {
    let scene = Scene::new();
    let forced = role(
        "backup",
        &format!(
            "allowed_users = [\"{}\"]\nttl = \"5m\"\ndefault_critical_options = {{ force-command = \"echo forced\" }}\n",
            login_name()
        ),
    );
    let login = scene.login(&scene.ca.issue(&forced, &scene.ask()));
    assert!(login.accepted, "{}", login.stderr);
    assert_eq!(login.stdout, "forced\n");

    // A request cannot take the role's command away or put another in its place (the role's critical options stay).
    let other = [("force-command".to_owned(), "echo mine".to_owned())].into();
    let ask = SigningRequest {
        critical_options: other,
        ..scene.ask()
    };
    if let Ok(issued) = scene.ca.try_issue(&forced, &ask, now()) {
        assert_eq!(scene.login(&issued).stdout, "forced\n");
    }
}

#[test]
fn sshd_refuses_a_forced_command_that_differs_from_the_hosts_own() {
    let account = login_name();
    let scene = Scene::with(|setup| setup.principal(&format!("command=\"echo host\" {account}")));
    scene.accepts_only_forced(&account);
}

impl Scene {
    fn accepts_only_forced(&self, account: &str) {
        let with = |command: &str| {
            role(
                "backup",
                &format!(
                    "allowed_users = [\"{account}\"]\nttl = \"5m\"\n\
                     default_critical_options = {{ force-command = \"{command}\" }}\n"
                ),
            )
        };
        let same = self.login(&self.ca.issue(&with("echo host"), &self.ask()));
        assert!(same.accepted, "{}", same.stderr);
        assert_eq!(same.stdout, "host\n");
        self.refuses(
            &self.ca.issue(&with("echo certificate"), &self.ask()),
            "forced command options do not match",
        );
    }
}

#[test]
fn sshd_enforces_the_source_address() {
    let mut scene = Scene::new();
    scene.sshd.listen();
    let from = |addresses: &str| {
        let text = format!(
            "allowed_users = [\"{}\"]\nttl = \"5m\"\ndefault_critical_options = {{ source-address = \"{addresses}\" }}\n",
            login_name()
        );
        role("office", &text)
    };
    let login = |issued: &Issued| {
        scene.key.put_certificate(&issued.line);
        Ssh::to(&scene.sshd).key(&scene.key).over_tcp().run("echo in")
    };
    let inside = login(&scene.ca.issue(&from("10.0.0.0/8,127.0.0.0/8"), &scene.ask()));
    assert!(inside.accepted, "{}", inside.stderr);
    let outside = login(&scene.ca.issue(&from("10.0.0.0/8"), &scene.ask()));
    assert!(!outside.accepted && outside.stdout.is_empty());
    scene.sshd.log_line("not from a permitted source address");
}

#[test]
fn sshd_gives_a_terminal_only_with_the_extension() {
    let scene = Scene::new();
    let terminal = |role: &Role| {
        scene.key.put_certificate(&scene.ca.issue(role, &scene.ask()).line);
        Ssh::to(&scene.sshd).key(&scene.key).tty().run("tty")
    };
    let with = role(
        "with",
        &format!(
            "allowed_users = [\"{}\"]\nttl = \"5m\"\ndefault_extensions = [\"permit-pty\"]\n",
            login_name()
        ),
    );
    // Only root's sshd can hand a terminal over; an ordinary user's dies of trying.
    if is_root() {
        let granted = terminal(&with);
        assert!(
            granted.stdout.starts_with("/dev/"),
            "{} {}",
            granted.stdout,
            granted.stderr
        );
    }
    let denied = terminal(&plain_role());
    assert!(!denied.stdout.starts_with("/dev/"), "{}", denied.stdout);
    assert!(
        denied.stderr.contains("PTY allocation request failed"),
        "{}",
        denied.stderr
    );
}
