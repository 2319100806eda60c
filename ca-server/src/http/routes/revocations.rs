//! `<mount>/revoke` and `<mount>/revocations`: ending certificates before their time. The policy verb is `update` on
//! `<mount>/revoke`, whatever is selected; what a dry run shows is what the same request revokes (CVE-2025-66406).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::mount_of;
use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::{Event, EventKind};
use crate::mounts::Mount;
use crate::random;
use crate::revocations::{About, Changing, Entry, Ground, Resolution, Selector, resolve};

/// Serials that a record names; all are counted, and the stored entry holds them all.
const SERIALS_RECORDED: usize = 100;
/// Characters of a reason.
const REASON_CHARS_MAX: usize = 300;
/// Entries that one answer lists, unless it is asked for more.
const LISTED: usize = 1000;
const LISTED_MAX: usize = 100_000;

/// `POST revoke`.
pub(super) async fn revoke(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let selector = Selector::from_fields(&ask.fields)?;
    let dry_run = ask.fields.bool("dry_run")?.unwrap_or(false);
    let reason = reason(ask, dry_run)?;
    let list = ask.authority.revocations.list(mount, ask.now).await?;
    // From here on nobody else changes this mount's list.
    let changing = list.change().await;
    let found = resolved(ask, mount, &changing, selector.clone()).await?;
    if dry_run {
        let version = list.published().version();
        return Ok(answer(true, &found, None, version));
    }
    let Some(reach) = found.reach.clone() else {
        return Ok(answer(false, &found, None, list.published().version()));
    };
    let id = random::uuid();
    let entry = Entry {
        about: About {
            by: permit.session().caller.person().to_owned(),
            at: ask.now.secs(),
            reason: reason.clone(),
            selector: selector.words(),
        },
        reach,
        hits: found.total,
        until: found.until,
    };
    // A list that does not read back fails here, before anything says that it was revoked.
    let candidate = changing.with(id.clone(), entry, ask.now).await?;
    let words = selector.words();
    let event = event(ask, permit, mount)
        .text("revocation", &id)
        .map(
            "selector",
            words.iter().map(|(field, text)| (field.as_str(), text.as_str())),
        )
        .text("reason", &reason)
        .number("certificates", found.total)
        .list(
            "serials",
            found.hits.iter().take(SERIALS_RECORDED).map(|hit| hit.serial.as_str()),
        )
        .number("krl_version", candidate.version());
    ask.authority.ledger.record(event).await?;
    let published = changing.commit(candidate).await?;
    Ok(answer(false, &found, Some(&id), published.version()))
}

/// `LIST revocations`: the newest first.
pub(super) async fn list(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let most = limit(ask, LISTED, LISTED_MAX)?;
    let Some(list) = ask.authority.revocations.made(mount) else {
        return Err(Problem::NothingThere);
    };
    let entries = list.entries().await;
    if entries.is_empty() {
        return Err(Problem::NothingThere);
    }
    let shown = entries.get(..most.min(entries.len())).unwrap_or_default();
    let keys: Vec<&str> = shown.iter().map(|(id, _)| id.as_str()).collect();
    let info: Map<String, Value> = shown.iter().map(|(id, entry)| (id.clone(), described(entry))).collect();
    Ok(Reply::data(json!({
        "keys": keys,
        "key_info": info,
        "total": entries.len(),
        "krl_version": list.published().version(),
    })))
}

/// `DELETE revocations/:id`: what it reached is believed again, unless another entry reaches it too.
pub(super) async fn delete(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let list = ask.authority.revocations.made(mount).ok_or(Problem::NothingThere)?;
    let changing = list.change().await;
    let entry = changing.entry(ask.capture).ok_or(Problem::NothingThere)?;
    let candidate = changing.without(vec![ask.capture.to_owned()], ask.now, false).await?;
    let event = event(ask, permit, mount)
        .text("revocation", ask.capture)
        .flag("removed", true)
        .text("revoked_by", &entry.about.by)
        .text("reason", &entry.about.reason)
        .number("certificates", entry.hits)
        .number("krl_version", candidate.version());
    ask.authority.ledger.record(event).await?;
    changing.commit(candidate).await?;
    Ok(Reply::nothing())
}

/// Reads a limit, from 1 to `most`.
pub(super) fn limit(ask: &Ask<'_>, default: usize, most: usize) -> Result<usize, Problem> {
    let wrong = || Problem::refused("field-invalid", format!("limit is a number from 1 to {most}"));
    match ask.fields.int("limit")? {
        None => Ok(default),
        Some(limit) => usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(wrong),
    }
}

async fn resolved(
    ask: &Ask<'_>,
    mount: &Mount,
    changing: &Changing<'_>,
    selector: Selector,
) -> Result<Resolution, Problem> {
    let ground = Ground::of(ask.authority, mount, changing, ask.now);
    let resolving = tokio::task::spawn_blocking(move || resolve(&selector, &ground));
    Ok(resolving.await.map_err(|error| Problem::internal(&error))??)
}

/// Why; it stays in the ledger for ever, so it must be there and be short.
fn reason(ask: &Ask<'_>, dry_run: bool) -> Result<String, Problem> {
    let reason = ask.text("reason")?.trim().to_owned();
    if reason.is_empty() && !dry_run {
        return Err(Problem::refused(
            "field-missing",
            "reason is missing: say why, for those who read the ledger",
        ));
    }
    if reason.chars().count() > REASON_CHARS_MAX {
        let text = format!("reason has more than {REASON_CHARS_MAX} characters");
        return Err(Problem::refused("field-invalid", text));
    }
    Ok(reason)
}

fn event(ask: &Ask<'_>, permit: &Permit, mount: &Mount) -> Event {
    ask.authority
        .ledger
        .event(EventKind::Revoke)
        .caller(&permit.session().caller)
        .text("mount", mount.path())
        .text("request_id", ask.request_id)
}

fn answer(dry_run: bool, found: &Resolution, id: Option<&str>, version: u64) -> Reply {
    Reply::data(json!({
        "dry_run": dry_run,
        "hits": found.hits,
        "hits_total": found.total,
        "entries": id.into_iter().collect::<Vec<_>>(),
        "krl_version": version,
    }))
    .with_warnings(found.warnings.clone())
}

fn described(entry: &Arc<Entry>) -> Value {
    json!({
        "by": entry.about.by,
        "at": signet_core::time::UnixTime::from_secs(entry.about.at).to_string(),
        "reason": entry.about.reason,
        "selector": entry.about.selector,
        "certificates": entry.hits,
        "until": entry.until.map(|until| until.to_string()),
    })
}
