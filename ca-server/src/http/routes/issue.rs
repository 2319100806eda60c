//! `POST <mount>/issue/:role`: a key pair made here, and its certificate. The private key exists in this answer only.

use std::collections::BTreeMap;

use serde_json::json;
use signet_core::request::SigningRequest;
use signet_core::role::Role;
use signet_core::signer::{CaKeyType, GeneratedKey, SignError, generate_key_pair};

use super::mount_of;
use super::sign::{issued, refused};
use crate::http::ask::Ask;
use crate::http::authenticate::Session;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;

/// Makes the key pair and has it signed like any other.
pub(super) async fn issue(ask: &Ask<'_>, session: &Session) -> Result<Reply, Problem> {
    let word = match ask.text("key_type")? {
        empty if empty.is_empty() => "rsa".to_owned(),
        word => word,
    };
    let bits = u64::try_from(ask.fields.int("key_bits")?.unwrap_or(0)).unwrap_or(u64::MAX);
    let key_type =
        CaKeyType::parse(&word, bits).map_err(|error| Problem::refused("key-type-invalid", error.to_string()))?;
    let mut request = SigningRequest::from_vault(&ask.fields)?;
    check_role(ask, session, &request, &word, bits).await?;
    let key = generated(key_type).await?;
    request.public_key = Some(key.public.line());
    let certificate = issued(ask, session, &request).await?;
    let data = json!({
        "serial_number": certificate.serial().vault_hex(),
        "signed_key": certificate.line(),
        "private_key": key.private_pem.as_str(),
        "private_key_type": word,
    });
    Ok(Reply::data(data).with_warnings(certificate.warnings().to_vec()))
}

/// Refuses before a key is made: making one costs seconds, and so who may not sign may not have one made either.
async fn check_role(
    ask: &Ask<'_>,
    session: &Session,
    request: &SigningRequest,
    word: &str,
    bits: u64,
) -> Result<(), Problem> {
    let mount = mount_of(ask)?;
    if let Err(denial) = ask
        .authority
        .policy()
        .access
        .slice(&session.caller, mount.path(), ask.capture)
    {
        return Err(refused(ask, session, request, denial).await);
    }
    let Some(role) = ask.authority.role(mount, ask.capture) else {
        // Vault writes it in lower case here and in upper case on `sign`.
        return Err(Problem::refused(
            "unknown-role",
            format!("unknown role: {}", ask.capture),
        ));
    };
    check_length(&role, word, bits)
}

/// Vault compares words and numbers literally: `ec` and `ssh-rsa` are in no list, and 0 is not "the default".
fn check_length(role: &Role, word: &str, bits: u64) -> Result<(), Problem> {
    let lengths: &BTreeMap<String, Vec<u32>> = role.key_lengths();
    if lengths.is_empty() {
        return Ok(());
    }
    let Some(allowed) = lengths.get(word) else {
        return Err(Problem::refused(
            "key-type-not-allowed",
            "provided key_type value not in allowed_user_key_types",
        ));
    };
    if allowed.iter().any(|length| u64::from(*length) == bits) {
        return Ok(());
    }
    let text = "provided key_bits value not in list of role's allowed_user_key_types";
    Err(Problem::refused("key-size-not-allowed", text))
}

/// Off the network threads: RSA takes seconds.
async fn generated(key_type: CaKeyType) -> Result<GeneratedKey, Problem> {
    let making = tokio::task::spawn_blocking(move || generate_key_pair(key_type));
    Ok(making.await.map_err(|_| SignError::Failed)??)
}
