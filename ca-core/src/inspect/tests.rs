use base64::Engine as _;
use ed25519_dalek::{Signer as _, SigningKey};

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

/// A certificate laid by hand, so that each field can be wrong on its own.
struct Draft {
    algorithm: &'static str,
    nonce: Vec<u8>,
    serial: u64,
    cert_type: u32,
    key_id: Vec<u8>,
    principals: Vec<Vec<u8>>,
    window: (u64, u64),
    critical: Vec<(&'static str, Vec<u8>)>,
    extensions: Vec<(&'static str, Vec<u8>)>,
    reserved: Vec<u8>,
    self_signed: bool,
    flip_signature: bool,
    trailing: usize,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            algorithm: "ssh-ed25519-cert-v01@openssh.com",
            nonce: vec![7; 32],
            serial: 281_474_976_710_657,
            cert_type: 1,
            key_id: b"vault-alice".to_vec(),
            principals: vec![b"ubuntu".to_vec()],
            window: (NOW.secs() - 30, NOW.secs() + 1800),
            critical: vec![],
            extensions: vec![("permit-pty", vec![])],
            reserved: vec![],
            self_signed: false,
            flip_signature: false,
            trailing: 0,
        }
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn options(all: &[(&str, Vec<u8>)]) -> Vec<u8> {
    string(
        &all.iter()
            .flat_map(|(name, data)| [string(name.as_bytes()), string(data)].concat())
            .collect::<Vec<_>>(),
    )
}

impl Draft {
    fn line(&self) -> String {
        let subject = SigningKey::from_bytes(&[1; 32]);
        let ca = if self.self_signed {
            subject.clone()
        } else {
            SigningKey::from_bytes(&[2; 32])
        };
        let ca_blob = [string(b"ssh-ed25519"), string(ca.verifying_key().as_bytes())].concat();
        let principals: Vec<u8> = self.principals.iter().flat_map(|name| string(name)).collect();
        let mut blob = [
            string(self.algorithm.as_bytes()),
            string(&self.nonce),
            string(subject.verifying_key().as_bytes()),
            self.serial.to_be_bytes().to_vec(),
            self.cert_type.to_be_bytes().to_vec(),
            string(&self.key_id),
            string(&principals),
            self.window.0.to_be_bytes().to_vec(),
            self.window.1.to_be_bytes().to_vec(),
            options(&self.critical),
            options(&self.extensions),
            string(&self.reserved),
            string(&ca_blob),
        ]
        .concat();
        let mut signature = ca.sign(&blob).to_bytes();
        if self.flip_signature {
            signature[0] ^= 1;
        }
        blob.extend(string(&[string(b"ssh-ed25519"), string(&signature)].concat()));
        blob.extend(vec![0; self.trailing]);
        format!(
            "{} {} comment",
            self.algorithm,
            base64::engine::general_purpose::STANDARD.encode(blob)
        )
    }
}

#[test]
fn a_well_made_certificate_has_nothing_odd() {
    let seen = inspect(&Draft::default().line(), NOW).unwrap();
    assert_eq!(seen.oddities, []);
    assert_eq!(seen.signature, SignatureState::Right);
    assert_eq!(
        (seen.serial.as_str(), seen.key_id.as_str()),
        ("281474976710657", "vault-alice")
    );
    let text = seen.to_string();
    assert!(text.starts_with("user certificate for ubuntu\n"), "{text}");
    assert!(text.contains("281474976710657 (hex 1000000000001)"), "{text}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a decision table: one row an oddity")]
fn each_odd_thing_is_named_with_what_openssh_makes_of_it() {
    let inner = |text: &str| string(text.as_bytes());
    let rows: Vec<(Draft, Severity, &str)> = vec![
        (
            Draft {
                principals: vec![],
                ..Draft::default()
            },
            Severity::Risky,
            "no principals",
        ),
        (
            Draft {
                principals: vec![vec![]],
                ..Draft::default()
            },
            Severity::Risky,
            "one principal is empty",
        ),
        (
            Draft {
                principals: vec![b"a,b".to_vec()],
                ..Draft::default()
            },
            Severity::Risky,
            "`a,b` holds a comma",
        ),
        (
            Draft {
                principals: vec![b"a\0".to_vec()],
                ..Draft::default()
            },
            Severity::Refused,
            "NUL",
        ),
        (
            Draft {
                principals: vec![b"*".to_vec()],
                ..Draft::default()
            },
            Severity::Note,
            "looks like a pattern",
        ),
        (
            Draft {
                principals: vec![b"a".to_vec(); 257],
                ..Draft::default()
            },
            Severity::Refused,
            "at most 256",
        ),
        (
            Draft {
                serial: 0,
                ..Draft::default()
            },
            Severity::Risky,
            "serial 0",
        ),
        (
            Draft {
                cert_type: 3,
                ..Draft::default()
            },
            Severity::Refused,
            "certificate type 3",
        ),
        (
            Draft {
                key_id: vec![],
                ..Draft::default()
            },
            Severity::Note,
            "no key ID",
        ),
        (
            Draft {
                key_id: b"a\x1b]0;".to_vec(),
                ..Draft::default()
            },
            Severity::Risky,
            "control characters",
        ),
        (
            Draft {
                window: (0, u64::MAX),
                ..Draft::default()
            },
            Severity::Risky,
            "valid for ever",
        ),
        (
            Draft {
                window: (5, 5),
                ..Draft::default()
            },
            Severity::Refused,
            "never valid",
        ),
        (
            Draft {
                window: (5, NOW.secs()),
                ..Draft::default()
            },
            Severity::Refused,
            "expired at",
        ),
        (
            Draft {
                window: (NOW.secs() + 1, NOW.secs() + 9),
                ..Draft::default()
            },
            Severity::Refused,
            "not valid before",
        ),
        (
            Draft {
                window: (NOW.secs(), NOW.secs() + 3 * 86_400),
                ..Draft::default()
            },
            Severity::Note,
            "longer than a day (3 days)",
        ),
        (
            Draft {
                critical: vec![("permit-pty", vec![])],
                ..Draft::default()
            },
            Severity::Refused,
            "unknown to sshd",
        ),
        (
            Draft {
                critical: vec![("source-address", inner("10.0.0.1/8"))],
                ..Draft::default()
            },
            Severity::Refused,
            "`10.0.0.0/8` is meant",
        ),
        (
            Draft {
                critical: vec![("force-command", b"id".to_vec())],
                ..Draft::default()
            },
            Severity::Refused,
            "is not one string",
        ),
        (
            Draft {
                extensions: vec![],
                ..Draft::default()
            },
            Severity::Note,
            "no extensions",
        ),
        (
            Draft {
                extensions: vec![("permit-pty", inner(""))],
                ..Draft::default()
            },
            Severity::Refused,
            "must carry no value",
        ),
        (
            Draft {
                extensions: vec![("force-command", inner("id"))],
                ..Draft::default()
            },
            Severity::Risky,
            "it restricts nothing",
        ),
        (
            Draft {
                extensions: vec![("permit-pty", vec![]), ("a@b", vec![])],
                ..Draft::default()
            },
            Severity::Note,
            "not in order",
        ),
        (
            Draft {
                reserved: vec![1],
                ..Draft::default()
            },
            Severity::Note,
            "reserved field",
        ),
        (
            Draft {
                nonce: vec![],
                ..Draft::default()
            },
            Severity::Note,
            "nonce has 0 bytes",
        ),
        (
            Draft {
                self_signed: true,
                ..Draft::default()
            },
            Severity::Risky,
            "the key signed itself",
        ),
        (
            Draft {
                flip_signature: true,
                ..Draft::default()
            },
            Severity::Refused,
            "signature is not the CA key's",
        ),
        (
            Draft {
                trailing: 3,
                ..Draft::default()
            },
            Severity::Refused,
            "3 bytes follow",
        ),
    ];
    for (draft, severity, text) in rows {
        let seen = inspect(&draft.line(), NOW).unwrap();
        let found = seen
            .oddities
            .iter()
            .any(|oddity| oddity.severity == severity && oddity.text.contains(text));
        assert!(found, "{text}: {:?}", seen.oddities);
    }
}

#[test]
fn what_is_no_certificate_is_an_error() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let line = Draft::default().line();
    let (_, base64) = line.split_once(' ').unwrap();
    assert_eq!(inspect("", NOW), Err(InspectError::Empty));
    assert_eq!(inspect("hello world", NOW), Err(InspectError::NotBase64));
    assert_eq!(
        inspect(key, NOW),
        Err(InspectError::PublicKey("ssh-ed25519".to_owned()))
    );
    assert_eq!(
        inspect("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", NOW),
        Err(InspectError::PrivateKey)
    );
    assert!(matches!(inspect("AAAA", NOW), Err(InspectError::Truncated(_))));
    assert!(matches!(
        inspect(&format!("ssh-rsa-cert-v01@openssh.com {base64}"), NOW),
        Err(InspectError::TypeMismatch { .. })
    ));
    for cut in 1..100 {
        let short = base64.get(..cut * 4).unwrap();
        assert!(inspect(short, NOW).is_err(), "cut at {cut}");
    }
}

#[test]
fn nothing_that_is_printed_can_move_the_cursor() {
    let draft = Draft {
        key_id: b"a\x1b]0;x\x07\n".to_vec(),
        principals: vec!["r\u{202e}oot".into()],
        ..Draft::default()
    };
    let text = inspect(&draft.line(), NOW).unwrap().to_string();
    assert!(
        text.chars()
            .all(|character| character == '\n' || !character.is_control()),
        "{text:?}"
    );
    assert!(!text.contains('\u{202e}'));
}

proptest::proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        use base64::Engine as _;
        let head = string(b"ssh-ed25519-cert-v01@openssh.com");
        let text = base64::engine::general_purpose::STANDARD.encode([head, bytes].concat());
        drop(inspect(&text, NOW));
    }
}
