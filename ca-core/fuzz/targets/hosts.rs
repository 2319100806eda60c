//! `hosts.toml` and the values that hosts prove: mistakes are reported, never panics, and whatever a proof says, only single
//! host names come out. The line in front of the first `---` is the value.
#![no_main]

use signet_core::host_policy::HostPolicy;
use signet_core::principal::Principal;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (value, text) = text.split_once("\n---\n").unwrap_or(("x", text));
    let policy = match HostPolicy::from_toml("hosts.toml", text) {
        Ok(policy) => policy,
        Err(mistakes) => return assert!(!mistakes.is_empty(), "a refusal says why"),
    };
    for rule in &policy.enroll {
        let values = rule.proof.placeholders().iter().map(|name| (*name, value.to_owned()));
        for name in rule.names_for(&values.collect()).unwrap_or_default() {
            assert!(Principal::parse_host(&name).is_ok(), "{name:?} of {value:?}");
            assert!(!name.contains([',', '*', '?', '/', ' ']), "{name:?} of {value:?}");
        }
        if rule.allows_name(value) {
            assert!(Principal::parse_host(value).is_ok(), "{value:?}");
        }
    }
});
