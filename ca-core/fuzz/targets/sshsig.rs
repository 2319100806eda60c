//! SSH signatures as a login sends them: what is taken is written out as it came in, and verifying never panics. The
//! input is the blob inside the armor.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signet_core::sshsig::{LOGIN_NAMESPACE, SshSignature};
use signet_core::subject_key::SubjectKey;

libfuzzer_sys::fuzz_target!(|blob: &[u8]| {
    let armor = format!(
        "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
        STANDARD.encode(blob)
    );
    let Ok(signature) = SshSignature::from_armor(&armor) else {
        return;
    };
    let written = signature.to_armor().expect("what was read can be written");
    let again = SshSignature::from_armor(&written).expect("what was written can be read");
    assert_eq!(again.unverified_key_blob(), signature.unverified_key_blob());
    if let Ok(key) = SubjectKey::from_blob(signature.unverified_key_blob().to_vec()) {
        drop(signature.verify(&key, LOGIN_NAMESPACE, b"message"));
    }
});
