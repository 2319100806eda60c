//! What `signet ssh` says to the agent over the control socket: one frame each way.
//!
//! The token stands behind the JSON, after a zero byte, so that it is never part of anything that can be serialised.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use ssh_key::HashAlg;
use zeroize::Zeroizing;

use crate::endpoint::Endpoint;
use crate::report::Failure;

/// Raised when the frames change; an agent of another version is not asked.
pub const VERSION: u32 = 2;

/// A certificate, described completely: two equal requests with the same token may share one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRequest {
    /// Which authority.
    pub endpoint: Endpoint,
    /// Path of the SSH engine.
    pub mount: String,
    /// Role.
    pub role: String,
    /// Comma list, as on Vault's wire.
    pub principals: String,
    /// The principals are a guess from the account's name.
    pub or_default_user: bool,
    /// Asked lifetime.
    pub ttl_secs: Option<u64>,
    /// Asked extensions; empty leaves the role's.
    pub extensions: BTreeMap<String, String>,
    /// The host CA to trust, when asked.
    pub host_keys: Option<HostKeys>,
}

/// Whose host certificates to believe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKeys {
    /// Mount of the host CA.
    pub mount: String,
    /// Patterns for `@cert-authority`.
    pub hostnames: String,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// A certificate, from the cache or fresh.
    Certificate(Box<CertificateRequest>),
    /// Drop every certificate that came with this token.
    Forget,
    /// How many certificates are held.
    Status,
    /// Drop everything and end.
    Stop,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Where ssh finds it.
    Certificate(Box<Handle>),
    /// Done; how many certificates are held now.
    Held(usize),
    /// No.
    Failed(Failure),
}

/// A certificate that is being served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// For `IdentityAgent`.
    pub socket: PathBuf,
    /// For `UserKnownHostsFile`, when a host CA was asked for.
    pub known_hosts: Option<PathBuf>,
    /// Remarks of the authority, only with a fresh certificate.
    pub warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    version: u32,
    body: T,
}

/// Puts a question and its token in a frame body.
#[must_use]
pub fn write_question(question: &Question, token: Option<&SecretString>) -> Zeroizing<Vec<u8>> {
    let mut body = Zeroizing::new(Vec::with_capacity(2048));
    // Types without maps of odd keys always serialise.
    body.extend(
        serde_json::to_vec(&Envelope {
            version: VERSION,
            body: question,
        })
        .unwrap_or_default(),
    );
    body.push(0);
    body.extend(token.map(|token| token.expose_secret().as_bytes()).unwrap_or_default());
    body
}

/// Reads a question; `None` when it is none of this version.
#[must_use]
pub fn read_question(body: &[u8]) -> Option<(Question, Option<SecretString>)> {
    let split = body.iter().position(|byte| *byte == 0)?;
    let (json, token) = body.split_at_checked(split)?;
    let envelope: Envelope<Question> = serde_json::from_slice(json).ok()?;
    let token = std::str::from_utf8(token.get(1..)?).ok()?;
    let token = (!token.is_empty()).then(|| SecretString::from(token.to_owned()));
    (envelope.version == VERSION).then_some((envelope.body, token))
}

/// Puts an answer in a frame body.
#[must_use]
pub fn write_answer(answer: &Answer) -> Vec<u8> {
    serde_json::to_vec(&Envelope {
        version: VERSION,
        body: answer,
    })
    .unwrap_or_default()
}

/// Reads an answer; `None` when it is none of this version.
#[must_use]
pub fn read_answer(body: &[u8]) -> Option<Answer> {
    let envelope: Envelope<Answer> = serde_json::from_slice(body).ok()?;
    (envelope.version == VERSION).then_some(envelope.body)
}

/// The cache key: the request and the token. Somebody else's token, or another authority, never finds this certificate.
#[must_use]
pub fn cache_key(request: &CertificateRequest, token: Option<&SecretString>) -> String {
    let mut text = Zeroizing::new(serde_json::to_vec(request).unwrap_or_default());
    text.extend(token_hash(token).as_bytes());
    hash(&text)
}

/// A token's name in the cache.
#[must_use]
pub fn token_hash(token: Option<&SecretString>) -> String {
    hash(token.map(|token| token.expose_secret().as_bytes()).unwrap_or_default())
}

fn hash(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&HashAlg::Sha256.digest(bytes))
}
