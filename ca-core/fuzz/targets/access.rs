//! Access policies: a file that is no policy is refused with its mistakes, never with a panic.
#![no_main]

use signet_core::access::AccessPolicies;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(mistakes) = AccessPolicies::parse(&[("access/fuzz.cedar".to_owned(), text.to_owned())]) {
        assert!(!mistakes.is_empty(), "a refusal says why");
    }
});
