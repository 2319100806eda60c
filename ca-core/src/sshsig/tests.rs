//! Signatures made by hand: FIDO keys without a FIDO device, and everything that must not pass.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use ed25519_dalek::{Signer as _, SigningKey};
use ssh_encoding::Encode as _;
use ssh_key::Mpint;

use super::*;
use crate::subject_key::{SubjectKey, SubjectKeyError};

const SPACE: &str = "login.signet";
const TOUCHED: u8 = 0x01;
const VERIFIED: u8 = 0x04;

fn ssh_string(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        part.encode(&mut out).unwrap();
    }
    out
}

fn key_of(blob: &[u8]) -> SubjectKey {
    let kind_len = usize::from(blob[3]);
    let kind = std::str::from_utf8(&blob[4..4 + kind_len]).unwrap();
    SubjectKey::parse(&format!("{kind} {}", STANDARD.encode(blob))).unwrap()
}

/// A key that signs as `PROTOCOL.sshsig` wants, flags and all.
enum TestKey {
    Ed25519(SigningKey),
    SkEd25519(SigningKey),
    SkEcdsa(EcdsaKeyPair),
}

impl TestKey {
    fn ed25519(seed: u8) -> Self {
        Self::Ed25519(SigningKey::from_bytes(&[seed; 32]))
    }

    fn sk_ed25519() -> Self {
        Self::SkEd25519(SigningKey::from_bytes(&[7; 32]))
    }

    fn sk_ecdsa() -> Self {
        Self::SkEcdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn blob(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => ssh_string(&[b"ssh-ed25519", key.verifying_key().as_bytes()]),
            Self::SkEd25519(key) => {
                ssh_string(&[b"sk-ssh-ed25519@openssh.com", key.verifying_key().as_bytes(), b"ssh:"])
            }
            Self::SkEcdsa(key) => ssh_string(&[
                b"sk-ecdsa-sha2-nistp256@openssh.com",
                b"nistp256",
                key.public_key().as_ref(),
                b"ssh:",
            ]),
        }
    }

    fn sign(&self, namespace: &str, hash: HashAlgorithm, message: &[u8], flags: u8) -> SshSignature {
        let data = signed_data(namespace, hash, message).unwrap();
        let sha256 = |bytes: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let counter = 41_u32.to_be_bytes();
        let around = [
            sha256(b"ssh:").as_ref(),
            [flags].as_slice(),
            counter.as_slice(),
            sha256(&data).as_ref(),
        ]
        .concat();
        let blob = match self {
            Self::Ed25519(key) => ssh_string(&[b"ssh-ed25519", &key.sign(&data).to_bytes()]),
            Self::SkEd25519(key) => {
                let mut blob = ssh_string(&[b"sk-ssh-ed25519@openssh.com", &key.sign(&around).to_bytes()]);
                blob.push(flags);
                blob.extend_from_slice(&counter);
                blob
            }
            Self::SkEcdsa(key) => {
                let fixed = key.sign(&SystemRandom::new(), &around).unwrap();
                let (r, s) = fixed.as_ref().split_at(32);
                let mut scalars = Vec::new();
                Mpint::from_positive_bytes(r).encode(&mut scalars).unwrap();
                Mpint::from_positive_bytes(s).encode(&mut scalars).unwrap();
                let mut blob = ssh_string(&[b"sk-ecdsa-sha2-nistp256@openssh.com", &scalars]);
                blob.push(flags);
                blob.extend_from_slice(&counter);
                blob
            }
        };
        SshSignature::new(&self.blob(), namespace, hash, &blob).unwrap()
    }
}

#[test]
fn a_security_key_signature_needs_a_touch_cve_2026_39831() {
    for key in [TestKey::sk_ed25519(), TestKey::sk_ecdsa()] {
        let public = key_of(&key.blob());
        let verify = |flags| {
            key.sign(SPACE, HashAlgorithm::Sha512, b"text", flags)
                .verify(&public, SPACE, b"text")
        };
        assert!(verify(TOUCHED).unwrap().by_security_key());
        assert_eq!(verify(0x00), Err(VerifyError::UserNotPresent));
        assert_eq!(
            verify(VERIFIED),
            Err(VerifyError::UserNotPresent),
            "verified is not present"
        );
    }
}

