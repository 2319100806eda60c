//! Hosts with certificates: the authority signs a host's key, and `signet ssh` believes that host without ever having seen
//! its key.

use serde_json::json;
use signet_tests::authority::{Authority, ROOT_TOKEN};
use signet_tests::person::{Person, Ran};
use signet_tests::sshd::{Sshd, SshdSetup};
use signet_tests::workdir::login_name;

/// An authority with a mount for users and one for hosts, and a host certified for `name`.
struct Scene {
    person: Person,
    sshd: Sshd,
    _authority: Authority,
}

impl Scene {
    fn new(name: &str) -> Self {
        let authority = Authority::dev();
        let root = authority.root();
        root.write(
            "ssh/roles/any",
            &json!({"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*", "ttl": "5m"}),
        );
        for mount in ["host-signer", "other-hosts"] {
            root.write(&format!("sys/mounts/{mount}"), &json!({"type": "ssh"}));
            root.write(&format!("{mount}/config/ca"), &json!({"key_type": "ed25519"}));
        }
        let role = json!({
            "key_type": "ca", "allow_host_certificates": true, "allowed_domains": "127.0.0.1,example.com",
            "allow_bare_domains": true, "allow_subdomains": true, "ttl": "1h"
        });
        root.write("host-signer/roles/hosts", &role);
        let mut sshd = SshdSetup::trusting(&root.ca_key("ssh")).build();
        let ask = json!({
            "public_key": sshd.host_key().public_line(), "valid_principals": name, "cert_type": "host"
        });
        let signed = root.post("host-signer/sign/hosts", &ask);
        let certificate = sshd.host_key().put_certificate(signed.signed_key());
        sshd.configure(&format!("HostCertificate {}", certificate.display()));
        sshd.listen();
        let person = Person::using(&authority.address()).with("SIGNET_TOKEN", ROOT_TOKEN);
        Self {
            person,
            sshd,
            _authority: authority,
        }
    }

    fn ssh(&self, host_mount: &str) -> Ran {
        let (destination, port) = (format!("{}@127.0.0.1", login_name()), self.sshd.port().to_string());
        let host_mount = format!("-host-key-mount-point={host_mount}");
        self.person.run(&[
            "ssh",
            "-role=any",
            &host_mount,
            &destination,
            "-p",
            &port,
            "-F/dev/null",
            "-oBatchMode=yes",
            "-oKexAlgorithms=curve25519-sha256",
            "echo in",
        ])
    }
}

#[test]
fn a_certified_host_is_believed_at_first_sight() {
    let scene = Scene::new("127.0.0.1");
    assert_eq!(scene.ssh("host-signer").succeeded().stdout, "in\n");
}

#[test]
fn cve_2025_26465_a_host_certified_for_another_name_is_not_believed() {
    let scene = Scene::new("web-1.example.com");
    let ran = scene.ssh("host-signer");
    assert_eq!(ran.code, Some(255), "{}", ran.stderr);
    assert!(
        ran.stdout.is_empty() && ran.stderr.contains("Host key verification failed"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_host_certified_by_another_authority_is_not_believed() {
    let scene = Scene::new("127.0.0.1");
    let ran = scene.ssh("other-hosts");
    assert_eq!(ran.code, Some(255), "{}", ran.stderr);
    assert!(
        ran.stdout.is_empty() && ran.stderr.contains("Host key verification failed"),
        "{}",
        ran.stderr
    );
}
