//! What is revoked, a mount at a time: durable entries, and in memory the revocation list that hosts fetch. A list is made,
//! read back and compared before anything says that it is in force, since a list that sshd cannot read locks everybody out.

mod entry;
mod list;
mod repeat;
mod resolve;
mod selector;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use signet_core::krl::KrlError;
use signet_core::time::UnixTime;

pub use self::entry::{About, Entry, Reach};
pub use self::list::{Candidate, Changing, MountList, Published};
pub(crate) use self::list::{etag, sha256};
pub use self::repeat::RepeatError;
pub(crate) use self::repeat::{Losses, repeat_blocking};
pub use self::resolve::{Ground, HITS_SHOWN, Resolution, ResolveError, resolve};
pub use self::selector::{Selector, SelectorError};
use crate::barrier::BarrierError;
use crate::keyring::{Keyring, KeyringError};
use crate::metrics::Metrics;
use crate::mounts::{Mount, Mounts};
use crate::store::{Change, Store, StoreError, Table};

/// Seconds that an entry outlives the last certificate it can hit: hosts' clocks may be slow.
pub const PRUNE_MARGIN_SECS: u64 = 3600;
/// Seconds between two prunings: each of them makes every host fetch the list again.
const PRUNE_PAUSE_SECS: u64 = 3600;

/// The revocations of all mounts.
#[derive(Debug)]
pub struct Revocations {
    keyring: Arc<Keyring>,
    metrics: Metrics,
    lists: RwLock<HashMap<String, Arc<MountList>>>,
    making: tokio::sync::Mutex<()>,
}

impl Revocations {
    /// Reads all revocations and makes each mount's list. What belongs to a mount that was deleted is dropped.
    ///
    /// # Errors
    /// [`RevocationError`] naming what cannot be read.
    pub fn open(keyring: Arc<Keyring>, mounts: &Mounts, metrics: Metrics) -> Result<Self, RevocationError> {
        let mut entries: HashMap<String, BTreeMap<String, Arc<Entry>>> = HashMap::new();
        let mut orphans = Vec::new();
        let by_uuid: HashMap<String, Arc<Mount>> = mounts
            .list()
            .into_iter()
            .map(|mount| (mount.uuid().to_owned(), mount))
            .collect();
        for (key, sealed) in keyring.store().scan(Table::Revocations)? {
            let json = keyring.unseal(Table::Revocations, &key, &sealed)?;
            let damaged = || RevocationError::Damaged { key: key.clone() };
            let (uuid, id) = key.split_once('/').ok_or_else(damaged)?;
            if by_uuid.contains_key(uuid) {
                let entry = Entry::from_json(&json).ok_or_else(damaged)?;
                let of_mount = entries.entry(uuid.to_owned()).or_default();
                of_mount.insert(id.to_owned(), Arc::new(entry));
            } else {
                orphans.push(Change::Delete(Table::Revocations, key.clone()));
            }
        }
        let mut lists = HashMap::new();
        for (key, sealed) in keyring.store().scan(Table::Settings)? {
            let Some(uuid) = key.strip_prefix(list::HEAD_PREFIX) else {
                continue;
            };
            let Some(mount) = by_uuid.get(uuid) else {
                orphans.push(Change::Delete(Table::Settings, key.clone()));
                continue;
            };
            let json = keyring.unseal(Table::Settings, &key, &sealed)?;
            let head = serde_json::from_slice(&json).map_err(|_| RevocationError::Damaged { key: key.clone() })?;
            let list = MountList::open(
                mount,
                head,
                entries.remove(uuid).unwrap_or_default(),
                Arc::clone(&keyring),
                metrics.clone(),
            )?;
            lists.insert(uuid.to_owned(), Arc::new(list));
        }
        // A list's head is written with its first entry at the latest.
        if let Some(uuid) = entries.keys().next() {
            return Err(RevocationError::Damaged { key: uuid.clone() });
        }
        if !orphans.is_empty() {
            keyring.store().apply(orphans).wait()?;
        }
        Ok(Self {
            keyring,
            metrics,
            lists: RwLock::new(lists),
            making: tokio::sync::Mutex::default(),
        })
    }

