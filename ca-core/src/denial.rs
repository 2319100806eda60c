//! Why a request was refused: one variant a rule, each holding what was asked and what would have been allowed.

use crate::options::OptionError;
use crate::principal::PrincipalError;
use crate::request::CertType;
use crate::subject_key::SubjectKeyError;
use crate::vault_value::FieldError;

/// Who is at fault, in the domain's words; the HTTP edge turns it into a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialStatus {
    /// The request asks for what the role does not give.
    BadRequest,
    /// The caller may not ask.
    Forbidden,
    /// The role or the mount is set up wrongly.
    Misconfigured,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The caller asked for a role that does not exist.
    #[error("there is no role `{role}` at mount `{mount}`")]
    UnknownRole {
        /// Mount asked at.
        mount: String,
        /// Role asked for.
        role: String,
        /// The role that was probably meant.
        nearest: Option<String>,
    },
    /// No policy permits it.
    #[error("no policy lets `{person}` {action} `{resource}`")]
    NoPolicyPermits {
        /// Who asked.
        person: String,
        /// The action: `sign`, or a capability such as `update`.
        action: String,
        /// The role or path.
        resource: String,
        /// Policies that permit this to others, or under other circumstances.
        near: Vec<String>,
    },
    /// A forbid policy applies.
    #[error("policy `{}` forbids `{person}` to {action} `{resource}`", policies.join("`, `"))]
    PolicyForbids {
        /// Who asked.
        person: String,
        /// The action.
        action: String,
        /// The role or path.
        resource: String,
        /// The policies that forbid.
        policies: Vec<String>,
    },
    /// A policy could not be evaluated, which counts as a refusal.
    #[error("policy `{}` could not be evaluated", policies.join("`, `"))]
    PolicyErrored {
        /// The policies that failed.
        policies: Vec<String>,
        /// What Cedar says.
        reason: String,
    },
    /// No subject key was sent.
    #[error("the request holds no public key")]
    PublicKeyMissing,
    /// The subject key cannot be certified at all.
    #[error("the public key cannot be certified: {0}")]
    PublicKeyInvalid(SubjectKeyError),
    /// The role does not allow this kind of key.
    #[error("role `{role}` does not allow keys of type {kind}")]
    KeyTypeNotAllowed {
        /// The role.
        role: String,
        /// Kind of the key sent.
        kind: String,
        /// Kinds the role allows.
        allowed: Vec<String>,
    },
    /// The role does not allow keys of this size.
    #[error("role `{role}` does not allow {kind} keys of {bits} bits")]
    KeySizeNotAllowed {
        /// The role.
        role: String,
        /// Kind of the key sent.
        kind: String,
        /// Its size.
        bits: u32,
        /// Sizes the role allows.
        allowed: Vec<u32>,
    },
    /// The role wants a key that lives in a FIDO token.
    #[error("role `{role}` wants a security key (`sk-…`), the key sent is {kind}")]
    SecurityKeyRequired {
        /// The role.
        role: String,
        /// Kind of the key sent.
        kind: String,
    },
    /// The caller may not choose the key ID.
    #[error("role `{role}` does not let the caller choose the key ID")]
    KeyIdNotAllowed {
        /// The role.
        role: String,
    },
    /// The key ID holds what would break a log line, or is too long.
    #[error("the key ID {key_id:?} is not usable: {reason}")]
    KeyIdInvalid {
        /// The key ID.
        key_id: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The kind of certificate is not `user` or `host`.
    #[error("`{0}` is not a certificate type")]
    CertTypeUnknown(String),
    /// The role does not issue this kind of certificate.
    #[error("role `{role}` does not issue {} certificates", cert_type.as_str())]
    CertTypeNotAllowed {
        /// The role.
        role: String,
        /// Kind asked for.
        cert_type: CertType,
    },
    /// A template of the role could not be filled in for this caller.
    #[error("template `{template}` of role `{role}` cannot be filled in: {reason}")]
    TemplateUnresolved {
        /// The role.
        role: String,
        /// The template as written.
        template: String,
        /// Why.
        reason: String,
        /// Whether it is the template of `default_user`, which Vault reports as its own fault.
        default_user: bool,
    },
    /// Nothing says whom the certificate is for.
    #[error("no principal was asked for and role `{role}` has no default")]
    PrincipalsEmpty {
        /// The role.
        role: String,
    },
    /// The role allows no principal at all.
    #[error("role `{role}` does not allow any principal")]
    NoPrincipalAllowed {
        /// The role.
        role: String,
    },
    /// The role does not allow this principal.
    #[error("role `{role}` does not allow principal `{principal}`")]
    PrincipalNotAllowed {
        /// The role.
        role: String,
        /// The principal asked for.
        principal: String,
        /// The principals it allows.
        allowed: Vec<String>,
    },
    /// The text is not safe as a principal, whatever the role says.
    #[error("{principal:?} cannot be a principal: {reason}")]
    PrincipalInvalid {
        /// The text.
        principal: String,
        /// What is wrong with it.
        reason: PrincipalError,
    },
    /// More principals than allowed.
    #[error("{asked} principals were asked for, {max} are allowed")]
    TooManyPrincipals {
        /// How many were asked for.
        asked: usize,
        /// How many a certificate may hold.
        max: usize,
    },
    /// The lifetime is longer than allowed.
    #[error("a TTL of {asked_secs} s was asked for, role `{role}` allows {max_secs} s")]
    TtlTooLong {
        /// The role.
        role: String,
        /// Seconds asked for.
        asked_secs: u64,
        /// Seconds allowed.
        max_secs: u64,
    },
    /// The lifetime is shorter than a certificate can sensibly live.
    #[error("a TTL of {asked_secs} s is shorter than {min_secs} s")]
    TtlTooShort {
        /// Seconds asked for.
        asked_secs: u64,
        /// Fewest seconds.
        min_secs: u64,
    },
    /// The caller's token ends before a certificate could be of use.
    #[error("the token ends in {left_secs} s, too soon for a certificate")]
    TokenEnds {
        /// Seconds the token has left.
        left_secs: u64,
    },
    /// The window would be empty or without end.
    #[error("the validity window cannot be computed from a TTL of {ttl_secs} s")]
    ValidityInvalid {
        /// Seconds.
        ttl_secs: u64,
    },
    /// The role does not allow these critical options.
    #[error("role `{role}` does not allow critical option `{}`", options.join("`, `"))]
    CriticalOptionsNotAllowed {
        /// The role.
        role: String,
        /// Options that were asked for and are not allowed.
        options: Vec<String>,
        /// Options it allows.
        allowed: Vec<String>,
    },
    /// The role does not allow these extensions.
    #[error("role `{role}` does not allow extension `{}`", extensions.join("`, `"))]
    ExtensionsNotAllowed {
        /// The role.
        role: String,
        /// Extensions that were asked for and are not allowed.
        extensions: Vec<String>,
        /// Extensions it allows.
        allowed: Vec<String>,
    },
    /// A critical option or extension that OpenSSH would not read as meant.
    #[error("{0}")]
    OptionInvalid(OptionError),
    /// A field of the request has the wrong type.
    #[error("{0}")]
    Field(FieldError),
}

