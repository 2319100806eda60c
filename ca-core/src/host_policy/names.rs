//! Which names and tags a way to enrol gives: patterns filled in from a proof, or domains to stay below.
//!
//! # Security
//! Values come from outside. One pattern gives exactly one name, and only host names come out: no value can bring a second
//! name, a pattern or a way out of its place (CVE-2026-71543).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{EnrollProof, EnrollRule};
use crate::principal::Principal;

/// Why a proof gives a host no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// No pattern names such a host.
    #[error("a host with a token is named when the token is made")]
    Token,
    /// The proof has no such value.
    #[error("the proof holds no value for {{{0}}}")]
    Missing(String),
    /// The value cannot be part of a host name.
    #[error("`{}` for {{{placeholder}}} cannot stand in a host name", .value.escape_default())]
    Value {
        /// The placeholder.
        placeholder: String,
        /// The value.
        value: String,
    },
    /// What came out is no host name.
    #[error("`{}` is no host name", .0.escape_default())]
    NotAName(String),
    /// The pattern has a brace too many. The reader of `hosts.toml` lets none through.
    #[error("the pattern `{0}` has a brace too many")]
    Pattern(String),
}

impl EnrollProof {
    /// What may stand in braces in the names of such hosts.
    #[must_use]
    pub const fn placeholders(&self) -> &'static [&'static str] {
        match self {
            Self::Ec2 { .. } => &["instance_id", "private_ip", "region", "account_id", "private_dns"],
            Self::Jwt { .. } => &["user"],
            Self::Token => &[],
        }
    }
}

impl EnrollRule {
    /// The host's names, filled in from what its proof says (placeholder without braces → value), in the order of the patterns
    /// and each once.
    ///
    /// # Errors
    /// [`HostNameError`]; a host gets all of its names or none.
    pub fn names_for(&self, values: &BTreeMap<&str, String>) -> Result<Vec<String>, HostNameError> {
        if self.proof == EnrollProof::Token {
            return Err(HostNameError::Token);
        }
        let mut names = Vec::new();
        for pattern in &self.names {
            let name = fill_in(pattern, values)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Whether a token may name a host so: a name within one of the domains, or a domain itself.
    #[must_use]
    pub fn allows_name(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let within = |domain: &String| {
            let front = name.strip_suffix(&domain.to_ascii_lowercase());
            front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
        };
        self.proof == EnrollProof::Token && is_host_name(&name) && self.names.iter().any(within)
    }

    /// Whether a host may have these tags by this rule.
    #[must_use]
    pub fn allows_tags(&self, tags: &BTreeSet<String>) -> bool {
        tags.is_subset(&self.tags)
    }
}

/// A piece of a pattern.
pub(super) enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// Takes a pattern apart; `None` when braces do not match.
pub(super) fn pieces(pattern: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some((text, behind)) = rest.split_once('{') {
        let (placeholder, next) = behind.split_once('}')?;
        pieces.extend([Piece::Text(text), Piece::Placeholder(placeholder)]);
        rest = next;
    }
    pieces.push(Piece::Text(rest));
    let whole = |piece: &Piece<'_>| match piece {
        Piece::Text(text) | Piece::Placeholder(text) => !text.contains(['{', '}']),
    };
    pieces.iter().all(whole).then_some(pieces)
}

pub(super) fn fill_in(pattern: &str, values: &BTreeMap<&str, String>) -> Result<String, HostNameError> {
    let mut name = String::new();
    for piece in pieces(pattern).ok_or_else(|| HostNameError::Pattern(pattern.to_owned()))? {
        match piece {
            Piece::Text(text) => name.push_str(text),
            Piece::Placeholder(placeholder) => name.push_str(value(placeholder, values)?),
        }
    }
    is_host_name(&name)
        .then(|| name.clone())
        .ok_or(HostNameError::NotAName(name))
}

/// A value must be a host name by itself, so that it can be nothing more within one.
fn value<'a>(placeholder: &str, values: &'a BTreeMap<&str, String>) -> Result<&'a str, HostNameError> {
    match values.get(placeholder).filter(|value| !value.is_empty()) {
        None => Err(HostNameError::Missing(placeholder.to_owned())),
        Some(value) if is_host_name(value) => Ok(value),
        Some(value) => Err(HostNameError::Value {
            placeholder: placeholder.to_owned(),
            value: value.clone(),
        }),
    }
}

/// Whether a text is an address or a host name: a host principal without empty labels, or such that begin or end in a dash
/// (RFC 1123, "Host Names and Numbers").
pub(super) fn is_host_name(text: &str) -> bool {
    const LABEL_BYTES_MAX: usize = 63;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.chars().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    Principal::parse_host(text).is_ok() && (text.parse::<IpAddr>().is_ok() || text.split('.').all(is_label))
}
