//! What a slice granted lately. Cedar's answer depends on the policies, the entities and the context alone; a slice fixes the
//! first two, so for the same context in full the answer is the same, and costs a comparison instead of an evaluation.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::caller::AuthMethod;
use crate::options::Options;
use crate::plan::Resolved;
use crate::principal::Principal;
use crate::request::CertType;
use crate::time::UnixTime;

/// Contexts that one slice remembers.
const REMEMBERED_MAX: usize = 4;

/// Everything that policies can see of a request, beside who asks which role.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) principals: &'a [Principal],
    pub(crate) ttl_secs: u64,
    pub(crate) address: IpAddr,
    pub(crate) method: AuthMethod,
    pub(crate) cert_type: CertType,
    pub(crate) key_type: &'static str,
    pub(crate) extensions: &'a Options,
    pub(crate) hour: u64,
    pub(crate) weekday: u64,
}

impl<'a> Asked<'a> {
    /// Looks at a request through the eyes of policies.
    pub(crate) fn new(resolved: &'a Resolved, address: IpAddr, method: AuthMethod, now: UnixTime) -> Self {
        Self {
            principals: resolved.principals(),
            ttl_secs: resolved.ttl_secs(),
            address,
            method,
            cert_type: resolved.cert_type(),
            key_type: resolved.key().kind().ssh_name(),
            extensions: resolved.extensions(),
            hour: now.hour_utc(),
            weekday: now.weekday_utc(),
        }
    }

    /// Every part that is no list.
    const fn plain(&self) -> (u64, IpAddr, AuthMethod, CertType, &'static str, u64, u64) {
        let Self {
            ttl_secs,
            address,
            method,
            cert_type,
            key_type,
            hour,
            weekday,
            ..
        } = self;
        (*ttl_secs, *address, *method, *cert_type, *key_type, *hour, *weekday)
    }
}

/// The grants a slice remembers. Refusals are not remembered.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Vec<Granted>>);

#[derive(Debug)]
struct Granted {
    plain: (u64, IpAddr, AuthMethod, CertType, &'static str, u64, u64),
    principals: Vec<Principal>,
    extensions: Options,
    policies: Vec<String>,
}

impl Memory {
    /// The policies that granted the same before.
    pub(crate) fn recall(&self, asked: &Asked<'_>) -> Option<Vec<String>> {
        let granted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        granted
            .iter()
            .find(|granted| granted.answers(asked))
            .map(|granted| granted.policies.clone())
    }

    /// Remembers a grant; the oldest is forgotten.
    pub(crate) fn keep(&self, asked: &Asked<'_>, policies: &[String]) {
        let mut granted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if granted.len() >= REMEMBERED_MAX {
            granted.remove(0);
        }
        granted.push(Granted {
            plain: asked.plain(),
            principals: asked.principals.to_vec(),
            extensions: BTreeMap::clone(asked.extensions),
            policies: policies.to_vec(),
        });
    }
}

impl Granted {
    fn answers(&self, asked: &Asked<'_>) -> bool {
        self.plain == asked.plain() && self.principals == asked.principals && self.extensions == *asked.extensions
    }
}
