//! Roles: named rule sets for issuing. A role says what OpenSSH will enforce: principals, options, lifetimes, key types.
//! Who may use a role is the access policies' business.
//!
//! A role comes from a file (`policies/roles/*.toml`, ours: absent means nothing allowed) or over Vault's wire (Vault's
//! role document, where an absent list sometimes means anything). Both become this one type, in which each freedom is
//! written out, so that nothing behind it has to know where a role came from.

mod toml;
mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a role names that any issuer may sign for which is the mount's default at the time.
pub const DEFAULT_ISSUER: &str = "default";

pub use self::vault::{ROLE_FIELDS, RoleError};

/// A role's name: `\w(([\w-.@]+)?\w)?`, as in the paths of the API.
#[must_use]
pub fn is_role_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let inner = |c: char| word(c) || matches!(c, '-' | '.' | '@');
    name.len() <= 128 && name.chars().all(inner) && name.starts_with(word) && name.ends_with(word)
}

/// Where a role was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleSource {
    /// Over the API; it lives in the store.
    Api,
    /// In this file of the policies folder; read-only over the API.
    File(String),
}

/// How far the `*` of a list of names reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Star {
    /// No `*`.
    None,
    /// Any name but `root`, which has to be named: the star of our own role files.
    AllButRoot,
    /// Any name at all: the star of Vault's role documents.
    All,
}

/// Which names a role allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRule {
    /// Names, or templates where `templated`.
    pub names: Vec<String>,
    /// Whether a `*` allows more.
    pub star: Star,
    /// Whether names may be templates.
    pub templated: bool,
}

impl NameRule {
    /// Whether no name can ever pass.
    #[must_use]
    pub fn allows_nothing(&self) -> bool {
        self.names.is_empty() && self.star == Star::None
    }
}

/// Which options of one section a request may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionRule {
    /// Any.
    Any,
    /// These; none when empty.
    Listed(BTreeSet<String>),
}

impl OptionRule {
    /// Whether a request may ask for `name`.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(names) => names.contains(name),
        }
    }

    /// The names, for an error's hint.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Any => vec!["*".to_owned()],
            Self::Listed(names) => names.iter().cloned().collect(),
        }
    }
}

/// Which signature an RSA CA key makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlgorithmSigner {
    /// The CA key's own; `rsa-sha2-256` for RSA.
    Default,
    /// `rsa-sha2-256`.
    RsaSha256,
    /// `rsa-sha2-512`.
    RsaSha512,
}

impl AlgorithmSigner {
    /// Vault's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::RsaSha256 => "rsa-sha2-256",
            Self::RsaSha512 => "rsa-sha2-512",
        }
    }

    /// Reads Vault's word; `None` for unknown ones and for `ssh-rsa`, which is SHA-1 and refused by each OpenSSH since 8.2.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "" | "default" => Some(Self::Default),
            "rsa-sha2-256" => Some(Self::RsaSha256),
            "rsa-sha2-512" => Some(Self::RsaSha512),
            _ => None,
        }
    }
}

/// A role. Fields are read by [`crate::plan`] and written by this module only.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent switch of Vault's role"
)]
pub struct Role {
    pub(crate) name: String,
    pub(crate) mount: String,
    pub(crate) source: RoleSource,
    pub(crate) description: String,
    pub(crate) user_certificates: bool,
    pub(crate) host_certificates: bool,
    pub(crate) allowed_users: NameRule,
    pub(crate) default_user: Vec<String>,
    pub(crate) default_user_templated: bool,
    pub(crate) allowed_domains: NameRule,
    pub(crate) bare_domains: bool,
    pub(crate) subdomains: bool,
    pub(crate) ttl_secs: Option<u64>,
    pub(crate) max_ttl_secs: Option<u64>,
    pub(crate) backdate_secs: u64,
    pub(crate) default_extensions: BTreeMap<String, String>,
    pub(crate) default_extensions_templated: bool,
    pub(crate) allowed_extensions: OptionRule,
    pub(crate) default_critical_options: BTreeMap<String, String>,
    /// Whether the default critical options stay whatever the request asks for.
    pub(crate) critical_options_forced: bool,
    pub(crate) allowed_critical_options: OptionRule,
    pub(crate) caller_chooses_key_id: bool,
    pub(crate) key_id_format: String,
    pub(crate) key_lengths: BTreeMap<String, Vec<u32>>,
    pub(crate) rsa_bits_min: u32,
    pub(crate) security_key_required: bool,
    pub(crate) verify_required: bool,
    pub(crate) algorithm_signer: AlgorithmSigner,
    pub(crate) empty_principals_allowed: bool,
    pub(crate) issuer_ref: String,
}

