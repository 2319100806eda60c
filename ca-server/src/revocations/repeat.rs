//! Revocations that the ledger tells of and a restored store has not got. They are noted at the restore, and made again when the
//! server opens, before anybody is served: what was revoked must not be believed again because a disk was lost.

use std::collections::{BTreeMap, HashSet};
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
use crate::ledger::LedgerError;
use crate::random;
use crate::store::{Change, Store, StoreError, Table};

const KEY: &str = "revocations-to-repeat";
/// Before the number of serials that [`Selector::words`] leaves out.
const CUT: &str = " and ";
/// Records that make revocations or end them.
const KINDS: [EventKind; 3] = [EventKind::Revoke, EventKind::KrlPrune, EventKind::MountDelete];

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

impl Lost {
    /// How many serials the record does not name, if it does not name all.
    fn cut(&self) -> Option<&str> {
        let (_, more) = self.selector.get("serial")?.split_once(CUT)?;
        Some(more)
    }
}

/// A revocation that stands, as far as the records read so far tell.
#[derive(Debug)]
struct Standing {
    /// What it was called: when it was made, and each time that it was made again.
    ids: Vec<String>,
    /// Whether its mount was deleted since.
    mount_deleted: bool,
    lost: Lost,
}

/// Reads all records in their order, and says which revocations a store has not got. What is recorded and not in the store is
/// lost, wherever in the ledger it stands: a record says nothing of whether the store had heard of it.
#[derive(Debug, Default)]
pub(crate) struct Losses(Vec<Standing>);

impl Losses {
    /// Whether a record's line is worth reading; most are of certificates.
    pub(crate) fn concerns(line: &str) -> bool {
        let of = |kind: &EventKind| line.contains(&format!("\"event\":\"{}\"", kind.as_str()));
        KINDS.iter().any(of)
    }

    /// Looks at the next record: one that revokes, or one that takes revocations back.
    pub(crate) fn read(&mut self, record: &Value) {
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (event, id) = (text("event"), text("revocation"));
        let is = |kind: EventKind| event == kind.as_str();
        if is(EventKind::MountDelete) {
            let of_mount = self.0.iter_mut().filter(|one| one.lost.mount == text("mount"));
            of_mount.for_each(|one| one.mount_deleted = true);
        } else if is(EventKind::KrlPrune) {
            let pruned = record.get("revocations").and_then(Value::as_array);
            let pruned = pruned.into_iter().flatten().filter_map(Value::as_str);
            pruned.for_each(|id| self.ended(id));
        } else if is(EventKind::Revoke) && record.get("removed").and_then(Value::as_bool) == Some(true) {
            self.ended(&id);
        } else if is(EventKind::Revoke) {
            let words = record.get("selector").and_then(Value::as_object).into_iter().flatten();
            let word = |(field, text): (&String, &Value)| Some((field.clone(), text.as_str()?.to_owned()));
            self.begun(
                &text("repeats"),
                Lost {
                    id,
                    mount: text("mount"),
                    by: text("person"),
                    at: UnixTime::parse_rfc3339(&text("time")).map_or(0, UnixTime::secs),
                    reason: text("reason"),
                    selector: words.filter_map(word).collect(),
                },
            );
        }
    }

    /// A revocation, or the repeat of one: that one goes on under another id, with its own words and time.
    fn begun(&mut self, repeats: &str, lost: Lost) {
        let repeated = (!repeats.is_empty()).then(|| repeats.to_owned());
        let known = self.0.iter_mut().find(|one| repeated.as_ref() == Some(&one.lost.id));
        if let Some(one) = known {
            one.ids.push(lost.id.clone());
            one.lost.id = lost.id;
            one.mount_deleted = false;
            return;
        }
        self.0.push(Standing {
            ids: repeated.into_iter().chain([lost.id.clone()]).collect(),
            mount_deleted: false,
            lost,
        });
    }

