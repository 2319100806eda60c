//! The key ID of a certificate: the server's, unless the role lets the caller choose.

use crate::caller::Caller;
use crate::denial::Denial;
use crate::key_id::{KEY_ID_BYTES_MAX, KeyId, sanitized};
use crate::request::SigningRequest;
use crate::role::Role;
use crate::subject_key::SubjectKey;

const DISPLAY_NAME: &str = "{{token_display_name}}";
const ROLE_NAME: &str = "{{role_name}}";
const KEY_HASH: &str = "{{public_key_hash}}";

/// Checks a format that somebody wrote in a role file.
///
/// # Errors
/// What is wrong with it, as one clause.
pub fn check_key_id_format(format: &str) -> Result<(), String> {
    let fixed = format
        .replace(DISPLAY_NAME, "")
        .replace(ROLE_NAME, "")
        .replace(KEY_HASH, "");
    if fixed.contains("{{") {
        return Err(format!(
            "the variables are {DISPLAY_NAME}, {ROLE_NAME} and {KEY_HASH}, without blanks"
        ));
    }
    if sanitized(&fixed) != fixed {
        return Err("beside variables only letters, digits and . _ @ : / + = - are allowed".to_owned());
    }
    Ok(())
}

pub(super) fn resolve(
    role: &Role,
    request: &SigningRequest,
    caller: &Caller,
    key: &SubjectKey,
) -> Result<KeyId, Denial> {
    match &request.key_id {
        Some(_) if !role.caller_chooses_key_id => Err(Denial::KeyIdNotAllowed {
            role: role.name().to_owned(),
        }),
        Some(key_id) => KeyId::parse(key_id),
        None => KeyId::parse(&built(role, caller, key)),
    }
}

/// The server's key ID. Names that came from elsewhere (a token's display name, an identity provider's claim) lose what a
/// log line could misread.
fn built(role: &Role, caller: &Caller, key: &SubjectKey) -> String {
    let hash = key.sha256_hex();
    let name = caller.display_name();
    let text = match (role.key_id_format.as_str(), name) {
        ("", "") => format!("vault-{hash}"),
        ("", name) => format!(
            "vault-{}-{hash}",
            short(name, KEY_ID_BYTES_MAX - "vault--".len() - hash.len())
        ),
        (format, name) => format
            .replace(ROLE_NAME, role.name())
            .replace(KEY_HASH, &hash)
            .replace(DISPLAY_NAME, short(name, 128)),
    };
    short(&sanitized(&text), KEY_ID_BYTES_MAX).to_owned()
}

fn short(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.split_at(end).0
}