    /// The list of a mount, if one was ever made.
    #[must_use]
    pub fn made(&self, mount: &Mount) -> Option<Arc<MountList>> {
        self.lists
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(mount.uuid())
            .cloned()
    }

    /// The list of a mount; the first call makes an empty one, durably: after a restart the same bytes are served.
    ///
    /// # Errors
    /// [`RevocationError`]; there is no list then.
    pub async fn list(&self, mount: &Mount, now: UnixTime) -> Result<Arc<MountList>, RevocationError> {
        if let Some(list) = self.made(mount) {
            return Ok(list);
        }
        let _making = self.making.lock().await;
        if let Some(list) = self.made(mount) {
            return Ok(list);
        }
        let list = MountList::first(mount, now, Arc::clone(&self.keyring), self.metrics.clone()).await?;
        let list = Arc::new(list);
        self.lists
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(mount.uuid().to_owned(), Arc::clone(&list));
        Ok(list)
    }

    /// Forgets a mount that was deleted. What a request wrote that still held it is dropped at the next start.
    pub fn forget(&self, mount: &Mount) {
        self.lists
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(mount.uuid());
    }
}

/// The changes that drop all that a mount has in the store. Reads a whole table. Blocking.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn deletions(store: &dyn Store, uuid: &str) -> Result<Vec<Change>, StoreError> {
    let of_mount = |key: &String| key.split_once('/').is_some_and(|(owner, _)| owner == uuid);
    let keys = store.scan(Table::Revocations)?.into_iter().map(|(key, _)| key);
    let mut changes: Vec<Change> = keys
        .filter(of_mount)
        .map(|key| Change::Delete(Table::Revocations, key))
        .collect();
    let head = format!("{}{uuid}", list::HEAD_PREFIX);
    changes.push(Change::Delete(Table::Settings, head));
    Ok(changes)
}

/// The changes that raise every list's version, of a store that was put back to an older state: above all versions that may
/// have been published since. A mount that had no list then may have got one meanwhile.
///
/// # Errors
/// [`RevocationError`] naming what cannot be read.
pub(crate) fn raised(keyring: &Keyring, now: UnixTime) -> Result<Vec<Change>, RevocationError> {
    let mut heads: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    for (path, sealed) in keyring.store().scan(Table::Mounts)? {
        let json = keyring.unseal(Table::Mounts, &path, &sealed)?;
        let mount: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
        let damaged = || RevocationError::Damaged { key: path.clone() };
        let uuid = mount
            .get("uuid")
            .and_then(serde_json::Value::as_str)
            .ok_or_else(damaged)?;
        heads.insert(format!("{}{uuid}", list::HEAD_PREFIX), None);
    }
    for (key, sealed) in keyring.store().scan(Table::Settings)? {
        if key.starts_with(list::HEAD_PREFIX) {
            let json = keyring.unseal(Table::Settings, &key, &sealed)?;
            heads.insert(key, Some(json.to_vec()));
        }
    }
    heads
        .into_iter()
        .map(|(key, json)| {
            let raised = list::raised(json.as_deref(), now);
            let raised = raised.ok_or_else(|| RevocationError::Damaged { key: key.clone() })?;
            Ok(keyring.seal(Table::Settings, &key, &raised)?)
        })
        .collect()
}

/// Why a revocation list cannot be had or changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RevocationError {
    /// A stored entry cannot be read.
    #[error("the stored revocation `{key}` cannot be read")]
    Damaged {
        /// Where it lies.
        key: String,
    },
    /// The new list does not read back as it was meant: publishing it would lock everybody out.
    #[error("the new revocation list does not read back, so it is not published")]
    Unreadable(#[source] Option<KrlError>),
    /// Too many changes, or the thread that makes lists has crashed.
    #[error("the revocation list could not be made")]
    Crashed,
    /// The barrier failed.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keyring failed.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}
