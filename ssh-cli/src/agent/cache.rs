//! Certificates by request and token: one fetch for any number of askers, reuse until shortly before the end, renewal in
//! the background, and the old one while the authority is away.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use signet_core::time::UnixTime;

use super::control::{CertificateRequest, Handle, cache_key, token_hash};
use super::identity::Identity;
use super::obtain::{ObtainError, obtain, write_known_hosts};
use super::runtime_dir::RuntimeDir;
use super::socket::AgentSocket;
use crate::clock::Clock;
use crate::report::{Exit, Failure};
use crate::vault::Vault;

/// After a failed fetch a still valid certificate is handed out without asking again for this long.
const RETRY_SECS: u64 = 15;

/// Every certificate this agent holds.
#[derive(Debug)]
pub struct Cache {
    dir: RuntimeDir,
    clock: Clock,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    changed: Condvar,
}

/// One request's certificate over time.
struct Slot {
    key: String,
    token_hash: String,
    request: CertificateRequest,
    token: Option<SecretString>,
    clock: Clock,
    /// Held while a fetch is under way: the single flight.
    flight: Mutex<Option<Vault>>,
    /// Counts finished fetches, so that those who waited share the outcome instead of asking again.
    flights: AtomicU64,
    state: Mutex<State>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Slot")
    }
}

#[derive(Default)]
struct State {
    socket: Option<AgentSocket>,
    current: Option<Arc<Identity>>,
    known_hosts: Option<PathBuf>,
    last_failure: Option<Failure>,
    not_before: Option<UnixTime>,
    last_asked: Option<UnixTime>,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(path) = &self.known_hosts {
            drop(std::fs::remove_file(path));
        }
    }
}

