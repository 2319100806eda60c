//! From a request to a plan: the role's rules, in Vault's order, and then every field of the certificate.
//!
//! [`resolve`] answers what OpenSSH will enforce, [`crate::access`] answers who may; a [`Grant`] holds both answers, and a
//! [`CertificatePlan`] is a grant with its serial and its window. Nothing here signs.

mod key_id;
mod key_rules;
mod option_rules;
mod principals;

pub use self::key_id::check_key_id_format;
pub use self::key_rules::KEY_LENGTH_KINDS;

use crate::caller::Caller;
use crate::denial::Denial;
use crate::key_id::KeyId;
use crate::options::Options;
use crate::principal::Principal;
use crate::request::{CertType, SigningRequest};
use crate::role::{AlgorithmSigner, Role, RoleSource};
use crate::serial::Serial;
use crate::subject_key::SubjectKey;
use crate::time::{UnixTime, Validity};

/// What the mount adds to a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountLimits {
    /// Lifetime in seconds where neither request nor role says one.
    pub default_ttl_secs: u64,
    /// Longest lifetime in seconds where the role says none.
    pub max_ttl_secs: u64,
    /// Whether a certificate without principals needs the role's explicit leave. Only servers that must answer as Vault
    /// did before CVE-2024-7594 turn it off.
    pub strict_empty_principals: bool,
}

/// Vault's lease default: 768 hours.
const VAULT_TTL_SECS: u64 = 768 * 3600;

impl Default for MountLimits {
    fn default() -> Self {
        Self {
            default_ttl_secs: VAULT_TTL_SECS,
            max_ttl_secs: VAULT_TTL_SECS,
            strict_empty_principals: true,
        }
    }
}

/// A request that meets its role's rules: what the certificate would hold, before anybody decided whether the caller may
/// have it.
#[derive(Debug, Clone)]
pub struct Resolved {
    role: String,
    mount: String,
    key: SubjectKey,
    key_id: KeyId,
    cert_type: CertType,
    principals: Vec<Principal>,
    ttl_secs: u64,
    backdate_secs: u64,
    critical_options: Options,
    extensions: Options,
    algorithm: AlgorithmSigner,
    token_expires: Option<UnixTime>,
    warnings: Vec<String>,
}

/// Applies the role's rules to a request, in the order in which Vault applies them, so that the same mistake gets the
/// same answer.
///
/// # Errors
/// The first [`Denial`].
pub fn resolve(
    role: &Role,
    request: &SigningRequest,
    caller: &Caller,
    limits: &MountLimits,
) -> Result<Resolved, Denial> {
    let line = request
        .public_key
        .as_deref()
        .filter(|line| !line.is_empty())
        .ok_or(Denial::PublicKeyMissing)?;
    let key = SubjectKey::parse(line).map_err(Denial::PublicKeyInvalid)?;
    key_rules::check(role, key.kind())?;
    let key_id = key_id::resolve(role, request, caller, &key)?;
    let cert_type = cert_type(role, request)?;
    let mut warnings = Vec::new();
    let principals = principals::resolve(role, request, caller, cert_type, limits)?;
    let ttl_secs = ttl_secs(role, request, limits)?;
    let critical_options = option_rules::critical_options(role, request, key.kind())?;
    let extensions = option_rules::extensions(role, request, caller, &mut warnings)?;
    Ok(Resolved {
        role: role.name().to_owned(),
        mount: role.mount().to_owned(),
        key,
        key_id,
        cert_type,
        principals,
        ttl_secs,
        backdate_secs: role.backdate_secs,
        critical_options,
        extensions,
        algorithm: role.algorithm_signer(),
        token_expires: caller.token_expires(),
        warnings,
    })
}

fn cert_type(role: &Role, request: &SigningRequest) -> Result<CertType, Denial> {
    let (cert_type, allowed) = match request.cert_type.as_deref().unwrap_or("user") {
        "" | "user" => (CertType::User, role.user_certificates()),
        "host" => (CertType::Host, role.host_certificates()),
        other => return Err(Denial::CertTypeUnknown(other.to_owned())),
    };
    if allowed {
        Ok(cert_type)
    } else {
        Err(Denial::CertTypeNotAllowed {
            role: role.name().to_owned(),
            cert_type,
        })
    }
}

