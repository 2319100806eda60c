//! What a host asks of its authority. It has no token: everything is signed with the host key, over the authority's address
//! as this host knows it, so that nobody in between can use it elsewhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use signet_core::enrollment::{
    ENROLL_NAMESPACE, HostReport, RENEW_NAMESPACE, REPORT_NAMESPACE, enroll_message, renew_message, report_message,
};
use signet_core::sshsig::{LoginAddress, LoginAddressError};

use super::host_key::{HostKey, HostKeyError};
use crate::endpoint::Endpoint;
use crate::vault::{Refusal, Vault, VaultError, Verb};

/// The authority, as a host sees it.
#[derive(Debug)]
pub struct Authority {
    vault: Vault,
    address: LoginAddress,
}

/// What proves who a host is.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// `ec2`, `jwt` or `token`.
    pub method: &'static str,
    /// The document or token.
    pub evidence: String,
    /// For a JWT: the role to ask for, where the authority has several.
    pub role: Option<String>,
    /// For a JWT: the login mount to ask at, where the authority has several.
    pub mount: Option<String>,
}

impl std::fmt::Debug for Proof {
    /// A token is a secret until it is used.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Proof")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// What the authority gives a host that enrols or renews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The host's name in the authority's books.
    pub host: String,
    /// The names in the certificate.
    pub names: Vec<String>,
    /// The host's tags.
    pub tags: BTreeSet<String>,
    /// The certificate's line.
    pub signed_key: String,
    /// The mount whose bundle the host follows.
    pub mount: Option<String>,
    /// The line of the key that bundles are signed with.
    pub bundle_public_key: Option<String>,
    /// The line of the host CA's key.
    pub host_ca_key: String,
}

/// What the authority says to a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// From when on it wants the certificate renewed, seconds since 1970.
    pub renew_after: Option<u64>,
    /// What in the report it finds alarming.
    pub alarms: Vec<String>,
}

/// Why the authority gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The address cannot be signed.
    #[error(transparent)]
    Address(#[from] LoginAddressError),
    /// The host key.
    #[error(transparent)]
    Key(#[from] HostKeyError),
    /// The authority said no, or nothing.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Its answer lacks a field.
    #[error("the authority's answer holds no `{0}`")]
    Field(&'static str),
    /// It knows a newer report of this host: a restored state, or somebody else with this host's key.
    #[error("the authority has a newer report of this host ({newest})")]
    Stale {
        /// The newest it has.
        newest: u64,
    },
}

impl AuthorityError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Vault(VaultError::Unreachable { .. }) => true,
            Self::Vault(VaultError::Refused(refusal)) => matches!(refusal.status, 429 | 500..) || is_later(refusal),
            _ => false,
        }
    }

    /// How long the authority asks to be left alone.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::Vault(VaultError::Refused(refusal)) => refusal.retry_after_secs,
            _ => None,
        }
    }
}

fn is_later(refusal: &Refusal) -> bool {
    let code = refusal.known_code();
    code.is_some_and(|code| code.exit() == crate::report::Exit::Later)
}

