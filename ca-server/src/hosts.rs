//! Enrolled hosts: one row each, pinned to the host key that enrolled. Everything is in memory, each change is durable before
//! it is visible, and no two requests change one host at the same moment.

pub mod accepted;
pub mod enroll;
pub mod entry;
pub mod evidence;
pub mod given;
pub mod reconcile;
pub mod report;
pub mod tokens;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;

use self::entry::HostEntry;
use self::tokens::HostTokens;
use crate::authority::Authority;
use crate::barrier::BarrierError;
use crate::foundation::Foundation;
use crate::keyring::Keyring;
use crate::mounts::Mount;
use crate::random::RandomFailed;
use crate::store::{Change, StoreError, Table};

/// All hosts of this server, and the one-time tokens for those to come.
#[derive(Debug)]
pub struct HostRegistry {
    keyring: Arc<Keyring>,
    index: RwLock<Index>,
    tokens: HostTokens,
    busy: Arc<Mutex<HashSet<String>>>,
}

/// Hosts by name, and who has which identity, name and key.
#[derive(Debug, Default)]
struct Index {
    hosts: BTreeMap<String, Arc<HostEntry>>,
    identities: HashMap<String, String>,
    names: HashMap<String, String>,
    keys: HashMap<String, String>,
}

/// Names and identities that one request holds for itself until it ends.
#[derive(Debug)]
pub struct Reservation {
    busy: Arc<Mutex<HashSet<String>>>,
    held: Vec<String>,
}

impl HostRegistry {
    /// Reads all hosts and tokens from the store.
    ///
    /// # Errors
    /// [`HostStoreError`] when the store or one of its values cannot be read.
    pub fn open(keyring: Arc<Keyring>) -> Result<Self, HostStoreError> {
        let mut index = Index::default();
        for (host, sealed) in keyring.store().scan(Table::Hosts)? {
            let json = keyring.unseal(Table::Hosts, &host, &sealed)?;
            let entry: HostEntry = serde_json::from_slice(&json)
                .ok()
                .filter(|entry: &HostEntry| entry.host == host)
                .ok_or_else(|| HostStoreError::Damaged {
                    what: format!("host `{host}`"),
                })?;
            index.insert(entry);
        }
        Ok(Self {
            tokens: HostTokens::open(Arc::clone(&keyring))?,
            keyring,
            index: RwLock::new(index),
            busy: Arc::default(),
        })
    }

