//! Roles as Vault's wire has them: read with Vault's meanings, each turned into an explicit value, and read back in
//! Vault's field names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{AlgorithmSigner, NameRule, OptionRule, Role, RoleSource, Star};
use crate::vault_value::{FieldError, Fields, split_commas};

/// The fields of a role on Vault's wire.
pub const ROLE_FIELDS: &[&str] = &[
    "key_type",
    "allow_user_certificates",
    "allow_host_certificates",
    "allowed_users",
    "allowed_users_template",
    "default_user",
    "default_user_template",
    "allowed_domains",
    "allowed_domains_template",
    "allow_bare_domains",
    "allow_subdomains",
    "ttl",
    "max_ttl",
    "not_before_duration",
    "default_extensions",
    "default_extensions_template",
    "allowed_extensions",
    "default_critical_options",
    "allowed_critical_options",
    "allow_user_key_ids",
    "key_id_format",
    "allowed_user_key_lengths",
    "algorithm_signer",
    "allow_empty_principals",
    "issuer_ref",
];

const RSA_BITS_MIN_WIRE: u32 = 2048;
const BACKDATE_SECS: u64 = 30;
/// A window that begins a day in the past serves nobody; Vault has no limit, and real roles have 30 s.
const BACKDATE_SECS_MAX: u64 = 86_400;

