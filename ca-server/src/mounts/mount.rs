//! One mount.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use signet_core::role::Role;
use signet_core::signer::Signer;
use signet_core::time::UnixTime;
use tokio::sync::OwnedMutexGuard;
use zeroize::Zeroizing;

use super::issuer::{self, About, Issuer, Issuers, State};
use super::{ISSUERS_PREFIX, MountError};
use crate::barrier::BarrierError;
use crate::keyring::Keyring;
use crate::random;
use crate::revocations;
use crate::signer::CaKey;
use crate::store::{Change, StoreError, Table};

/// A mounted SSH engine.
#[derive(Debug)]
pub struct Mount {
    path: String,
    uuid: String,
    accessor: String,
    settings: ArcSwap<Settings>,
    issuers: Arc<ArcSwap<Issuers>>,
    roles: RwLock<BTreeMap<String, Arc<Role>>>,
    keyring: Arc<Keyring>,
    /// Steps of a rotation happen one after the other, each judged by what the one before has left.
    rotating: tokio::sync::Mutex<()>,
    /// Changes of one mount happen one after the other, in memory as in the store.
    changing: Arc<tokio::sync::Mutex<Life>>,
}

/// What can be tuned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) description: String,
    pub(super) default_ttl: u64,
    pub(super) max_ttl: u64,
}

/// The mount as it lies in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) uuid: String,
    pub(super) accessor: String,
    #[serde(flatten)]
    pub(super) settings: Settings,
}

/// Whether a mount can still be changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Life {
    #[default]
    There,
    /// Deleted, though a request may still hold it. What it wrote now would belong to nothing in the store.
    Deleted,
}

/// Whether a CA key was put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is the mount's CA key now.
    Created,
    /// There is one already; nothing was changed.
    AlreadyConfigured,
}

/// Which comes first. What must not sign any more leaves memory before it leaves the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    StoreFirst,
    MemoryFirst,
}

/// Why an issuer is not added or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerConflict {
    /// There is a default issuer.
    #[error("the mount has a default issuer")]
    Default,
    /// Another one is on its way to become the default; two requests began a rotation at the same moment.
    #[error("a rotation is under way")]
    Successor,
    /// OpenBao's text.
    #[error("issuer name already in use")]
    Name,
    /// An issuer with this id has the key.
    #[error("an issuer with this key is there already: {0}")]
    Key(String),
    /// Another request changed it in the meantime.
    #[error("the issuer was changed in the meantime")]
    Changed,
}

/// The CA keys that the store holds for a mount, each with its row.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The one key of a store from before issuers.
    pub(super) alone: Option<(Zeroizing<Vec<u8>>, CaKey)>,
    pub(super) by_id: HashMap<String, (Zeroizing<Vec<u8>>, CaKey)>,
}

impl Mount {
    pub(super) fn new(path: &str, stored: Stored, keyring: Arc<Keyring>) -> Self {
        Self {
            path: path.to_owned(),
            uuid: stored.uuid,
            accessor: stored.accessor,
            settings: ArcSwap::from_pointee(stored.settings),
            issuers: Arc::default(),
            roles: RwLock::default(),
            keyring,
            rotating: tokio::sync::Mutex::default(),
            changing: Arc::default(),
        }
    }

    /// The path, without slashes at the ends.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The UUID, which outlives the path.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Vault's accessor, `ssh_1a2b3c4d`.
    #[must_use]
    pub fn accessor(&self) -> &str {
        &self.accessor
    }

    /// For people.
    #[must_use]
    pub fn description(&self) -> String {
        self.settings.load().description.clone()
    }

    /// Seconds, for roles that say nothing.
    #[must_use]
    pub fn default_ttl(&self) -> u64 {
        self.settings.load().default_ttl
    }

    /// Seconds, the ceiling for all roles.
    #[must_use]
    pub fn max_ttl(&self) -> u64 {
        self.settings.load().max_ttl
    }