    /// The host with this name as enrolled.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<Arc<HostEntry>> {
        self.read().hosts.get(host).cloned()
    }

    /// The host that proved this identity.
    #[must_use]
    pub fn by_identity(&self, identity: &str) -> Option<Arc<HostEntry>> {
        let index = self.read();
        index.hosts.get(index.identities.get(identity)?).cloned()
    }

    /// The host that has this name, be it its first or a further one.
    #[must_use]
    pub fn owner_of(&self, name: &str) -> Option<Arc<HostEntry>> {
        let index = self.read();
        index.hosts.get(index.names.get(name)?).cloned()
    }

    /// The host that is pinned to this key.
    #[must_use]
    pub fn by_key(&self, key: &SubjectKey) -> Option<Arc<HostEntry>> {
        let index = self.read();
        index.hosts.get(index.keys.get(&key.line())?).cloned()
    }

    /// All hosts, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<HostEntry>> {
        self.read().hosts.values().cloned().collect()
    }

    /// The one-time tokens.
    #[must_use]
    pub const fn tokens(&self) -> &HostTokens {
        &self.tokens
    }

    /// Takes all these words for one request; `None` when another request has one of them. They are free again when the
    /// reservation is dropped.
    #[must_use]
    pub fn reserve(&self, words: impl IntoIterator<Item = String>) -> Option<Reservation> {
        let mut held: Vec<String> = words.into_iter().collect();
        held.sort_unstable();
        held.dedup();
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if held.iter().any(|word| busy.contains(word)) {
            return None;
        }
        busy.extend(held.iter().cloned());
        drop(busy);
        Some(Reservation {
            busy: Arc::clone(&self.busy),
            held,
        })
    }

    /// Writes a host, replacing the one of that name, in one step with `others`.
    ///
    /// # Errors
    /// [`HostStoreError`]; nothing was changed then.
    ///
    /// # Security
    /// Whoever calls it holds a reservation of the host, so that what it read is still so.
    pub async fn put(&self, entry: HostEntry, others: Vec<Change>) -> Result<Arc<HostEntry>, HostStoreError> {
        // A struct of texts and numbers always has a JSON form.
        let json = serde_json::to_vec(&entry).unwrap_or_default();
        let mut changes = vec![self.keyring.seal(Table::Hosts, &entry.host, &json)?];
        changes.extend(others);
        self.keyring.store().apply(changes).durable().await?;
        Ok(self.write().insert(entry))
    }

    /// Forgets a host: its key, its names, what it reported.
    ///
    /// # Errors
    /// The store's failure; the host is then still there.
    pub async fn forget(&self, host: &str) -> Result<(), HostStoreError> {
        let change = Change::Delete(Table::Hosts, host.to_owned());
        self.keyring.store().apply(vec![change]).durable().await?;
        self.write().remove(host);
        Ok(())
    }

    /// Which hosts last reported that they trust the CA key with this fingerprint, and which did not: only when the second
    /// list is empty may the key sign for people.
    #[must_use]
    pub fn trusts(&self, fingerprint: &str) -> (Vec<String>, Vec<String>) {
        let (with, without): (Vec<_>, Vec<_>) = self.list().into_iter().partition(|entry| entry.trusts(fingerprint));
        let names = |entries: Vec<Arc<HostEntry>>| entries.iter().map(|entry| entry.host.clone()).collect();
        (names(with), names(without))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn insert(&mut self, entry: HostEntry) -> Arc<HostEntry> {
        self.remove(&entry.host);
        let host = || entry.host.clone();
        self.identities.insert(entry.identity.key(), host());
        self.keys.insert(entry.public_key.clone(), host());
        for name in entry.owned_names() {
            self.names.insert(name.to_owned(), host());
        }
        let entry = Arc::new(entry);
        self.hosts.insert(entry.host.clone(), Arc::clone(&entry));
        entry
    }

    fn remove(&mut self, host: &str) {
        let Some(old) = self.hosts.remove(host) else { return };
        self.identities.remove(&old.identity.key());
        self.keys.remove(&old.public_key);
        for name in old.owned_names() {
            self.names.remove(name);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        for word in &self.held {
            busy.remove(word);
        }
    }
}

/// The mount that signs host certificates, if hosts may enrol.
#[must_use]
pub fn host_mount(authority: &Authority) -> Option<Arc<Mount>> {
    authority.mounts.get(authority.config.hosts.host_mount.as_deref()?)
}

/// The mount whose trust bundle hosts fetch: the configured one, else the only one besides the one for hosts.
#[must_use]
pub fn user_mount(authority: &Authority) -> Option<Arc<Mount>> {
    let hosts = &authority.config.hosts;
    if let Some(path) = &hosts.user_mount {
        return authority.mounts.get(path);
    }
    let mut others = authority.mounts.list();
    others.retain(|mount| Some(mount.path()) != hosts.host_mount.as_deref());
    match others.len() {
        0 => host_mount(authority),
        1 => others.pop(),
        _ => None,
    }
}

/// Warns of AWS's certificates that have ended or will soon: instances of that region cannot enrol then, until the new one is
/// in the configuration.
pub fn watch_region_certificates(foundation: &Foundation, now: UnixTime) {
    const SOON_SECS: u64 = 60 * 86_400;
    let Some(ec2) = &foundation.config.hosts.ec2 else {
        return;
    };
    let first = ec2
        .certificates
        .values()
        .map(|certificate| certificate.ends().secs())
        .min();
    foundation.metrics.region_certificate_ends(first.unwrap_or_default());
    for (region, ends) in ec2.ending_within(SOON_SECS, now) {
        if ends <= now {
            tracing::error!(region, %ends, "the pinned EC2 certificate has ended: instances of its region cannot enrol");
        } else {
            tracing::warn!(region, %ends, "the pinned EC2 certificate ends soon: put AWS's next one into signet.toml");
        }
    }
}

/// Why it did not work with the stored hosts.
#[derive(Debug, thiserror::Error)]
pub enum HostStoreError {
    /// A stored thing cannot be read.
    #[error("the stored {what} cannot be read")]
    Damaged {
        /// What it is.
        what: String,
    },
    /// The barrier failed.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}
