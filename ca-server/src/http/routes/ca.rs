//! `<mount>/config/ca` and `<mount>/public_key`: the mount's CA key. Its private half goes in and never out.

use serde_json::{Value, json};
use signet_core::signer::{CaKeyType, Condition, ImportError, SignError, Signer, SoftwareSigner};
use signet_core::subject_key::SubjectKey;
use zeroize::Zeroizing;

use super::mount_of;
use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::EventKind;
use crate::mounts::{Mount, MountError, State};

/// `GET public_key`: one trusted key a line, the one that signs first, as `TrustedUserCAKeys` has it. Open, since hosts fetch it before anybody logs in.
pub(super) fn public_key(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let trusted = mount_of(ask)?.trusted(ask.now);
    if trusted.is_empty() {
        return Err(Problem::NothingThere);
    }
    let lines = trusted
        .iter()
        .map(|issuer| line_of(issuer.signer().as_ref()))
        .collect::<String>();
    Ok(Reply::text("text/plain", lines))
}

/// A public key's line with exactly one newline at its end.
pub(super) fn line_of(signer: &dyn Signer) -> String {
    let mut line = signer.public_line();
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

/// `GET config/ca`. Of a key that lies elsewhere also where, and whether it can be used now.
pub(super) fn read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    // Terraform's provider matches this text.
    let missing = || Problem::refused("ca-key-missing", "keys haven't been configured yet");
    let signer = mount_of(ask)?.signer().ok_or_else(missing)?;
    Ok(Reply::data(with_holder(
        json!({"public_key": signer.public_line()}),
        signer.as_ref(),
    )))
}

/// Adds where a key lies that lies elsewhere, and whether it can be used now.
pub(super) fn with_holder(mut data: Value, signer: &dyn Signer) -> Value {
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
    data
}

/// `POST config/ca`: makes a CA key or imports one.
pub(super) async fn write(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let wish = wish(ask, "ssh-rsa")?;
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
    reach(ask, mount, signer.public_key()).await?;
    match mount.add_issuer(signer, "", State::Default, ask.now).await {
        Err(MountError::Issuer(_)) => Err(already_configured()),
        Err(error) => Err(error.into()),
        Ok(_) if imported => Ok(Reply::nothing()),
        Ok(_) => Ok(Reply::data(json!({"public_key": line}))),
    }
}

/// Has standing revocations reach a CA key before the mount gets it.
pub(super) async fn reach(ask: &Ask<'_>, mount: &Mount, key: &SubjectKey) -> Result<(), Problem> {
    let list = ask.authority.revocations.list(mount, ask.now).await?;
    let changing = list.change().await;
    if let Some(wider) = changing.reaching(key, ask.now).await? {
        changing.commit(wider).await?;
    }
    Ok(())
}

/// `DELETE config/ca`: all issuers, as nobody should trust a mount that has no CA key.
pub(super) async fn delete(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let issuers = mount.issuers();
    for issuer in &issuers {
        let event = ask
            .authority
            .ledger
            .event(EventKind::CaDelete)
            .caller(&permit.session().caller)
            .text("mount", mount.path())
            .text("ca_fingerprint", &issuer.fingerprint())
            .text("request_id", ask.request_id);
        ask.authority.ledger.record(event).await?;
        // Its certificates live on and must stay revocable.
        let list = ask.authority.revocations.list(mount, ask.now).await?;
        list.retire(issuer.signer().public_key(), ask.now).await?;
    }
    mount.delete_signer().await?;
    Ok(Reply::nothing())
}

pub(super) enum Wish {
    Generate(CaKeyType),
    Import { private: Zeroizing<String>, public: String },
}

/// Vault's rules, in Vault's order and words. `default_type` is made when nothing is said.
pub(super) fn wish(ask: &Ask<'_>, default_type: &str) -> Result<Wish, Problem> {
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
                empty if empty.is_empty() => default_type.to_owned(),
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
pub(super) fn made(wish: Wish) -> Result<SoftwareSigner, Problem> {
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