impl Cache {
    /// An empty cache whose sockets live in `dir`.
    #[must_use]
    pub fn new(dir: RuntimeDir, clock: Clock) -> Self {
        Self {
            dir,
            clock,
            slots: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// A certificate for this request: the one at hand, or a fresh one.
    ///
    /// # Errors
    /// The [`Failure`] of the fetch, when there is nothing valid to fall back on.
    pub fn certificate(&self, request: CertificateRequest, token: Option<SecretString>) -> Result<Handle, Failure> {
        let slot = self.slot(request, token);
        let seen = slot.flights.load(Ordering::SeqCst);
        if let Some(handle) = slot.at_hand(self.clock.now()) {
            return Ok(handle);
        }
        let outcome = slot.fetch(&self.dir, seen);
        self.changed.notify_all();
        outcome
    }

    /// Drops every certificate that came with this token; answers how many are left.
    pub fn forget(&self, token: Option<&SecretString>) -> usize {
        let gone = token_hash(token);
        let mut slots = lock(&self.slots);
        slots.retain(|_, slot| slot.token_hash != gone);
        slots.len()
    }

    /// Drops everything.
    pub fn clear(&self) {
        lock(&self.slots).clear();
        self.changed.notify_all();
    }

    /// How many certificates are valid.
    pub fn held(&self) -> usize {
        let now = self.clock.now();
        lock(&self.slots)
            .values()
            .filter(|slot| slot.valid_before().is_some_and(|end| end > now))
            .count()
    }

    /// Renews what is used and due, drops what has ended, then waits until something is due again.
    pub fn tend(&self, wait_max: Duration) {
        let now = self.clock.now();
        let slots: Vec<Arc<Slot>> = lock(&self.slots).values().cloned().collect();
        for slot in slots {
            if slot.is_due(now) {
                let seen = slot.flights.load(Ordering::SeqCst);
                drop(slot.fetch(&self.dir, seen));
            }
        }
        let mut slots = lock(&self.slots);
        // A slot that somebody else holds is in use just now.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.valid_before().is_some_and(|end| end > now));
        let next = slots.values().filter_map(|slot| slot.next_event(now)).min();
        let wait = next.map_or(wait_max, |next| {
            Duration::from_secs(now.secs_until(next).max(1)).min(wait_max)
        });
        drop(self.changed.wait_timeout(slots, wait));
    }

    fn slot(&self, request: CertificateRequest, token: Option<SecretString>) -> Arc<Slot> {
        let key = cache_key(&request, token.as_ref());
        let mut slots = lock(&self.slots);
        let slot = slots.entry(key.clone()).or_insert_with(|| {
            Arc::new(Slot {
                key,
                token_hash: token_hash(token.as_ref()),
                request,
                token,
                clock: self.clock.clone(),
                flight: Mutex::default(),
                flights: AtomicU64::new(0),
                state: Mutex::default(),
            })
        });
        Arc::clone(slot)
    }
}

impl Slot {
    /// The certificate, when it is fresh enough, or when it is valid and the authority was away a moment ago.
    fn at_hand(&self, now: UnixTime) -> Option<Handle> {
        let mut state = lock(&self.state);
        state.last_asked = Some(now);
        let current = state.current.as_ref()?;
        let away = state.not_before.is_some_and(|time| now < time) && current.valid_before() > now.plus(2);
        (current.is_fresh(now) || away)
            .then(|| state.handle(Vec::new()))
            .flatten()
    }

    /// Fetches, unless another asker's fetch has ended since `seen`: then its outcome is everybody's.
    fn fetch(&self, dir: &RuntimeDir, seen: u64) -> Result<Handle, Failure> {
        let mut vault = lock(&self.flight);
        let now = self.clock.now();
        if self.flights.load(Ordering::SeqCst) != seen {
            if let Some(failure) = lock(&self.state).last_failure.clone() {
                return self.fall_back(failure);
            }
            if let Some(handle) = self.at_hand(now) {
                return Ok(handle);
            }
        }
        let outcome = self.fetch_now(dir, &mut vault);
        let mut state = lock(&self.state);
        let answer = match outcome {
            Ok(warnings) => {
                state.last_failure = None;
                state.not_before = None;
                state
                    .handle(warnings)
                    .ok_or_else(|| Failure::new(Exit::Failed, "the certificate is gone already"))
            }
            Err(failure) => {
                state.last_failure = Some(failure.clone());
                state.not_before = Some(self.clock.now().plus(RETRY_SECS));
                Err(failure)
            }
        };
        drop(state);
        self.flights.fetch_add(1, Ordering::SeqCst);
        drop(vault);
        answer.or_else(|failure| self.fall_back(failure))
    }

    /// While the authority is away a certificate that is still valid serves; a refusal is a refusal.
    fn fall_back(&self, failure: Failure) -> Result<Handle, Failure> {
        let now = self.clock.now();
        let state = lock(&self.state);
        let valid = state
            .current
            .as_ref()
            .is_some_and(|identity| identity.valid_before() > now.plus(2));
        match state.handle(Vec::new()) {
            Some(handle) if valid && failure.exit == Exit::Later => Ok(handle),
            _ => Err(failure),
        }
    }

    fn fetch_now(&self, dir: &RuntimeDir, vault: &mut Option<Vault>) -> Result<Vec<String>, Failure> {
        let vault = match vault {
            Some(vault) => vault,
            None => {
                vault.insert(Vault::new(self.request.endpoint.clone(), self.token.clone()).map_err(ObtainError::Vault)?)
            }
        };
        let (identity, warnings) = obtain(vault, &self.request, &self.clock)?;
        let name = self.key.get(..16).unwrap_or("certificate");
        if let Some(hosts) = &self.request.host_keys {
            let path = dir.join(&format!("{name}.known_hosts"));
            write_known_hosts(vault, hosts, &path)?;
            lock(&self.state).known_hosts = Some(path);
        }
        let identity = Arc::new(identity);
        let mut state = lock(&self.state);
        if state.socket.is_none() {
            let path = dir.join(&format!("{name}.sock"));
            let bound = AgentSocket::bind(path, self.clock.clone());
            let bound = bound.map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            state.socket = Some(bound);
        }
        if let Some(socket) = &state.socket {
            socket.put(Arc::clone(&identity));
        }
        state.current = Some(identity);
        Ok(warnings)
    }

    fn valid_before(&self) -> Option<UnixTime> {
        lock(&self.state)
            .current
            .as_ref()
            .map(|identity| identity.valid_before())
    }

    /// Due for renewal: two thirds of the life are over and it was used in the last third of them.
    fn is_due(&self, now: UnixTime) -> bool {
        let state = lock(&self.state);
        let Some(current) = &state.current else { return false };
        if now < current.renewal_time() || now >= current.valid_before() {
            return false;
        }
        if state.not_before.is_some_and(|time| now < time) {
            return false;
        }
        let signed = state.socket.as_ref().map(AgentSocket::last_signature);
        let used = state.last_asked.max(signed);
        used.is_some_and(|used| used > current.obtained().plus(current.life_secs() / 3))
    }

    /// When this slot wants to be looked at again.
    fn next_event(&self, now: UnixTime) -> Option<UnixTime> {
        let state = lock(&self.state);
        let current = state.current.as_ref()?;
        let renewal = state
            .not_before
            .map_or(current.renewal_time(), |time| time.max(current.renewal_time()));
        Some(if renewal > now {
            renewal.min(current.valid_before())
        } else {
            current.valid_before()
        })
    }
}

impl State {
    fn handle(&self, warnings: Vec<String>) -> Option<Handle> {
        let socket = self.socket.as_ref()?.path().to_owned();
        Some(Handle {
            socket,
            known_hosts: self.known_hosts.clone(),
            warnings,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