    /// Changes what is given.
    ///
    /// # Errors
    /// The store's failure; nothing changed then.
    pub async fn tune(
        &self,
        description: Option<String>,
        default_ttl: Option<u64>,
        max_ttl: Option<u64>,
    ) -> Result<(), MountError> {
        let _changing = self.change_begins().await?;
        let mut settings = Settings::clone(&self.settings.load());
        settings.description = description.unwrap_or(settings.description);
        settings.default_ttl = default_ttl.unwrap_or(settings.default_ttl);
        settings.max_ttl = max_ttl.unwrap_or(settings.max_ttl);
        self.keyring
            .store()
            .apply(vec![self.change_to(&settings)?])
            .durable()
            .await?;
        self.settings.store(Arc::new(settings));
        Ok(())
    }

    /// The CA key that signs, if there is one.
    #[must_use]
    pub fn signer(&self) -> Option<Arc<dyn Signer>> {
        self.default_issuer().map(|issuer| Arc::clone(&issuer.signer))
    }

    /// The issuer that signs for all roles that name no other.
    #[must_use]
    pub fn default_issuer(&self) -> Option<Arc<Issuer>> {
        self.issuer("default")
    }

    /// The issuer with this id or name; `default` means the one that signs.
    #[must_use]
    pub fn issuer(&self, reference: &str) -> Option<Arc<Issuer>> {
        let issuers = self.issuers.load();
        issuers.iter().find(|issuer| issuer.is_meant(reference)).cloned()
    }

    /// Whether what this issuer signs may leave, now.
    #[must_use]
    pub fn still_signs(&self, id: &str) -> bool {
        let issuers = self.issuers.load();
        issuers.iter().any(|issuer| issuer.id() == id && issuer.signs())
    }

    /// The issuer whose key has this fingerprint.
    #[must_use]
    pub fn issuer_of_key(&self, fingerprint: &str) -> Option<Arc<Issuer>> {
        let issuers = self.issuers.load();
        issuers
            .iter()
            .find(|issuer| issuer.fingerprint() == fingerprint)
            .cloned()
    }

    /// All issuers, in the order in which they were made.
    #[must_use]
    pub fn issuers(&self) -> Vec<Arc<Issuer>> {
        self.issuers.load().as_ref().clone()
    }

    /// The issuers that hosts are told to trust, the default first.
    #[must_use]
    pub fn trusted(&self, now: UnixTime) -> Vec<Arc<Issuer>> {
        let mut trusted = self.issuers();
        trusted.retain(|issuer| issuer.is_trusted(now));
        trusted.sort_by_key(|issuer| issuer.state() != State::Default);
        trusted
    }

    /// Puts the CA key in place, durable and sealed; never replaces one. `now` is unknown to those who start a server.
    ///
    /// # Errors
    /// [`MountError`]; there is no CA key then.
    pub async fn set_signer(&self, key: impl Into<CaKey>) -> Result<Created, MountError> {
        let added = self.add_issuer(key, "", State::Default, UnixTime::from_secs(0)).await;
        match added {
            Ok(_) => Ok(Created::Created),
            Err(MountError::Issuer(IssuerConflict::Default)) => Ok(Created::AlreadyConfigured),
            Err(error) => Err(error),
        }
    }

    /// Adds an issuer, durable and sealed. A staged one is meant to become the default.
    ///
    /// # Errors
    /// [`MountError::Issuer`] when name, key or place are taken; nothing was changed.
    pub async fn add_issuer(
        &self,
        key: impl Into<CaKey>,
        name: &str,
        state: State,
        now: UnixTime,
    ) -> Result<Arc<Issuer>, MountError> {
        let key = key.into();
        let changing = self.change_begins().await?;
        let id = random::uuid();
        let key_change = self.keyring.seal(Table::CaKeys, &self.key_row(&id), &key.to_row()?)?;
        let mut about = About::new(id, name.to_owned(), state, now);
        about.successor = state == State::Staged;
        let signer = key.signer();
        let issuer = Arc::new(Issuer { about, signer });
        let mut next = self.issuers();
        for other in &next {
            if state == State::Default && other.state() == State::Default {
                return Err(IssuerConflict::Default.into());
            }
            if state == State::Staged && other.is_successor() {
                return Err(IssuerConflict::Successor.into());
            }
            if !name.is_empty() && other.name() == name {
                return Err(IssuerConflict::Name.into());
            }
            if other.signer.public_key().blob() == issuer.signer.public_key().blob() {
                return Err(IssuerConflict::Key(other.id().to_owned()).into());
            }
        }
        next.push(Arc::clone(&issuer));
        self.put_issuers(changing, next, vec![key_change], Order::StoreFirst)
            .await?;
        Ok(issuer)
    }

