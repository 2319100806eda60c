//! `<mount>/krl` and `<mount>/trust-bundle`: what hosts fetch. Open and cacheable; they hold nothing secret.

use std::sync::Arc;

use bytes::Bytes;

use crate::authority::Authority;
use crate::bundle::current;
use crate::http::ask::Ask;
use crate::http::envelope::{Cacheable, Reply};
use crate::http::problem::Problem;
use crate::ledger::EventKind;
use crate::mounts::Mount;
use crate::revocations::{MountList, Published, RevocationError, etag};

const KRL_VERSION: &str = "x-signet-krl-version";
const BUNDLE_VERSION: &str = "x-signet-bundle-version";
/// Ids that a record names; the rest is counted.
const IDS_RECORDED: usize = 100;

/// `GET krl`: the revocation list, as `RevokedKeys` wants it.
pub(super) async fn krl(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let krl = published(ask).await?;
    Ok(Reply::cacheable(Cacheable {
        content_type: "application/octet-stream",
        body: krl.bytes().clone(),
        etag: krl.etag().to_owned(),
        made: krl.generated(),
        headers: vec![(KRL_VERSION, krl.version())],
    }))
}

/// `GET krl/signature`: the bundle key's signature over these very bytes (`ssh-keygen -Y verify -n krl.signet`).
pub(super) async fn krl_signature(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let krl = published(ask).await?;
    let armor = ask.authority.bundles.krl_signature(&krl)?.to_owned();
    Ok(Reply::cacheable(Cacheable {
        content_type: "text/plain",
        etag: etag(armor.as_bytes()),
        body: Bytes::from(armor),
        made: krl.generated(),
        headers: vec![(KRL_VERSION, krl.version())],
    }))
}

/// `GET trust-bundle`.
pub(super) async fn trust_bundle(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let mount = ask.mount.as_ref().ok_or(Problem::UnsupportedPath)?;
    published(ask).await?;
    let made = current(ask.authority, mount, ask.now).await?;
    Ok(Reply::cacheable(Cacheable {
        content_type: "text/plain",
        body: made.text().clone(),
        etag: made.etag().to_owned(),
        made: made.issued(),
        headers: vec![(BUNDLE_VERSION, made.version()), (KRL_VERSION, made.krl_version())],
    }))
}

/// `GET trust-bundle/public_key`: what hosts pin.
pub(super) fn public_key(ask: &Ask<'_>) -> Reply {
    Reply::text("text/plain", ask.authority.bundles.public_line())
}

/// The list in force, without what hits nothing any more.
async fn published(ask: &Ask<'_>) -> Result<Arc<Published>, Problem> {
    let mount = ask.mount.as_ref().ok_or(Problem::UnsupportedPath)?;
    let list = if let Some(list) = ask.authority.revocations.made(mount) {
        list
    } else {
        // In a task of its own, as what was begun in the store must end also when the host hangs up.
        let (authority, mount, now) = (Arc::clone(ask.authority), Arc::clone(mount), ask.now);
        tokio::spawn(async move { authority.revocations.list(&mount, now).await })
            .await
            .map_err(|_| RevocationError::Crashed)??
    };
    if list.can_be_pruned(ask.now) {
        let (authority, mount, now) = (Arc::clone(ask.authority), Arc::clone(mount), ask.now);
        let pruning = Arc::clone(&list);
        let pruned = tokio::spawn(async move { prune(&authority, &mount, &pruning, now).await });
        // A list with too much in it is as good: hosts must get one.
        if let Ok(Err(error)) = pruned.await {
            tracing::warn!(?error, "the revocation list could not be pruned");
        }
    }
    Ok(list.published())
}

/// Drops the entries whose certificates have all ended; recorded first.
async fn prune(
    authority: &Authority,
    mount: &Mount,
    list: &MountList,
    now: signet_core::time::UnixTime,
) -> Result<(), Problem> {
    // Whoever revokes may search the ledger for a while; no host should wait for that.
    let Some(changing) = list.try_change() else {
        return Ok(());
    };
    let spent = changing.spent(now);
    if spent.is_empty() || !list.can_be_pruned(now) {
        return Ok(());
    }
    let candidate = changing.without(spent.clone(), now, true).await?;
    let event = authority
        .ledger
        .event(EventKind::KrlPrune)
        .text("mount", mount.path())
        .number("entries", u64::try_from(spent.len()).unwrap_or(u64::MAX))
        .list("revocations", spent.iter().take(IDS_RECORDED).map(String::as_str))
        .number("krl_version", candidate.version());
    authority.ledger.record(event).await?;
    changing.commit(candidate).await?;
    Ok(())
}
