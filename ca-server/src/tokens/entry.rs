//! What belongs to one token.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use signet_core::caller::{AuthMethod, ROOT_POLICY};
use signet_core::time::UnixTime;

/// SHA-256 of a token's text: the only trace of the token that is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token's text.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    pub(super) fn parse(hex: &str) -> Option<Self> {
        Some(Self(HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()?))
    }

    pub(super) fn shard(self, shards: usize) -> usize {
        self.0.first().map_or(0, |byte| usize::from(*byte) % shards)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a new token shall be. Times in seconds, 0 = not given.
#[derive(Debug, Clone)]
pub struct TokenSpec {
    /// Cedar's `Person`.
    pub person: String,
    /// Vault's display name.
    pub display_name: String,
    /// How the person proved who they are.
    pub method: AuthMethod,
    /// Groups that the login itself brought (an identity provider's); those of `people.toml` are asked for at each use.
    pub groups: BTreeSet<String>,
    /// Token policies.
    pub policies: BTreeSet<String>,
    /// What the login learnt.
    pub metadata: BTreeMap<String, String>,
    /// Life; 0 for the longest allowed, and for ever only with the policy `root`.
    pub ttl: u64,
    /// Ceiling for renewals by the login method or mount; 0 for the system's.
    pub max_ttl: u64,
    /// Ceiling that the creator asked for; 0 for none.
    pub explicit_max_ttl: u64,
    /// Each renewal gives this much again, without a ceiling but `explicit_max_ttl`; 0 for none.
    pub period: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// How often it can be used; 0 for any number.
    pub num_uses: u64,
    /// The token that made it and takes it along when it ends; `None` for an orphan.
    pub parent: Option<TokenHash>,
    /// The path it was made at, such as `auth/ssh-key/login`.
    pub path: String,
}

impl Default for TokenSpec {
    fn default() -> Self {
        Self {
            person: String::new(),
            display_name: String::new(),
            method: AuthMethod::Token,
            groups: BTreeSet::new(),
            policies: BTreeSet::new(),
            metadata: BTreeMap::new(),
            ttl: 0,
            max_ttl: 0,
            explicit_max_ttl: 0,
            period: 0,
            renewable: false,
            num_uses: 0,
            parent: None,
            path: String::new(),
        }
    }
}

/// A token as the server knows it. Times in seconds, 0 = none.
#[derive(Debug)]
pub struct TokenEntry {
    /// The token's hash.
    pub hash: TokenHash,
    /// Names the token without being able to use it.
    pub accessor: String,
    /// Cedar's `Person`.
    pub person: String,
    /// Vault's display name.
    pub display_name: String,
    /// How the person proved who they are.
    pub method: AuthMethod,
    /// Groups that the login itself brought.
    pub groups: BTreeSet<String>,
    /// Token policies.
    pub policies: BTreeSet<String>,
    /// What the login learnt.
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created: UnixTime,
    /// When it was renewed last.
    pub last_renewal: Option<UnixTime>,
    /// Its life when it was made (Vault's `creation_ttl`); 0 for ever.
    pub ttl: u64,
    /// When it ends; `None` never.
    pub expires: Option<UnixTime>,
    /// Ceiling for renewals.
    pub max_ttl: u64,
    /// Ceiling that the creator asked for.
    pub explicit_max_ttl: u64,
    /// Each renewal gives this much again.
    pub period: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// How often it could be used when made; 0 for any number.
    pub num_uses: u64,
    /// The token that made it; `None` for an orphan.
    pub parent: Option<TokenHash>,
    /// The path it was made at.
    pub path: String,
    pub(super) depth: u8,
    uses_left: Arc<AtomicU64>,
}

impl TokenEntry {
    pub(super) fn new(
        hash: TokenHash,
        accessor: String,
        spec: TokenSpec,
        depth: u8,
        now: UnixTime,
        ttl_max: u64,
    ) -> Self {
        let max_ttl = at_most(spec.max_ttl, ttl_max);
        let wanted = if spec.period > 0 { spec.period } else { spec.ttl };
        let for_ever = wanted == 0 && spec.explicit_max_ttl == 0 && spec.policies.contains(ROOT_POLICY);
        let ttl = if for_ever {
            0
        } else {
            at_most(at_most(wanted, max_ttl), at_most(spec.explicit_max_ttl, u64::MAX))
        };
        Self {
            hash,
            accessor,
            person: spec.person,
            display_name: spec.display_name,
            method: spec.method,
            groups: spec.groups,
            policies: spec.policies,
            metadata: spec.metadata,
            created: now,
            last_renewal: None,
            ttl,
            expires: (!for_ever).then(|| now.plus(ttl)),
            max_ttl,
            explicit_max_ttl: spec.explicit_max_ttl,
            period: spec.period,
            renewable: spec.renewable && !for_ever,
            num_uses: spec.num_uses,
            parent: spec.parent,
            path: spec.path,
            depth,
            uses_left: Arc::new(AtomicU64::new(spec.num_uses)),
        }
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_valid(&self, now: UnixTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Seconds left; 0 for a token without end.
    #[must_use]
    pub fn ttl_left(&self, now: UnixTime) -> u64 {
        self.expires.map_or(0, |expires| now.secs_until(expires))
    }

    /// Uses left; 0 for any number.
    #[must_use]
    pub fn uses_left(&self) -> u64 {
        self.uses_left.load(Ordering::SeqCst)
    }

    /// Whether no other token takes it along.
    #[must_use]
    pub const fn is_orphan(&self) -> bool {
        self.parent.is_none()
    }

    pub(super) fn take_use(&self) -> Option<u64> {
        let taken = self
            .uses_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        taken.ok().map(|before| before - 1)
    }

    /// The same token with a later end, `latest` at most; `None` if it may not be renewed.
    pub(super) fn renewed(&self, increment: Option<u64>, now: UnixTime, latest: Option<UnixTime>) -> Option<Self> {
        if !self.renewable {
            return None;
        }
        let wanted = if self.period > 0 {
            self.period
        } else {
            increment.filter(|secs| *secs > 0).unwrap_or(self.ttl)
        };
        let ceiling = |limit: u64| {
            if limit == 0 {
                u64::MAX
            } else {
                self.created.plus(limit).secs()
            }
        };
        // A periodic token has no ceiling but the one its creator asked for.
        let by_mount = if self.period > 0 {
            u64::MAX
        } else {
            ceiling(self.max_ttl)
        };
        let end = now
            .plus(wanted)
            .secs()
            .min(by_mount)
            .min(ceiling(self.explicit_max_ttl))
            .min(latest.map_or(u64::MAX, UnixTime::secs));
        let mut copy = self.stored();
        copy.expires = Some(end);
        copy.last_renewal = Some(now.secs());
        let mut renewed = copy.into_entry(self.hash)?;
        // One count for both: a use taken from the old entry meanwhile must not be lost.
        renewed.uses_left = Arc::clone(&self.uses_left);
        Some(renewed)
    }

    pub(super) fn to_json(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(serde_json::to_vec(&self.stored()).unwrap_or_default())
    }

    pub(super) fn from_json(hash: TokenHash, json: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Stored>(json).ok()?.into_entry(hash)
    }

    fn stored(&self) -> Stored {
        Stored {
            accessor: self.accessor.clone(),
            person: self.person.clone(),
            display_name: self.display_name.clone(),
            method: self.method.as_str().to_owned(),
            groups: self.groups.clone(),
            policies: self.policies.clone(),
            metadata: self.metadata.clone(),
            created: self.created.secs(),
            last_renewal: self.last_renewal.map(UnixTime::secs),
            ttl: self.ttl,
            expires: self.expires.map(UnixTime::secs),
            max_ttl: self.max_ttl,
            explicit_max_ttl: self.explicit_max_ttl,
            period: self.period,
            renewable: self.renewable,
            num_uses: self.num_uses,
            uses_left: self.uses_left(),
            parent: self.parent.map(|parent| parent.to_string()),
            path: self.path.clone(),
            depth: self.depth,
        }
    }
}

fn at_most(wanted: u64, limit: u64) -> u64 {
    if wanted == 0 { limit } else { wanted.min(limit) }
}

/// The entry as it lies in the store, sealed. Unknown fields are refused: they could restrict the token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    accessor: String,
    person: String,
    display_name: String,
    method: String,
    groups: BTreeSet<String>,
    policies: BTreeSet<String>,
    metadata: BTreeMap<String, String>,
    created: u64,
    last_renewal: Option<u64>,
    ttl: u64,
    expires: Option<u64>,
    max_ttl: u64,
    explicit_max_ttl: u64,
    period: u64,
    renewable: bool,
    num_uses: u64,
    uses_left: u64,
    parent: Option<String>,
    path: String,
    depth: u8,
}

impl Stored {
    fn into_entry(self, hash: TokenHash) -> Option<TokenEntry> {
        let parent = match self.parent {
            Some(hex) => Some(TokenHash::parse(&hex)?),
            None => None,
        };
        Some(TokenEntry {
            hash,
            accessor: self.accessor,
            person: self.person,
            display_name: self.display_name,
            method: AuthMethod::parse(&self.method)?,
            groups: self.groups,
            policies: self.policies,
            metadata: self.metadata,
            created: UnixTime::from_secs(self.created),
            last_renewal: self.last_renewal.map(UnixTime::from_secs),
            ttl: self.ttl,
            expires: self.expires.map(UnixTime::from_secs),
            max_ttl: self.max_ttl,
            explicit_max_ttl: self.explicit_max_ttl,
            period: self.period,
            renewable: self.renewable,
            num_uses: self.num_uses,
            parent,
            path: self.path,
            depth: self.depth,
            uses_left: Arc::new(AtomicU64::new(self.uses_left)),
        })
    }
}
