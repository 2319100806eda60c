//! Each way in which a login with an SSH key is refused, beside the one that works.

use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const HERE: &str = "https://ca.example.com:8200";

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn line(key: &PrivateKey) -> String {
    key.public_key().to_openssh().unwrap()
}

fn people() -> People {
    let text = format!(
        "groups = [\"backend\"]\n[people.alice]\ngroups = [\"backend\"]\nkeys = [\"{}\"]\n[people.bob]\nkeys = [\"{}\"]\n",
        line(&key(1)),
        line(&key(2))
    );
    People::from_toml("people.toml", &text).unwrap()
}

fn fresh_method() -> SshKeyLogin {
    let addresses = BTreeSet::from([LoginAddress::parse(HERE).unwrap()]);
    SshKeyLogin::new(SshKeyAuth::default(), addresses, &[3; 32])
}

/// A login under way; each test spoils one part.
struct Attempt {
    nonce: String,
    address: String,
    public_key: String,
    signature: String,
}

fn sign(key: &PrivateKey, namespace: &str, address: &str, nonce: &str) -> String {
    let message = login_message(&LoginAddress::parse(address).unwrap(), nonce);
    key.sign(namespace, HashAlg::Sha512, message.as_bytes())
        .unwrap()
        .to_pem(LineEnding::LF)
        .unwrap()
}

impl Attempt {
    fn of(method: &SshKeyLogin, key: &PrivateKey) -> Self {
        let nonce = method.challenge([5; 16], NOW);
        let signature = sign(key, LOGIN_NAMESPACE, HERE, &nonce);
        Self {
            nonce,
            address: HERE.to_owned(),
            public_key: line(key),
            signature,
        }
    }

    fn run(&self, method: &SshKeyLogin, now: UnixTime) -> Result<Login, SshKeyRefusal> {
        let request = SshKeyRequest {
            nonce: &self.nonce,
            address: &self.address,
            public_key: &self.public_key,
            signature: &self.signature,
        };
        method.prove(request, &people(), now)
    }
}

#[test]
fn a_listed_key_logs_its_person_in_without_copying_groups() {
    let method = fresh_method();
    let login = Attempt::of(&method, &key(1)).run(&method, NOW).unwrap();
    assert_eq!((login.person(), login.display_name()), ("alice", "ssh-key-alice"));
    assert_eq!(login.method(), AuthMethod::SshKey);
    assert!(login.groups().is_empty() && login.policies().is_empty());
    assert_eq!(login.metadata()["person"], "alice");
    assert!(login.metadata()[KEY_FINGERPRINT].starts_with("SHA256:"));
    assert_eq!(login.ttl_secs(), 8 * 3600);
}

#[test]
fn a_login_cannot_be_replayed() {
    let method = fresh_method();
    let attempt = Attempt::of(&method, &key(1));
    assert!(attempt.run(&method, NOW).is_ok());
    assert_eq!(attempt.run(&method, NOW), Err(SshKeyRefusal::Nonce(NonceError::Used)));
    // Nor can another person use the same nonce.
    let second = Attempt {
        public_key: line(&key(2)),
        signature: sign(&key(2), LOGIN_NAMESPACE, HERE, &attempt.nonce),
        ..attempt
    };
    assert_eq!(second.run(&method, NOW), Err(SshKeyRefusal::Nonce(NonceError::Used)));
}

#[test]
fn a_failed_login_leaves_the_nonce_for_the_right_one() {
    let method = fresh_method();
    let mut attempt = Attempt::of(&method, &key(1));
    let good = std::mem::replace(&mut attempt.signature, sign(&key(1), LOGIN_NAMESPACE, HERE, "00"));
    assert_eq!(
        attempt.run(&method, NOW),
        Err(SshKeyRefusal::NotProven(VerifyError::Mismatch))
    );
    attempt.signature = good;
    assert!(attempt.run(&method, NOW).is_ok());
}

#[test]
fn cve_2024_45337_offering_one_key_and_proving_another_is_refused() {
    let method = fresh_method();
    let attempt = Attempt {
        public_key: line(&key(1)),
        ..Attempt::of(&method, &key(2))
    };
    assert_eq!(
        attempt.run(&method, NOW),
        Err(SshKeyRefusal::NotProven(VerifyError::OtherKey))
    );
}

#[test]
fn a_key_nobody_has_is_refused() {
    let method = fresh_method();
    let attempt = Attempt::of(&method, &key(9));
    assert!(matches!(attempt.run(&method, NOW), Err(SshKeyRefusal::UnknownKey(_))));
}