#[test]
fn user_verification_is_refused_to_a_mere_touch_and_to_plain_keys() {
    for key in [TestKey::sk_ed25519(), TestKey::sk_ecdsa()] {
        let public = key_of(&key.blob());
        let verify = |flags| {
            let signature = key.sign(SPACE, HashAlgorithm::Sha512, b"text", flags);
            signature
                .verify(&public, SPACE, b"text")
                .unwrap()
                .require_user_verification()
        };
        assert_eq!(verify(TOUCHED), Err(VerifyError::UserNotVerified));
        assert!(verify(TOUCHED | VERIFIED).is_ok());
    }
    let plain = TestKey::ed25519(1);
    let signature = plain.sign(SPACE, HashAlgorithm::Sha512, b"text", 0);
    let verified = signature.verify(&key_of(&plain.blob()), SPACE, b"text").unwrap();
    assert!(!verified.by_security_key());
    assert_eq!(verified.require_user_verification(), Err(VerifyError::UserNotVerified));
}

#[test]
fn raising_the_flags_after_signing_breaks_the_signature() {
    for key in [TestKey::sk_ed25519(), TestKey::sk_ecdsa()] {
        let mut signature = key.sign(SPACE, HashAlgorithm::Sha512, b"text", 0x00);
        signature.security_key = Some(SecurityKeyFields {
            flags: TOUCHED,
            counter: 41,
        });
        assert_eq!(
            signature.verify(&key_of(&key.blob()), SPACE, b"text"),
            Err(VerifyError::Mismatch)
        );
    }
}

#[test]
fn each_bound_part_is_bound() {
    let key = TestKey::ed25519(1);
    let other = TestKey::ed25519(2);
    let public = key_of(&key.blob());
    let good = key.sign(SPACE, HashAlgorithm::Sha512, b"text", 0);
    assert!(good.verify(&public, SPACE, b"text").is_ok());
    assert!(
        key.sign(SPACE, HashAlgorithm::Sha256, b"text", 0)
            .verify(&public, SPACE, b"text")
            .is_ok()
    );

    assert_eq!(good.verify(&public, SPACE, b"other"), Err(VerifyError::Mismatch));
    assert_eq!(
        good.verify(&public, "git", b"text"),
        Err(VerifyError::OtherNamespace {
            found: SPACE.into(),
            wanted: "git".into()
        })
    );
    let git = key.sign("git", HashAlgorithm::Sha512, b"text", 0);
    assert!(matches!(
        git.verify(&public, SPACE, b"text"),
        Err(VerifyError::OtherNamespace { .. })
    ));
    let relabelled = SshSignature {
        namespace: SPACE.into(),
        ..git
    };
    assert_eq!(relabelled.verify(&public, SPACE, b"text"), Err(VerifyError::Mismatch));
    let rehashed = SshSignature {
        hash: HashAlgorithm::Sha256,
        ..good.clone()
    };
    assert_eq!(rehashed.verify(&public, SPACE, b"text"), Err(VerifyError::Mismatch));
    assert_eq!(
        good.verify(&key_of(&other.blob()), SPACE, b"text"),
        Err(VerifyError::OtherKey)
    );
}

#[test]
fn cve_2024_45337_a_key_merely_offered_is_not_a_key_proven() {
    let offered = TestKey::ed25519(1);
    let held = TestKey::ed25519(2);
    // Signed by the key that is held, labelled with the key that is offered.
    let forged = SshSignature {
        key_blob: offered.blob(),
        ..held.sign(SPACE, HashAlgorithm::Sha512, b"text", 0)
    };
    assert_eq!(
        forged.verify(&key_of(&offered.blob()), SPACE, b"text"),
        Err(VerifyError::Mismatch)
    );
}

#[test]
fn a_key_of_small_order_proves_nothing() {
    // The neutral element as key: the signature R = neutral element, s = 0 fits any text. It is not even read as a key.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let key = ssh_string(&[b"ssh-ed25519", &neutral]);
    assert_eq!(SubjectKey::from_blob(key), Err(SubjectKeyError::Weak));
}

#[test]
fn an_algorithm_of_another_key_kind_is_refused() {
    let key = TestKey::ed25519(1);
    let public = key_of(&key.blob());
    for algorithm in ["ssh-rsa", "rsa-sha2-512", "ecdsa-sha2-nistp256", "ssh-dss", "none", ""] {
        let mut signature = key.sign(SPACE, HashAlgorithm::Sha512, b"text", 0);
        signature.algorithm = algorithm.to_owned();
        assert_eq!(
            signature.verify(&public, SPACE, b"text"),
            Err(VerifyError::OtherAlgorithm(algorithm.to_owned()))
        );
    }
}

