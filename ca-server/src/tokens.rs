//! Tokens: made at login or by another token, checked on every request without I/O, durable before anybody holds them.
//! Only the SHA-256 of a token is kept, and what belongs to it lies in the store under the barrier.

mod entry;
mod index;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use signet_core::caller::{AuthMethod, ROOT_POLICY};
use signet_core::time::UnixTime;
use zeroize::Zeroizing;

pub use self::entry::{TokenEntry, TokenHash, TokenSpec};
use self::index::Index;
use crate::barrier::BarrierError;
use crate::config::SYSTEM_TTL_SECS;
use crate::keyring::Keyring;
use crate::random::{self, RandomFailed};
use crate::store::{Change, StoreError, Table};

const TOKEN_PREFIX: &str = "hvs.";
const TOKEN_CHARS: usize = 28;
const ACCESSOR_CHARS: usize = 24;
/// A token made by a token made by a token …: checking one asks each of its parents, so the line must end.
const DEPTH_MAX: u8 = 16;

/// All tokens of this server.
#[derive(Debug)]
pub struct Tokens {
    keyring: Arc<Keyring>,
    index: Index,
    most: usize,
}

impl Tokens {
    /// Reads all tokens from the store.
    ///
    /// # Errors
    /// [`TokenError`] when the store or one of its values cannot be read.
    pub fn open(keyring: Arc<Keyring>, tokens_max: usize) -> Result<Self, TokenError> {
        let index = Index::default();
        for (key, sealed) in keyring.store().scan(Table::Tokens)? {
            let damaged = || TokenError::Damaged { key: key.clone() };
            let hash = TokenHash::parse(&key).ok_or_else(damaged)?;
            let json = keyring.unseal(Table::Tokens, &key, &sealed)?;
            index.insert(TokenEntry::from_json(hash, &json).ok_or_else(damaged)?);
        }
        Ok(Self {
            keyring,
            index,
            most: tokens_max,
        })
    }

    /// Makes a token. It is durable when this returns; the text exists nowhere else.
    ///
    /// # Errors
    /// [`TokenError`]; no token was made then.
    pub async fn create(&self, spec: TokenSpec, now: UnixTime) -> Result<(SecretString, Arc<TokenEntry>), TokenError> {
        let text = Self::new_text()?;
        let entry = self.insert(text.expose_secret(), spec, now).await?;
        Ok((text, entry))
    }

    /// Makes the root token of dev mode, whose text the person chose.
    ///
    /// # Errors
    /// [`TokenError`] when it cannot be stored.
    pub async fn create_root(&self, text: &SecretString, now: UnixTime) -> Result<Arc<TokenEntry>, TokenError> {
        self.insert(text.expose_secret(), root_spec(), now).await
    }

    /// The text of a new token, not yet made.
    ///
    /// # Errors
    /// [`RandomFailed`]
    pub fn new_text() -> Result<SecretString, RandomFailed> {
        let text = Zeroizing::new(format!("{TOKEN_PREFIX}{}", random::base62(TOKEN_CHARS)?));
        Ok(SecretString::from(text.as_str()))
    }

    /// The change that writes a root token into a store that is being founded, and the token's accessor.
    ///
    /// # Errors
    /// [`TokenError`] without randomness.
    pub(crate) fn founding_root(
        keyring: &Keyring,
        text: &SecretString,
        now: UnixTime,
    ) -> Result<(Change, String), TokenError> {
        let (hash, accessor) = (TokenHash::of(text.expose_secret()), random::base62(ACCESSOR_CHARS)?);
        let entry = TokenEntry::new(hash, accessor.clone(), root_spec(), 0, now, SYSTEM_TTL_SECS);
        let change = keyring.seal(Table::Tokens, &hash.to_string(), &entry.to_json())?;
        Ok((change, accessor))
    }

    /// The entry of a token that is valid now; no I/O, no secret-dependent comparison: the map is asked for a hash.
    #[must_use]
    pub fn check(&self, token: &str, now: UnixTime) -> Option<Arc<TokenEntry>> {
        self.valid(TokenHash::of(token), now)
    }

    /// The entry of a hash, if that token is valid now. A token dies with any of its parents.
    #[must_use]
    pub fn valid(&self, hash: TokenHash, now: UnixTime) -> Option<Arc<TokenEntry>> {
        let entry = self.index.find(hash)?;
        let mut parent = entry.parent;
        for _ in 0..=DEPTH_MAX {
            let Some(hash) = parent else {
                return entry.is_valid(now).then_some(entry);
            };
            parent = self.index.find(hash).filter(|ancestor| ancestor.is_valid(now))?.parent;
        }
        None
    }

    /// When the first of a token's parents ends. A periodic child would otherwise say it lives longer, and so would its
    /// certificates.
    fn end_of_parents(&self, entry: &TokenEntry) -> Option<UnixTime> {
        let above = |entry: &Arc<TokenEntry>| self.index.find(entry.parent?);
        std::iter::successors(entry.parent.and_then(|hash| self.index.find(hash)), above)
            .filter_map(|parent| parent.expires)
            .min()
    }

    /// The entry an accessor stands for, if that token is valid now.
    #[must_use]
    pub fn by_accessor(&self, accessor: &str, now: UnixTime) -> Option<Arc<TokenEntry>> {
        self.valid(self.index.by_accessor(accessor)?, now)
    }

    /// Accessors of all valid tokens, sorted.
    #[must_use]
    pub fn list_accessors(&self, now: UnixTime) -> Vec<String> {
        let mut accessors = self.index.accessors();
        accessors.retain(|accessor| self.by_accessor(accessor, now).is_some());
        accessors.sort_unstable();
        accessors
    }

