//! Trust bundles: the input once as the whole text, once as the content under a good signature, since no mutation makes
//! one. No panic, and what a host takes can be signed again and taken again.
#![no_main]

use std::sync::LazyLock;

use signet_core::role::AlgorithmSigner;
use signet_core::signer::{CaKeyType, Signer as _, SoftwareSigner};
use signet_core::sshsig::{HashAlgorithm, SshSignature, signed_data};
use signet_core::trust_bundle::{BUNDLE_NAMESPACE, TrustBundle, VerifiedBundle};

static SIGNER: LazyLock<SoftwareSigner> =
    LazyLock::new(|| SoftwareSigner::generate(CaKeyType::Ed25519).expect("a key"));

fn sign(text: &str) -> String {
    let data = signed_data(BUNDLE_NAMESPACE, HashAlgorithm::Sha512, text.as_bytes()).expect("data");
    let blob = SIGNER.sign(&data, AlgorithmSigner::Default).expect("a signature");
    let key = SIGNER.public_key().blob();
    let signature = SshSignature::new(key, BUNDLE_NAMESPACE, HashAlgorithm::Sha512, &blob).expect("a signature");
    TrustBundle::with_signature(text, &signature).expect("a text")
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let pinned = [SIGNER.public_key().clone()];
    assert!(
        VerifiedBundle::open_held(text, &pinned).is_err(),
        "nobody can sign for a new key"
    );
    let signed = sign(&format!("signet-trust-bundle-v1\n{text}\n"));
    let Ok(verified) = VerifiedBundle::open_held(&signed, &pinned) else {
        return;
    };
    assert!(
        !verified.user_ca_keys().is_empty(),
        "a host without a CA key lets nobody in"
    );
    let again = sign(&verified.bundle().signed_text().expect("what was read can be written"));
    assert_eq!(VerifiedBundle::open_held(&again, &pinned), Ok(verified));
});