    /// Waits until nobody else judges or does a step of a rotation here; hold it over both.
    pub async fn rotation(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.rotating.lock().await
    }

    /// Lets an issuer sign nothing for a while, in memory only; or ends that.
    ///
    /// # Errors
    /// [`MountError`] when the mount was deleted.
    pub async fn pause(&self, id: &str, paused: bool) -> Result<(), MountError> {
        let _changing = self.change_begins().await?;
        let mut issuers = self.issuers();
        for issuer in issuers.iter_mut().filter(|issuer| issuer.id() == id) {
            Arc::make_mut(issuer).about.paused = paused;
        }
        self.issuers.store(Arc::new(issuers));
        Ok(())
    }

    /// Tells hosts to trust a staged issuer.
    ///
    /// # Errors
    /// [`MountError::Issuer`] when it is not staged any more; nothing was changed.
    pub async fn publish(&self, id: &str, now: UnixTime) -> Result<(), MountError> {
        self.step(id, Order::StoreFirst, |about, _| {
            (about.state == State::Staged).then(|| {
                about.state = State::Published;
                (about.since, about.published) = (now.secs(), now.secs());
            })
        })
        .await
    }

    /// Lets a published issuer sign, and the one that signed before be trusted only: one change.
    ///
    /// # Errors
    /// [`MountError::Issuer`] when it is not published any more; nothing was changed.
    pub async fn promote(&self, id: &str, now: UnixTime) -> Result<(), MountError> {
        self.step(id, Order::StoreFirst, |about, others| {
            (about.state == State::Published).then(|| {
                (about.state, about.paused) = (State::Default, false);
                about.since = now.secs();
                (about.successor, about.predecessor) = (false, false);
                for other in others.iter_mut().filter(|other| other.state == State::Default) {
                    other.state = State::Published;
                    other.since = now.secs();
                    other.predecessor = true;
                }
            })
        })
        .await
    }

    /// Ends an issuer's signing; it is trusted until `until`.
    ///
    /// # Errors
    /// [`MountError::Issuer`] when it is the default or not published any more; nothing was changed.
    pub async fn retire(&self, id: &str, now: UnixTime, until: UnixTime) -> Result<(), MountError> {
        self.step(id, Order::MemoryFirst, |about, _| {
            (about.state == State::Published).then(|| {
                about.state = State::Retired;
                (about.since, about.until) = (now.secs(), until.secs());
            })
        })
        .await
    }