    /// Takes one use off a token with a number of uses; the last use revokes it. Call it once a request, before acting.
    ///
    /// # Errors
    /// [`TokenError::NoUsesLeft`] when another request took the last one, or the store's failure.
    pub async fn spend(&self, entry: &TokenEntry) -> Result<(), TokenError> {
        if entry.num_uses == 0 {
            return Ok(());
        }
        // The count is taken and queued for the store in one step, so that the store never sees a higher count later.
        let receipt = {
            let _changing = self.index.changing();
            let left = entry.take_use().ok_or(TokenError::NoUsesLeft)?;
            if left > 0 {
                Some(self.keyring.store().apply(vec![self.put(entry)?]))
            } else {
                None
            }
        };
        match receipt {
            Some(receipt) => Ok(receipt.durable().await?),
            None => self.revoke(entry.hash).await.map(drop),
        }
    }

    /// Lengthens a token's life by `increment` seconds from now (its own TTL when absent), within its limits.
    ///
    /// # Errors
    /// [`TokenError::NotRenewable`], [`TokenError::Unknown`], or the store's failure.
    pub async fn renew(
        &self,
        hash: TokenHash,
        increment: Option<u64>,
        now: UnixTime,
    ) -> Result<Arc<TokenEntry>, TokenError> {
        let entry = self.valid(hash, now).ok_or(TokenError::Unknown)?;
        let latest = self.end_of_parents(&entry);
        let renewed = entry.renewed(increment, now, latest).ok_or(TokenError::NotRenewable)?;
        let receipt = {
            let _changing = self.index.changing();
            self.keyring.store().apply(vec![self.put(&renewed)?])
        };
        receipt.durable().await?;
        // Revoked in the meantime: the renewal must not bring it back, neither here nor after a restart.
        if let Some(entry) = self.index.replace(renewed) {
            return Ok(entry);
        }
        self.keyring
            .store()
            .apply(vec![Change::Delete(Table::Tokens, hash.to_string())])
            .durable()
            .await?;
        Err(TokenError::Unknown)
    }

    /// Ends a token and all its children; returns the accessors that ended. Unknown is fine: it then ended before.
    ///
    /// # Errors
    /// The store's failure; the tokens are then dead in memory and may come back at a restart: try again.
    pub async fn revoke(&self, hash: TokenHash) -> Result<Vec<String>, TokenError> {
        let tree = self.index.changing().tree(hash);
        let accessors = tree
            .iter()
            .filter_map(|hash| Some(self.index.find(*hash)?.accessor.clone()))
            .collect();
        // SECURITY: out of memory first, so that the token opens nothing even while the store is slow.
        let changes = self.forget(&tree);
        self.keyring.store().apply(changes).durable().await?;
        Ok(accessors)
    }

    /// How many tokens are held.
    #[must_use]
    pub fn count(&self) -> usize {
        self.index.count()
    }

    async fn insert(&self, text: &str, spec: TokenSpec, now: UnixTime) -> Result<Arc<TokenEntry>, TokenError> {
        let expired = self.index.expired(now, 64);
        let mut changes = self.forget(&expired);
        if self.index.count() >= self.most {
            self.keyring.store().apply(changes).durable().await?;
            return Err(TokenError::TooMany { tokens_max: self.most });
        }
        let entry = self.entry(TokenHash::of(text), spec, now)?;
        changes.push(self.put(&entry)?);
        self.keyring.store().apply(changes).durable().await?;
        // A parent that was revoked while its child was being stored takes the child along: checks ask the parent.
        Ok(self.index.insert(entry))
    }

    fn entry(&self, hash: TokenHash, spec: TokenSpec, now: UnixTime) -> Result<TokenEntry, TokenError> {
        let depth = match spec.parent {
            Some(parent) => self.valid(parent, now).ok_or(TokenError::Unknown)?.depth + 1,
            None => 0,
        };
        if depth > DEPTH_MAX {
            return Err(TokenError::TooDeep);
        }
        let accessor = random::base62(ACCESSOR_CHARS)?;
        Ok(TokenEntry::new(hash, accessor, spec, depth, now, SYSTEM_TTL_SECS))
    }

    fn put(&self, entry: &TokenEntry) -> Result<Change, TokenError> {
        Ok(self
            .keyring
            .seal(Table::Tokens, &entry.hash.to_string(), &entry.to_json())?)
    }

    fn forget(&self, hashes: &[TokenHash]) -> Vec<Change> {
        hashes
            .iter()
            .map(|hash| {
                self.index.remove(*hash);
                Change::Delete(Table::Tokens, hash.to_string())
            })
            .collect()
    }
}

fn root_spec() -> TokenSpec {
    TokenSpec {
        person: ROOT_POLICY.to_owned(),
        display_name: ROOT_POLICY.to_owned(),
        method: AuthMethod::Token,
        policies: [ROOT_POLICY.to_owned()].into(),
        path: "auth/token/root".to_owned(),
        ..TokenSpec::default()
    }
}

/// Why it did not work with a token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// No such token, or it has ended.
    #[error("the token is unknown or has ended")]
    Unknown,
    /// Made without the right to be renewed.
    #[error("the token is not renewable")]
    NotRenewable,
    /// A token with a number of uses has none left.
    #[error("the token has no uses left")]
    NoUsesLeft,
    /// Too long a line of parents.
    #[error("the token stands at the end of too long a line of parents; make an orphan")]
    TooDeep,
    /// The limit of `[limits] tokens_max` is reached.
    #[error("there are {tokens_max} tokens already (`tokens_max` in [limits])")]
    TooMany {
        /// The limit.
        tokens_max: usize,
    },
    /// A stored token cannot be read.
    #[error("the stored token `{key}` cannot be read")]
    Damaged {
        /// Its key in the store: a hash, no secret.
        key: String,
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
