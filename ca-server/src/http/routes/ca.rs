//! `<mount>/config/ca` and `<mount>/public_key`: the mount's CA key. Its private half goes in and never out.

use serde_json::json;
use signet_core::signer::{CaKeyType, Condition, ImportError, SignError, Signer, SoftwareSigner};
use zeroize::Zeroizing;

use super::mount_of;
use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::EventKind;
use crate::mounts::Created;

/// `GET public_key`: one key a line, as `TrustedUserCAKeys` has it. Open, since hosts fetch it before anybody logs in.
pub(super) fn public_key(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let signer = mount_of(ask)?.signer().ok_or(Problem::NothingThere)?;
    Ok(Reply::text("text/plain", signer.public_line()))
}

/// `GET config/ca`. Of a key that lies elsewhere also where, and whether it can be used now.
pub(super) fn read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    // Terraform's provider matches this text.
    let missing = || Problem::refused("ca-key-missing", "keys haven't been configured yet");
    let signer = mount_of(ask)?.signer().ok_or_else(missing)?;
    let mut data = json!({"public_key": signer.public_line()});
    if let (Some(place), Some(fields)) = (signer.place(), data.as_object_mut()) {
        let (ready, reason) = match signer.condition() {
            Condition::Ready => (true, String::new()),
            Condition::NotReady { reason } => (false, reason),
        };
        fields.insert("holder".to_owned(), signer.holder().into());
        fields.insert("place".to_owned(), place.into());
        fields.insert("ready".to_owned(), ready.into());
        fields.insert("reason".to_owned(), reason.into());
    }
    Ok(Reply::data(data))
}

/// `POST config/ca`: makes a CA key or imports one.
pub(super) async fn write(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let wish = wish(ask)?;
    if mount.signer().is_some() {
        return Err(already_configured());
    }
    let imported = matches!(wish, Wish::Import { .. });
    let signer = tokio::task::spawn_blocking(move || made(wish))
        .await
        .map_err(|_| SignError::Failed)??;
    let (line, fingerprint) = (signer.public_line(), signer.public_key().fingerprint());
    let event = ask
        .authority
        .ledger
        .event(EventKind::CaCreate)
        .caller(&permit.session().caller)
        .text("mount", mount.path())
        .text("ca_fingerprint", &fingerprint)
        .flag("imported", imported)
        .text("request_id", ask.request_id);
    // The record first: a CA key that no record tells of is worse than a record of one that was not stored.
    ask.authority.ledger.record(event).await?;
    match mount.set_signer(signer).await? {
        Created::AlreadyConfigured => Err(already_configured()),
        Created::Created if imported => Ok(Reply::nothing()),
        Created::Created => Ok(Reply::data(json!({"public_key": line}))),
    }
}

/// `DELETE config/ca`.
pub(super) async fn delete(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    if let Some(signer) = mount.signer() {
        let event = ask
            .authority
            .ledger
            .event(EventKind::CaDelete)
            .caller(&permit.session().caller)
            .text("mount", mount.path())
            .text("ca_fingerprint", &signer.public_key().fingerprint())
            .text("request_id", ask.request_id);
        ask.authority.ledger.record(event).await?;
        mount.delete_signer().await?;
    }
    Ok(Reply::nothing())
}

enum Wish {
    Generate(CaKeyType),
    Import { private: Zeroizing<String>, public: String },
}

/// Vault's rules, in Vault's order and words.
fn wish(ask: &Ask<'_>) -> Result<Wish, Problem> {
    let refused = |text: &str| Err(Problem::refused("ca-key-invalid", text));
    let (private, public) = (Zeroizing::new(ask.text("private_key")?), ask.text("public_key")?);
    let generate = ask.fields.bool("generate_signing_key")?;
    match (generate, private.is_empty(), public.is_empty()) {
        (Some(true), false, _) | (Some(true), _, false) => {
            refused("public_key and private_key must not be set when generate_signing_key is set to true")
        }
        (Some(false), true, true) => refused("missing public_key"),
        (_, true, true) => {
            let word = match ask.text("key_type")? {
                empty if empty.is_empty() => "ssh-rsa".to_owned(),
                word => word,
            };
            let bits = u64::try_from(ask.fields.int("key_bits")?.unwrap_or(0)).unwrap_or(u64::MAX);
            CaKeyType::parse(&word, bits)
                .map(Wish::Generate)
                .map_err(|error| Problem::refused("key-type-invalid", error.to_string()))
        }
        (_, false, false) => Ok(Wish::Import { private, public }),
        (_, true, false) | (_, false, true) => refused(
            "only one of public_key and private_key set; both must be set to use, or both must be blank to auto-generate",
        ),
    }
}

/// Makes or reads the key; RSA takes seconds.
fn made(wish: Wish) -> Result<SoftwareSigner, Problem> {
    match wish {
        Wish::Generate(key_type) => Ok(SoftwareSigner::generate(key_type)?),
        Wish::Import { private, public } => SoftwareSigner::import(&private, &public).map_err(|error| match error {
            ImportError::Mismatch => Problem::refused("ca-key-mismatch", error.to_string()),
            other => Problem::refused("ca-key-invalid", other.to_string()),
        }),
    }
}

fn already_configured() -> Problem {
    Problem::refused(
        "ca-key-exists",
        "keys are already configured; delete them before reconfiguring",
    )
}
