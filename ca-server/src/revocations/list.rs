//! The list of one mount: what is in force, and how it is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use signet_core::krl::Krl;
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;
use tokio::sync::MutexGuard;

use super::entry::add_all;
use super::{Entry, PRUNE_PAUSE_SECS, RevocationError};
use crate::barrier::BarrierError;
use crate::certificates::Certificate;
use crate::keyring::Keyring;
use crate::metrics::Metrics;
use crate::mounts::Mount;
use crate::store::{Change, Table};

pub(super) const HEAD_PREFIX: &str = "krl/";

/// What must be known of a list besides its entries; lies in the store beside them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    version: u64,
    generated: u64,
    pruned: u64,
    /// CA keys that the mount had before, with the time until which they signed.
    retired: Vec<Retired>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Retired {
    key: String,
    at: u64,
}

/// A stored head, or a first one, with a version that no list had before.
pub(super) fn raised(json: Option<&[u8]>, now: UnixTime) -> Option<Vec<u8>> {
    let mut head = match json {
        Some(json) => serde_json::from_slice(json).ok()?,
        None => Head {
            version: 0,
            generated: 0,
            pruned: 0,
            retired: Vec::new(),
        },
    };
    head.version = head.version.saturating_add(1).max(now.secs());
    head.generated = now.secs();
    serde_json::to_vec(&head).ok()
}

/// The revocations of one mount.
#[derive(Debug)]
pub struct MountList {
    uuid: String,
    mount: String,
    keyring: Arc<Keyring>,
    metrics: Metrics,
    published: ArcSwap<Published>,
    /// When something can be pruned; `u64::MAX` for never.
    prune_at: AtomicU64,
    changing: tokio::sync::Mutex<State>,
}

#[derive(Debug)]
struct State {
    head: Head,
    entries: BTreeMap<String, Arc<Entry>>,
}

/// A list in force: its bytes have been read back.
#[derive(Debug)]
pub struct Published {
    krl: Krl,
    bytes: Bytes,
    etag: String,
    entries: usize,
    /// Fingerprints of everything that is revoked by its key.
    fingerprints: BTreeSet<[u8; 32]>,
    signature: OnceLock<String>,
}

impl Published {
    fn make(krl: Krl, entries: usize) -> Result<Self, RevocationError> {
        let bytes = krl.encode();
        match Krl::parse(&bytes) {
            Ok(read) if read == krl => {}
            Ok(_) => return Err(RevocationError::Unreadable(None)),
            Err(error) => return Err(RevocationError::Unreadable(Some(error))),
        }
        let mut fingerprints = krl.sha256.clone();
        fingerprints.extend(krl.keys.iter().map(|blob| sha256(blob)));
        Ok(Self {
            etag: etag(&bytes),
            bytes: Bytes::from(bytes),
            entries,
            fingerprints,
            krl,
            signature: OnceLock::new(),
        })
    }

    /// The list's version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.krl.version
    }

    /// When it was made.
    #[must_use]
    pub const fn generated(&self) -> UnixTime {
        UnixTime::from_secs(self.krl.generated)
    }

    /// Its bytes, as `RevokedKeys` wants them.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The entity tag of its bytes, in quotes.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// How many revocations it was made from.
    #[must_use]
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// Its detached signature; made at the first call.
    pub(crate) fn signature_or<E>(&self, sign: impl FnOnce() -> Result<String, E>) -> Result<&str, E> {
        if let Some(signature) = self.signature.get() {
            return Ok(signature);
        }
        let signature = sign()?;
        Ok(self.signature.get_or_init(|| signature))
    }

    /// Whether hosts that hold this list refuse the certificate.
    #[must_use]
    pub fn revokes(&self, certificate: &Certificate) -> bool {
        let serial = certificate.number();
        let by_key = |text: &str| fingerprint(text).is_some_and(|hash| self.fingerprints.contains(&hash));
        self.krl
            .authorities
            .values()
            .any(|of| of.serials.contains(serial) || of.key_ids.contains(&certificate.key_id))
            || by_key(&certificate.fingerprint)
            || certificate.ca_fingerprint.as_deref().is_some_and(by_key)
    }
}

