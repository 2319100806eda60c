//! The parts of a signature that KMS gives; the whole is tested against moto in the end-to-end tests.

use signet_core::signer::{CaKeyType, RsaBits, Signer as _, SoftwareSigner};

use super::*;

#[test]
fn a_signature_in_der_becomes_two_numbers_of_the_curves_length() {
    let der = [0x30, 0x08, 0x02, 0x02, 0x00, 0x80, 0x02, 0x02, 0x12, 0x34];
    let mut wanted = vec![0; 64];
    (wanted[31], wanted[62], wanted[63]) = (0x80, 0x12, 0x34);
    assert_eq!(fixed(&der, 32).unwrap(), wanted);
    let longer = [0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01, 0x00];
    let third = [0x30, 0x09, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01];
    let negative = [0x30, 0x06, 0x02, 0x01, 0x80, 0x02, 0x01, 0x01];
    let padded = [0x30, 0x07, 0x02, 0x02, 0x00, 0x01, 0x02, 0x01, 0x01];
    for wrong in [&longer[..], &third, &negative, &padded, &der[..7], b""] {
        assert_eq!(fixed(wrong, 32), None, "{wrong:?}");
    }
    let mut long = vec![0x30, 0x26, 0x02, 0x21, 0x01];
    long.extend([0; 32]);
    long.extend([0x02, 0x01, 0x01]);
    assert_eq!(fixed(&long, 32), None, "r is longer than the order");
}

#[test]
fn public_keys_of_other_kinds_and_rubbish_are_no_ca_keys() {
    let ed25519 = [
        &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..],
        &[7; 32],
    ]
    .concat();
    assert_eq!(public_key::read(&ed25519), None);
    assert_eq!(public_key::read(b"rubbish"), None);
}

#[test]
fn each_kind_of_key_is_asked_in_kms_own_words() {
    for (kind, algorithm, word) in [
        (CaKeyType::EcdsaP256, AlgorithmSigner::Default, "ECDSA_SHA_256"),
        (CaKeyType::EcdsaP384, AlgorithmSigner::Default, "ECDSA_SHA_384"),
        (CaKeyType::EcdsaP521, AlgorithmSigner::Default, "ECDSA_SHA_512"),
        (
            CaKeyType::Rsa(RsaBits::B2048),
            AlgorithmSigner::Default,
            "RSASSA_PKCS1_V1_5_SHA_256",
        ),
        (
            CaKeyType::Rsa(RsaBits::B2048),
            AlgorithmSigner::RsaSha512,
            "RSASSA_PKCS1_V1_5_SHA_512",
        ),
    ] {
        let key = SoftwareSigner::generate(kind).unwrap();
        let name = wire::algorithm_name(key.public_key().kind(), algorithm).unwrap();
        assert_eq!(request(key.public_key().kind(), name).unwrap().1, word);
    }
}

#[test]
fn the_configured_key_is_known_by_id_arn_and_alias() {
    let arn = "arn:aws:kms:eu-west-1:1:key/12-34";
    let plain = format!("awskms:{arn}");
    let by_alias = format!("{plain} by alias/ssh");
    for (key_id, place, same) in [
        ("12-34", &plain, true),
        (arn, &plain, true),
        (arn, &by_alias, true),
        ("alias/ssh", &by_alias, true),
        ("alias/ssh", &plain, false),
        ("12-35", &plain, false),
    ] {
        assert_eq!(names(key_id, place), same, "{key_id} {place}");
    }
    assert!(!names("12-34", "pkcs11:token=a;object=12-34"));
}
