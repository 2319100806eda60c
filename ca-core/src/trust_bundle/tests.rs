//! Which bundles a host takes, and each reason for which it keeps what it holds.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::krl::Krl;
use crate::role::AlgorithmSigner;
use crate::signer::{CaKeyType, Signer as _, SoftwareSigner};
use crate::sshsig::{HashAlgorithm, signed_data};

const CA: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFg4PHvjQCnTy2OOhtTJjFUNhO2fN6wIYbQf58DB3Y6q";
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn key(kind: CaKeyType) -> SoftwareSigner {
    SoftwareSigner::generate(kind).unwrap()
}

fn bundle(signer: &SoftwareSigner) -> TrustBundle {
    let mut krl = Krl::new(3, NOW, "");
    krl.authority(&SubjectKey::parse(CA).unwrap()).serials.extend([5, 9]);
    let mut bundle = TrustBundle {
        authority: "example".to_owned(),
        mount: "ssh".to_owned(),
        version: 7,
        issued: NOW.secs(),
        valid_until: NOW.secs() + 3600,
        user_ca_keys: vec![CA.to_owned()],
        host_ca_keys: vec![CA.to_owned()],
        krl_version: 0,
        krl: String::new(),
        rules: vec![HostRule {
            tags: BTreeSet::from(["web".to_owned()]),
            accounts: BTreeMap::from([("ubuntu".to_owned(), BTreeSet::from(["backend".to_owned()]))]),
        }],
        breakglass: String::new(),
        bundle_keys: vec![signer.public_key().line()],
    };
    bundle.set_krl(3, &krl.encode());
    bundle
}

fn sign_text(signer: &SoftwareSigner, namespace: &str, text: &str) -> String {
    let data = signed_data(namespace, HashAlgorithm::Sha512, text.as_bytes()).unwrap();
    let blob = signer.sign(&data, AlgorithmSigner::Default).unwrap();
    let signature = SshSignature::new(signer.public_key().blob(), namespace, HashAlgorithm::Sha512, &blob).unwrap();
    TrustBundle::with_signature(text, &signature).unwrap()
}

fn sign(signer: &SoftwareSigner, bundle: &TrustBundle) -> String {
    sign_text(signer, BUNDLE_NAMESPACE, &bundle.signed_text().unwrap())
}

fn open(signer: &SoftwareSigner, text: &str) -> Result<VerifiedBundle, BundleError> {
    VerifiedBundle::open(text, &[signer.public_key().clone()], "ssh", NOW, 0)
}

#[test]
fn a_good_bundle_gives_what_was_put_in() {
    for kind in [CaKeyType::Ed25519, CaKeyType::EcdsaP256] {
        let signer = key(kind);
        let bundle = bundle(&signer);
        let verified = open(&signer, &sign(&signer, &bundle)).unwrap();
        assert_eq!(verified.bundle(), &bundle);
        assert_eq!(verified.user_ca_keys(), [SubjectKey::parse(CA).unwrap()]);
        assert_eq!(verified.host_ca_keys().len(), 1);
        assert_eq!(verified.bundle_keys(), [signer.public_key().clone()]);
        assert_eq!(Krl::parse(verified.krl()).unwrap().version, 3);
    }
}

#[test]
fn a_key_among_several_that_are_believed_is_enough() {
    let (old, new) = (key(CaKeyType::Ed25519), key(CaKeyType::Ed25519));
    let text = sign(&new, &bundle(&new));
    let pinned = [old.public_key().clone(), new.public_key().clone()];
    assert!(VerifiedBundle::open(&text, &pinned, "ssh", NOW, 0).is_ok());
}

#[test]
fn what_is_signed_by_another_key_or_for_another_use_is_refused() {
    let (signer, other) = (key(CaKeyType::Ed25519), key(CaKeyType::Ed25519));
    let bundle = bundle(&signer);
    assert_eq!(
        open(&signer, &sign(&other, &bundle)),
        Err(BundleError::Foreign {
            found: other.public_key().fingerprint()
        })
    );
    assert!(matches!(
        VerifiedBundle::open(&sign(&signer, &bundle), &[], "ssh", NOW, 0),
        Err(BundleError::Foreign { .. })
    ));
    let elsewhere = sign_text(&signer, "login.signet", &bundle.signed_text().unwrap());
    assert!(matches!(open(&signer, &elsewhere), Err(BundleError::Verify(_))));
    // The other's signature under our key's name.
    let text = bundle.signed_text().unwrap();
    let data = signed_data(BUNDLE_NAMESPACE, HashAlgorithm::Sha512, text.as_bytes()).unwrap();
    let blob = other.sign(&data, AlgorithmSigner::Default).unwrap();
    let posing = SshSignature::new(
        signer.public_key().blob(),
        BUNDLE_NAMESPACE,
        HashAlgorithm::Sha512,
        &blob,
    )
    .unwrap();
    let posing = TrustBundle::with_signature(&text, &posing).unwrap();
    assert!(matches!(open(&signer, &posing), Err(BundleError::Verify(_))));
}

