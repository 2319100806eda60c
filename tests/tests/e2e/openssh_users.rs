//! The real OpenSSH accepts our user certificates: every subject key type under every CA key type.

use signet_core::signer::{CaKeyType, RsaBits};
use signet_tests::issuing::{Ca, request, role};
use signet_tests::keys::{KeyFile, describe};
use signet_tests::ssh::Ssh;
use signet_tests::sshd::SshdSetup;
use signet_tests::workdir::{Workdir, login_name};

const SUBJECTS: &[(&str, Option<u32>, &str)] = &[
    ("ed25519", None, "ssh-ed25519-cert-v01@openssh.com"),
    ("ecdsa", Some(256), "ecdsa-sha2-nistp256-cert-v01@openssh.com"),
    ("ecdsa", Some(384), "ecdsa-sha2-nistp384-cert-v01@openssh.com"),
    ("ecdsa", Some(521), "ecdsa-sha2-nistp521-cert-v01@openssh.com"),
    ("rsa", Some(3072), "ssh-rsa-cert-v01@openssh.com"),
];

/// Certifies each kind of subject key, has ssh-keygen read the certificate, and logs in with it.
fn logs_in_with_every_subject_key(ca_kind: CaKeyType, algorithm: &str, signed_with: &str) {
    let account = login_name();
    let role = role(
        "my-role",
        &format!(
            "allowed_users = [\"{account}\"]\nttl = \"5m\"\nalgorithm_signer = \"{algorithm}\"\n\
             default_extensions = [\"permit-pty\", \"permit-agent-forwarding\"]\n"
        ),
    );
    let ca = Ca::new(ca_kind);
    let sshd = SshdSetup::trusting(&ca.public_line()).build();
    let folder = Workdir::new();
    for (kind, bits, certificate_type) in SUBJECTS {
        let key = KeyFile::generate(folder.path(), &format!("{kind}{}", bits.unwrap_or(0)), kind, *bits);
        let issued = ca.issue(&role, &request(&key.public_line(), &account));
        let description = describe(&key.put_certificate(&issued.line));
        let words = [
            format!("Type: {certificate_type} user certificate"),
            format!("{} (using {signed_with})", ca.fingerprint()),
            format!("Key ID: \"{}\"", issued.key_id),
            format!("Serial: {}", issued.serial),
        ];
        for word in words {
            assert!(description.contains(&word), "`{word}` is missing:\n{description}");
        }
        let listed: Vec<&str> = description.lines().map(str::trim).collect();
        let tail = [
            "Principals:",
            &account,
            "Critical Options: (none)",
            "Extensions:",
            "permit-agent-forwarding",
            "permit-pty",
        ];
        assert!(listed.ends_with(&tail), "{description}");

        let login = Ssh::to(&sshd).key(&key).run("id -un");
        assert!(login.accepted, "{kind} under {ca_kind:?}: {}", login.stderr);
        assert_eq!(login.stdout.trim(), account);
        let logged = sshd.log_line(&format!("ID {} (serial {}) CA", issued.key_id, issued.serial));
        assert!(
            logged.contains(&format!("Accepted publickey for {account}")),
            "{logged}"
        );
        assert!(logged.ends_with(&ca.fingerprint()), "{logged}");
    }
}

#[test]
fn sshd_accepts_every_subject_key_under_an_ed25519_ca() {
    logs_in_with_every_subject_key(CaKeyType::Ed25519, "default", "ssh-ed25519");
}

#[test]
fn sshd_accepts_every_subject_key_under_a_p256_ca() {
    logs_in_with_every_subject_key(CaKeyType::EcdsaP256, "default", "ecdsa-sha2-nistp256");
}

#[test]
fn sshd_accepts_every_subject_key_under_a_p384_ca() {
    logs_in_with_every_subject_key(CaKeyType::EcdsaP384, "default", "ecdsa-sha2-nistp384");
}

#[test]
fn sshd_accepts_every_subject_key_under_a_p521_ca() {
    logs_in_with_every_subject_key(CaKeyType::EcdsaP521, "default", "ecdsa-sha2-nistp521");
}

#[test]
fn sshd_accepts_every_subject_key_under_an_rsa_ca_that_signs_with_sha256() {
    logs_in_with_every_subject_key(CaKeyType::Rsa(RsaBits::B2048), "rsa-sha2-256", "rsa-sha2-256");
}

#[test]
fn sshd_accepts_every_subject_key_under_an_rsa_ca_that_signs_with_sha512() {
    logs_in_with_every_subject_key(CaKeyType::Rsa(RsaBits::B3072), "rsa-sha2-512", "rsa-sha2-512");
}

/// A login with these needs a touched token, so only ssh-keygen judges.
#[test]
fn ssh_keygen_reads_certificates_of_security_keys() {
    let folder = Workdir::new();
    let ca = Ca::ed25519();
    let role = role(
        "touch",
        "allowed_users = [\"ubuntu\"]\nttl = \"5m\"\nsecurity_key_required = true\nverify_required = true\n",
    );
    let keys = [
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIFg4PHvjQCnTy2OOhtTJjFUNhO2fN6wIYbQf58DB3Y6qAAAABHNzaDo=",
        "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfUAAAAEc3NoOg==",
    ];
    for (index, key) in keys.iter().enumerate() {
        let issued = ca.issue(&role, &request(key, "ubuntu"));
        let description = describe(&folder.write(&format!("sk{index}-cert.pub"), &issued.line));
        let kind = key.split('@').next().expect("a type");
        assert!(
            description.contains(&format!("Type: {kind}-cert-v01@openssh.com user certificate")),
            "{description}"
        );
        assert!(description.contains("verify-required"), "{description}");
    }
}
