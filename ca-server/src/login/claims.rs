//! The one checker of claims: every login method that brings a signed token goes through it, so that none forgets a rule
//! (CVE-2024-5798, CVE-2026-25537 and their kin). Absent means refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use signet_core::time::UnixTime;

use super::jose::VerifiedClaims;

/// How far clocks may be apart, in seconds.
pub const LEEWAY_SECS: u64 = 30;
/// More groups than any person has.
const GROUPS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 200;

/// What a token has to say for a role of a login method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRules {
    /// The only issuer, compared as a whole.
    pub issuer: String,
    /// The token must be meant for one of them. Never empty.
    pub audiences: BTreeSet<String>,
    /// Longest time since `iat`, where one is set.
    pub age_secs_max: Option<u64>,
    /// Claims that must have one of the listed values, written as texts.
    pub bound_claims: BTreeMap<String, BTreeSet<String>>,
    /// The claim that names the person.
    pub user_claim: String,
    /// The claim that lists groups, if groups come with the login.
    pub groups_claim: Option<String>,
}

/// Who the token is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Value of the user claim: one word, without a comma or a blank.
    pub user: String,
    /// Values of the groups claim that can be names of groups.
    pub groups: BTreeSet<String>,
}

/// Which rule the claims break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Not there.
    #[error("the token has no claim `{0}`")]
    Missing(String),
    /// There, but of another JSON type.
    #[error("the token's claim `{0}` has the wrong type")]
    WrongType(String),
    /// Another issuer.
    #[error("the token is of issuer {0:?}")]
    OtherIssuer(String),
    /// Meant for somebody else.
    #[error("the token is for the audience {0:?}")]
    OtherAudience(Vec<String>),
    /// Over.
    #[error("the token expired at {0}")]
    Expired(UnixTime),
    /// `nbf` or `iat` is yet to come.
    #[error("the token's `{claim}` is in the future: {time}")]
    InTheFuture {
        /// Which claim.
        claim: &'static str,
        /// Its value.
        time: UnixTime,
    },
    /// Issued longer ago than allowed.
    #[error("the token was issued at {0}, too long ago")]
    TooOld(UnixTime),
    /// Not a value that the role admits.
    #[error("the token's claim `{0}` has no value that the role admits")]
    NotBound(String),
    /// A name with characters that would mean something elsewhere.
    #[error("the token's claim `{claim}` is {value:?}, which cannot name a person")]
    UnusableName {
        /// Which claim.
        claim: String,
        /// Its value.
        value: String,
    },
    /// More groups than any person has.
    #[error("the token lists more than {GROUPS_MAX} groups")]
    TooManyGroups,
}

impl ClaimRules {
    /// Checks the claims; the first broken rule is reported.
    ///
    /// # Errors
    /// [`ClaimError`]
    pub fn check(&self, claims: &VerifiedClaims, now: UnixTime) -> Result<Identity, ClaimError> {
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        self.check_times(claims, now)?;
        for (name, admitted) in &self.bound_claims {
            check_bound(claims, name, admitted)?;
        }
        Ok(Identity {
            user: self.user(claims)?,
            groups: self.groups(claims)?,
        })
    }

    fn check_issuer(&self, claims: &VerifiedClaims) -> Result<(), ClaimError> {
        let issuer = text(claims, "iss")?;
        if issuer == self.issuer {
            Ok(())
        } else {
            Err(ClaimError::OtherIssuer(issuer.to_owned()))
        }
    }

    fn check_audience(&self, claims: &VerifiedClaims) -> Result<(), ClaimError> {
        let audiences = texts(claims, "aud")?;
        if audiences.iter().any(|audience| self.audiences.contains(*audience)) {
            return Ok(());
        }
        Err(ClaimError::OtherAudience(
            audiences.into_iter().map(str::to_owned).collect(),
        ))
    }

