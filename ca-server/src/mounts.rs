//! Mounts: paths at which an SSH engine lives, each with its CA key and the roles written over the API. Everything is in
//! memory, so that signing needs no I/O; each change is durable before it is visible.

mod issuer;
mod mount;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use signet_core::role::{Role, RoleSource};
use signet_core::signer::SignError;
use signet_core::vault_value::Fields;

pub use self::issuer::{Issuer, State, is_issuer_name};
pub use self::mount::{Created, IssuerConflict, Mount};
use self::mount::{Keys, Settings, Stored};
use crate::barrier::BarrierError;
use crate::config::MountConfig;
use crate::keyring::Keyring;
use crate::random::{self, RandomFailed};
use crate::signer::{CaKey, KeySources};
use crate::store::{StoreError, Table};

/// Words that a mount's path must not begin with: the server's own paths live there.
const TAKEN: &[&str] = &["sys", "auth", "identity", "cubbyhole"];

/// Before a mount's UUID, where the list of its issuers lies in the settings.
const ISSUERS_PREFIX: &str = "issuers/";

/// All mounts of this server.
#[derive(Debug)]
pub struct Mounts {
    keyring: Arc<Keyring>,
    table: RwLock<HashMap<String, Arc<Mount>>>,
    changing: tokio::sync::Mutex<()>,
}

impl Mounts {
    /// Reads all mounts, CA keys and API roles from the store. CA keys that lie elsewhere are found through `sources`;
    /// one that is not there now keeps nobody from starting.
    ///
    /// # Errors
    /// [`MountError`] naming what cannot be read.
    pub fn open(keyring: Arc<Keyring>, sources: &KeySources) -> Result<Self, MountError> {
        let mut by_uuid = HashMap::new();
        // Sealed though not secret: whoever can write the store only must not give a CA key to another mount's roles, nor
        // a role to somebody else.
        for (path, sealed) in keyring.store().scan(Table::Mounts)? {
            let json = keyring.unseal(Table::Mounts, &path, &sealed)?;
            let stored: Stored = serde_json::from_slice(&json).map_err(|_| MountError::Damaged {
                what: format!("mount `{path}`"),
            })?;
            by_uuid.insert(stored.uuid.clone(), Mount::new(&path, stored, Arc::clone(&keyring)));
        }
        load_signers(&keyring, &by_uuid, sources)?;
        load_roles(&keyring, &by_uuid)?;
        let table = by_uuid
            .into_values()
            .map(|mount| (mount.path().to_owned(), Arc::new(mount)))
            .collect();
        Ok(Self {
            keyring,
            table: RwLock::new(table),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// The mount at exactly `path`, written without slashes at the ends.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Arc<Mount>> {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .cloned()
    }

    /// Splits `team/a/ssh/sign/x` into the mount `team/a/ssh` and the rest `sign/x`.
    #[must_use]
    pub fn split<'p>(&self, path: &'p str) -> Option<(Arc<Mount>, &'p str)> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        // No mount lies under another, so the first that fits is the only one.
        let ends = path.match_indices('/').map(|(index, _)| index).chain([path.len()]);
        ends.into_iter().find_map(|end| {
            let (head, rest) = path.split_at_checked(end)?;
            Some((Arc::clone(table.get(head)?), rest.trim_start_matches('/')))
        })
    }

    /// All mounts, sorted by path.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Mount>> {
        let mut mounts: Vec<_> = self
            .table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        mounts.sort_by(|one, other| one.path().cmp(other.path()));
        mounts
    }

    /// Makes a mount. Its CA key is a second step, [`Mount::set_signer`].
    ///
    /// # Errors
    /// [`MountError::Path`], [`MountError::InUse`], or the store's failure.
    pub async fn create(&self, config: &MountConfig) -> Result<Arc<Mount>, MountError> {
        check_path(&config.path)?;
        let _changing = self.changing.lock().await;
        if let Some(used) = self.overlapping(&config.path) {
            return Err(MountError::InUse { path: used });
        }
        let stored = Stored {
            uuid: random::uuid(),
            accessor: format!("ssh_{}", random::hex(4)?),
            settings: Settings {
                description: config.description.clone(),
                default_ttl: config.default_ttl,
                max_ttl: config.max_ttl,
            },
        };
        let mount = Arc::new(Mount::new(&config.path, stored, Arc::clone(&self.keyring)));
        self.keyring.store().apply(vec![mount.change()?]).durable().await?;
        self.table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(config.path.clone(), Arc::clone(&mount));
        Ok(mount)
    }

