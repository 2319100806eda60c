//! Documents good and hostile.

use super::*;
use crate::principal::Principal;
use crate::sshsig::{HashAlgorithm, signed_data};

use ed25519_dalek::{Signer as _, SigningKey};

const ED: [&str; 3] = [
    "AAAAC3NzaC1lZDI1NTE5AAAAIHVRXP5wC4X8fJs5WnQ5oNzUlRwkTyKbNSuz4YU2Gd4w",
    "AAAAC3NzaC1lZDI1NTE5AAAAIDcT8sW1ZrGsJ+BBRLHtfMWp0SSJfi6hHeVCZTdpFHSq",
    "AAAAC3NzaC1lZDI1NTE5AAAAIPHjPJZ1y0pC0bF0iUJ6Q0DDVJzCzMH7qGjVvL8TJ5cE",
];
const SK: &str = "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIFg4PHvjQCnTy2OOhtTJjFUNhO2fN6wIYbQf58DB3Y6qAAAABHNzaDo=";

struct Pair {
    secret: SigningKey,
    public: SubjectKey,
}

fn pair(seed: u8) -> Pair {
    let secret = SigningKey::from_bytes(&[seed; 32]);
    let mut blob = Vec::new();
    for part in [b"ssh-ed25519".as_slice(), secret.verifying_key().as_bytes()] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    let public = SubjectKey::from_blob(blob).unwrap();
    Pair { secret, public }
}

impl Pair {
    fn sign(&self, namespace: &str, text: &str) -> SshSignature {
        let data = signed_data(namespace, HashAlgorithm::Sha512, text.as_bytes()).unwrap();
        let mut blob = Vec::new();
        for part in [b"ssh-ed25519".as_slice(), &self.secret.sign(&data).to_bytes()] {
            blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend(part);
        }
        SshSignature::new(self.public.blob(), namespace, HashAlgorithm::Sha512, &blob).unwrap()
    }
}

fn document(ca: &Pair, key: &Pair) -> Document {
    let principals = vec![Principal::parse("breakglass").unwrap()];
    let ca = Line::offline_ca(ca.public.clone(), principals).unwrap();
    let key = Line::sealed_key(key.public.clone())
        .with_comment("sealed 2026")
        .unwrap();
    Document::new(vec![ca, key]).unwrap()
}

fn signed(document: &mut Document, by: &Pair) {
    let signature = by.sign(NAMESPACE, &document.signed_text());
    document.add_signature(signature, &by.public).unwrap();
}

#[test]
fn a_document_reads_back_and_is_accepted_when_a_held_key_signed_it() {
    let (ca, key, next_ca, next_key) = (pair(1), pair(2), pair(3), pair(4));
    let first_text = document(&ca, &key).to_text().unwrap();
    let in_place = first(&first_text).unwrap();
    assert!(is_in_place(&first_text, &in_place).unwrap());
    let held_keys = held(&in_place).unwrap();
    assert_eq!(held_keys, [ca.public.clone(), key.public.clone()]);
    assert_eq!(
        accept(&first_text, &held_keys),
        Err(BreakglassError::Unsigned),
        "the first one only comes with an image"
    );

    // The sealed key may sign, and the offline CA may.
    for signer in [&ca, &key] {
        let mut next = document(&next_ca, &next_key);
        signed(&mut next, signer);
        let text = next.to_text().unwrap();
        assert_eq!(Document::parse(&text).unwrap(), next);
        assert_eq!(accept(&text, &held_keys).unwrap(), next.keys_file());
        assert_eq!(
            accept(&text, std::slice::from_ref(&pair(9).public)),
            Err(BreakglassError::Foreign)
        );
    }

    // A host that missed a cycle finds its own signature among several.
    let mut both = document(&next_ca, &next_key);
    signed(&mut both, &pair(9));
    signed(&mut both, &key);
    assert!(accept(&both.to_text().unwrap(), &held_keys).is_ok());
}