    /// Taken back, or spent: under whichever of its ids, it must not come back.
    fn ended(&mut self, id: &str) {
        self.0.retain(|one| !one.ids.iter().any(|known| known == id));
    }

    /// Leaves those that `store` has not got, under none of their ids, and that a mount of it may be in need of.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn not_in(mut self, store: &dyn Store) -> Result<Self, StoreError> {
        let rows = store.scan(Table::Revocations)?;
        let ids = rows.iter().filter_map(|(key, _)| key.split_once('/').map(|(_, id)| id));
        let there: HashSet<&str> = ids.collect();
        let mounts = store.scan(Table::Mounts)?;
        let mounts: HashSet<&str> = mounts.iter().map(|(path, _)| path.as_str()).collect();
        self.0.retain(|one| {
            let known = one.ids.iter().any(|id| there.contains(id.as_str()));
            // A store of before the deletion has the mount still.
            let ended = one.mount_deleted && !mounts.contains(one.lost.mount.as_str());
            !known && !ended
        });
        Ok(self)
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
        let lost: Vec<&Lost> = self.0.iter().map(|one| &one.lost).collect();
        let json = serde_json::to_vec(&lost).unwrap_or_default();
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
        let why = match revoke_again(authority, one).await {
            Ok(()) => one
                .cut()
                .map(|more| format!("the record does not name all serials: {more} are not revoked")),
            Err(RepeatError::NotPossible(why)) => Some(why),
            Err(error) => return Err(error),
        };
        if let Some(why) = why {
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
    let ground = Ground::of(authority, &mount, &changing, now);
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
        let text = match text.split_once(CUT) {
            Some((named, _)) if field == "serial" => named,
            _ => text,
        };
        fields.insert(field, text.to_owned());
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Ids of what stands after these records.
    fn standing(records: &[Value]) -> Vec<String> {
        let mut losses = Losses::default();
        for record in records {
            assert!(Losses::concerns(&record.to_string()), "{record}");
            losses.read(record);
        }
        losses.0.into_iter().map(|one| one.lost.id).collect()
    }

    fn revoked(id: &str) -> Value {
        json!({"event": "revoke", "mount": "ssh", "revocation": id})
    }

    fn repeated(id: &str, repeats: &str) -> Value {
        json!({"event": "revoke", "mount": "ssh", "revocation": id, "repeats": repeats})
    }

    fn removed(id: &str) -> Value {
        json!({"event": "revoke", "mount": "ssh", "revocation": id, "removed": true})
    }

    #[test]
    fn serials_that_the_record_names_are_revoked_again_when_there_were_more() {
        let words = Selector {
            serials: (1..=105).collect(),
            ..Selector::default()
        }
        .words();
        let mut losses = Losses::default();
        losses.read(&json!({"event": "revoke", "revocation": "a", "selector": words}));
        let lost = &losses.0[0].lost;
        assert_eq!(lost.cut(), Some("5 more"));
        assert_eq!(selector(lost).unwrap().serials, (1..=100).collect());
    }

    #[test]
    fn a_removal_ends_what_it_removed_and_what_that_stood_for() {
        for (records, left) in [
            (vec![revoked("a"), revoked("b"), removed("a")], &["b"][..]),
            (vec![revoked("a"), repeated("b", "a")], &["b"]),
            (vec![revoked("a"), repeated("b", "a"), removed("b")], &[]),
            (
                vec![revoked("a"), repeated("b", "a"), repeated("c", "b"), removed("c")],
                &[],
            ),
            // An older store had it under its first name again.
            (vec![revoked("a"), repeated("b", "a"), removed("a")], &[]),
            (
                vec![revoked("a"), json!({"event": "krl-prune", "revocations": ["a"]})],
                &[],
            ),
            (vec![revoked(""), revoked("")], &["", ""]),
        ] {
            assert_eq!(standing(&records), left, "{records:?}");
        }
        assert!(!Losses::concerns(
            r#"{"event":"issue","person":"\"event\":\"revoke\""}"#
        ));
    }
}
