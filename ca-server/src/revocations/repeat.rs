//! Revocations that the ledger tells of and a restored store has not got. They are noted at the restore, and made again when the
//! server opens, before anybody is served: what was revoked must not be believed again because a disk was lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use signet_core::ledger::EventKind;
use signet_core::time::UnixTime;
use signet_core::vault_value::Fields;

use super::{About, Entry, Ground, RevocationError, Selector, resolve};
use crate::authority::Authority;
use crate::barrier::BarrierError;
use crate::keyring::Keyring;
use crate::ledger::{FILE, LedgerError};
use crate::random;
use crate::store::{Change, StoreError, Table};

const KEY: &str = "revocations-to-repeat";

/// A revocation as its record tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lost {
    id: String,
    mount: String,
    by: String,
    at: u64,
    reason: String,
    selector: BTreeMap<String, String>,
}

/// Reads records in their order.
#[derive(Debug, Default)]
pub(crate) struct Losses(Vec<Lost>);

impl Losses {
    /// Looks at the next record: one that revokes, or one that takes a revocation back.
    pub(crate) fn read(&mut self, record: &Value) {
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if text("event") != EventKind::Revoke.as_str() {
            return;
        }
        let id = text("revocation");
        if record.get("removed").and_then(Value::as_bool) == Some(true) {
            self.0.retain(|lost| lost.id != id);
            return;
        }
        let words = record.get("selector").and_then(Value::as_object).into_iter().flatten();
        let word = |(field, text): (&String, &Value)| Some((field.clone(), text.as_str()?.to_owned()));
        self.0.push(Lost {
            id,
            mount: text("mount"),
            by: text("person"),
            at: UnixTime::parse_rfc3339(&text("time")).map_or(0, UnixTime::secs),
            reason: text("reason"),
            selector: words.filter_map(word).collect(),
        });
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The change that notes them down for the next start.
    ///
    /// # Errors
    /// [`BarrierError`]
    pub(crate) fn noted(&self, keyring: &Keyring) -> Result<Change, BarrierError> {
        // Structs of texts and numbers always have a JSON form.
        let json = serde_json::to_vec(&self.0).unwrap_or_default();
        keyring.seal(Table::Settings, KEY, &json)
    }
}

/// Makes again what was noted down, if something was. One that cannot be made again is named in the log and in the ledger, and
/// keeps nobody from starting.
///
/// # Errors
/// [`RepeatError`] when nothing can be made durable; it is tried again at the next start.
pub(crate) async fn repeat(authority: &Authority) -> Result<(), RepeatError> {
    let store = authority.keyring.store();
    let rows = store.scan(Table::Settings)?;
    let Some((_, sealed)) = rows.iter().find(|(key, _)| key == KEY) else {
        return Ok(());
    };
    let json = authority.keyring.unseal(Table::Settings, KEY, sealed)?;
    let lost: Vec<Lost> = serde_json::from_slice(&json).unwrap_or_default();
    for one in &lost {
        if let Err(error) = revoke_again(authority, one).await {
            let RepeatError::NotPossible(why) = error else {
                return Err(error);
            };
            tracing::error!(mount = one.mount, revocation = one.id, selector = ?one.selector, why, "revoke it again by hand");
            let event = authority.ledger.event(EventKind::Alarm).text("mount", &one.mount);
            let event = event.text("revocation", &one.id).text("reason", &why);
            authority.ledger.record(event).await?;
        }
    }
    store
        .apply(vec![Change::Delete(Table::Settings, KEY.to_owned())])
        .durable()
        .await?;
    Ok(())
}

async fn revoke_again(authority: &Authority, lost: &Lost) -> Result<(), RepeatError> {
    let impossible = |why: &dyn std::error::Error| RepeatError::NotPossible(crate::command::chain(why));
    let Some(mount) = authority.mounts.get(&lost.mount) else {
        return Err(RepeatError::NotPossible("the mount is not there".to_owned()));
    };
    let selector = selector(lost).map_err(|error| impossible(&error))?;
    let now = authority.clock.now();
    let of_mount = authority.revocations.list(&mount, now).await?;
    let changing = of_mount.change().await;
    let issuers = mount.issuers();
    let keys = issuers.iter().map(|issuer| issuer.signer().public_key());
    let longest_secs = authority.longest.secs();
    let ground = Ground {
        ledger: authority.config.data.join(FILE),
        node: authority.config.node,
        mount: mount.path().to_owned(),
        longest_secs,
        authorities: changing.authorities(keys, now, longest_secs),
        now,
    };
    let found = resolve(&selector, &ground).map_err(|error| impossible(&error))?;
    let Some(reach) = found.reach else {
        // All of it has ended meanwhile.
        return Ok(());
    };
    let entry = Entry {
        about: About {
            by: lost.by.clone(),
            at: lost.at,
            reason: lost.reason.clone(),
            selector: lost.selector.clone(),
        },
        reach,
        hits: found.total,
        until: found.until,
    };
    let id = random::uuid();
    let candidate = changing.with(id.clone(), entry, now).await?;
    let event = authority
        .ledger
        .event(EventKind::Revoke)
        .text("by", "restore")
        .text("mount", mount.path())
        .text("revocation", &id)
        .text("repeats", &lost.id)
        .map(
            "selector",
            lost.selector
                .iter()
                .map(|(field, text)| (field.as_str(), text.as_str())),
        )
        .text("reason", &lost.reason)
        .number("certificates", found.total)
        .number("krl_version", candidate.version());
    authority.ledger.record(event).await?;
    changing.commit(candidate).await?;
    Ok(())
}

/// The selection of then. What hit all that there was, hits no more than that.
fn selector(lost: &Lost) -> Result<Selector, super::SelectorError> {
    let mut fields = Fields::default();
    for (field, text) in &lost.selector {
        // The record names a key by its fingerprint.
        let field = if field == "public_key" { "fingerprint" } else { field };
        fields.insert(field, text.clone());
    }
    let mut selector = Selector::from_fields(&fields)?;
    let hit_what_there_was = selector.person.is_some() || selector.role.is_some() || selector.issued_since.is_some();
    if hit_what_there_was && selector.issued_until.is_none() {
        selector.issued_until = Some(UnixTime::from_secs(lost.at.saturating_add(1)));
    }
    Ok(selector)
}

/// Why revocations were not made again.
#[derive(Debug, thiserror::Error)]
pub enum RepeatError {
    /// This one cannot be.
    #[error("{0}")]
    NotPossible(String),
    /// The list.
    #[error(transparent)]
    Revocations(#[from] RevocationError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The barrier.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
}

/// As [`repeat`], from a thread that may drive a runtime.
///
/// # Errors
/// [`RepeatError`]
pub(crate) fn repeat_blocking(authority: &Arc<Authority>) -> Result<(), RepeatError> {
    let crashed = || RepeatError::from(RevocationError::Crashed);
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.map_err(|_| crashed())?.block_on(repeat(authority))
    };
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err(crashed()))
}