#[test]
fn what_was_tampered_with_is_refused() {
    let (ca, key) = (pair(1), pair(2));
    let held_keys = [ca.public.clone(), key.public.clone()];
    let mut next = document(&pair(3), &pair(4));
    signed(&mut next, &key);
    let text = next.to_text().unwrap();
    assert!(accept(&text, &held_keys).is_ok());

    let wider = text.replacen("principals=\"breakglass\"", "principals=\"breakglass,root\"", 1);
    assert!(matches!(accept(&wider, &held_keys), Err(BreakglassError::Verify(_))));
    let evil = document(&pair(5), &pair(6)).to_text().unwrap();
    let armor = text.split_at(text.find(ARMOR_BEGIN).unwrap()).1;
    assert!(matches!(
        accept(&format!("{evil}{armor}"), &held_keys),
        Err(BreakglassError::Verify(_))
    ));
    // Signed by itself: the keys inside prove nothing.
    let mut own = document(&pair(5), &pair(6));
    signed(&mut own, &pair(6));
    assert_eq!(
        accept(&own.to_text().unwrap(), &held_keys),
        Err(BreakglassError::Foreign)
    );
    // A signature that the key made for something else.
    let other = pair(2).sign("trust-bundle.signet", &next.signed_text());
    let text = format!("{}{}", next.signed_text(), other.to_armor().unwrap());
    assert!(matches!(accept(&text, &held_keys), Err(BreakglassError::Verify(_))));
    assert!(next.add_signature(other, &key.public).is_err());
}

