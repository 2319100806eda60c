//! The real ssh client trusts a host by our host certificate, for the names in it and no others.

use signet_core::request::SigningRequest;
use signet_core::role::Role;
use signet_core::time::UnixTime;
use signet_tests::issuing::{Ca, ago, now, request, role};
use signet_tests::keys::KeyFile;
use signet_tests::ssh::{Login, Ssh};
use signet_tests::sshd::{Sshd, SshdSetup, known_hosts_of_ca};
use signet_tests::workdir::{Workdir, login_name};

/// A host with a certificate, and a user who can log in to it once they trust it.
struct Scene {
    users: Ca,
    hosts: Ca,
    sshd: Sshd,
    key: KeyFile,
    folder: Workdir,
}

impl Scene {
    fn new(certified: &str, at: UnixTime) -> Self {
        let (users, hosts) = (Ca::ed25519(), Ca::ed25519());
        let sshd = SshdSetup::trusting(&users.public_line()).build();
        let folder = Workdir::new();
        let key = KeyFile::ed25519(folder.path(), "key");
        let user_role = role(
            "my-role",
            &format!("allowed_users = [\"{}\"]\nttl = \"5m\"\n", login_name()),
        );
        key.put_certificate(
            &users
                .issue(&user_role, &request(&key.public_line(), &login_name()))
                .line,
        );
        let scene = Self {
            users,
            hosts,
            sshd,
            key,
            folder,
        };
        scene.certify(certified, at);
        scene
    }

    fn certify(&self, name: &str, at: UnixTime) {
        let ask = SigningRequest {
            cert_type: Some("host".to_owned()),
            ..request(&self.sshd.host_key().public_line(), name)
        };
        let issued = self.hosts.try_issue(&host_role(), &ask, at).unwrap();
        let certificate = self.sshd.host_key().put_certificate(&issued.line);
        self.sshd
            .configure(&format!("HostCertificate {}", certificate.display()));
    }

    /// Connects, calling the host `name` and trusting only what `ca` certifies.
    fn connect(&self, name: &str, ca: &Ca) -> Login {
        let known_hosts = known_hosts_of_ca(self.folder.path(), &ca.public_line());
        Ssh::to(&self.sshd)
            .key(&self.key)
            .known_hosts(&known_hosts)
            .option(&format!("-oHostKeyAlias={name}"))
            .run("echo in")
    }
}

fn host_role() -> Role {
    role(
        "hosts",
        "certificates = \"host\"\nallowed_domains = [\"example.com\"]\nallow_subdomains = true\nttl = \"1h\"\n",
    )
}

#[test]
fn ssh_accepts_host_certificate_for_its_name() {
    let scene = Scene::new("web-1.example.com", now());
    let login = scene.connect("web-1.example.com", &scene.hosts);
    assert!(login.accepted, "{}", login.stderr);
    assert_eq!(login.stdout, "in\n");
}

#[test]
fn ssh_refuses_host_certificate_for_another_name() {
    let scene = Scene::new("web-1.example.com", now());
    let login = scene.connect("web-2.example.com", &scene.hosts);
    assert!(!login.accepted && login.stdout.is_empty());
    assert!(
        login.stderr.contains("Host key verification failed"),
        "{}",
        login.stderr
    );
}

#[test]
fn ssh_refuses_expired_host_certificate() {
    let scene = Scene::new("web-1.example.com", ago(3601));
    let login = scene.connect("web-1.example.com", &scene.hosts);
    assert!(!login.accepted && login.stdout.is_empty());
    assert!(
        login.stderr.contains("Host key verification failed"),
        "{}",
        login.stderr
    );
}

#[test]
fn ssh_refuses_host_certificate_of_another_ca() {
    let scene = Scene::new("web-1.example.com", now());
    let login = scene.connect("web-1.example.com", &scene.users);
    assert!(!login.accepted && login.stdout.is_empty());
}

#[test]
fn a_request_for_a_name_outside_the_roles_domains_is_refused() {
    let scene = Scene::new("web-1.example.com", now());
    let ask = |name: &str| SigningRequest {
        cert_type: Some("host".to_owned()),
        ..request(&scene.sshd.host_key().public_line(), name)
    };
    for name in [
        "web-1.example.org",
        "example.com.evil.net",
        "notexample.com",
        "*.example.com",
        "example.com",
    ] {
        assert!(
            scene.hosts.try_issue(&host_role(), &ask(name), now()).is_err(),
            "{name}"
        );
    }
}