#[test]
fn armor_reads_back_and_anything_odd_is_refused() {
    let good = TestKey::sk_ed25519().sign(SPACE, HashAlgorithm::Sha512, b"text", TOUCHED);
    let armor = good.to_armor().unwrap();
    assert_eq!(SshSignature::from_armor(&armor).unwrap(), good);
    assert_eq!(SshSignature::from_armor(&armor.replace('\n', "\r\n")).unwrap(), good);
    assert!(armor.lines().all(|line| line.len() <= LINE_CHARS));

    let wrap = |blob: &[u8]| format!("{HEADER}\n{}\n{FOOTER}\n", STANDARD.encode(blob));
    let blob = good.to_blob().unwrap();
    let with = |range: std::ops::Range<usize>, bytes: &[u8]| {
        let mut changed = blob.clone();
        changed.splice(range, bytes.iter().copied());
        wrap(&changed)
    };
    let reserved = {
        let mut out = MAGIC.to_vec();
        VERSION.encode(&mut out).unwrap();
        out.extend(ssh_string(&[&good.key_blob, SPACE.as_bytes(), b"x", b"sha512"]));
        wrap(&out)
    };
    let md5 = {
        let mut out = MAGIC.to_vec();
        VERSION.encode(&mut out).unwrap();
        out.extend(ssh_string(&[&good.key_blob, SPACE.as_bytes(), b"", b"md5", b""]));
        wrap(&out)
    };
    let rows: [(&str, String, SshSigError); 11] = [
        ("no armor", STANDARD.encode(&blob), SshSigError::NotArmored),
        ("empty", String::new(), SshSigError::NotArmored),
        ("text after", format!("{armor}x"), SshSigError::NotArmored),
        ("text before", format!("x{armor}"), SshSigError::NotArmored),
        (
            "bad base64",
            format!("{HEADER}\n!!!!\n{FOOTER}"),
            SshSigError::NotArmored,
        ),
        ("too long", "A".repeat(ARMOR_CHARS_MAX + 1), SshSigError::TooLong),
        ("version 2", with(6..10, &[0, 0, 0, 2]), SshSigError::UnknownVersion(2)),
        ("version 0", with(6..10, &[0, 0, 0, 0]), SshSigError::UnknownVersion(0)),
        (
            "trailing byte",
            with(blob.len()..blob.len(), &[0]),
            SshSigError::Malformed,
        ),
        ("unknown hash", md5, SshSigError::UnknownHash("md5".into())),
        ("other magic", with(0..6, b"SSHSIX"), SshSigError::Malformed),
    ];
    for (name, text, error) in rows {
        assert_eq!(SshSignature::from_armor(&text), Err(error), "{name}");
    }
    assert!(SshSignature::from_armor(&reserved).is_err());
    for cut in 0..blob.len() {
        assert!(SshSignature::from_armor(&wrap(&blob[..cut])).is_err(), "cut at {cut}");
    }
}

#[test]
fn an_empty_namespace_is_refused_both_ways() {
    assert_eq!(
        signed_data("", HashAlgorithm::Sha512, b"text"),
        Err(SshSigError::EmptyNamespace)
    );
    let key = TestKey::ed25519(1);
    let blob = ssh_string(&[b"ssh-ed25519", &[0; 64]]);
    let made = SshSignature::new(&key.blob(), "", HashAlgorithm::Sha512, &blob);
    assert_eq!(made, Err(SshSigError::EmptyNamespace));
}

#[test]
fn addresses_have_one_form() {
    let rows = [
        ("https://CA.Example.com", Some("https://ca.example.com:443")),
        ("HTTPS://ca.example.com:8200/", Some("https://ca.example.com:8200")),
        (
            "https://ca.example.com:8200/v1/x?y",
            Some("https://ca.example.com:8200"),
        ),
        ("https://ca.example.com.:8200", Some("https://ca.example.com:8200")),
        ("http://127.0.0.1:8200", Some("http://127.0.0.1:8200")),
        ("http://localhost", Some("http://localhost:80")),
        ("https://[::1]:8200", Some("https://[::1]:8200")),
        ("https://[0:0::1]", Some("https://[::1]:443")),
        ("ca.example.com:8200", None),
        ("ftp://ca.example.com", None),
        ("https://", None),
        ("https://:8200", None),
        ("https://user@ca.example.com", None),
        ("https://ca.example.com:", None),
        ("https://ca.example.com:0", None),
        ("https://ca.example.com:99999", None),
        ("https://ca.example.com:+80", None),
        ("https://::1:8200", None),
        ("https://[::1", None),
        ("https://[::1]x", None),
        ("https://ca.example.com\nnonce: 00", None),
        ("https://ca exämple.com", None),
    ];
    for (text, wanted) in rows {
        let parsed = LoginAddress::parse(text).ok();
        assert_eq!(parsed.as_ref().map(LoginAddress::as_str), wanted, "{text}");
    }
}

#[test]
fn the_login_text_is_as_promised() {
    let address = LoginAddress::parse("https://ca.example.com:8200").unwrap();
    assert_eq!(
        login_message(&address, "00ff"),
        "signet-login-v1\naddress: https://ca.example.com:8200\nnonce: 00ff\n"
    );
}
