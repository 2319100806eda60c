//! `<mount>/config/ca` and `<mount>/public_key`: the mount's CA key. Its private half goes in and never out.

use serde_json::{Value, json};
use signet_core::signer::{CaKeyType, Condition, ImportError, KeyFile, SignError, Signer, SoftwareSigner};
use signet_core::subject_key::SubjectKey;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::mount_of;
use crate::config::{CaKeyConfig, KeyWish, KeyWishError};
use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::EventKind;
use crate::mounts::{Mount, MountError, State};
use crate::signer::CaKey;

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
    let (key, _naming) = made(ask, wish).await?;
    let signer = key.signer();
    let (line, fingerprint) = (signer.public_line(), signer.public_key().fingerprint());
    let event = ask
        .authority
        .ledger
        .event(EventKind::CaCreate)
        .caller(&permit.session().caller)
        .text("mount", mount.path())
        .text("ca_fingerprint", &fingerprint)
        .flag("imported", imported)
        .text("holder", signer.holder())
        .optional("place", signer.place().as_deref())
        .text("request_id", ask.request_id);
    // The record first: a CA key that no record tells of is worse than a record of one that was not stored.
    ask.authority.ledger.record(event).await?;
    reach(ask, mount, signer.public_key()).await?;
    match mount.add_issuer(key, "", State::Default, ask.now).await {
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

/// The key that a request wants.
pub(super) enum Wish {
    Generate(CaKeyType),
    Import {
        private: Zeroizing<String>,
        public: Option<String>,
        passphrase: Option<Zeroizing<String>>,
    },
    Elsewhere {
        holder: String,
        key: Box<CaKeyConfig>,
    },
}

/// Vault's rules, in Vault's order and words; but a private key may come alone. `default_type` is made when nothing is said.
pub(super) fn wish(ask: &Ask<'_>, default_type: &str) -> Result<Wish, Problem> {
    let refused = |text: &str| Err(Problem::refused("ca-key-invalid", text));
    let (private, public) = (Zeroizing::new(ask.text("private_key")?), ask.text("public_key")?);
    let passphrase = Zeroizing::new(ask.text("private_key_passphrase")?);
    let passphrase = (!passphrase.is_empty()).then_some(passphrase);
    let holder = ask.text("key_holder")?;
    if !holder.is_empty() {
        return if private.is_empty() && public.is_empty() {
            elsewhere(ask, holder, default_type)
        } else {
            refused("private_key and public_key must not be set when key_holder is: the key stays where it is")
        };
    }
    let generate = ask.fields.bool("generate_signing_key")?;
    match (generate, private.is_empty(), public.is_empty()) {
        (Some(true), false, _) | (Some(true), _, false) => {
            refused("public_key and private_key must not be set when generate_signing_key is set to true")
        }
        (Some(false), true, true) => refused("missing public_key"),
        (_, true, true) if passphrase.is_some() => refused("private_key_passphrase is set, but private_key is not"),
        (_, true, true) => key_type(ask, default_type).map(Wish::Generate),
        (_, false, _) => Ok(Wish::Import {
            private,
            public: (!public.is_empty()).then_some(public),
            passphrase,
        }),
        (_, true, false) => refused(
            "only one of public_key and private_key set; both must be set to use, or both must be blank to auto-generate",
        ),
    }
}

fn key_type(ask: &Ask<'_>, default_type: &str) -> Result<CaKeyType, Problem> {
    let word = match ask.text("key_type")? {
        empty if empty.is_empty() => default_type.to_owned(),
        word => word,
    };
    let bits = u64::try_from(ask.fields.int("key_bits")?.unwrap_or(0)).unwrap_or(u64::MAX);
    CaKeyType::parse(&word, bits).map_err(|error| Problem::refused("key-type-invalid", error.to_string()))
}

fn elsewhere(ask: &Ask<'_>, holder: String, default_type: &str) -> Result<Wish, Problem> {
    let config = &ask.authority.config;
    let unknown = || {
        let text = format!("no key holder is called `{holder}`");
        Problem::refused("key-holder-unknown", text)
    };
    let found = config
        .key_holders
        .iter()
        .find(|of| of.name == holder)
        .ok_or_else(unknown)?;
    let wish = KeyWish {
        key_label: ask.text("key_label")?,
        key_id: ask.text("key_id")?,
        create: ask.fields.bool("generate_signing_key")?,
        is_typed: !ask.text("key_type")?.is_empty() || ask.fields.int("key_bits")?.is_some(),
    };
    let key = found
        .key(mount_of(ask)?.path(), wish, key_type(ask, default_type)?, &config.seal)
        .map_err(|error| {
            let code = match &error {
                KeyWishError::Mount(_) => "key-holder-unknown",
                KeyWishError::Field { .. }
                | KeyWishError::NoCreate(_)
                | KeyWishError::KeyId(_)
                | KeyWishError::SealKey(_) => "ca-key-unusable",
            };
            Problem::refused(code, error.to_string())
        })?;
    Ok(Wish::Elsewhere {
        holder,
        key: Box::new(key),
    })
}

/// Held until a key that lies elsewhere is an issuer: of two mounts that name one key at the same moment, one gets it.
pub(super) type Naming = Option<tokio::sync::MutexGuard<'static, ()>>;

/// Makes, reads or finds the key, off the network threads. RSA takes seconds, and so may a passphrase and a token.
pub(super) async fn made(ask: &Ask<'_>, wish: Wish) -> Result<(CaKey, Naming), Problem> {
    static NAMING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    // SECURITY: what opening a file costs lies in the file; it is bounded, and one is opened at a time.
    static OPENING: Semaphore = Semaphore::const_new(1);
    let turn = match &wish {
        Wish::Import {
            passphrase: Some(_), ..
        } => Some(OPENING.acquire().await.map_err(|_| SignError::Failed)?),
        Wish::Import { .. } | Wish::Generate(_) | Wish::Elsewhere { .. } => None,
    };
    let naming = match &wish {
        Wish::Elsewhere { .. } => Some(NAMING.lock().await),
        Wish::Import { .. } | Wish::Generate(_) => None,
    };
    let making = tokio::task::spawn_blocking(move || {
        let key = make(wish);
        drop(turn);
        key
    });
    let key = making.await.map_err(|_| SignError::Failed)??;
    if naming.is_some() {
        must_be_free(ask, key.signer().as_ref())?;
    }
    Ok((key, naming))
}

fn make(wish: Wish) -> Result<CaKey, Problem> {
    match wish {
        Wish::Generate(key_type) => Ok(SoftwareSigner::generate(key_type)?.into()),
        Wish::Elsewhere { holder, key } => Ok(CaKey::adopt_from(&holder, &key)?),
        Wish::Import {
            private,
            public,
            passphrase,
        } => {
            let file = KeyFile {
                private: &private,
                public: public.as_deref(),
                passphrase: passphrase.as_ref().map(|text| text.as_str()),
            };
            SoftwareSigner::import(file).map(CaKey::from).map_err(|error| {
                let text = error.to_string();
                let problem = match &error {
                    ImportError::Mismatch => Problem::refused("ca-key-mismatch", text),
                    ImportError::Encrypted | ImportError::Passphrase => Problem::refused("ca-key-passphrase", text),
                    ImportError::Private
                    | ImportError::Several(_)
                    | ImportError::Damaged
                    | ImportError::RsaBits(_)
                    | ImportError::NotEncrypted
                    | ImportError::Encryption(_)
                    | ImportError::Cost { .. }
                    | ImportError::Type(_)
                    | ImportError::Public(_)
                    | ImportError::SelfTest(_) => Problem::refused("ca-key-invalid", text),
                };
                match error.hint() {
                    "" => problem,
                    hint => problem.with_hint(hint),
                }
            })
        }
    }
}

/// SECURITY: whoever may rotate the keys of one mount must not have another mount's key sign for the roles of this one:
/// nothing but its name is needed for that where the key lies elsewhere.
fn must_be_free(ask: &Ask<'_>, signer: &dyn Signer) -> Result<(), Problem> {
    let own = mount_of(ask)?.uuid().to_owned();
    let has_it = |mount: &Mount| {
        let mut issuers = mount.issuers().into_iter();
        mount.uuid() != own && issuers.any(|issuer| issuer.signer().public_key().blob() == signer.public_key().blob())
    };
    match ask.authority.mounts.list().iter().find(|mount| has_it(mount)) {
        None => Ok(()),
        Some(_) => Err(Problem::refused("ca-key-exists", "another mount has this CA key")
            .with_hint("name a key that no other mount has")),
    }
}

fn already_configured() -> Problem {
    Problem::refused(
        "ca-key-exists",
        "keys are already configured; delete them before reconfiguring",
    )
}
