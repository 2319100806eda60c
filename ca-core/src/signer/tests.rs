use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};

use super::*;

fn import(private: &str, public: &str) -> Result<SoftwareSigner, ImportError> {
    SoftwareSigner::import(KeyFile {
        private,
        public: Some(public),
        passphrase: None,
    })
}

const KINDS: [CaKeyType; 5] = [
    CaKeyType::Ed25519,
    CaKeyType::EcdsaP256,
    CaKeyType::EcdsaP384,
    CaKeyType::EcdsaP521,
    CaKeyType::Rsa(RsaBits::B2048),
];

#[test]
fn a_ca_key_survives_the_store() {
    for kind in KINDS {
        let signer = SoftwareSigner::generate(kind).unwrap();
        let again = SoftwareSigner::from_secret(&signer.to_secret().unwrap()).unwrap();
        assert_eq!(again.public_line(), signer.public_line(), "{kind:?}");
        assert!(signer.public_line().ends_with('\n'));
    }
    for garbage in [b"".as_slice(), b"ed25519\n", b"rsa\nxx", b"nistp256\n\0", b"what\nx"] {
        assert!(SoftwareSigner::from_secret(garbage).is_err());
    }
}

#[test]
fn generated_private_keys_are_in_vaults_formats_and_import_again() {
    let labels = ["OPENSSH", "EC", "EC", "EC", "RSA"];
    for (kind, label) in KINDS.into_iter().zip(labels) {
        let key = generate_key_pair(kind).unwrap();
        assert!(
            key.private_pem
                .starts_with(&format!("-----BEGIN {label} PRIVATE KEY-----\n")),
            "{kind:?}"
        );
        let signer = import(&key.private_pem, &key.public.line()).unwrap();
        assert_eq!(*signer.public_key(), key.public, "{kind:?}");
    }
}

#[test]
fn pkcs8_is_imported_and_a_foreign_public_half_is_refused() {
    let rsa = generate_key_pair(CaKeyType::Rsa(RsaBits::B2048)).unwrap();
    let secret = import(&rsa.private_pem, &rsa.public.line())
        .unwrap()
        .to_secret()
        .unwrap();
    let der = secret.get("rsa\n".len()..).unwrap();
    let key = rsa::RsaPrivateKey::from_pkcs8_der(der).unwrap();
    let pkcs8 = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    assert!(import(&pkcs8, &rsa.public.line()).is_ok());
    assert!(import(&key.to_pkcs1_pem(LineEnding::CRLF).unwrap(), &rsa.public.line()).is_ok());

    let other = generate_key_pair(CaKeyType::Ed25519).unwrap();
    let error = import(&pkcs8, &other.public.line()).unwrap_err();
    assert!(matches!(error, ImportError::Mismatch), "{error}");
}

#[test]
fn encrypted_and_damaged_private_keys_get_a_clear_error() {
    let key = generate_key_pair(CaKeyType::Ed25519).unwrap();
    let public = key.public.line();
    let message = |private: &str| import(private, &public).unwrap_err().to_string();
    let damaged = key.private_pem.replace('A', "B");
    assert!(message(&damaged).contains("private_key"));
    assert!(message("nonsense").contains("neither OpenSSH's format nor PEM"));
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert!(message(old).contains("encrypted"));
    let swapped = import(&key.private_pem, "ssh-ed25519-cert-v01@openssh.com AAAA");
    assert!(matches!(swapped.unwrap_err(), ImportError::Public(_)));
}

#[test]
fn rsa_signatures_are_the_ones_the_rsa_crate_makes() {
    use rsa::pkcs1v15::SigningKey;
    use rsa::signature::{SignatureEncoding as _, Signer as _};

    let pair = generate_key_pair(CaKeyType::Rsa(RsaBits::B2048)).unwrap();
    let signer = import(&pair.private_pem, &pair.public.line()).unwrap();
    let secret = signer.to_secret().unwrap();
    let oracle = rsa::RsaPrivateKey::from_pkcs8_der(secret.get("rsa\n".len()..).unwrap()).unwrap();
    let ours = signer.sign(b"text", AlgorithmSigner::RsaSha512).unwrap();
    let theirs = SigningKey::<rsa::sha2::Sha512>::new(oracle).sign(b"text").to_bytes();
    assert!(ours.ends_with(&theirs), "PKCS#1 v1.5 signatures are deterministic");
    assert_eq!(ours.get(4..16), Some(b"rsa-sha2-512".as_slice()));
}

#[test]
fn an_rsa_algorithm_on_another_key_is_an_error() {
    let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    let error = signer.sign(b"x", AlgorithmSigner::RsaSha256).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a CA key of type ssh-ed25519 cannot sign with rsa-sha2-256"
    );
}

#[test]
fn key_types_read_as_on_vault() {
    let rows = [
        ("ssh-rsa", 0, Some(CaKeyType::Rsa(RsaBits::B4096))),
        ("rsa", 3072, Some(CaKeyType::Rsa(RsaBits::B3072))),
        ("rsa", 1024, None),
        ("ec", 0, Some(CaKeyType::EcdsaP256)),
        ("ec", 521, Some(CaKeyType::EcdsaP521)),
        ("ec", 224, None),
        ("ecdsa-sha2-nistp384", 7, Some(CaKeyType::EcdsaP384)),
        ("ed25519", 7, Some(CaKeyType::Ed25519)),
        ("dsa", 0, None),
    ];
    for (word, bits, want) in rows {
        assert_eq!(CaKeyType::parse(word, bits).ok(), want, "{word} {bits}");
    }
}