/// The entity tag of some bytes: 128 bits of their SHA-256.
pub(crate) fn etag(bytes: &[u8]) -> String {
    let hash = sha256(bytes);
    let (prefix, _) = hash.split_at(16);
    format!("\"{}\"", data_encoding::HEXLOWER.encode(prefix))
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Reads OpenSSH's `SHA256:…`.
pub(super) fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let base64 = text.strip_prefix("SHA256:")?.trim_end_matches('=');
    base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(base64)
        .ok()?
        .try_into()
        .ok()
}

impl MountList {
    pub(super) fn open(
        mount: &Mount,
        head: Head,
        entries: BTreeMap<String, Arc<Entry>>,
        keyring: Arc<Keyring>,
        metrics: Metrics,
    ) -> Result<Self, RevocationError> {
        let mut krl = Krl::new(
            head.version,
            UnixTime::from_secs(head.generated),
            &comment(mount.path()),
        );
        add_all(&mut krl, entries.values().map(AsRef::as_ref));
        let published = Published::make(krl, entries.len())?;
        let list = Self {
            uuid: mount.uuid().to_owned(),
            mount: mount.path().to_owned(),
            keyring,
            metrics,
            published: ArcSwap::from_pointee(published),
            prune_at: AtomicU64::new(u64::MAX),
            changing: tokio::sync::Mutex::new(State { head, entries }),
        };
        if let Ok(state) = list.changing.try_lock() {
            list.announce(&state);
        }
        Ok(list)
    }

    /// The empty list of a mount that had none, durable.
    pub(super) async fn first(
        mount: &Mount,
        now: UnixTime,
        keyring: Arc<Keyring>,
        metrics: Metrics,
    ) -> Result<Self, RevocationError> {
        let head = Head {
            version: 1,
            generated: now.secs(),
            pruned: 0,
            retired: Vec::new(),
        };
        let list = Self::open(mount, head.clone(), BTreeMap::new(), keyring, metrics)?;
        let change = list.head_change(&head)?;
        list.keyring.store().apply(vec![change]).durable().await?;
        Ok(list)
    }

    /// The list in force.
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Whether [`Changing::spent`] would find something.
    #[must_use]
    pub fn can_be_pruned(&self, now: UnixTime) -> bool {
        self.prune_at.load(Ordering::Relaxed) <= now.secs()
    }

    /// Waits for other changes of this list and begins one.
    pub async fn change(&self) -> Changing<'_> {
        Changing {
            list: self,
            state: self.changing.lock().await,
        }
    }

    /// Begins a change unless somebody else is at it.
    #[must_use]
    pub fn try_change(&self) -> Option<Changing<'_>> {
        let state = self.changing.try_lock().ok()?;
        Some(Changing { list: self, state })
    }

    /// All entries with their ids, the newest first.
    pub async fn entries(&self) -> Vec<(String, Arc<Entry>)> {
        let state = self.changing.lock().await;
        let mut entries: Vec<_> = state
            .entries
            .iter()
            .map(|(id, entry)| (id.clone(), Arc::clone(entry)))
            .collect();
        drop(state);
        entries.sort_by(|(one_id, one), (other_id, other)| {
            (other.about.at, one_id.as_str()).cmp(&(one.about.at, other_id.as_str()))
        });
        entries
    }

    /// Remembers a CA key that will sign no more: its certificates live on, and must stay revocable.
    ///
    /// # Errors
    /// [`RevocationError`]; the key must not be deleted then.
    pub async fn retire(&self, key: &SubjectKey, now: UnixTime) -> Result<(), RevocationError> {
        let mut state = self.changing.lock().await;
        let mut head = state.head.clone();
        let key = STANDARD.encode(key.blob());
        head.retired.retain(|retired| retired.key != key);
        head.retired.push(Retired { key, at: now.secs() });
        let change = self.head_change(&head)?;
        self.keyring.store().apply(vec![change]).durable().await?;
        state.head = head;
        Ok(())
    }

    fn head_change(&self, head: &Head) -> Result<Change, BarrierError> {
        let json = serde_json::to_vec(head).unwrap_or_default();
        self.keyring
            .seal(Table::Settings, &format!("{HEAD_PREFIX}{}", self.uuid), &json)
    }

    fn entry_key(&self, id: &str) -> String {
        format!("{}/{id}", self.uuid)
    }

    /// Tells the metrics, and works out when to prune.
    fn announce(&self, state: &State) {
        let first = state.entries.values().filter_map(|entry| entry.spent_at()).min();
        let pause = state.head.pruned.saturating_add(PRUNE_PAUSE_SECS);
        let prune_at = first.map_or(u64::MAX, |first| first.secs().max(pause));
        self.prune_at.store(prune_at, Ordering::Relaxed);
        self.metrics.krl(&self.mount, state.head.version, state.entries.len());
    }
}