    /// Gives an issuer a name; `""` takes it away.
    ///
    /// # Errors
    /// [`MountError::Issuer`] when another has the name; nothing was changed.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), MountError> {
        if self
            .issuers()
            .iter()
            .any(|other| !name.is_empty() && other.name() == name && other.id() != id)
        {
            return Err(IssuerConflict::Name.into());
        }
        self.step(id, Order::StoreFirst, |about, others| {
            let taken = !name.is_empty() && others.iter().any(|other| other.name == name);
            (!taken).then(|| name.clone_into(&mut about.name))
        })
        .await
    }

    /// Removes an issuer and its key: no host should trust it any more.
    ///
    /// # Errors
    /// [`MountError::Issuer`] when it is in another state than `seen`; nothing was changed.
    pub async fn remove_issuer(&self, id: &str, seen: State) -> Result<(), MountError> {
        let changing = self.change_begins().await?;
        let mut next = self.issuers();
        let before = next.len();
        next.retain(|issuer| issuer.id() != id || issuer.state() != seen);
        if next.len() == before {
            return Err(IssuerConflict::Changed.into());
        }
        let change = Change::Delete(Table::CaKeys, self.key_row(id));
        self.put_issuers(changing, next, vec![change], Order::MemoryFirst).await
    }

    /// Removes all issuers; `false` if there was none.
    ///
    /// # Errors
    /// The store's failure; the keys are then still there.
    pub async fn delete_signer(&self) -> Result<bool, MountError> {
        let changing = self.change_begins().await?;
        let issuers = self.issuers();
        if issuers.is_empty() {
            return Ok(false);
        }
        let changes = self.key_deletions(&issuers);
        self.put_issuers(changing, Vec::new(), changes, Order::MemoryFirst)
            .await?;
        Ok(true)
    }

    /// Changes one issuer, seeing the others.
    async fn step(
        &self,
        id: &str,
        order: Order,
        change: impl FnOnce(&mut About, &mut [About]) -> Option<()>,
    ) -> Result<(), MountError> {
        let changing = self.change_begins().await?;
        let issuers = self.issuers();
        let (mut meant, mut others): (Vec<About>, Vec<About>) = issuers
            .iter()
            .map(|issuer| issuer.about.clone())
            .partition(|about| about.id == id);
        let done = meant.first_mut().and_then(|about| change(about, &mut others));
        if done.is_none() {
            return Err(IssuerConflict::Changed.into());
        }
        meant.append(&mut others);
        let changed = |issuer: &Arc<Issuer>| match meant.iter().find(|about| about.id == issuer.about.id) {
            Some(about) if *about != issuer.about => Arc::new(Issuer {
                about: about.clone(),
                signer: Arc::clone(&issuer.signer),
            }),
            _ => Arc::clone(issuer),
        };
        let next = issuers.iter().map(changed).collect();
        self.put_issuers(changing, next, Vec::new(), order).await
    }

    /// Makes the list of issuers durable, in one step with `more`, and puts it in force. In a task of its own: whoever asked
    /// may hang up at any await, and memory and store must not differ then.
    async fn put_issuers(
        &self,
        changing: OwnedMutexGuard<Life>,
        next: Issuers,
        more: Vec<Change>,
        order: Order,
    ) -> Result<(), MountError> {
        let mut changes = vec![self.issuers_change(&next)?];
        changes.extend(more);
        let (store, issuers) = (Arc::clone(self.keyring.store()), Arc::clone(&self.issuers));
        let putting = tokio::spawn(async move {
            let next = Arc::new(next);
            let old = issuers.load_full();
            if order == Order::MemoryFirst {
                issuers.store(Arc::clone(&next));
            }
            let durable = store.apply(changes).durable().await;
            issuers.store(if durable.is_ok() { next } else { old });
            drop(changing);
            durable
        });
        Ok(putting.await.map_err(|_| StoreError::Gone)??)
    }

    fn issuers_change(&self, issuers: &Issuers) -> Result<Change, BarrierError> {
        let key = format!("{ISSUERS_PREFIX}{}", self.uuid);
        if issuers.is_empty() {
            return Ok(Change::Delete(Table::Settings, key));
        }
        self.keyring.seal(Table::Settings, &key, &issuer::to_json(issuers))
    }

    fn key_deletions(&self, issuers: &Issuers) -> Vec<Change> {
        let deletion = |issuer: &Arc<Issuer>| Change::Delete(Table::CaKeys, self.key_row(issuer.id()));
        issuers.iter().map(deletion).collect()
    }

    fn key_row(&self, id: &str) -> String {
        format!("{}/{id}", self.uuid)
    }

    /// A role that was written over the API. Those of files come first: see `Authority::role`.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<Arc<Role>> {
        self.roles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// Names of the roles written over the API, sorted.
    #[must_use]
    pub fn role_names(&self) -> Vec<String> {
        self.roles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    /// All roles written over the API, sorted by name.
    #[must_use]
    pub fn roles(&self) -> Vec<Arc<Role>> {
        self.roles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Writes a role, replacing the one of that name.
    ///
    /// # Errors
    /// The store's failure; the old role then stays.
    pub async fn put_role(&self, role: Role) -> Result<(), MountError> {
        let _changing = self.change_begins().await?;
        let json = role.vault_fields().to_string();
        let key = self.role_key(role.name());
        let change = self.keyring.seal(Table::Roles, &key, json.as_bytes())?;
        self.keyring.store().apply(vec![change]).durable().await?;
        self.load_role(role);
        Ok(())
    }

    /// Removes a role; `false` if there was none.
    ///
    /// # Errors
    /// The store's failure; the role is then still there.
    pub async fn delete_role(&self, name: &str) -> Result<bool, MountError> {
        let _changing = self.change_begins().await?;
        // Out of memory first, as with the CA key.
        let removed = self.roles.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        let Some(role) = removed else { return Ok(false) };
        let change = Change::Delete(Table::Roles, self.role_key(name));
        let deleted = self.keyring.store().apply(vec![change]).durable().await;
        if deleted.is_err() {
            self.roles
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(name.to_owned(), role);
        }
        Ok(deleted.map(|()| true)?)
    }

    /// Puts in place what the store holds, or takes over the one key of a store from before issuers: its row gets the
    /// issuer's own key and the list, in one step. Blocking.
    pub(super) fn load_issuers(&self, list: Option<Vec<About>>, mut keys: Keys) -> Result<(), MountError> {
        let damaged = |what: &str| MountError::Damaged {
            what: format!("{what} of mount `{}`", self.path),
        };
        let mut issuers = Issuers::new();
        for about in list.into_iter().flatten() {
            let (_, key) = keys.by_id.remove(&about.id).ok_or_else(|| damaged("CA key"))?;
            issuers.push(Arc::new(Issuer {
                about,
                signer: key.signer(),
            }));
        }
        if !keys.by_id.is_empty() || (keys.alone.is_some() && !issuers.is_empty()) {
            return Err(damaged("list of issuers"));
        }
        if let Some((row, key)) = keys.alone {
            let about = About::new(random::uuid(), String::new(), State::Default, UnixTime::from_secs(0));
            let changes = vec![
                self.keyring.seal(Table::CaKeys, &self.key_row(&about.id), &row)?,
                Change::Delete(Table::CaKeys, self.uuid.clone()),
            ];
            let signer = key.signer();
            issuers.push(Arc::new(Issuer { about, signer }));
            let all = [vec![self.issuers_change(&issuers)?], changes].concat();
            self.keyring.store().apply(all).wait()?;
            tracing::info!(mount = self.path, "the CA key is the mount's default issuer now");
        }
        self.issuers.store(Arc::new(issuers));
        Ok(())
    }

    pub(super) fn load_role(&self, role: Role) {
        self.roles
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(role.name().to_owned(), Arc::new(role));
    }

    /// The change that writes the mount itself.
    pub(super) fn change(&self) -> Result<Change, BarrierError> {
        self.change_to(&self.settings.load())
    }

    pub(super) async fn delete_everything(&self) -> Result<(), MountError> {
        let mut life = self.changing.lock().await;
        let mut changes: Vec<Change> = self
            .role_names()
            .iter()
            .map(|name| Change::Delete(Table::Roles, self.role_key(name)))
            .collect();
        changes.extend(self.key_deletions(&self.issuers()));
        changes.push(Change::Delete(
            Table::Settings,
            format!("{ISSUERS_PREFIX}{}", self.uuid),
        ));
        changes.push(Change::Delete(Table::Mounts, self.path.clone()));
        changes.extend(self.revocation_deletions().await?);
        // A request that still holds this mount must not sign nor write any more.
        *life = Life::Deleted;
        let issuers = self.issuers.swap(Arc::default());
        let deleted = self.keyring.store().apply(changes).durable().await;
        if deleted.is_err() {
            *life = Life::There;
            self.issuers.store(issuers);
        }
        Ok(deleted?)
    }

    /// What revocations left in the store: rows of a mount that is not there would look like damage to a restore.
    async fn revocation_deletions(&self) -> Result<Vec<Change>, MountError> {
        let (store, uuid) = (Arc::clone(self.keyring.store()), self.uuid.clone());
        // There may be many, and reading them blocks.
        let reading = tokio::task::spawn_blocking(move || revocations::deletions(store.as_ref(), &uuid));
        Ok(reading.await.map_err(|_| StoreError::Gone)??)
    }

    /// Waits for the mount's other changes.
    async fn change_begins(&self) -> Result<OwnedMutexGuard<Life>, MountError> {
        let life = Arc::clone(&self.changing).lock_owned().await;
        match *life {
            Life::There => Ok(life),
            Life::Deleted => Err(MountError::Deleted {
                path: self.path.clone(),
            }),
        }
    }

    fn change_to(&self, settings: &Settings) -> Result<Change, BarrierError> {
        let stored = Stored {
            uuid: self.uuid.clone(),
            accessor: self.accessor.clone(),
            settings: settings.clone(),
        };
        // A struct of texts and numbers always has a JSON form.
        let json = serde_json::to_vec(&stored).unwrap_or_default();
        self.keyring.seal(Table::Mounts, &self.path, &json)
    }

    fn role_key(&self, name: &str) -> String {
        format!("{}/{name}", self.uuid)
    }
}