#[test]
fn an_old_or_foreign_nonce_is_refused() {
    let method = fresh_method();
    let attempt = Attempt::of(&method, &key(1));
    assert_eq!(
        attempt.run(&method, NOW.plus(60)),
        Err(SshKeyRefusal::Nonce(NonceError::Expired))
    );
    let addresses = BTreeSet::from([LoginAddress::parse(HERE).unwrap()]);
    let restarted = SshKeyLogin::new(SshKeyAuth::default(), addresses, &[4; 32]);
    assert_eq!(
        attempt.run(&restarted, NOW),
        Err(SshKeyRefusal::Nonce(NonceError::Foreign))
    );
}

#[test]
fn a_signature_for_a_server_in_the_middle_is_refused() {
    let method = fresh_method();
    let mut attempt = Attempt::of(&method, &key(1));
    let evil = "https://evil.example.com:8200";
    attempt.signature = sign(&key(1), LOGIN_NAMESPACE, evil, &attempt.nonce);
    // The server in the middle passes it on under our address …
    assert_eq!(
        attempt.run(&method, NOW),
        Err(SshKeyRefusal::NotProven(VerifyError::Mismatch))
    );
    // … or under its own.
    attempt.address = evil.to_owned();
    assert_eq!(
        attempt.run(&method, NOW),
        Err(SshKeyRefusal::OtherServer(LoginAddress::parse(evil).unwrap()))
    );
}

#[test]
fn the_address_may_be_written_in_other_ways_but_means_one_server() {
    let method = fresh_method();
    let attempt = Attempt {
        address: "HTTPS://CA.example.com:8200/".to_owned(),
        ..Attempt::of(&method, &key(1))
    };
    assert!(attempt.run(&method, NOW).is_ok());
    let method = fresh_method();
    for other in [
        "http://ca.example.com:8200",
        "https://ca.example.com",
        "https://ca.example.com:8201",
    ] {
        let attempt = Attempt {
            address: other.to_owned(),
            ..Attempt::of(&method, &key(1))
        };
        assert!(
            matches!(attempt.run(&method, NOW), Err(SshKeyRefusal::OtherServer(_))),
            "{other}"
        );
    }
    for odd in ["", "ca.example.com", "https://ca.example.com:8200\nnonce: 00"] {
        let attempt = Attempt {
            address: odd.to_owned(),
            ..Attempt::of(&method, &key(1))
        };
        assert!(
            matches!(attempt.run(&method, NOW), Err(SshKeyRefusal::Address(_))),
            "{odd}"
        );
    }
}

#[test]
fn a_signature_made_for_git_is_refused() {
    let method = fresh_method();
    let mut attempt = Attempt::of(&method, &key(1));
    attempt.signature = sign(&key(1), "git", HERE, &attempt.nonce);
    assert!(matches!(
        attempt.run(&method, NOW),
        Err(SshKeyRefusal::NotProven(VerifyError::OtherNamespace { .. }))
    ));
}

#[test]
fn texts_that_are_no_keys_or_signatures_are_refused() {
    let method = fresh_method();
    for odd in [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519-cert-v01@openssh.com AAAA",
    ] {
        let attempt = Attempt {
            public_key: odd.to_owned(),
            ..Attempt::of(&method, &key(1))
        };
        assert!(
            matches!(attempt.run(&method, NOW), Err(SshKeyRefusal::PublicKey(_))),
            "{odd}"
        );
    }
    for odd in ["", "-----BEGIN SSH SIGNATURE-----", "x"] {
        let attempt = Attempt {
            signature: odd.to_owned(),
            ..Attempt::of(&method, &key(1))
        };
        assert!(
            matches!(attempt.run(&method, NOW), Err(SshKeyRefusal::NotASignature(_))),
            "{odd}"
        );
    }
}

#[test]
fn verify_required_refuses_keys_that_cannot_know_their_user() {
    let addresses = BTreeSet::from([LoginAddress::parse(HERE).unwrap()]);
    let auth = SshKeyAuth {
        verify_required: true,
        ..SshKeyAuth::default()
    };
    let method = SshKeyLogin::new(auth, addresses, &[3; 32]);
    let attempt = Attempt::of(&method, &key(1));
    assert_eq!(
        attempt.run(&method, NOW),
        Err(SshKeyRefusal::NotProven(VerifyError::UserNotVerified))
    );
}
