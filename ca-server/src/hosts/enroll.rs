//! The road of a host's certificate: key proven, identity proven, names given by policy, pinned to one key, issued as any other
//! certificate, recorded, stored. Nothing is pinned before the certificate's record is durable, and a crash in between leaves
//! the host free to ask again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use signet_core::caller::{AuthMethod, Caller, CallerParts, ENROLLED_HOSTS};
use signet_core::denial::Denial;
use signet_core::request::SigningRequest;
use signet_core::signer::SignError;
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;

use super::entry::{HostEntry, HostIdentity};
use super::evidence::{self, Evidence, EvidenceRefusal, Proven};
use super::given::{Given, NotGiven, given};
use super::{HostStoreError, host_mount, watch_region_certificates};
use crate::authority::Authority;
use crate::issue::{Counter, IssueError, issue};
use crate::ledger::{EventKind, IssuedCertificate, LedgerError};
use crate::login::host_key::{HostKeyRefusal, HostKeyRequest};
use crate::mounts::Mount;

/// A host's request, as far as it does not depend on what is asked.
#[derive(Debug, Clone, Copy)]
pub struct HostAsk<'a> {
    /// The authority.
    pub authority: &'a Authority,
    /// The socket's peer.
    pub peer: IpAddr,
    /// The time of this request.
    pub now: UnixTime,
    /// The request's id.
    pub request_id: &'a str,
}

/// A host with its new certificate.
#[derive(Debug)]
pub struct Enrolled {
    /// Its row.
    pub entry: Arc<HostEntry>,
    /// Its certificate.
    pub certificate: IssuedCertificate,
    /// The line of the CA key that signed it.
    pub host_ca_key: String,
}

