//! Role documents of Vault's wire: what loads reads back as a document that means the same.
#![no_main]

use signet_core::role::{Role, RoleSource};
use signet_core::vault_value::Fields;

fn read(bytes: &[u8]) -> Option<Role> {
    Role::from_vault_json("my-role", "ssh", &Fields::from_json(bytes).ok()?, RoleSource::Api).ok()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(role) = read(bytes) {
        let document = role.vault_fields();
        let again = read(document.to_string().as_bytes()).expect("a role's own document is a role");
        assert_eq!(again.vault_fields(), document);
    }
});