fn comment(mount: &str) -> String {
    format!("signet {mount}")
}

/// The only one who changes a list at the moment.
#[derive(Debug)]
pub struct Changing<'a> {
    list: &'a MountList,
    state: MutexGuard<'a, State>,
}

/// A list that reads back, and what makes it durable; not in force before [`Changing::commit`].
#[derive(Debug)]
pub struct Candidate {
    head: Head,
    added: Vec<(String, Arc<Entry>)>,
    removed: Vec<String>,
    published: Published,
    changes: Vec<Change>,
}

impl Candidate {
    /// The version it will have.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.head.version
    }
}

impl Changing<'_> {
    /// Blobs of the CA keys that may have signed a certificate which lives: the present ones, and those that signed less
    /// than `longest_secs` ago.
    #[must_use]
    pub fn authorities<'k>(
        &self,
        present: impl IntoIterator<Item = &'k SubjectKey>,
        now: UnixTime,
        longest_secs: u64,
    ) -> Vec<Vec<u8>> {
        let alive = |retired: &&Retired| {
            let end = retired.at.saturating_add(longest_secs);
            end.saturating_add(super::PRUNE_MARGIN_SECS) > now.secs()
        };
        let mut blobs: Vec<Vec<u8>> = present.into_iter().map(|key| key.blob().to_vec()).collect();
        let retired = self.state.head.retired.iter().filter(alive);
        blobs.extend(retired.filter_map(|retired| STANDARD.decode(&retired.key).ok()));
        blobs.sort_unstable();
        blobs.dedup();
        blobs
    }

    /// The entry with this id.
    #[must_use]
    pub fn entry(&self, id: &str) -> Option<Arc<Entry>> {
        self.state.entries.get(id).cloned()
    }

    /// Ids of entries that hit nothing any more.
    #[must_use]
    pub fn spent(&self, now: UnixTime) -> Vec<String> {
        let spent = self.state.entries.iter().filter(|(_, entry)| entry.is_spent(now));
        spent.map(|(id, _)| id.clone()).collect()
    }

    /// Makes the list with one more entry.
    ///
    /// # Errors
    /// [`RevocationError`]; nothing was changed.
    pub async fn with(&self, id: String, entry: Entry, now: UnixTime) -> Result<Candidate, RevocationError> {
        let entry = Arc::new(entry);
        let (old, added) = (self.list.published(), Arc::clone(&entry));
        let (version, count) = (self.next_version(), self.state.entries.len() + 1);
        let published = blocking(move || {
            let mut krl = old.krl.clone();
            (krl.version, krl.generated) = (version, now.secs());
            add_all(&mut krl, [added.as_ref()]);
            Published::make(krl, count)
        })
        .await?;
        let key = self.list.entry_key(&id);
        let change = self.list.keyring.seal(Table::Revocations, &key, &entry.to_json())?;
        self.candidate(published, vec![(id, entry)], Vec::new(), vec![change], None)
    }

    /// Makes the list without some entries; `pruned` when they are spent.
    ///
    /// # Errors
    /// [`RevocationError`]; nothing was changed.
    pub async fn without(
        &self,
        removed: Vec<String>,
        now: UnixTime,
        pruned: bool,
    ) -> Result<Candidate, RevocationError> {
        let gone: BTreeSet<&String> = removed.iter().collect();
        let kept: Vec<Arc<Entry>> = self
            .state
            .entries
            .iter()
            .filter(|(id, _)| !gone.contains(id))
            .map(|(_, entry)| Arc::clone(entry))
            .collect();
        let mut krl = Krl::new(self.next_version(), now, &comment(&self.list.mount));
        let published = blocking(move || {
            add_all(&mut krl, kept.iter().map(AsRef::as_ref));
            Published::make(krl, kept.len())
        })
        .await?;
        let changes = removed
            .iter()
            .map(|id| Change::Delete(Table::Revocations, self.list.entry_key(id)))
            .collect();
        self.candidate(published, Vec::new(), removed, changes, pruned.then_some(now))
    }

    /// Makes the list whose standing revocations reach a CA key that the mount gets: what may never be believed, whatever is
    /// issued later, must not be believed by another signature. `None` when nothing stands or all reach it already.
    ///
    /// # Errors
    /// [`RevocationError`]; nothing was changed.
    pub async fn reaching(&self, key: &SubjectKey, now: UnixTime) -> Result<Option<Candidate>, RevocationError> {
        let blob = key.blob();
        let stands = |entry: &Entry| {
            let authorities = &entry.reach.authorities;
            entry.until.is_none() && !authorities.is_empty() && !authorities.iter().any(|known| known == blob)
        };
        let (mut widened, mut all) = (Vec::new(), Vec::new());
        for (id, entry) in &self.state.entries {
            let mut entry = Arc::clone(entry);
            if stands(&entry) {
                let mut wider = Entry::clone(&entry);
                wider.reach.authorities.push(blob.to_vec());
                entry = Arc::new(wider);
                widened.push((id.clone(), Arc::clone(&entry)));
            }
            all.push(entry);
        }
        if widened.is_empty() {
            return Ok(None);
        }
        let mut krl = Krl::new(self.next_version(), now, &comment(&self.list.mount));
        let published = blocking(move || {
            add_all(&mut krl, all.iter().map(AsRef::as_ref));
            Published::make(krl, all.len())
        })
        .await?;
        let put = |(id, entry): &(String, Arc<Entry>)| {
            let key = self.list.entry_key(id);
            self.list.keyring.seal(Table::Revocations, &key, &entry.to_json())
        };
        let changes = widened.iter().map(put).collect::<Result<_, _>>()?;
        self.candidate(published, widened, Vec::new(), changes, None).map(Some)
    }

    fn candidate(
        &self,
        published: Published,
        added: Vec<(String, Arc<Entry>)>,
        removed: Vec<String>,
        mut changes: Vec<Change>,
        pruned: Option<UnixTime>,
    ) -> Result<Candidate, RevocationError> {
        let mut head = self.state.head.clone();
        head.version = published.version();
        head.generated = published.generated().secs();
        head.pruned = pruned.map_or(head.pruned, UnixTime::secs);
        changes.push(self.list.head_change(&head)?);
        Ok(Candidate {
            head,
            added,
            removed,
            published,
            changes,
        })
    }

    fn next_version(&self) -> u64 {
        self.state.head.version.saturating_add(1)
    }

    /// Makes the candidate durable and puts it in force. Record it in the ledger first.
    ///
    /// # Errors
    /// [`RevocationError`]; the old list stays in force then.
    pub async fn commit(mut self, candidate: Candidate) -> Result<Arc<Published>, RevocationError> {
        let Candidate {
            head,
            added,
            removed,
            published,
            changes,
        } = candidate;
        self.list.keyring.store().apply(changes).durable().await?;
        for id in &removed {
            self.state.entries.remove(id);
        }
        self.state.entries.extend(added);
        self.state.head = head;
        let published = Arc::new(published);
        self.list.published.store(Arc::clone(&published));
        self.list.announce(&self.state);
        Ok(published)
    }
}

/// A list of a million serials takes tens of milliseconds: off the network threads.
async fn blocking<T: Send + 'static>(
    make: impl FnOnce() -> Result<T, RevocationError> + Send + 'static,
) -> Result<T, RevocationError> {
    tokio::task::spawn_blocking(make)
        .await
        .map_err(|_| RevocationError::Crashed)?
}