#[test]
fn cve_2026_44310_cve_2026_39395_hostile_documents_are_errors() {
    let good = document(&pair(1), &pair(2)).to_text().unwrap();
    assert!(Document::parse(&good).is_ok());
    let mut signed_one = document(&pair(1), &pair(2));
    signed(&mut signed_one, &pair(2));
    let armored = signed_one.to_text().unwrap();
    let many: Vec<String> = (10..28)
        .map(|seed| Line::sealed_key(pair(seed).public).to_string())
        .collect();
    let many = many.join(
        "
",
    );
    let line = |seed: u8| Line::sealed_key(pair(seed).public).to_string();
    let rows: Vec<(&str, String)> = vec![
        ("empty", String::new()),
        ("only a line end", "\n".to_owned()),
        ("another header", good.replacen("v1", "v2", 1)),
        ("a header without its line end", "signet-breakglass-v1".to_owned()),
        ("no key", "signet-breakglass-v1\n".to_owned()),
        ("cut in the last line", good.trim_end().to_owned()),
        ("a blank line", good.replacen('\n', "\n\n", 1)),
        ("a comment", good.replacen('\n', "\n# new keys\n", 1)),
        ("carriage returns", good.replace('\n', "\r\n")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("text behind", format!("{good}hello\n")),
        ("the same key twice", format!("{good}{}\n", line(2))),
        ("eighteen keys", format!("signet-breakglass-v1\n{many}\n")),
        ("half an armor", armored.split_at(armored.len() - 20).0.to_owned()),
        ("text between signature and end", format!("{armored}x")),
        ("an empty armor", format!("{good}{ARMOR_BEGIN}\n{ARMOR_END}\n")),
        ("a key behind a signature", format!("{armored}{}\n", line(3))),
        ("too long", format!("{good}{}", "A".repeat(DOCUMENT_BYTES_MAX))),
    ];
    for (name, text) in rows {
        assert!(Document::parse(&text).is_err(), "{name}");
        assert!(accept(&text, &[pair(1).public, pair(2).public]).is_err(), "{name}");
    }
}

#[test]
fn lines_are_taken_in_one_form_only() {
    let key = format!("ssh-ed25519 {}", ED[0]);
    let sk = format!("sk-ssh-ed25519@openssh.com {SK}");
    for good in [
        key.clone(),
        format!("restrict,pty {key}"),
        format!("restrict,pty {key} sealed key of 2026 (safe 2)"),
        format!("cert-authority,principals=\"breakglass\",restrict,pty {key}"),
        format!(
            "cert-authority,principals=\"breakglass,bg-db1\",restrict,pty,from=\"10.0.0.0/8\",expiry-time=\"20271231\" {key}"
        ),
        format!("restrict,pty,expiry-time=\"202712312359\",verify-required {sk}"),
        format!("cert-authority,principals=\"breakglass\",restrict,verify-required {key}"),
    ] {
        let line = Line::parse(&good).unwrap_or_else(|error| panic!("{good}: {error}"));
        assert_eq!(line.to_string(), good);
    }
    let rows = [
        (format!("cert-authority {key}"), LineError::NoPrincipals),
        (format!("cert-authority,principals=\"\" {key}"), LineError::Options),
        (format!("principals=\"a\" {key}"), LineError::PrincipalsOnKey),
        (
            format!("cert-authority,principals=\"*\" {key}"),
            LineError::Principal(crate::principal::PrincipalError::Character('*')),
        ),
        (
            format!("restrict,pty,no-touch-required {sk}"),
            LineError::OptionNotAllowed("no-touch-required".to_owned()),
        ),
        (
            format!("command=\"/bin/sh\" {key}"),
            LineError::OptionNotAllowed("command".to_owned()),
        ),
        (
            format!("environment=\"LD_PRELOAD=/x\" {key}"),
            LineError::OptionNotAllowed("environment".to_owned()),
        ),
        (
            format!("agent-forwarding,restrict {key}"),
            LineError::OptionNotAllowed("agent-forwarding".to_owned()),
        ),
        (
            format!("Cert-Authority,principals=\"a\" {key}"),
            LineError::OptionNotAllowed("Cert-Authority".to_owned()),
        ),
        (
            format!("restrict,restrict {key}"),
            LineError::OptionTwice("restrict".to_owned()),
        ),
        (
            format!("cert-authority,principals=\"a\",principals=\"b\" {key}"),
            LineError::OptionTwice("principals".to_owned()),
        ),
        (format!("pty {key}"), LineError::PtyWithoutRestrict),
        (
            format!("restrict,verify-required {key}"),
            LineError::VerifyRequiredOnPlainKey,
        ),
        (
            format!("restrict,expiry-time=\"20271231Z\" {key}"),
            LineError::ExpiryTime,
        ),
        (
            format!("restrict,expiry-time=\"20271331\" {key}"),
            LineError::ExpiryTime,
        ),
        (format!("restrict,expiry-time=\"never\" {key}"), LineError::ExpiryTime),
        (format!("from=\"10.0.0.0/8 {key}"), LineError::Options),
        (format!("from=\"10.0.0.0\\\"/8\" {key}"), LineError::Options),
        (
            format!("restrict=\"yes\" {key}"),
            LineError::OptionNotAllowed("restrict".to_owned()),
        ),
        ("restrict,pty".to_owned(), LineError::Options),
        (format!("{key}\u{7f}"), LineError::Character('\u{7f}')),
        (format!("{key} \u{202e}"), LineError::Character('\u{202e}')),
        (format!("restrict,pty\t{key}"), LineError::Character('\t')),
        ("# nothing".to_owned(), LineError::NotALine),
        (String::new(), LineError::NotALine),
        (format!("{key} {}", "x".repeat(8192)), LineError::NotALine),
    ];
    for (text, why) in rows {
        assert_eq!(Line::parse(&text), Err(why), "{text}");
    }
    for other_form in [
        format!("pty,restrict {key}"),
        format!("restrict,pty  {key}"),
        format!("{key} "),
        format!("from=\"10.0.0.1\",restrict,pty {key}"),
    ] {
        let refused = Line::parse(&other_form);
        assert!(
            matches!(refused, Err(LineError::Form(_) | LineError::Key(_))),
            "{other_form}: {refused:?}"
        );
    }
    assert!(matches!(
        Line::parse(&format!("ssh-ed25519-cert-v01@openssh.com {}", ED[1])),
        Err(LineError::Key(_))
    ));
    assert!(Line::parse(&format!("ssh-ed25519 {}", ED[2])).is_ok());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_what_is_read_is_written_the_same(tail in "\\PC{0,200}") {
        let text = format!("signet-breakglass-v1\n{tail}\n");
        if let Ok(document) = Document::parse(&text) {
            proptest::prop_assert_eq!(document.to_text().unwrap(), text);
        }
    }
}
