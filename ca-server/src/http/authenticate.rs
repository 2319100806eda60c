//! Token to caller. The only place that makes a [`Caller`], and therefore the only place to ask who somebody is; but for
//! hosts, which have keys and no tokens: `hosts/enroll.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use signet_core::caller::{AuthMethod, Caller, CallerParts, ENROLLED_HOSTS};
use signet_core::people::{People, Person};
use signet_core::policy_set::PolicySet;
use signet_core::time::UnixTime;

use super::problem::Problem;
use crate::login::ssh_key::KEY_FINGERPRINT;
use crate::tokens::{TokenEntry, Tokens};

/// A caller with the token that says so.
#[derive(Debug)]
pub struct Session {
    /// Who asks.
    pub caller: Caller,
    /// The token's entry.
    pub entry: Arc<TokenEntry>,
}

/// The token of a request: `X-Vault-Token`, or `Authorization: Bearer`.
pub(super) fn token_of(headers: &HeaderMap) -> Option<&str> {
    let own = headers
        .get("x-vault-token")
        .and_then(|value| value.to_str().ok())
        .filter(|token| !token.is_empty());
    own.or_else(|| {
        let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
            .filter(|token| !token.is_empty())
    })
}

/// Checks a token, against the people of this very moment: who was removed from a group has lost it now, and who was
/// removed from `people.toml` is nobody, however long the token lives.
///
/// # Errors
/// [`Problem::TokenMissing`], [`Problem::TokenInvalid`], and 403 for a token whose person or key is gone.
pub(super) fn authenticate(
    tokens: &Tokens,
    policy: &PolicySet,
    token: Option<&str>,
    peer: IpAddr,
    now: UnixTime,
) -> Result<Session, Problem> {
    let entry = tokens
        .check(token.ok_or(Problem::TokenMissing)?, now)
        .ok_or(Problem::TokenInvalid)?;
    let person = policy.people.person(&entry.person);
    if entry.method == AuthMethod::SshKey {
        still_listed(person, &entry)?;
    }
    let caller = Caller::authenticated(CallerParts {
        person: entry.person.clone(),
        display_name: entry.display_name.clone(),
        method: entry.method,
        groups: groups(&policy.people, person, &entry),
        policies: entry.policies.clone(),
        address: peer,
        accessor: entry.accessor.clone(),
        token_expires: entry.expires,
        metadata: metadata(person, &entry),
    });
    Ok(Session { caller, entry })
}

/// SECURITY: a group whose members people.toml lists has those members and no others, whatever an identity provider or
/// whoever names groups there puts in a claim. Only a group in `login_groups` comes with a login.
fn groups(people: &People, person: Option<&Person>, entry: &TokenEntry) -> BTreeSet<String> {
    let brought = entry
        .groups
        .iter()
        .filter(|group| *group != ENROLLED_HOSTS)
        .filter(|group| people.login_groups().contains(*group) || !people.groups().contains(*group))
        .cloned();
    match person {
        // Names in people.toml belong to logins by SSH key; a name that an identity provider chose must not match one.
        Some(person) if entry.method == AuthMethod::SshKey => person.groups().iter().cloned().chain(brought).collect(),
        _ => brought.collect(),
    }
}

/// What templates of roles may use: what people.toml says of the person now, under what the login itself proved.
fn metadata(person: Option<&Person>, entry: &TokenEntry) -> BTreeMap<String, String> {
    let mut metadata = match person {
        Some(person) if entry.method == AuthMethod::SshKey => person.metadata().clone(),
        _ => BTreeMap::new(),
    };
    metadata.extend(entry.metadata.clone());
    metadata
}

fn still_listed(person: Option<&Person>, entry: &TokenEntry) -> Result<(), Problem> {
    let Some(person) = person else {
        return Err(Problem::forbidden("person-removed", "permission denied")
            .with_hint(format!("`{}` is no longer in people.toml", entry.person)));
    };
    let fingerprint = entry.metadata.get(KEY_FINGERPRINT);
    if fingerprint.is_some_and(|used| !person.keys().iter().any(|key| key.fingerprint() == *used)) {
        return Err(Problem::forbidden("key-removed", "permission denied")
            .with_hint("the SSH key of this login is no longer in people.toml: log in with another".to_owned()));
    }
    Ok(())
}