/// Why a host gets no certificate, or its report is not taken.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Hosts cannot enrol at this server.
    #[error("no host can enrol: [hosts] `host_mount` is not set")]
    NotOffered,
    /// The mount is not there, or has no CA key.
    #[error("the mount `{0}` of [hosts] is not there or has no CA key")]
    NoMount(String),
    /// Another request is about the same host, name or token.
    #[error("another request is about the same host")]
    Busy,
    /// The host may not.
    #[error(transparent)]
    Refused(#[from] HostRefusal),
    /// The record could not be made durable.
    #[error("it could not be recorded")]
    Ledger(#[from] LedgerError),
    /// The row could not be stored.
    #[error("the host could not be stored")]
    Store(#[from] HostStoreError),
    /// The certificate could not be made.
    #[error("the certificate could not be made")]
    Issue(#[source] IssueError),
}

/// Why a host may not. It is told none of it; the ledger is.
#[derive(Debug, thiserror::Error)]
pub enum HostRefusal {
    /// It did not prove its host key.
    #[error("the host key is not proven")]
    Key(#[from] HostKeyRefusal),
    /// It did not prove who it is.
    #[error("the host's identity is not proven")]
    Evidence(#[from] EvidenceRefusal),
    /// `hosts.toml` gives it no name.
    #[error(transparent)]
    NotGiven(#[from] NotGiven),
    /// CVE-2026-39388, and a stolen identity document: the identity is pinned to another key.
    #[error("`{host}` is pinned to the host key {pinned}, not {offered}")]
    OtherKey {
        /// The host that is pinned.
        host: String,
        /// Fingerprint of its key.
        pinned: String,
        /// Fingerprint of the key that asked.
        offered: String,
    },
    /// Two hosts with one key can both speak for either: an image that carries host keys makes such hosts.
    #[error("its host key is already that of `{host}`: an image must not carry host keys")]
    SharedKey {
        /// The other host.
        host: String,
    },
    /// CVE-2020-24359: another host has the name.
    #[error("the name `{name}` belongs to `{host}`")]
    NameTaken {
        /// The name.
        name: String,
        /// Its owner.
        host: String,
    },
    /// No such host.
    #[error("no host has enrolled as {0:?}")]
    Unknown(String),
    /// A rule of the role or an access policy says no.
    #[error("the certificate is denied")]
    Denied(#[from] Denial),
}

impl HostRefusal {
    /// Whether somebody has to look at it: the identity holds, and yet another key came with it.
    #[must_use]
    pub const fn is_alarming(&self) -> bool {
        matches!(self, Self::OtherKey { .. } | Self::SharedKey { .. })
    }
}

impl From<HostKeyRefusal> for HostError {
    fn from(refusal: HostKeyRefusal) -> Self {
        Self::Refused(refusal.into())
    }
}

/// Enrols a host, or gives one that is pinned to this very key a certificate again.
///
/// # Errors
/// [`HostError`]; nothing is pinned then.
pub async fn enroll(
    at: HostAsk<'_>,
    request: HostKeyRequest<'_>,
    evidence: Evidence<'_>,
) -> Result<Enrolled, HostError> {
    if at.authority.config.hosts.host_mount.is_none() {
        return Err(HostError::NotOffered);
    }
    // 1. The key that asks is at hand, for this enrolment, at this server.
    let door = at.authority.login.host_key();
    let key = door.enroll(request, evidence.method, evidence.text, at.now)?;
    // 2. The identity, and what hosts.toml gives to it.
    if evidence.method == "ec2" {
        watch_region_certificates(&at.authority.foundation, at.now);
    }
    let proven = evidence::prove(at.authority, evidence, at.now)
        .await
        .map_err(HostRefusal::from)?;
    let given = given(&at.authority.policy().hosts, &proven.identity).map_err(HostRefusal::from)?;
    // 3. Of two requests about one host at the same moment, one goes on.
    let hosts = &at.authority.hosts;
    let _reserved = hosts.reserve(reserved(&proven, &given, &key)).ok_or(HostError::Busy)?;
    let pinned = hosts.by_identity(&proven.identity.key());
    check_pin(at.authority, pinned.as_deref(), &proven.identity, &key)?;
    if pinned.is_none() {
        proven.first.map_err(HostRefusal::from)?;
    }
    check_names(at.authority, &given, &proven.identity)?;
    // 4. Issued and recorded like any other certificate, and the enrolment recorded too.
    let host = pinned.as_ref().map_or_else(
        || given.names.first().cloned().unwrap_or_default(),
        |entry| entry.host.clone(),
    );
    let (certificate, host_ca_key) = certificate(at, &host, &given, &key, proven.method).await?;
    record(at, &host, &proven.identity, &given, &key, pinned.is_some()).await?;
    // 5. Pinned, and the token used up, in one step.
    let entry = HostEntry {
        host,
        names: given.names,
        tags: given.tags,
        identity: proven.identity,
        public_key: key.line(),
        enrolled: pinned.as_ref().map_or(at.now.secs(), |entry| entry.enrolled),
        renewed: at.now.secs(),
        certificate_ends: certificate.valid_before().secs(),
        address: at.peer.to_string(),
        report: pinned.as_ref().and_then(|entry| entry.report.clone()),
    };
    let used = match &proven.token {
        Some(hash) => hosts.tokens().use_up(hash)?,
        None => Vec::new(),
    };
    let entry = hosts.put(entry, used).await?;
    if let Some(hash) = &proven.token {
        hosts.tokens().used_up(hash);
    }
    Ok(Enrolled {
        entry,
        certificate,
        host_ca_key,
    })
}

/// Renews a host's certificate: by the pinned key only, with the names and tags that `hosts.toml` gives it now.
///
/// # Errors
/// [`HostError`]; the old certificate then stays the last one.
pub async fn renew(at: HostAsk<'_>, host: &str, request: HostKeyRequest<'_>) -> Result<Enrolled, HostError> {
    let unknown = || HostRefusal::Unknown(host.chars().take(253).collect());
    let hosts = &at.authority.hosts;
    hosts.find(host).ok_or_else(unknown)?;
    let key = at.authority.login.host_key().renew(request, host, at.now)?;
    let _reserved = hosts.reserve([word(host)]).ok_or(HostError::Busy)?;
    // Read again: it may have been forgotten before the reservation.
    let pinned = hosts.find(host).ok_or_else(unknown)?;
    check_pin(at.authority, Some(&pinned), &pinned.identity, &key)?;
    let given = given(&at.authority.policy().hosts, &pinned.identity).map_err(HostRefusal::from)?;
    check_names(at.authority, &given, &pinned.identity)?;
    let (certificate, host_ca_key) = certificate(at, host, &given, &key, AuthMethod::HostKey).await?;
    let entry = HostEntry {
        names: given.names,
        tags: given.tags,
        renewed: at.now.secs(),
        certificate_ends: certificate.valid_before().secs(),
        address: at.peer.to_string(),
        ..HostEntry::clone(&pinned)
    };
    let entry = hosts.put(entry, Vec::new()).await?;
    Ok(Enrolled {
        entry,
        certificate,
        host_ca_key,
    })
}

/// The word that stands for a host among the reserved ones; names and hosts share one space.
pub(crate) fn word(host: &str) -> String {
    format!("name {host}")
}

fn reserved(proven: &Proven, given: &Given, key: &SubjectKey) -> Vec<String> {
    let mut words = vec![
        format!("identity {}", proven.identity.key()),
        format!("key {}", key.fingerprint()),
    ];
    words.extend(given.names.iter().map(|name| word(name)));
    words.extend(proven.token.iter().map(|hash| format!("token {hash}")));
    words
}

fn check_pin(
    authority: &Authority,
    pinned: Option<&HostEntry>,
    identity: &HostIdentity,
    key: &SubjectKey,
) -> Result<(), HostRefusal> {
    if let Some(entry) = pinned
        && !entry.is_pinned_to(key)
    {
        return Err(HostRefusal::OtherKey {
            host: entry.host.clone(),
            pinned: entry.key().map(|key| key.fingerprint()).unwrap_or_default(),
            offered: key.fingerprint(),
        });
    }
    match authority.hosts.by_key(key) {
        Some(other) if other.identity.key() != identity.key() => Err(HostRefusal::SharedKey {
            host: other.host.clone(),
        }),
        _ => Ok(()),
    }
}

/// SECURITY: CVE-2020-24359: what one host was given no other host gets, as long as the first is not forgotten.
fn check_names(authority: &Authority, given: &Given, identity: &HostIdentity) -> Result<(), HostRefusal> {
    for name in &given.names {
        if let Some(owner) = authority.hosts.owner_of(name)
            && owner.identity.key() != identity.key()
        {
            return Err(HostRefusal::NameTaken {
                name: name.clone(),
                host: owner.host.clone(),
            });
        }
    }
    Ok(())
}

/// The certificate, by the one road that all certificates go: role rules and access policies decide.
async fn certificate(
    at: HostAsk<'_>,
    host: &str,
    given: &Given,
    key: &SubjectKey,
    method: AuthMethod,
) -> Result<(IssuedCertificate, String), HostError> {
    let config = &at.authority.config.hosts;
    let no_mount = || HostError::NoMount(config.host_mount.clone().unwrap_or_default());
    let mount: Arc<Mount> = host_mount(at.authority).ok_or_else(no_mount)?;
    let caller = caller(at, host, method);
    let request = SigningRequest {
        public_key: Some(key.line()),
        cert_type: Some("host".to_owned()),
        valid_principals: Some(given.names.join(",")),
        ..SigningRequest::default()
    };
    let counter = Counter {
        authority: at.authority,
        caller: &caller,
        mount: &mount,
        role: &config.role,
        request_id: at.request_id,
    };
    match issue(counter, &request).await {
        Ok(issued) => {
            at.authority.metrics.certificate();
            let ca_key = ca_key_of(&issued).ok_or(HostError::Issue(IssueError::Sign(SignError::Failed)))?;
            Ok((issued, ca_key))
        }
        Err(IssueError::Denied(denial)) => {
            at.authority.metrics.denial(denial.code());
            Err(HostRefusal::Denied(denial).into())
        }
        Err(IssueError::NoCaKey) => Err(no_mount()),
        Err(IssueError::Ledger(error)) => Err(error.into()),
        Err(error @ (IssueError::Issuer { .. } | IssueError::Sign(_) | IssueError::Random(_))) => {
            Err(HostError::Issue(error))
        }
    }
}

/// The CA key that signed it: not the mount's default one where the role names another, nor where one was promoted since.
fn ca_key_of(issued: &IssuedCertificate) -> Option<String> {
    let certificate = ssh_key::Certificate::from_openssh(issued.line().trim()).ok()?;
    let blob = ssh_key::PublicKey::from(certificate.signature_key().clone())
        .to_bytes()
        .ok()?;
    SubjectKey::from_blob(blob).ok().map(|key| key.line())
}

/// Authenticated by its host key and by what proved who it is.
fn caller(at: HostAsk<'_>, host: &str, method: AuthMethod) -> Caller {
    Caller::authenticated(CallerParts {
        person: format!("host/{host}"),
        display_name: format!("host-{host}"),
        method,
        groups: BTreeSet::from([ENROLLED_HOSTS.to_owned()]),
        policies: BTreeSet::new(),
        address: at.peer,
        accessor: String::new(),
        token_expires: None,
        metadata: BTreeMap::from([("host".to_owned(), host.to_owned())]),
    })
}

async fn record(
    at: HostAsk<'_>,
    host: &str,
    identity: &HostIdentity,
    given: &Given,
    key: &SubjectKey,
    again: bool,
) -> Result<(), LedgerError> {
    let event = at
        .authority
        .ledger
        .event(EventKind::HostEnroll)
        .text("host", host)
        .text("method", identity.method())
        .text("identity", &identity.key())
        .list("names", given.names.iter().map(String::as_str))
        .list("tags", given.tags.iter().map(String::as_str))
        .text("fingerprint", &key.fingerprint())
        .flag("again", again)
        .text("address", &at.peer.to_string())
        .text("request_id", at.request_id);
    at.authority.ledger.record(event).await.map(drop)
}