impl Role {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The mount it belongs to.
    #[must_use]
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// Where it was written.
    #[must_use]
    pub const fn source(&self) -> &RoleSource {
        &self.source
    }

    /// What it is for, in its author's words.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Whether it issues user certificates.
    #[must_use]
    pub const fn user_certificates(&self) -> bool {
        self.user_certificates
    }

    /// Whether it issues host certificates.
    #[must_use]
    pub const fn host_certificates(&self) -> bool {
        self.host_certificates
    }

    /// Login names it allows.
    #[must_use]
    pub const fn allowed_users(&self) -> &NameRule {
        &self.allowed_users
    }

    /// Host domains it allows.
    #[must_use]
    pub const fn allowed_domains(&self) -> &NameRule {
        &self.allowed_domains
    }

    /// Whether a host may be called like an allowed domain itself.
    #[must_use]
    pub const fn bare_domains(&self) -> bool {
        self.bare_domains
    }

    /// Whether a host may be called like something under an allowed domain.
    #[must_use]
    pub const fn subdomains(&self) -> bool {
        self.subdomains
    }

    /// Principals of a request that names none.
    #[must_use]
    pub fn default_user(&self) -> &[String] {
        &self.default_user
    }

    /// Lifetime in seconds of a request that names none; `None`: the mount's.
    #[must_use]
    pub const fn ttl_secs(&self) -> Option<u64> {
        self.ttl_secs
    }

    /// Longest lifetime in seconds; `None`: the mount's.
    #[must_use]
    pub const fn max_ttl_secs(&self) -> Option<u64> {
        self.max_ttl_secs
    }

    /// Extensions of a request that names none.
    #[must_use]
    pub const fn default_extensions(&self) -> &BTreeMap<String, String> {
        &self.default_extensions
    }

    /// Critical options of a request that names none, or of every request where the role forces them.
    #[must_use]
    pub const fn default_critical_options(&self) -> &BTreeMap<String, String> {
        &self.default_critical_options
    }

    /// Extensions a request may ask for.
    #[must_use]
    pub const fn allowed_extensions(&self) -> &OptionRule {
        &self.allowed_extensions
    }

    /// Which signature an RSA CA key makes for it.
    #[must_use]
    pub const fn algorithm_signer(&self) -> AlgorithmSigner {
        self.algorithm_signer
    }

    /// The issuer that signs for it: `default`, or the id or name of another of its mount. Looked up when it signs.
    #[must_use]
    pub fn issuer_ref(&self) -> &str {
        &self.issuer_ref
    }

    /// Key kinds and lengths it allows; empty: all.
    #[must_use]
    pub const fn key_lengths(&self) -> &BTreeMap<String, Vec<u32>> {
        &self.key_lengths
    }

    /// What is unwise about the role, one sentence each; the answer to a role write carries them.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.allowed_users.star == Star::All && self.user_certificates {
            warnings.push("allowed_users is \"*\": callers may ask for any login name, root included".to_owned());
        }
        if self.empty_principals_allowed {
            warnings.push(
                "allow_empty_principals is set: a certificate without principals may log in as anybody on some servers"
                    .to_owned(),
            );
        }
        let replaceable = !self.default_critical_options.is_empty() && !self.critical_options_forced;
        if replaceable && self.allowed_critical_options != OptionRule::Listed(BTreeSet::new()) {
            warnings.push(
                "default_critical_options can be replaced by the request: set allowed_critical_options to names that \
                 restrict further, or write the role as a file, where they are always kept"
                    .to_owned(),
            );
        }
        if self.user_certificates && self.host_certificates {
            warnings.push("the role issues both user and host certificates: make two roles".to_owned());
        }
        warnings
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mount, self.name)
    }
}

#[cfg(test)]
mod tests;
