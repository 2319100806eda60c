//! Revocation lists from anywhere: no panic, and what is read is written so that it reads back the same.
#![no_main]

use signet_core::krl::{Krl, Subject};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(krl) = Krl::parse(bytes) else {
        return;
    };
    assert_eq!(Krl::parse(&krl.encode()).expect("what was written can be read"), krl);
    for (ca_key, revoked) in &krl.authorities {
        for (first, last) in revoked.serials.ranges().iter().take(64) {
            for serial in [*first, *last] {
                let subject = Subject {
                    ca_key,
                    serial,
                    key_id: "",
                    subject_key: b"",
                };
                assert!(krl.hit(subject).is_some(), "{serial} is in the list");
            }
        }
    }
});