#[test]
fn no_changed_byte_passes() {
    let signer = key(CaKeyType::Ed25519);
    let good = sign(&signer, &bundle(&signer));
    let signed_ends = good.find("-----BEGIN").unwrap();
    // The last line end is nobody's content.
    for at in 0..good.len() - 1 {
        for flip in [0x01, 0x20, 0x02] {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= flip;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let opened = open(&signer, &text);
            assert!(opened.is_err(), "byte {at} of {signed_ends} ^ {flip}");
        }
    }
    for at in 0..good.len() - 1 {
        assert!(open(&signer, good.get(..at).unwrap()).is_err(), "cut at {at}");
    }
    for more in ["x", "\nx", "\n{}\n", &good] {
        assert!(open(&signer, &format!("{good}{more}")).is_err(), "{more:?} behind");
        assert!(open(&signer, &format!("{more}{good}")).is_err(), "{more:?} in front");
    }
}

type Check<'a> = &'a dyn Fn(&BundleError) -> bool;

#[test]
fn what_is_no_bundle_is_refused() {
    let signer = key(CaKeyType::Ed25519);
    let good = bundle(&signer);
    let json = |text: &str| sign_text(&signer, BUNDLE_NAMESPACE, &format!("{HEADER}\n{text}\n"));
    let changed = |change: &dyn Fn(&mut TrustBundle)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        sign(&signer, &bundle)
    };
    let damaged: Check<'_> = &|error| matches!(error, BundleError::Damaged(_));
    let rows: Vec<(&str, String, Check<'_>)> = vec![
        ("nothing", String::new(), &|error| *error == BundleError::NotABundle),
        ("another header", json("{}").replacen("-v1", "-v2", 1), &|error| {
            *error == BundleError::NotABundle
        }),
        ("no signature", good.signed_text().unwrap(), &|error| {
            matches!(error, BundleError::Signature(_))
        }),
        ("signed, but no JSON", json("x"), damaged),
        ("signed, but empty", json("{}"), damaged),
        (
            "an absent CA list",
            json(
                &good
                    .signed_text()
                    .unwrap()
                    .lines()
                    .nth(1)
                    .unwrap()
                    .replace("user_ca_keys", "x"),
            ),
            damaged,
        ),
        (
            "a KRL that is no base64",
            changed(&|bundle| bundle.krl = "*".to_owned()),
            damaged,
        ),
        (
            "no KRL: sshd would take the empty file for a text list",
            changed(&|bundle| bundle.krl = String::new()),
            &|error| *error == BundleError::Krl(KrlError::NotAKrl),
        ),
        (
            "a KRL that no sshd reads",
            changed(&|bundle| {
                let mut krl = STANDARD.decode(&bundle.krl).unwrap();
                krl.push(0);
                bundle.set_krl(3, &krl);
            }),
            &|error| *error == BundleError::Krl(KrlError::Damaged),
        ),
        ("no CA key", changed(&|bundle| bundle.user_ca_keys.clear()), &|error| {
            *error == BundleError::NoCaKey
        }),
        (
            "a CA line with a second line in it",
            changed(&|bundle| bundle.user_ca_keys[0].push_str("\nssh-ed25519 AAAA")),
            &|error| matches!(error, BundleError::Key { what: "CA", .. }),
        ),
        (
            "a broken host CA key",
            changed(&|bundle| bundle.host_ca_keys.push("x".to_owned())),
            &|error| matches!(error, BundleError::Key { what: "host CA", .. }),
        ),
        (
            "a broken bundle key",
            changed(&|bundle| bundle.bundle_keys.push("x".to_owned())),
            &|error| matches!(error, BundleError::Key { what: "bundle", .. }),
        ),
        ("longer than any", " ".repeat(BUNDLE_BYTES_MAX + 1), &|error| {
            *error == BundleError::TooLong
        }),
    ];
    for (name, text, expected) in rows {
        let error = open(&signer, &text).unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
        assert_eq!(
            VerifiedBundle::open_held(&text, &[signer.public_key().clone()]),
            Err(error),
            "{name}"
        );
    }
}

#[test]
fn a_host_takes_no_old_bundle_and_keeps_the_one_it_holds() {
    let signer = key(CaKeyType::Ed25519);
    let pinned = [signer.public_key().clone()];
    let text = sign(&signer, &bundle(&signer));
    let valid_until = NOW.secs() + 3600;
    let at = UnixTime::from_secs;
    let rows = [
        ("the same version again", NOW, 7, None),
        ("an older one was seen", NOW, 6, None),
        (
            "a newer one was seen",
            NOW,
            8,
            Some(BundleError::RolledBack { version: 7, newest: 8 }),
        ),
        ("its last second", at(valid_until - 1), 0, None),
        (
            "its end",
            at(valid_until),
            0,
            Some(BundleError::Expired { valid_until }),
        ),
        (
            "both",
            at(valid_until),
            8,
            Some(BundleError::RolledBack { version: 7, newest: 8 }),
        ),
        ("a clock that starts in 1970", at(0), 0, None),
    ];
    for (name, now, newest, error) in rows {
        assert_eq!(
            VerifiedBundle::open(&text, &pinned, "ssh", now, newest).err(),
            error,
            "{name}"
        );
    }
    let other = VerifiedBundle::open(&text, &pinned, "infra", NOW, 8).unwrap_err();
    assert_eq!(
        other.to_string(),
        "it is for the mount `ssh`, and this host follows `infra`"
    );
    assert!(VerifiedBundle::open_held(&text, &pinned).is_ok());
}
