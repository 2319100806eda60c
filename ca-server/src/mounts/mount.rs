//! One mount.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::{Deserialize, Serialize};
use signet_core::role::Role;
use signet_core::signer::Signer;
use tokio::sync::MutexGuard;

use super::MountError;
use crate::barrier::BarrierError;
use crate::keyring::Keyring;
use crate::signer::CaKey;
use crate::store::{Change, Table};

/// A mounted SSH engine.
#[derive(Debug)]
pub struct Mount {
    path: String,
    uuid: String,
    accessor: String,
    settings: ArcSwap<Settings>,
    /// `ArcSwapOption` takes no trait object, so the signer is in a box of its own.
    signer: ArcSwapOption<Arc<dyn Signer>>,
    roles: RwLock<BTreeMap<String, Arc<Role>>>,
    keyring: Arc<Keyring>,
    /// Changes of one mount happen one after the other, in memory as in the store.
    changing: tokio::sync::Mutex<Life>,
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

impl Mount {
    pub(super) fn new(path: &str, stored: Stored, keyring: Arc<Keyring>) -> Self {
        Self {
            path: path.to_owned(),
            uuid: stored.uuid,
            accessor: stored.accessor,
            settings: ArcSwap::from_pointee(stored.settings),
            signer: ArcSwapOption::empty(),
            roles: RwLock::default(),
            keyring,
            changing: tokio::sync::Mutex::default(),
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

    /// The CA key, if there is one.
    #[must_use]
    pub fn signer(&self) -> Option<Arc<dyn Signer>> {
        self.signer.load().as_deref().cloned()
    }

    /// Puts the CA key in place, durable and sealed; never replaces one.
    ///
    /// # Errors
    /// [`MountError`]; there is no CA key then.
    pub async fn set_signer(&self, key: impl Into<CaKey>) -> Result<Created, MountError> {
        let key = key.into();
        let _changing = self.change_begins().await?;
        if self.signer.load().is_some() {
            return Ok(Created::AlreadyConfigured);
        }
        let change = self.keyring.seal(Table::CaKeys, &self.uuid, &key.to_row()?)?;
        self.keyring.store().apply(vec![change]).durable().await?;
        self.load_signer(key);
        Ok(Created::Created)
    }

    /// Removes the CA key; `false` if there was none.
    ///
    /// # Errors
    /// The store's failure; the key is then still there.
    pub async fn delete_signer(&self) -> Result<bool, MountError> {
        let _changing = self.change_begins().await?;
        // Out of memory first: whoever asked for this may hang up at any await, and the key must not sign on.
        let Some(signer) = self.signer.swap(None) else {
            return Ok(false);
        };
        let change = Change::Delete(Table::CaKeys, self.uuid.clone());
        let deleted = self.keyring.store().apply(vec![change]).durable().await;
        if deleted.is_err() {
            self.signer.store(Some(signer));
        }
        Ok(deleted.map(|()| true)?)
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

    pub(super) fn load_signer(&self, key: CaKey) {
        self.signer.store(Some(Arc::new(key.into_signer())));
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
        changes.push(Change::Delete(Table::CaKeys, self.uuid.clone()));
        changes.push(Change::Delete(Table::Mounts, self.path.clone()));
        // A request that still holds this mount must not sign nor write any more.
        *life = Life::Deleted;
        let signer = self.signer.swap(None);
        let deleted = self.keyring.store().apply(changes).durable().await;
        if deleted.is_err() {
            *life = Life::There;
            self.signer.store(signer);
        }
        Ok(deleted?)
    }

    /// Waits for the mount's other changes.
    async fn change_begins(&self) -> Result<MutexGuard<'_, Life>, MountError> {
        let life = self.changing.lock().await;
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
