//! CA keys that somebody brings along, as text and as the bytes inside each format: nothing crashes, nothing that is encrypted
//! is worked on without a passphrase, and what is taken is written out and read as the same key.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signet_core::signer::{KeyFile, Signer as _, SoftwareSigner};

const LABELS: [&str; 5] = [
    "OPENSSH PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text);
    }
    let body = STANDARD.encode(bytes);
    for label in LABELS {
        check(&format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"));
    }
});

fn import(private: &str) -> Option<SoftwareSigner> {
    let file = KeyFile {
        private,
        public: None,
        passphrase: None,
    };
    SoftwareSigner::import(file).ok()
}

fn check(private: &str) {
    let Some(signer) = import(private) else { return };
    let out = signer.to_private_pem().expect("a key that signs is written out");
    let again = import(&out).expect("what we write we read");
    assert_eq!(again.public_key().blob(), signer.public_key().blob());
}
