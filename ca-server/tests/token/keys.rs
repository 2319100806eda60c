//! CA keys on the token.

use std::time::Instant;

use signet_ca::signer::pkcs11::Pkcs11Signer;
use signet_core::role::AlgorithmSigner;
use signet_core::signer::{CaKeyType, Condition, RsaBits, SignError, Signer as _};

use super::softhsm::with_token;

const KINDS: [(&str, CaKeyType); 6] = [
    ("ed25519", CaKeyType::Ed25519),
    ("p256", CaKeyType::EcdsaP256),
    ("p384", CaKeyType::EcdsaP384),
    ("p521", CaKeyType::EcdsaP521),
    ("rsa2048", CaKeyType::Rsa(RsaBits::B2048)),
    ("rsa3072", CaKeyType::Rsa(RsaBits::B3072)),
];

#[test]
fn each_key_type_is_made_signs_and_is_found_again() {
    with_token("keys::each_key_type_is_made_signs_and_is_found_again", |hsm| {
        for (label, kind) in KINDS {
            let config = hsm.key(label);
            let signer = Pkcs11Signer::adopt(&config, kind).unwrap();
            let wire = signer.sign(b"text", AlgorithmSigner::Default).unwrap();
            let key = ssh_key::PublicKey::from_openssh(&signer.public_line()).unwrap();
            let signature = ssh_key::Signature::try_from(wire.as_slice()).unwrap();
            signature::Verifier::verify(&key, b"text", &signature).unwrap();
            let sha512 = signer.sign(b"text", AlgorithmSigner::RsaSha512);
            if let CaKeyType::Rsa(_) = kind {
                assert!(
                    sha512.unwrap().windows(12).any(|text| text == b"rsa-sha2-512"),
                    "{label}"
                );
            } else {
                assert!(matches!(sha512, Err(SignError::Algorithm { .. })), "{label}");
            }
            let again = Pkcs11Signer::from_reference(&signer.to_reference(), |_| Some(&config.token)).unwrap();
            assert_eq!(again.public_key(), signer.public_key(), "{label}");
            again.sign(b"text", AlgorithmSigner::Default).unwrap();
            assert_eq!(again.condition(), Condition::Ready, "{label}");
            let adopted = Pkcs11Signer::adopt(&config, kind).unwrap();
            assert_eq!(adopted.public_key(), signer.public_key(), "{label}: not made twice");
            let other = if kind == CaKeyType::EcdsaP256 {
                CaKeyType::EcdsaP384
            } else {
                CaKeyType::EcdsaP256
            };
            assert!(
                Pkcs11Signer::adopt(&config, other).is_err(),
                "{label} is of another type"
            );
            let (began, each) = (Instant::now(), 100);
            std::thread::scope(|scope| {
                // As many as the token's queue has places.
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..each {
                            signer.sign(b"text", AlgorithmSigner::Default).unwrap();
                        }
                    });
                }
            });
            println!(
                "{label}: {:.0} signatures/s",
                f64::from(4 * each) / began.elapsed().as_secs_f64()
            );
        }
    });
}

#[test]
fn a_wrong_label_module_or_key_is_told_and_does_not_sign() {
    with_token("keys::a_wrong_label_module_or_key_is_told_and_does_not_sign", |hsm| {
        let why = |config: &signet_ca::config::Pkcs11Config| {
            Pkcs11Signer::adopt(config, CaKeyType::EcdsaP256)
                .unwrap_err()
                .to_string()
        };
        let mut config = hsm.key("ca");
        config.create = false;
        assert!(
            why(&config).contains("no private key with the label `ca`"),
            "{}",
            why(&config)
        );
        config.create = true;
        let signer = Pkcs11Signer::adopt(&config, CaKeyType::EcdsaP256).unwrap();

        let mut other = config.clone();
        other.token.token = signet_ca::config::TokenName::Label("nothing".to_owned());
        assert!(
            why(&other).contains("no token with the label `nothing`"),
            "{}",
            why(&other)
        );
        let mut other = config.clone();
        other.token.module = "/usr/lib/no-such-module.so".into();
        assert!(why(&other).contains("cannot be loaded"), "{}", why(&other));
        let mut other = config.clone();
        other.token.module = "/lib/x86_64-linux-gnu/libm.so.6".into();
        assert!(why(&other).contains("cannot be loaded"), "{}", why(&other));

        // The store says one key, the token has another of that label.
        let second = Pkcs11Signer::adopt(&hsm.key("second"), CaKeyType::EcdsaP256).unwrap();
        let mut reference: serde_json::Value = serde_json::from_slice(&signer.to_reference()).unwrap();
        reference["public_key"] = second.public_key().line().into();
        let bytes = serde_json::to_vec(&reference).unwrap();
        let swapped = Pkcs11Signer::from_reference(&bytes, |_| Some(&config.token)).unwrap();
        let error = swapped.sign(b"text", AlgorithmSigner::Default).unwrap_err().to_string();
        assert!(error.contains("but the mount's CA key is"), "{error}");
        assert!(matches!(swapped.condition(), Condition::NotReady { .. }));
        signer.sign(b"text", AlgorithmSigner::Default).unwrap();

        // The token is not described any more.
        let orphan = Pkcs11Signer::from_reference(&signer.to_reference(), |_| None).unwrap();
        let error = orphan.sign(b"text", AlgorithmSigner::Default).unwrap_err().to_string();
        assert!(error.contains("signet.toml does not describe"), "{error}");
    });
}

#[test]
fn cve_marvin_the_private_key_never_leaves_the_token() {
    with_token("keys::cve_marvin_the_private_key_never_leaves_the_token", |hsm| {
        Pkcs11Signer::adopt(&hsm.key("ca"), CaKeyType::Rsa(RsaBits::B2048)).unwrap();
        let facts = signet_ca::pkcs11::pool(&hsm.token())
            .ask(|seat| Ok(signet_ca::pkcs11::find_private(seat, "ca")?.unwrap().facts))
            .unwrap();
        assert!(facts.sensitive && !facts.extractable, "{facts:?}");
    });
}