/// Why a role document cannot be taken. Displays Vault's text where Vault has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// `key_type` is missing.
    #[error("missing key type")]
    KeyTypeMissing,
    /// Vault dropped dynamic keys in 1.13.
    #[error("dynamic key type roles are no longer supported")]
    KeyTypeDynamic,
    /// One-time passwords are not offered.
    #[error("roles with key_type \"otp\" are not offered: use key_type \"ca\"")]
    KeyTypeOtp,
    /// Neither `ca` nor `otp`.
    #[error("invalid key type")]
    KeyTypeInvalid,
    /// The role would issue nothing.
    #[error("Either 'allow_user_certificates' or 'allow_host_certificates' must be set to 'true'")]
    NoCertificateType,
    /// `ttl` above `max_ttl`.
    #[error("\"ttl\" value must be less than \"max_ttl\" when both are specified")]
    TtlAboveMaxTtl,
    /// Vault answers 500 to this one.
    #[error("unknown algorithm signer {0:?}")]
    UnknownAlgorithmSigner(String),
    /// `ssh-rsa` is SHA-1.
    #[error("algorithm_signer \"ssh-rsa\" is SHA-1, which OpenSSH refuses since 8.2: use rsa-sha2-256 or default")]
    Sha1,
    /// `allowed_user_key_lengths` does not hold numbers.
    #[error("error processing allowed_user_key_lengths: {0}")]
    KeyLengths(String),
    /// A longer backdating than anybody needs.
    #[error("not_before_duration is {0} s, at most 86400 s are allowed")]
    NotBeforeTooLong(u64),
    /// Neither an issuer's id nor a name that one can have.
    #[error("issuer_ref {0:?} is neither the id nor the name of an issuer")]
    IssuerInvalid(String),
    /// A name that does not fit in a path.
    #[error("{0:?} is not a role name: letters, digits, `_`, and inside also `-`, `.` and `@`")]
    Name(String),
    /// A field of the wrong type.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Role {
    /// Reads Vault's role document, with Vault's meanings and defaults.
    ///
    /// # Errors
    /// [`RoleError`] for the first thing that Vault, too, would refuse, and for what is not offered.
    pub fn from_vault_json(name: &str, mount: &str, fields: &Fields, source: RoleSource) -> Result<Self, RoleError> {
        if !super::is_role_name(name) {
            return Err(RoleError::Name(name.to_owned()));
        }
        check_key_type(fields)?;
        let text = |field| fields.string(field).map(Option::unwrap_or_default);
        let yes = |field| fields.bool(field).map(Option::unwrap_or_default);
        let secs = |field| fields.duration_secs(field).map(|secs| secs.filter(|secs| *secs > 0));
        let role = Self {
            name: name.to_owned(),
            mount: mount.to_owned(),
            source,
            description: String::new(),
            user_certificates: yes("allow_user_certificates")?,
            host_certificates: yes("allow_host_certificates")?,
            allowed_users: name_rule(&text("allowed_users")?, yes("allowed_users_template")?),
            default_user: split_commas(&text("default_user")?).map(str::to_owned).collect(),
            default_user_templated: yes("default_user_template")?,
            allowed_domains: name_rule(&text("allowed_domains")?, yes("allowed_domains_template")?),
            bare_domains: yes("allow_bare_domains")?,
            subdomains: yes("allow_subdomains")?,
            ttl_secs: secs("ttl")?,
            max_ttl_secs: secs("max_ttl")?,
            backdate_secs: fields.duration_secs("not_before_duration")?.unwrap_or(BACKDATE_SECS),
            default_extensions: fields.map("default_extensions")?.unwrap_or_default(),
            default_extensions_templated: yes("default_extensions_template")?,
            allowed_extensions: extension_rule(&text("allowed_extensions")?),
            default_critical_options: fields.map("default_critical_options")?.unwrap_or_default(),
            critical_options_forced: false,
            allowed_critical_options: critical_option_rule(&text("allowed_critical_options")?),
            caller_chooses_key_id: yes("allow_user_key_ids")?,
            key_id_format: text("key_id_format")?,
            key_lengths: key_lengths(fields)?,
            rsa_bits_min: RSA_BITS_MIN_WIRE,
            security_key_required: false,
            verify_required: false,
            algorithm_signer: algorithm_signer(&text("algorithm_signer")?)?,
            empty_principals_allowed: yes("allow_empty_principals")?,
            issuer_ref: issuer_ref(text("issuer_ref")?)?,
        };
        role.checked()
    }

    fn checked(self) -> Result<Self, RoleError> {
        if !(self.user_certificates || self.host_certificates) {
            return Err(RoleError::NoCertificateType);
        }
        if self.backdate_secs > BACKDATE_SECS_MAX {
            return Err(RoleError::NotBeforeTooLong(self.backdate_secs));
        }
        match (self.ttl_secs, self.max_ttl_secs) {
            (Some(ttl), Some(max)) if ttl > max => Err(RoleError::TtlAboveMaxTtl),
            _ => Ok(self),
        }
    }

    /// The role in Vault's field names, as `GET roles/:name` answers.
    #[must_use]
    pub fn vault_fields(&self) -> Value {
        let mut lengths = Map::new();
        for (kind, bits) in &self.key_lengths {
            lengths.insert(kind.clone(), json!(bits));
        }
        let mut fields = json!({
            "algorithm_signer": self.algorithm_signer.as_str(),
            "allow_bare_domains": self.bare_domains,
            "allow_empty_principals": self.empty_principals_allowed,
            "allow_host_certificates": self.host_certificates,
            "allow_subdomains": self.subdomains,
            "allow_user_certificates": self.user_certificates,
            "allow_user_key_ids": self.caller_chooses_key_id,
            "allowed_critical_options": match &self.allowed_critical_options {
                OptionRule::Any => String::new(),
                OptionRule::Listed(names) => unlike("", joined(names)),
            },
            "allowed_domains": names_as_written(&self.allowed_domains),
            "allowed_domains_template": self.allowed_domains.templated,
            "allowed_extensions": match &self.allowed_extensions {
                OptionRule::Any => "*".to_owned(),
                OptionRule::Listed(names) => unlike("*", joined(names)),
            },
            "allowed_user_key_lengths": lengths,
            "allowed_users": names_as_written(&self.allowed_users),
            "allowed_users_template": self.allowed_users.templated,
            "default_critical_options": self.default_critical_options,
            "default_extensions": self.default_extensions,
            "default_extensions_template": self.default_extensions_templated,
            "default_user": self.default_user.join(","),
            "default_user_template": self.default_user_templated,
            "key_id_format": self.key_id_format,
            "key_type": "ca",
            "max_ttl": self.max_ttl_secs.unwrap_or(0),
            "not_before_duration": self.backdate_secs,
            "ttl": self.ttl_secs.unwrap_or(0),
        });
        // Vault's roles have no such field; it is there for those who use it.
        if let Some(fields) = fields
            .as_object_mut()
            .filter(|_| self.issuer_ref != super::DEFAULT_ISSUER)
        {
            fields.insert("issuer_ref".to_owned(), self.issuer_ref.as_str().into());
        }
        fields
    }
}

