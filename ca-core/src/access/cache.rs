//! Keeps the slices that were used lately, so that the next certificate of the same caller and role costs one lookup. It
//! belongs to one snapshot of the policies and goes with it; it never holds more than two generations.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock};

use super::slice::Body;
use crate::caller::Caller;

/// Slices in one generation.
const GENERATION_MAX: usize = 1024;

/// Slices by a hash of caller and role. The caller is compared in full at each hit: a hash alone decides nothing.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    hasher: RandomState,
    generations: RwLock<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, Arc<Body>>,
    old: HashMap<u64, Arc<Body>>,
}

impl Cache {
    /// The slice of this caller and role, if it was used lately.
    pub(crate) fn get(&self, caller: &Caller, mount: &str, role: &str) -> Option<Arc<Body>> {
        let key = self.key(caller, mount, role);
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        let found = generations.young.get(&key).or_else(|| generations.old.get(&key))?;
        found.identity.is(caller, mount, role).then(|| Arc::clone(found))
    }

    /// Keeps a slice. When the young generation is full, it becomes the old one and the old one is forgotten.
    pub(crate) fn put(&self, caller: &Caller, body: &Arc<Body>) {
        let key = self.key(caller, &body.identity.mount, &body.identity.role);
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= GENERATION_MAX {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, Arc::clone(body));
    }

    fn key(&self, caller: &Caller, mount: &str, role: &str) -> u64 {
        self.hasher
            .hash_one((caller.person(), caller.groups(), caller.policies(), mount, role))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let generations = self.generations.read().unwrap();
        generations.young.len() + generations.old.len()
    }
}
