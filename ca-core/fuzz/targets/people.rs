//! `people.toml`: mistakes are reported, never panics, and every person can be found again.
#![no_main]

use signet_core::people::People;

libfuzzer_sys::fuzz_target!(|text: &str| match People::from_toml("people.toml", text) {
    Ok(people) => {
        for person in people.iter() {
            assert!(people.person(person.name()).is_some());
            for key in person.keys() {
                assert_eq!(
                    people.by_key_blob(key.blob()).map(|found| found.name()),
                    Some(person.name())
                );
            }
        }
    }
    Err(mistakes) => assert!(!mistakes.is_empty(), "a refusal says why"),
});
