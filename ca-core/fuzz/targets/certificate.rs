//! Certificates as `signet inspect` reads them, from whoever sent them: no panic, and nothing that a terminal obeys.
//! The input is the blob, because a mutated byte of base64 seldom is base64 any more.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signet_core::inspect::inspect;
use signet_core::time::UnixTime;

libfuzzer_sys::fuzz_target!(|blob: &[u8]| {
    if let Ok(inspection) = inspect(&STANDARD.encode(blob), UnixTime::from_secs(1_800_000_000)) {
        let shown = format!("{inspection:?}");
        assert!(!shown.chars().any(char::is_control), "control character in {shown}");
    }
});