    /// Removes a mount with its CA key and roles; `false` if there was none.
    ///
    /// # Errors
    /// The store's failure; the mount is then still there.
    pub async fn delete(&self, path: &str) -> Result<bool, MountError> {
        let _changing = self.changing.lock().await;
        let Some(mount) = self.get(path) else { return Ok(false) };
        mount.delete_everything().await?;
        self.table.write().unwrap_or_else(PoisonError::into_inner).remove(path);
        Ok(true)
    }

    fn overlapping(&self, path: &str) -> Option<String> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.keys().find(|used| overlap(used, path)).cloned()
    }
}

/// Whether one path is the other or lies under it: a request could then mean either.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let under = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    under(one, other) || under(other, one)
}

/// Checks a mount's path: words of letters, digits, `_`, `-` and `.`, joined by slashes.
///
/// # Errors
/// [`MountError::Path`] saying what is wrong.
pub fn check_path(path: &str) -> Result<(), MountError> {
    let wrong = |reason| {
        Err(MountError::Path {
            path: path.to_owned(),
            reason,
        })
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if path.is_empty() || path.len() > 256 {
        return wrong("it must have 1 to 256 characters");
    }
    if path
        .split('/')
        .any(|word| word.is_empty() || word == "." || word == ".." || !word.bytes().all(known))
    {
        return wrong("its words may hold letters, digits, `_`, `-` and `.`");
    }
    if path.split('/').next().is_some_and(|first| TAKEN.contains(&first)) {
        return wrong("the server's own paths begin like this");
    }
    Ok(())
}

fn load_signers(keyring: &Keyring, mounts: &HashMap<String, Mount>, sources: &KeySources) -> Result<(), MountError> {
    let mut keys: HashMap<&str, Keys> = HashMap::new();
    for (row, sealed) in keyring.store().scan(Table::CaKeys)? {
        let secret = keyring.unseal(Table::CaKeys, &row, &sealed)?;
        let (uuid, id) = row
            .split_once('/')
            .map_or((row.as_str(), None), |(uuid, id)| (uuid, Some(id)));
        let mount = mounts.get(uuid).ok_or_else(|| MountError::Damaged {
            what: format!("CA key of mount {uuid}"),
        })?;
        let key = CaKey::from_row(&secret, mount.path(), sources)?;
        let of_mount = keys.entry(mount.uuid()).or_default();
        match id {
            Some(id) => drop(of_mount.by_id.insert(id.to_owned(), (secret, key))),
            None => of_mount.alone = Some((secret, key)),
        }
    }
    let mut lists = HashMap::new();
    for (key, sealed) in keyring.store().scan(Table::Settings)? {
        let Some(mount) = key.strip_prefix(ISSUERS_PREFIX).and_then(|uuid| mounts.get(uuid)) else {
            continue;
        };
        let json = keyring.unseal(Table::Settings, &key, &sealed)?;
        lists.insert(mount.uuid(), issuer::from_json(&json, mount.path())?);
    }
    for (uuid, mount) in mounts {
        mount.load_issuers(
            lists.remove(uuid.as_str()),
            keys.remove(uuid.as_str()).unwrap_or_default(),
        )?;
    }
    Ok(())
}

fn load_roles(keyring: &Keyring, mounts: &HashMap<String, Mount>) -> Result<(), MountError> {
    for (key, sealed) in keyring.store().scan(Table::Roles)? {
        let json = keyring.unseal(Table::Roles, &key, &sealed)?;
        let damaged = || MountError::Damaged {
            what: format!("role `{key}`"),
        };
        let (uuid, name) = key.split_once('/').ok_or_else(damaged)?;
        let mount = mounts.get(uuid).ok_or_else(damaged)?;
        let fields = Fields::from_json(&json).map_err(|_| damaged())?;
        let role = Role::from_vault_json(name, mount.path(), &fields, RoleSource::Api).map_err(|_| damaged())?;
        mount.load_role(role);
    }
    Ok(())
}

/// Why it did not work with a mount.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Not a path for a mount.
    #[error("`{path}` cannot be a mount's path: {reason}")]
    Path {
        /// What was asked for.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// The path, one above or one below it has a mount.
    #[error("path is already in use at {path}/")]
    InUse {
        /// The mount that is there.
        path: String,
    },
    /// Another request deleted the mount in the meantime.
    #[error("the mount {path}/ was deleted")]
    Deleted {
        /// Where it was.
        path: String,
    },
    /// An issuer's name, key or state is in the way.
    #[error(transparent)]
    Issuer(#[from] IssuerConflict),
    /// A stored thing cannot be read.
    #[error("the stored {what} cannot be read")]
    Damaged {
        /// What it is.
        what: String,
    },
    /// The CA key is broken.
    #[error("the CA key cannot be used")]
    Key(#[from] SignError),
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