/// The lifetime: a TTL that was asked for and is too long is refused, one that was not is cut to the limit.
fn ttl_secs(role: &Role, request: &SigningRequest, limits: &MountLimits) -> Result<u64, Denial> {
    const TTL_SECS_MIN_FILE: u64 = 60;
    let max_secs = role.max_ttl_secs().unwrap_or(limits.max_ttl_secs);
    let Some(asked) = request.ttl_secs else {
        return Ok(role.ttl_secs().unwrap_or(limits.default_ttl_secs).min(max_secs));
    };
    let asked_secs = if asked == 0 { limits.default_ttl_secs } else { asked };
    let min_secs = if *role.source() == RoleSource::Api {
        1
    } else {
        TTL_SECS_MIN_FILE
    };
    if asked_secs > max_secs {
        return Err(Denial::TtlTooLong {
            role: role.name().to_owned(),
            asked_secs,
            max_secs,
        });
    }
    if asked_secs < min_secs {
        return Err(Denial::TtlTooShort { asked_secs, min_secs });
    }
    Ok(asked_secs)
}

impl Resolved {
    /// The role whose rules were met.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The role's mount.
    #[must_use]
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// The subject key.
    #[must_use]
    pub const fn key(&self) -> &SubjectKey {
        &self.key
    }

    /// The key ID.
    #[must_use]
    pub const fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The kind of certificate.
    #[must_use]
    pub const fn cert_type(&self) -> CertType {
        self.cert_type
    }

    /// The principals, sorted and unique.
    #[must_use]
    pub fn principals(&self) -> &[Principal] {
        &self.principals
    }

    /// The lifetime in seconds from now.
    #[must_use]
    pub const fn ttl_secs(&self) -> u64 {
        self.ttl_secs
    }

    /// The critical options.
    #[must_use]
    pub const fn critical_options(&self) -> &Options {
        &self.critical_options
    }

    /// The extensions.
    #[must_use]
    pub const fn extensions(&self) -> &Options {
        &self.extensions
    }

    /// What the answer should tell the caller beside the certificate.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Policy's yes: the role's rules are met and the access policies permit it.
#[derive(Debug, Clone)]
pub struct Grant {
    resolved: Resolved,
    policies: Vec<String>,
}

impl Grant {
    /// Made by [`crate::access`] alone, with the ids of the policies that decided.
    pub(crate) const fn new(resolved: Resolved, policies: Vec<String>) -> Self {
        Self { resolved, policies }
    }

    /// What was granted.
    #[must_use]
    pub const fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// The ids of the policies that permit it.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        &self.policies
    }
}

/// Random bytes that make each certificate unique (draft-ietf-sshm-cert, "nonce").
pub type Nonce = [u8; 32];

/// Every field of a certificate, decided.
#[derive(Debug, Clone)]
pub struct CertificatePlan {
    grant: Grant,
    serial: Serial,
    validity: Validity,
    nonce: Nonce,
}

impl CertificatePlan {
    /// Gives a grant its serial, its window and its nonce.
    ///
    /// The window ends with the caller's token at the latest: a certificate never outlives the login it came from.
    ///
    /// # Errors
    /// [`Denial::TokenEnds`] when the token has less than ten seconds left, [`Denial::ValidityInvalid`] when the window
    /// cannot be computed.
    pub fn new(grant: Grant, serial: Serial, now: UnixTime, nonce: Nonce) -> Result<Self, Denial> {
        const TOKEN_SECS_MIN: u64 = 10;
        let left_secs = grant.resolved.token_expires.map_or(u64::MAX, |end| now.secs_until(end));
        if left_secs < TOKEN_SECS_MIN {
            return Err(Denial::TokenEnds { left_secs });
        }
        let ttl_secs = grant.resolved.ttl_secs.min(left_secs);
        let validity = Validity::around(now, grant.resolved.backdate_secs, ttl_secs)
            .ok_or(Denial::ValidityInvalid { ttl_secs })?;
        Ok(Self {
            grant,
            serial,
            validity,
            nonce,
        })
    }

    /// What was granted.
    #[must_use]
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }

    /// What the certificate holds of the request and the role.
    #[must_use]
    pub const fn resolved(&self) -> &Resolved {
        &self.grant.resolved
    }

    /// The serial.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        self.serial
    }

    /// The window.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The nonce.
    #[must_use]
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// Which signature an RSA CA key makes.
    #[must_use]
    pub const fn algorithm(&self) -> AlgorithmSigner {
        self.grant.resolved.algorithm
    }
}

#[cfg(test)]
mod tests;
