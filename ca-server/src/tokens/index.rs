//! Tokens in memory. Checks touch one shard's read lock; the rest of the index is for those who change tokens.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use signet_core::time::UnixTime;

use super::entry::{TokenEntry, TokenHash};

const SHARDS: usize = 16;

#[derive(Debug)]
pub(super) struct Index {
    shards: [RwLock<HashMap<TokenHash, Arc<TokenEntry>>>; SHARDS],
    relations: Mutex<Relations>,
}

/// Everything that is asked for by something else than the token.
#[derive(Debug, Default)]
pub(super) struct Relations {
    by_accessor: HashMap<String, TokenHash>,
    children: HashMap<TokenHash, BTreeSet<TokenHash>>,
    by_end: BTreeSet<(UnixTime, TokenHash)>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            relations: Mutex::default(),
        }
    }
}

impl Index {
    pub(super) fn find(&self, hash: TokenHash) -> Option<Arc<TokenEntry>> {
        self.shard(hash)?
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&hash)
            .cloned()
    }

    pub(super) fn insert(&self, entry: TokenEntry) -> Arc<TokenEntry> {
        let entry = Arc::new(entry);
        let mut relations = self.changing();
        relations.add(&entry);
        self.put(&entry);
        entry
    }

    /// Puts a renewed entry in the place of the old one; `None` if the token is gone.
    pub(super) fn replace(&self, entry: TokenEntry) -> Option<Arc<TokenEntry>> {
        let mut relations = self.changing();
        let old = self.find(entry.hash)?;
        relations.take(&old);
        let entry = Arc::new(entry);
        relations.add(&entry);
        self.put(&entry);
        Some(entry)
    }

    pub(super) fn remove(&self, hash: TokenHash) {
        let removed = self
            .shard(hash)
            .and_then(|shard| shard.write().unwrap_or_else(PoisonError::into_inner).remove(&hash));
        if let Some(entry) = removed {
            self.changing().take(&entry);
        }
    }

    pub(super) fn by_accessor(&self, accessor: &str) -> Option<TokenHash> {
        self.changing().by_accessor.get(accessor).copied()
    }

    pub(super) fn accessors(&self) -> Vec<String> {
        self.changing().by_accessor.keys().cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.changing().by_accessor.len()
    }

    /// Up to `most` tokens that have ended.
    pub(super) fn expired(&self, now: UnixTime, most: usize) -> Vec<TokenHash> {
        let relations = self.changing();
        relations
            .by_end
            .iter()
            .take(most)
            .take_while(|(end, _)| *end <= now)
            .map(|(_, hash)| *hash)
            .collect()
    }

    /// The lock that whoever changes tokens holds.
    pub(super) fn changing(&self) -> MutexGuard<'_, Relations> {
        self.relations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, entry: &Arc<TokenEntry>) {
        if let Some(shard) = self.shard(entry.hash) {
            shard
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(entry.hash, Arc::clone(entry));
        }
    }

    fn shard(&self, hash: TokenHash) -> Option<&RwLock<HashMap<TokenHash, Arc<TokenEntry>>>> {
        self.shards.get(hash.shard(SHARDS))
    }
}

impl Relations {
    /// The token and all below it.
    pub(super) fn tree(&self, root: TokenHash) -> Vec<TokenHash> {
        let mut tree = vec![root];
        let mut next = 0;
        while let Some(hash) = tree.get(next).copied() {
            tree.extend(self.children.get(&hash).into_iter().flatten().copied());
            next += 1;
        }
        tree
    }

    fn add(&mut self, entry: &TokenEntry) {
        self.by_accessor.insert(entry.accessor.clone(), entry.hash);
        if let Some(parent) = entry.parent {
            self.children.entry(parent).or_default().insert(entry.hash);
        }
        if let Some(end) = entry.expires {
            self.by_end.insert((end, entry.hash));
        }
    }

    fn take(&mut self, entry: &TokenEntry) {
        self.by_accessor.remove(&entry.accessor);
        if let Some(end) = entry.expires {
            self.by_end.remove(&(end, entry.hash));
        }
        if let Some(siblings) = entry.parent.and_then(|parent| self.children.get_mut(&parent)) {
            siblings.remove(&entry.hash);
        }
        if let Some(parent) = entry.parent
            && self.children.get(&parent).is_some_and(BTreeSet::is_empty)
        {
            self.children.remove(&parent);
        }
    }
}
