//! Role files: mistakes are reported, never panics, and what loads can be shown on Vault's wire.
#![no_main]

use signet_core::role::Role;

libfuzzer_sys::fuzz_target!(
    |text: &str| match Role::from_toml("my-role", "roles/my-role.toml", text) {
        Ok(role) => {
            assert!(role.vault_fields().is_object());
            drop(role.warnings());
        }
        Err(mistakes) => assert!(!mistakes.is_empty(), "a refusal says why"),
    }
);