impl Authority {
    /// Prepares; nothing is sent.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn new(endpoint: &Endpoint) -> Result<Self, AuthorityError> {
        Ok(Self {
            address: LoginAddress::parse(&endpoint.address)?,
            vault: Vault::new(endpoint.clone(), None)?,
        })
    }

    /// Enrols.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn enroll(&self, key: &HostKey, proof: &Proof) -> Result<Admission, AuthorityError> {
        let (method, evidence) = (proof.method, proof.evidence.as_str());
        let nonce = self.nonce()?;
        let message = enroll_message(&self.address, &nonce, method, evidence);
        let mut body = json!({
            "method": method,
            "evidence": evidence,
            "address": self.address.as_str(),
            "nonce": nonce,
            "public_key": key.public().line(),
            "signature": key.sign(ENROLL_NAMESPACE, &message)?,
        });
        for (name, value) in [("role", &proof.role), ("mount", &proof.mount)] {
            if let (Some(value), Some(fields)) = (value, body.as_object_mut()) {
                fields.insert(name.to_owned(), json!(value));
            }
        }
        admission(&self.put("enroll", &body)?)
    }

    /// Has the host's certificate renewed.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn renew(&self, key: &HostKey, host: &str) -> Result<Admission, AuthorityError> {
        let nonce = self.nonce()?;
        let message = renew_message(&self.address, &nonce, host);
        let answer = self.put(
            "renew",
            &json!({
                "host": host,
                "address": self.address.as_str(),
                "nonce": nonce,
                "public_key": key.public().line(),
                "signature": key.sign(RENEW_NAMESPACE, &message)?,
            }),
        )?;
        admission(&answer)
    }

    /// Reports.
    ///
    /// # Errors
    /// [`AuthorityError`], `Stale` when the sequence is not newer than what the authority has.
    pub fn report(&self, key: &HostKey, report: &HostReport) -> Result<Taken, AuthorityError> {
        let text = serde_json::to_string(report).unwrap_or_default();
        let body = json!({
            "host": report.host,
            "address": self.address.as_str(),
            "signature": key.sign(REPORT_NAMESPACE, &report_message(&self.address, &text))?,
            "report": text,
        });
        let answer = self.put("report", &body).map_err(|error| match &error {
            AuthorityError::Vault(VaultError::Refused(refusal)) => match newest_report(refusal) {
                Some(newest) => AuthorityError::Stale { newest },
                None => error,
            },
            _ => error,
        })?;
        let alarms = answer.get("alarms").and_then(Value::as_array).into_iter().flatten();
        Ok(Taken {
            renew_after: answer.get("renew_after").and_then(Value::as_u64),
            alarms: alarms.map(alarm).collect(),
        })
    }

    fn nonce(&self) -> Result<String, AuthorityError> {
        let answer = self.put("challenge", &json!({}))?;
        text(&answer, "nonce")
    }

    /// The answer's `data`.
    fn put(&self, verb: &str, body: &Value) -> Result<Value, AuthorityError> {
        let path = format!("sys/signet/host/{verb}");
        let mut envelope = self.vault.send(Verb::Put, &path, Some(body))?;
        Ok(envelope.get_mut("data").map(Value::take).unwrap_or_default())
    }
}

/// An alarm about a login, in one sentence.
fn alarm(value: &Value) -> String {
    let field = |key: &str| value.get(key).map(crate::output::plain);
    match (field("reason"), field("account"), field("serial"), field("address")) {
        (Some(reason), Some(account), Some(serial), Some(address)) => {
            format!("{reason}: account `{account}`, serial {serial}, from {address}")
        }
        _ => crate::output::plain(value),
    }
}

/// The newest sequence stands in the hint of a `report-stale` refusal, as its last number.
fn newest_report(refusal: &Refusal) -> Option<u64> {
    if refusal.code.as_deref() != Some("report-stale") {
        return None;
    }
    let hint = refusal.hint.as_deref()?;
    let mut numbers = hint.split(|c: char| !c.is_ascii_digit());
    numbers.rfind(|digits| !digits.is_empty())?.parse().ok()
}

fn admission(data: &Value) -> Result<Admission, AuthorityError> {
    let list = |key: &str| {
        let list = data.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    Ok(Admission {
        host: text(data, "host")?,
        names: list("names"),
        tags: list("tags").into_iter().collect(),
        signed_key: text(data, "signed_key")?,
        mount: text(data, "mount").ok(),
        bundle_public_key: text(data, "bundle_public_key").ok(),
        host_ca_key: text(data, "host_ca_key")?,
    })
}

fn text(data: &Value, key: &'static str) -> Result<String, AuthorityError> {
    let found = data.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.map(str::to_owned).ok_or(AuthorityError::Field(key))
}