    fn check_times(&self, claims: &VerifiedClaims, now: UnixTime) -> Result<(), ClaimError> {
        let expires = time(claims, "exp")?.ok_or_else(|| ClaimError::Missing("exp".to_owned()))?;
        if now >= expires.plus(LEEWAY_SECS) {
            return Err(ClaimError::Expired(expires));
        }
        let issued = time(claims, "iat")?;
        for (claim, value) in [("nbf", time(claims, "nbf")?), ("iat", issued)] {
            if let Some(time) = value.filter(|time| *time > now.plus(LEEWAY_SECS)) {
                return Err(ClaimError::InTheFuture { claim, time });
            }
        }
        let Some(age_secs_max) = self.age_secs_max else {
            return Ok(());
        };
        let issued = issued.ok_or_else(|| ClaimError::Missing("iat".to_owned()))?;
        if issued.secs_until(now) > age_secs_max.saturating_add(LEEWAY_SECS) {
            return Err(ClaimError::TooOld(issued));
        }
        Ok(())
    }

    fn user(&self, claims: &VerifiedClaims) -> Result<String, ClaimError> {
        let user = text(claims, &self.user_claim)?;
        if is_plain_name(user) {
            return Ok(user.to_owned());
        }
        Err(ClaimError::UnusableName {
            claim: self.user_claim.clone(),
            value: user.to_owned(),
        })
    }

    fn groups(&self, claims: &VerifiedClaims) -> Result<BTreeSet<String>, ClaimError> {
        let Some(claim) = &self.groups_claim else {
            return Ok(BTreeSet::new());
        };
        // A missing list is refused and not taken as empty: a policy may forbid something to a group.
        let groups = texts(claims, claim)?;
        if groups.len() > GROUPS_MAX {
            return Err(ClaimError::TooManyGroups);
        }
        // No policy can name a group whose name is not plain, so leaving it out changes no decision.
        Ok(groups
            .into_iter()
            .filter(|group| is_plain_name(group))
            .map(str::to_owned)
            .collect())
    }
}

/// Whether a text can name a person or a group that came with a login.
///
/// SECURITY: such names are filled into templates and key IDs. A comma would make two principals of one, a line break two
/// log lines, a star a pattern, `..` another path (GHSA-59w7-v8rr-pr4p).
#[must_use]
pub fn is_plain_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._@:/+=-".contains(&b);
    let climbs = text.split('/').any(|segment| segment == "." || segment == "..");
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain) && !climbs
}

/// A bound claim is met by an equal value, or by a list that holds one. There are no patterns; a claim that cannot be
/// compared is refused (CVE-2025-3879).
fn check_bound(claims: &VerifiedClaims, name: &str, admitted: &BTreeSet<String>) -> Result<(), ClaimError> {
    let admits = |value: &Value| scalar_text(value).is_some_and(|text| admitted.contains(&text));
    let met = match claims.claim(name).ok_or_else(|| ClaimError::Missing(name.to_owned()))? {
        Value::Array(values) => values.iter().any(admits),
        value => admits(value),
    };
    if met {
        Ok(())
    } else {
        Err(ClaimError::NotBound(name.to_owned()))
    }
}

/// A text, whole number or truth value as the configuration writes it.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text<'c>(claims: &'c VerifiedClaims, name: &str) -> Result<&'c str, ClaimError> {
    match claims.claim(name) {
        None => Err(ClaimError::Missing(name.to_owned())),
        Some(value) => value.as_str().ok_or_else(|| ClaimError::WrongType(name.to_owned())),
    }
}

/// A text or a list of texts, and nothing else in it.
fn texts<'c>(claims: &'c VerifiedClaims, name: &str) -> Result<Vec<&'c str>, ClaimError> {
    let wrong = || ClaimError::WrongType(name.to_owned());
    match claims.claim(name) {
        None => Err(ClaimError::Missing(name.to_owned())),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(values)) => values.iter().map(|value| value.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

/// A time as a whole number of seconds. CVE-2026-25537: another type, `null` too, is refused and never "absent".
fn time(claims: &VerifiedClaims, name: &str) -> Result<Option<UnixTime>, ClaimError> {
    match claims.claim(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(secs) => Ok(Some(UnixTime::from_secs(secs))),
            None => Err(ClaimError::WrongType(name.to_owned())),
        },
    }
}

#[cfg(test)]
mod tests;
