//! One-time tokens for enrolment. Only their SHA-256 is kept, and what belongs to them lies in the store under the barrier. A
//! token is used up by the enrolment that succeeds, in the same step that stores the host.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use signet_core::time::UnixTime;
use zeroize::Zeroizing;

use super::HostStoreError;
use crate::keyring::Keyring;
use crate::random;
use crate::store::{Change, Table};

/// How long a token lives when nobody says.
pub const DEFAULT_TTL_SECS: u64 = 15 * 60;
/// How long a token lives at most.
pub const TTL_SECS_MAX: u64 = 24 * 3600;
const TOKENS_MAX: usize = 10_000;
const PREFIX: &str = "hst.";
const CHARS: usize = 32;

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostToken {
    /// The host's name.
    pub host: String,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// When it ends, seconds since 1970.
    pub expires: u64,
    /// Whether an enrolment has used it. It stays known until it ends, so that its host can ask again when the answer got
    /// lost on the way.
    pub used: bool,
}

/// All one-time tokens.
#[derive(Debug)]
pub struct HostTokens {
    keyring: Arc<Keyring>,
    /// By the SHA-256 of the token, in hex.
    tokens: RwLock<HashMap<String, HostToken>>,
}

impl HostTokens {
    pub(super) fn open(keyring: Arc<Keyring>) -> Result<Self, HostStoreError> {
        let mut tokens = HashMap::new();
        for (hash, sealed) in keyring.store().scan(Table::HostTokens)? {
            let json = keyring.unseal(Table::HostTokens, &hash, &sealed)?;
            let token = serde_json::from_slice(&json).map_err(|_| HostStoreError::Damaged {
                what: format!("one-time token `{hash}`"),
            })?;
            tokens.insert(hash, token);
        }
        let tokens = RwLock::new(tokens);
        Ok(Self { keyring, tokens })
    }

    /// Makes a token; the text exists nowhere else. `None` when there are too many already.
    ///
    /// # Errors
    /// [`HostStoreError`]; no token was made then.
    pub async fn create(&self, token: HostToken, now: UnixTime) -> Result<Option<SecretString>, HostStoreError> {
        let expired: Vec<String> = {
            let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
            let ended = tokens.iter().filter(|(_, token)| token.expires <= now.secs());
            ended.map(|(hash, _)| hash.clone()).collect()
        };
        let text = Zeroizing::new(format!("{PREFIX}{}", random::base62(CHARS)?));
        let hash = hash_of(&text);
        let mut changes: Vec<Change> = expired
            .iter()
            .map(|hash| Change::Delete(Table::HostTokens, hash.clone()))
            .collect();
        if self.len() - expired.len().min(self.len()) >= TOKENS_MAX {
            return Ok(None);
        }
        changes.push(self.sealed(&hash, &token)?);
        self.keyring.store().apply(changes).durable().await?;
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        for hash in expired {
            tokens.remove(&hash);
        }
        tokens.insert(hash, token);
        drop(tokens);
        Ok(Some(SecretString::from(text.as_str())))
    }

    /// The token with this text, with its hash, unless it has ended. No secret-dependent comparison: the map is asked for a
    /// hash.
    #[must_use]
    pub fn find(&self, text: &str, now: UnixTime) -> Option<(String, HostToken)> {
        let hash = hash_of(text);
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(&hash).filter(|token| token.expires > now.secs())?.clone();
        Some((hash, token))
    }

    /// The change that marks a token as used; to be stored together with the host.
    pub(super) fn use_up(&self, hash: &str) -> Result<Vec<Change>, HostStoreError> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = tokens.get(hash) else {
            return Ok(Vec::new());
        };
        let used = HostToken {
            used: true,
            ..token.clone()
        };
        Ok(vec![self.sealed(hash, &used)?])
    }

    /// Marks it in memory, once that is stored.
    pub(super) fn used_up(&self, hash: &str) {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = tokens.get_mut(hash) {
            token.used = true;
        }
    }

    fn len(&self) -> usize {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn sealed(&self, hash: &str, token: &HostToken) -> Result<Change, HostStoreError> {
        // A struct of texts and numbers always has a JSON form.
        let json = serde_json::to_vec(token).unwrap_or_default();
        Ok(self.keyring.seal(Table::HostTokens, hash, &json)?)
    }
}

fn hash_of(text: &str) -> String {
    HEXLOWER.encode(digest(&SHA256, text.trim().as_bytes()).as_ref())
}