fn check_key_type(fields: &Fields) -> Result<(), RoleError> {
    match fields.string("key_type")?.unwrap_or_default().to_lowercase().as_str() {
        "ca" => Ok(()),
        "" => Err(RoleError::KeyTypeMissing),
        "otp" => Err(RoleError::KeyTypeOtp),
        "dynamic" => Err(RoleError::KeyTypeDynamic),
        _ => Err(RoleError::KeyTypeInvalid),
    }
}

/// Vault's list of names: the star counts only when it is the whole text; elsewhere it is a name like any other.
fn name_rule(text: &str, templated: bool) -> NameRule {
    if text == "*" {
        return NameRule {
            names: Vec::new(),
            star: Star::All,
            templated,
        };
    }
    NameRule {
        names: split_commas(text).map(str::to_owned).collect(),
        star: Star::None,
        templated,
    }
}

fn names_as_written(rule: &NameRule) -> String {
    match rule.star {
        Star::None => unlike("*", rule.names.join(",")),
        Star::AllButRoot | Star::All => rule
            .names
            .iter()
            .map(String::as_str)
            .chain(["*"])
            .collect::<Vec<_>>()
            .join(","),
    }
}

/// SECURITY: roles are kept as they are read back. A list written `*,` or `,` allows what it lists, and must not become the
/// one text that allows anything when it is read again; an empty item more changes nothing else.
fn unlike(anything: &str, mut list: String) -> String {
    if list == anything {
        list.push(',');
    }
    list
}

/// `""` is none, `*` is any; items are not trimmed, so one with a blank in front never matches, as on Vault.
fn extension_rule(text: &str) -> OptionRule {
    if text == "*" {
        OptionRule::Any
    } else {
        OptionRule::Listed(untrimmed(text))
    }
}

/// `""` is any, and `*` is not special.
fn critical_option_rule(text: &str) -> OptionRule {
    if text.is_empty() {
        OptionRule::Any
    } else {
        OptionRule::Listed(untrimmed(text))
    }
}

fn untrimmed(text: &str) -> BTreeSet<String> {
    text.split(',')
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

fn joined(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

fn issuer_ref(text: String) -> Result<String, RoleError> {
    if text.is_empty() {
        return Ok(super::DEFAULT_ISSUER.to_owned());
    }
    if super::is_role_name(&text) {
        Ok(text)
    } else {
        Err(RoleError::IssuerInvalid(text))
    }
}

fn algorithm_signer(word: &str) -> Result<AlgorithmSigner, RoleError> {
    match AlgorithmSigner::parse(word) {
        Some(signer) => Ok(signer),
        None if word == "ssh-rsa" => Err(RoleError::Sha1),
        None => Err(RoleError::UnknownAlgorithmSigner(word.to_owned())),
    }
}

/// `{"rsa": 2048}`, `{"rsa": [2048, 4096]}` or `{"rsa": "2048,4096"}`.
fn key_lengths(fields: &Fields) -> Result<BTreeMap<String, Vec<u32>>, RoleError> {
    let Some(map) = fields.raw_map("allowed_user_key_lengths")? else {
        return Ok(BTreeMap::new());
    };
    map.into_iter()
        .map(|(kind, value)| {
            let bits = lengths_of(&value)
                .ok_or_else(|| RoleError::KeyLengths(format!("lengths of {kind:?} are not whole numbers")))?;
            Ok((kind, bits))
        })
        .collect()
}

fn lengths_of(value: &Value) -> Option<Vec<u32>> {
    match value {
        Value::Number(number) => number
            .as_u64()
            .and_then(|bits| u32::try_from(bits).ok())
            .map(|bits| vec![bits]),
        Value::String(text) => split_commas(text).map(|item| item.parse().ok()).collect(),
        Value::Array(items) => items
            .iter()
            .map(lengths_of)
            .collect::<Option<Vec<_>>>()
            .map(|lists| lists.into_iter().flatten().collect()),
        Value::Null | Value::Bool(_) | Value::Object(_) => None,
    }
}
