//! Identity documents: reading one never panics, and none but the one that the pinned key signed comes out. The input is the
//! PKCS #7 inside the base64; the seeds are that one document in both forms.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signet_core::ec2_document::{InstanceDocument, RegionCertificate};

/// A certificate whose private key is gone.
static PINNED: LazyLock<BTreeMap<String, RegionCertificate>> = LazyLock::new(|| {
    let pem = include_str!("ec2_document.pem");
    let certificate = RegionCertificate::from_pem(pem).expect("the certificate is one");
    BTreeMap::from([("eu-central-1".to_owned(), certificate)])
});

libfuzzer_sys::fuzz_target!(|der: &[u8]| {
    if let Ok(document) = InstanceDocument::verify(&STANDARD.encode(der), &PINNED) {
        assert_eq!(document.instance_id(), "i-0123456789abcdef0");
    }
    if let Ok(text) = std::str::from_utf8(der) {
        drop(InstanceDocument::verify(text, &PINNED));
        drop(RegionCertificate::from_pem(text));
    }
});
