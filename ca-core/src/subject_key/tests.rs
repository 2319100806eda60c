use ssh_encoding::Encode;

use super::*;

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes.encode(&mut out).unwrap();
    out
}

fn line(name: &str, fields: &[&[u8]]) -> String {
    let mut blob = string(name.as_bytes());
    for field in fields {
        blob.extend(string(field));
    }
    format!("{name} {}", STANDARD.encode(blob))
}

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPk6cWCCjkUgp1tmDTuLK4kLsuxrzZcCrApYr9pl98oe alice@laptop";

fn rsa(bits: u32, exponent: &[u8]) -> String {
    let bytes = usize::try_from(bits / 8).unwrap();
    let mut modulus = vec![0xff; bytes];
    modulus.insert(0, 0);
    line("ssh-rsa", &[exponent, &modulus])
}

#[test]
fn a_key_line_and_bare_base64_are_the_same_key() {
    let key = SubjectKey::parse(ED25519).unwrap();
    assert_eq!(key.kind(), KeyKind::Ed25519);
    let bare = ED25519.split(' ').nth(1).unwrap();
    assert_eq!(SubjectKey::parse(bare).unwrap(), key);
    assert_eq!(SubjectKey::parse(&format!("{ED25519}\n")).unwrap(), key);
    let (front, back) = bare.split_at(30);
    assert_eq!(SubjectKey::parse(&format!("{front}\n{back}\n")).unwrap(), key);
    assert_eq!(SubjectKey::parse(&ED25519.replace(' ', "\t")).unwrap(), key);
    assert!(key.fingerprint().starts_with("SHA256:"));
    assert_eq!(key.line(), ED25519.rsplit_once(' ').unwrap().0);
    assert_eq!(
        key.to_public_key()
            .unwrap()
            .fingerprint(ssh_key::HashAlg::Sha256)
            .to_string(),
        key.fingerprint()
    );
}

#[test]
fn every_kind_that_openssh_makes_is_read() {
    let rows = [
        (rsa(2048, &[1, 0, 1]), KeyKind::Rsa { bits: 2048 }),
        (rsa(4096, &[3]), KeyKind::Rsa { bits: 4096 }),
        (
            line("sk-ssh-ed25519@openssh.com", &[&[7; 32], b"ssh:"]),
            KeyKind::SkEd25519,
        ),
    ];
    for (text, kind) in rows {
        assert_eq!(SubjectKey::parse(&text).map(|key| key.kind()), Ok(kind), "{text}");
    }
}

#[test]
fn cve_2026_39829_hostile_keys_are_refused_before_any_arithmetic() {
    let rows = [
        ("RSA-1024", rsa(1024, &[1, 0, 1])),
        ("RSA-16384", rsa(16_384, &[1, 0, 1])),
        ("e = 0", rsa(2048, &[])),
        ("e = 1", rsa(2048, &[1])),
        ("e even", rsa(2048, &[2])),
        ("e huge", rsa(2048, &[0x7f; 16])),
        ("negative modulus", line("ssh-rsa", &[&[1, 0, 1], &[0xff; 256]])),
        ("Ed25519 of 31 bytes", line("ssh-ed25519", &[&[7; 31]])),
        ("Ed25519 of 33 bytes", line("ssh-ed25519", &[&[7; 33]])),
        ("a tail", line("ssh-ed25519", &[&[7; 32], b"x"])),
        (
            "a point off the curve",
            line("ecdsa-sha2-nistp256", &[b"nistp256", &[4; 65]]),
        ),
        (
            "the point at infinity",
            line("ecdsa-sha2-nistp256", &[b"nistp256", &[0]]),
        ),
        (
            "the wrong curve name",
            line("ecdsa-sha2-nistp256", &[b"nistp384", &[4; 65]]),
        ),
        (
            "an empty application",
            line("sk-ssh-ed25519@openssh.com", &[&[7; 32], b""]),
        ),
        ("DSA", line("ssh-dss", &[&[1], &[1], &[1], &[1]])),
        ("nothing", String::new()),
        ("a type alone", "ssh-ed25519".to_owned()),
        ("options in front", format!("command=\"x\" {ED25519}")),
        ("two lines", format!("{ED25519}\n{ED25519}")),
        ("a wrong type in front", ED25519.replacen("ssh-ed25519", "ssh-rsa", 1)),
        ("broken base64", "ssh-ed25519 AAAA!".to_owned()),
        ("a megabyte", format!("ssh-ed25519 {}", "A".repeat(1 << 20))),
    ];
    for (what, text) in rows {
        assert!(SubjectKey::parse(&text).is_err(), "{what}");
    }
}

#[test]
fn a_certificate_or_a_private_key_is_not_a_subject_key() {
    let certificate = line("ssh-ed25519-cert-v01@openssh.com", &[&[1; 32], &[7; 32]]);
    assert_eq!(SubjectKey::parse(&certificate), Err(SubjectKeyError::IsACertificate));
    let bare = certificate.split(' ').nth(1).unwrap();
    assert_eq!(SubjectKey::parse(bare), Err(SubjectKeyError::IsACertificate));
    let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----";
    assert_eq!(SubjectKey::parse(private), Err(SubjectKeyError::IsAPrivateKey));
}

#[test]
fn points_of_small_order_are_no_keys() {
    for listed in SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut point = listed;
            point[31] |= sign;
            if let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&point) {
                assert!(key.is_weak(), "{point:?} does not belong on the list");
            }
            let text = line("ssh-ed25519", &[&point]);
            assert_eq!(SubjectKey::parse(&text), Err(SubjectKeyError::Weak));
            let security_key = line("sk-ssh-ed25519@openssh.com", &[&point, b"ssh:"]);
            assert_eq!(SubjectKey::parse(&security_key), Err(SubjectKeyError::Weak));
        }
    }
}