impl Denial {
    /// The stable code: what scripts and the client's hints go by.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownRole { .. } => "unknown-role",
            Self::NoPolicyPermits { .. } => "no-policy-permits",
            Self::PolicyForbids { .. } => "policy-forbids",
            Self::PolicyErrored { .. } => "policy-errored",
            Self::PublicKeyMissing => "public-key-missing",
            Self::PublicKeyInvalid(_) => "public-key-invalid",
            Self::KeyTypeNotAllowed { .. } => "key-type-not-allowed",
            Self::KeySizeNotAllowed { .. } => "key-size-not-allowed",
            Self::SecurityKeyRequired { .. } => "security-key-required",
            Self::KeyIdNotAllowed { .. } => "key-id-not-allowed",
            Self::KeyIdInvalid { .. } => "key-id-invalid",
            Self::CertTypeUnknown(_) => "cert-type-unknown",
            Self::CertTypeNotAllowed { .. } => "cert-type-not-allowed",
            Self::TemplateUnresolved { .. } => "template-unresolved",
            Self::PrincipalsEmpty { .. } => "principals-empty",
            Self::NoPrincipalAllowed { .. } => "no-principal-allowed",
            Self::PrincipalNotAllowed { .. } => "principal-not-allowed",
            Self::PrincipalInvalid { .. } => "principal-invalid",
            Self::TooManyPrincipals { .. } => "too-many-principals",
            Self::TtlTooLong { .. } => "ttl-too-long",
            Self::TtlTooShort { .. } => "ttl-too-short",
            Self::TokenEnds { .. } => "token-ends",
            Self::ValidityInvalid { .. } => "validity-invalid",
            Self::CriticalOptionsNotAllowed { .. } => "critical-options-not-allowed",
            Self::ExtensionsNotAllowed { .. } => "extensions-not-allowed",
            Self::OptionInvalid(_) => "option-invalid",
            Self::Field(_) => "field-invalid",
        }
    }

    /// Every stable code, in the order of the variants; documentation and the client's hints are checked against it.
    pub const CODES: &[&str] = &[
        "unknown-role",
        "no-policy-permits",
        "policy-forbids",
        "policy-errored",
        "public-key-missing",
        "public-key-invalid",
        "key-type-not-allowed",
        "key-size-not-allowed",
        "security-key-required",
        "key-id-not-allowed",
        "key-id-invalid",
        "cert-type-unknown",
        "cert-type-not-allowed",
        "template-unresolved",
        "principals-empty",
        "no-principal-allowed",
        "principal-not-allowed",
        "principal-invalid",
        "too-many-principals",
        "ttl-too-long",
        "ttl-too-short",
        "token-ends",
        "validity-invalid",
        "critical-options-not-allowed",
        "extensions-not-allowed",
        "option-invalid",
        "field-invalid",
    ];

    /// Who is at fault.
    #[must_use]
    pub const fn status(&self) -> DenialStatus {
        match self {
            Self::NoPolicyPermits { .. } | Self::PolicyForbids { .. } | Self::PolicyErrored { .. } => {
                DenialStatus::Forbidden
            }
            Self::TemplateUnresolved { default_user: true, .. } => DenialStatus::Misconfigured,
            _ => DenialStatus::BadRequest,
        }
    }

    /// The text Vault answers for this refusal, which existing clients and tests match; our own words where Vault has none.
    #[must_use]
    pub fn vault_text(&self) -> String {
        match self {
            Self::UnknownRole { role, .. } => format!("Unknown role: {role}"),
            Self::NoPolicyPermits { .. } | Self::PolicyForbids { .. } | Self::PolicyErrored { .. } => {
                "1 error occurred:\n\t* permission denied\n\n".to_owned()
            }
            Self::PublicKeyMissing => "missing public_key".to_owned(),
            Self::PublicKeyInvalid(why) => format!("failed to parse public_key as SSH key: {why}"),
            Self::KeyTypeNotAllowed { kind, .. } => {
                format!("public_key failed to meet the key requirements: key of type {kind} is not allowed")
            }
            Self::KeySizeNotAllowed { bits, .. } => {
                format!("public_key failed to meet the key requirements: key is of an invalid size: {bits}")
            }
            Self::KeyIdNotAllowed { .. } => "setting key_id is not allowed by role".to_owned(),
            Self::CertTypeUnknown(_) => "unknown certificate type".to_owned(),
            Self::CertTypeNotAllowed { cert_type, .. } => {
                format!("cert_type '{}' is not allowed by role", cert_type.as_str())
            }
            Self::TemplateUnresolved { template, reason, .. } => {
                format!("template '{template}' could not be rendered -> {reason}")
            }
            Self::PrincipalsEmpty { .. } => "empty valid principals not allowed by role".to_owned(),
            Self::NoPrincipalAllowed { .. } => "role is not configured to allow any principals".to_owned(),
            Self::PrincipalNotAllowed { principal, .. } => {
                format!("{principal} is not a valid value for valid_principals")
            }
            Self::TtlTooLong { max_secs, .. } => format!("ttl is larger than maximum allowed {max_secs}"),
            Self::CriticalOptionsNotAllowed { options, .. } => {
                format!("critical options not on allowed list: [{}]", options.join(" "))
            }
            Self::ExtensionsNotAllowed { extensions, .. } => {
                format!("extensions [{}] are not on allowed list", extensions.join(" "))
            }
            Self::SecurityKeyRequired { .. }
            | Self::KeyIdInvalid { .. }
            | Self::PrincipalInvalid { .. }
            | Self::TooManyPrincipals { .. }
            | Self::TtlTooShort { .. }
            | Self::TokenEnds { .. }
            | Self::ValidityInvalid { .. }
            | Self::OptionInvalid(_)
            | Self::Field(_) => self.to_string(),
        }
    }

    /// What would have been allowed, or what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownRole { nearest, .. } => nearest.as_ref().map(|name| format!("did you mean `{name}`?")),
            Self::NoPolicyPermits { near, .. } if near.is_empty() => None,
            Self::NoPolicyPermits { near, .. } => Some(format!(
                "policies that permit this to others or under other conditions: {}",
                near.join(", ")
            )),
            Self::PublicKeyMissing => Some("send the line of a public key file as `public_key`".to_owned()),
            Self::KeyTypeNotAllowed { allowed, .. }
            | Self::PrincipalNotAllowed { allowed, .. }
            | Self::CriticalOptionsNotAllowed { allowed, .. }
            | Self::ExtensionsNotAllowed { allowed, .. } => Some(allowed_here(allowed)),
            Self::KeySizeNotAllowed { allowed, .. } => {
                Some(allowed_here(&allowed.iter().map(u32::to_string).collect::<Vec<_>>()))
            }
            Self::CertTypeUnknown(_) => Some("use `user` or `host`".to_owned()),
            Self::PrincipalsEmpty { .. } => Some("say whom to log in as: `valid_principals`, or user@host".to_owned()),
            Self::TtlTooLong { max_secs, .. } => Some(format!("ask for at most {max_secs}s, or leave the TTL out")),
            Self::TokenEnds { .. } => Some("log in again".to_owned()),
            _ => None,
        }
    }
}

fn allowed_here(allowed: &[String]) -> String {
    const NAMED_MAX: usize = 20;
    let (named, more) = allowed.split_at(allowed.len().min(NAMED_MAX));
    match (named, more) {
        ([], _) => "none is allowed here".to_owned(),
        (named, []) => format!("allowed here: {}", named.join(", ")),
        // A role may list a hundred thousand names; an answer must not.
        (named, more) => format!("allowed here: {} and {} more", named.join(", "), more.len()),
    }
}

impl From<FieldError> for Denial {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_some_of_very_many() {
        let names: Vec<String> = (0..100_000).map(|n| format!("u{n}")).collect();
        assert_eq!(allowed_here(&[]), "none is allowed here");
        assert!(allowed_here(&names[..20]).ends_with(", u19"));
        assert!(allowed_here(&names).ends_with(", u19 and 99980 more"));
    }
}
