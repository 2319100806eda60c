//! What proves who a host is. That the host's key belongs to it, [`crate::login::host_key`] has shown before.

use signet_core::caller::AuthMethod;
use signet_core::ec2_document::{DocumentError, InstanceDocument, RegionCertificate};
use signet_core::host_policy::{EnrollProof, HostPolicy};
use signet_core::time::UnixTime;

use super::entry::HostIdentity;
use crate::authority::Authority;
use crate::config::Ec2;
use crate::login::jwt::JwtRefusal;

/// Clocks differ; a document from further in the future is refused.
const FUTURE_SECS_MAX: u64 = 300;

/// What a host sends beside its key.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// `ec2`, `jwt` or `token`.
    pub method: &'a str,
    /// The document, the JWT or the token.
    pub text: &'a str,
    /// For a JWT: the role, where `hosts.toml` names more than one.
    pub role: Option<&'a str>,
    /// For a JWT: the login mount, where `hosts.toml` names more than one.
    pub mount: Option<&'a str>,
}

/// A proven identity.
#[derive(Debug)]
pub struct Proven {
    /// Who the host is.
    pub identity: HostIdentity,
    /// How that was proven.
    pub method: AuthMethod,
    /// Whether this is good for a first enrolment too, or only for a host that is pinned to the key that asks.
    pub first: Result<(), EvidenceRefusal>,
    /// The one-time token that a successful enrolment uses up.
    pub token: Option<String>,
}

/// Why the evidence is refused. The host is told none of it; the ledger is.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceRefusal {
    /// Not a method.
    #[error("{0:?} is not a method; there are ec2, jwt and token")]
    Method(String),
    /// `[hosts.ec2]` is absent.
    #[error("[hosts.ec2] is not configured")]
    NoEc2,
    /// The document does not hold.
    #[error("the identity document is refused")]
    Document(#[from] DocumentError),
    /// The pinned certificate of the region has ended; who signs with its key now is unknown.
    #[error("the certificate of region `{region}` in signet.toml has ended on {ends}")]
    CertificateEnded {
        /// The region.
        region: String,
        /// When.
        ends: UnixTime,
    },
    /// The instance was started too long ago.
    #[error("the instance was started at {started}, more than {window_secs} s ago")]
    Late {
        /// `pendingTime`.
        started: UnixTime,
        /// The window.
        window_secs: u64,
    },
    /// The instance would have been started in the future.
    #[error("the instance was started at {started}, which is in the future")]
    Future {
        /// `pendingTime`.
        started: UnixTime,
    },
    /// No `[[enroll]]` takes such a JWT, or several do.
    #[error("hosts.toml has {found} [[enroll]] for a JWT with this `mount` and `role`, not one")]
    JwtRule {
        /// How many.
        found: usize,
    },
    /// The login mount is not configured.
    #[error("there is no login auth/{0}")]
    JwtMount(String),
    /// The JWT does not hold.
    #[error("the JWT is refused")]
    Jwt(#[from] JwtRefusal),
    /// No such token, or it has ended.
    #[error("the one-time token is unknown or has ended")]
    Token,
    /// An enrolment has used the token.
    #[error("the one-time token was used before")]
    TokenUsed,
}

/// Checks the evidence.
///
/// # Errors
/// [`EvidenceRefusal`]
pub async fn prove(authority: &Authority, evidence: Evidence<'_>, now: UnixTime) -> Result<Proven, EvidenceRefusal> {
    match evidence.method {
        "ec2" => prove_ec2(authority.config.hosts.ec2.as_ref(), evidence.text, now),
        "jwt" => prove_jwt(authority, evidence, now).await,
        "token" => prove_token(authority, evidence.text, now),
        other => Err(EvidenceRefusal::Method(other.chars().take(40).collect())),
    }
}

fn prove_ec2(ec2: Option<&Ec2>, pkcs7: &str, now: UnixTime) -> Result<Proven, EvidenceRefusal> {
    let ec2 = ec2.ok_or(EvidenceRefusal::NoEc2)?;
    let document = InstanceDocument::verify(pkcs7, &ec2.certificates)?;
    let pinned = ec2.certificates.get(document.region());
    if let Some(ends) = pinned.map(RegionCertificate::ends).filter(|ends| *ends <= now) {
        return Err(EvidenceRefusal::CertificateEnded {
            region: document.region().to_owned(),
            ends,
        });
    }
    Ok(Proven {
        first: within_window(&document, ec2.pending_time_window_secs, now),
        method: AuthMethod::Ec2,
        token: None,
        identity: HostIdentity::Ec2 {
            account_id: document.account_id().to_owned(),
            region: document.region().to_owned(),
            image_id: document.image_id().to_owned(),
            instance_id: document.instance_id().to_owned(),
            private_ip: document.private_ip(),
            private_dns: document.private_dns(),
        },
    })
}

/// The document has no time of its own, so the instance's start stands for it: who reads it later gains nothing.
fn within_window(document: &InstanceDocument, window_secs: u64, now: UnixTime) -> Result<(), EvidenceRefusal> {
    let started = document.pending_time();
    if started > now.plus(FUTURE_SECS_MAX) {
        Err(EvidenceRefusal::Future { started })
    } else if now > started.plus(window_secs) {
        Err(EvidenceRefusal::Late { started, window_secs })
    } else {
        Ok(())
    }
}

async fn prove_jwt(authority: &Authority, evidence: Evidence<'_>, now: UnixTime) -> Result<Proven, EvidenceRefusal> {
    let policy = authority.policy();
    let (mount, role) = jwt_rule(&policy.hosts, evidence)?;
    let method = authority
        .login
        .jwt(mount)
        .ok_or_else(|| EvidenceRefusal::JwtMount(mount.to_owned()))?;
    let login = method.prove(role, evidence.text, now).await?;
    let user = login.person().strip_prefix(&format!("{mount}/")).unwrap_or_default();
    Ok(Proven {
        first: Ok(()),
        method: AuthMethod::Jwt,
        token: None,
        identity: HostIdentity::Jwt {
            mount: mount.to_owned(),
            role: role.to_owned(),
            user: user.to_owned(),
        },
    })
}

/// The mount and role of the one `[[enroll]]` that is meant.
fn jwt_rule<'p>(policy: &'p HostPolicy, evidence: Evidence<'_>) -> Result<(&'p str, &'p str), EvidenceRefusal> {
    let mut rules: Vec<(&str, &str)> = policy
        .enroll
        .iter()
        .filter_map(|rule| match &rule.proof {
            EnrollProof::Jwt { mount, role } => Some((mount.as_str(), role.as_str())),
            EnrollProof::Ec2 { .. } | EnrollProof::Token => None,
        })
        .filter(|(mount, role)| {
            evidence.mount.is_none_or(|wanted| wanted == *mount) && evidence.role.is_none_or(|wanted| wanted == *role)
        })
        .collect();
    rules.dedup();
    match rules.as_slice() {
        [one] => Ok(*one),
        several => Err(EvidenceRefusal::JwtRule { found: several.len() }),
    }
}

fn prove_token(authority: &Authority, text: &str, now: UnixTime) -> Result<Proven, EvidenceRefusal> {
    let (hash, token) = authority.hosts.tokens().find(text, now).ok_or(EvidenceRefusal::Token)?;
    Ok(Proven {
        first: if token.used {
            Err(EvidenceRefusal::TokenUsed)
        } else {
            Ok(())
        },
        method: AuthMethod::HostToken,
        token: Some(hash),
        identity: HostIdentity::Token {
            host: token.host,
            tags: token.tags,
        },
    })
}
