//! `policies/hosts.toml`: which principals open which account on which hosts, and how hosts come by their names and tags.
//!
//! A host gets every rule whose tags it has all of. So a new server of a known kind needs no change anywhere, and a new person
//! only a group.

mod names;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::mistake::Mistake;

pub use self::names::HostNameError;

/// The account that break-glass keys open; no certificate does, so no rule may name it.
pub const BREAKGLASS_ACCOUNT: &str = "breakglass";

/// Everything in `hosts.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPolicy {
    /// Who opens what.
    pub rules: Vec<HostRule>,
    /// How hosts come by names and tags.
    pub enroll: Vec<EnrollRule>,
}

/// On hosts with all of `tags`, each account is opened by its principals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRule {
    /// Tags; none of them means every host.
    pub tags: BTreeSet<String>,
    /// Account → principals.
    pub accounts: BTreeMap<String, BTreeSet<String>>,
}

/// One way for hosts to enrol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollRule {
    /// What proves who the host is.
    pub proof: EnrollProof,
    /// Tags that such a host gets; for tokens, those that a token may carry.
    pub tags: BTreeSet<String>,
    /// Patterns of names, filled in from the proof: `{instance_id}.web.example.com`. For tokens, the domains within which one
    /// may name a host.
    pub names: Vec<String>,
}

/// What proves who a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrollProof {
    /// An EC2 instance identity document that fits all of these; an empty list fits nothing.
    Ec2 {
        /// AWS account numbers.
        accounts: BTreeSet<String>,
        /// Regions.
        regions: BTreeSet<String>,
        /// Images (AMI ids).
        images: BTreeSet<String>,
        /// Networks of the private address.
        subnets: Vec<IpNet>,
    },
    /// A JWT that `[[auth.jwt]]` mount `mount` takes for its role `role`.
    Jwt {
        /// The login mount.
        mount: String,
        /// Its role.
        role: String,
    },
    /// A one-time token that an operator made.
    Token,
}

impl HostPolicy {
    /// Reads `hosts.toml`.
    ///
    /// # Errors
    /// Every mistake in the file: unknown keys, absent ones, names that cannot be, lists that allow nothing, and what is said
    /// twice.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        let (read, mistakes) = read::read(file, text);
        if mistakes.is_empty() {
            Ok(read.policy)
        } else {
            Err(mistakes)
        }
    }

    /// Reads what can be read beside the mistakes, with the line of each rule.
    pub(crate) fn read(file: &str, text: &str) -> (Self, Vec<usize>, Vec<Mistake>) {
        let (read, mistakes) = read::read(file, text);
        (read.policy, read.rule_lines, mistakes)
    }
}

/// Which principals open which account on a host with these tags; accounts that no rule opens are absent.
#[must_use]
pub fn principals_by_account(rules: &[HostRule], tags: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut accounts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.tags.is_subset(tags)) {
        for (account, principals) in &rule.accounts {
            accounts
                .entry(account.clone())
                .or_default()
                .extend(principals.iter().cloned());
        }
    }
    accounts
}

#[cfg(test)]
mod tests;
