//! What a caller asks for, before any check.

use std::collections::BTreeMap;

use crate::vault_value::{FieldError, Fields};

/// The two kinds of certificate (draft-ietf-sshm-cert, "type").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertType {
    /// A user certificate: logs a person in.
    User,
    /// A host certificate: proves a host's name.
    Host,
}

impl CertType {
    /// The word on the wire and in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Host => "host",
        }
    }
}

/// A signing request as sent. Nothing in it is trusted; [`crate::plan::resolve`] reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningRequest {
    /// The subject key's line.
    pub public_key: Option<String>,
    /// Requested lifetime in seconds. An empty text counts as absent, so that the role's own (shorter) TTL applies; a
    /// written 0 is kept, as Vault means the mount's default by it.
    pub ttl_secs: Option<u64>,
    /// Requested principals, comma-separated as Vault's clients send them. `Some("")` differs from `None`.
    pub valid_principals: Option<String>,
    /// Where the role does not allow `valid_principals`, its default is asked for instead: a client that knows only the
    /// account somebody types cannot know under which principals the host opens that account. Not on Vault's wire.
    pub or_default_user: bool,
    /// Requested kind, as written; absent means `user`.
    pub cert_type: Option<String>,
    /// Requested key ID.
    pub key_id: Option<String>,
    /// Requested critical options.
    pub critical_options: BTreeMap<String, String>,
    /// Requested extensions.
    pub extensions: BTreeMap<String, String>,
}

/// The fields of a signing request on Vault's wire.
pub const SIGN_FIELDS: &[&str] = &[
    "public_key",
    "ttl",
    "valid_principals",
    "or_default_user",
    "cert_type",
    "key_id",
    "critical_options",
    "extensions",
];

impl SigningRequest {
    /// Reads the fields of `sign/:role` and `issue/:role`.
    ///
    /// # Errors
    /// [`FieldError`] for the first field that has the wrong type.
    pub fn from_vault(fields: &Fields) -> Result<Self, FieldError> {
        let blank_ttl = matches!(fields.raw("ttl"), Some(serde_json::Value::String(text)) if text.is_empty());
        Ok(Self {
            public_key: fields.string("public_key")?,
            ttl_secs: if blank_ttl { None } else { fields.duration_secs("ttl")? },
            valid_principals: fields.string("valid_principals")?,
            or_default_user: fields.bool("or_default_user")?.unwrap_or(false),
            cert_type: fields.string("cert_type")?,
            key_id: fields.string("key_id")?.filter(|key_id| !key_id.is_empty()),
            critical_options: fields.map("critical_options")?.unwrap_or_default(),
            extensions: fields.map("extensions")?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_ttl_is_absent_and_a_zero_is_not() {
        let ttl = |json: &str| {
            SigningRequest::from_vault(&Fields::from_json(json.as_bytes()).unwrap())
                .unwrap()
                .ttl_secs
        };
        assert_eq!(ttl(r#"{"ttl":""}"#), None);
        assert_eq!(ttl(r#"{"ttl":null}"#), None);
        assert_eq!(ttl(r#"{"ttl":"0"}"#), Some(0));
        assert_eq!(ttl(r#"{"ttl":"30m"}"#), Some(1800));
    }
}
