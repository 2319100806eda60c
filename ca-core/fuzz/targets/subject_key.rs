//! Public keys, as lines and as bare blobs: whatever is taken reads back as the same key.
#![no_main]

use signet_core::subject_key::SubjectKey;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = SubjectKey::from_blob(bytes.to_vec()) {
        check(&key);
    }
    if let Some(key) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| SubjectKey::parse(text).ok())
    {
        check(&key);
    }
});

fn check(key: &SubjectKey) {
    let again = SubjectKey::parse(&key.line()).expect("a key's own line is a key");
    assert_eq!(again.blob(), key.blob());
    assert!(key.fingerprint().starts_with("SHA256:"));
}
