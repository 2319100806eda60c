//! Answers as the wire has them: Vault's envelope with its key order, written into one buffer.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};
use signet_core::time::UnixTime;

use super::problem::Problem;
use crate::tokens::TokenEntry;

/// What an endpoint answers.
#[derive(Debug)]
pub struct Reply {
    body: Answer,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Answer {
    /// 204 without a body, or 200 with `data: null` when there are warnings.
    Nothing,
    Data(Value),
    /// The hot path: no JSON tree.
    Signed {
        serial_hex: String,
        line: String,
    },
    /// Serialised already, since it holds a secret that must not be copied around.
    Auth(AuthText),
    /// The old `sys/` style: the keys under `data` and at top level.
    Twice(Map<String, Value>),
    /// No envelope at all.
    Bare(StatusCode, Value),
    /// A status without a body: `HEAD sys/health`.
    Head(StatusCode),
    Text(&'static str, String),
}

struct AuthText(zeroize::Zeroizing<String>);

impl std::fmt::Debug for AuthText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthText")
    }
}

/// Vault's `auth` block, in Vault's key order.
#[derive(Serialize)]
struct AuthBlock<'a> {
    client_token: &'a str,
    accessor: &'a str,
    policies: &'a BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    token_policies: &'a BTreeSet<String>,
    metadata: Option<&'a BTreeMap<String, String>>,
    lease_duration: u64,
    renewable: bool,
    entity_id: &'static str,
    token_type: &'static str,
    orphan: bool,
    mfa_requirement: Option<()>,
    num_uses: u64,
}

impl Reply {
    /// Nothing to say: 204.
    #[must_use]
    pub const fn nothing() -> Self {
        Self::of(Answer::Nothing)
    }

    /// An answer under `data`.
    #[must_use]
    pub const fn data(data: Value) -> Self {
        Self::of(Answer::Data(data))
    }

    /// A certificate under `data`.
    #[must_use]
    pub const fn signed(serial_hex: String, line: String) -> Self {
        Self::of(Answer::Signed { serial_hex, line })
    }

    /// A new or renewed token under `auth`.
    #[must_use]
    pub fn login(token: &SecretString, entry: &TokenEntry, now: UnixTime) -> Self {
        Self::auth(token.expose_secret(), entry, now)
    }

    /// As [`Self::login`], where the caller's own token is at hand as text (or must stay out: `""`).
    #[must_use]
    pub fn auth(token: &str, entry: &TokenEntry, now: UnixTime) -> Self {
        let block = AuthBlock {
            client_token: token,
            accessor: &entry.accessor,
            policies: &entry.policies,
            token_policies: &entry.policies,
            metadata: (!entry.metadata.is_empty()).then_some(&entry.metadata),
            lease_duration: entry.ttl_left(now),
            renewable: entry.renewable,
            entity_id: "",
            token_type: "service",
            orphan: entry.is_orphan(),
            mfa_requirement: None,
            num_uses: entry.num_uses,
        };
        let text = serde_json::to_string(&block).unwrap_or_else(|_| "null".to_owned());
        Self::of(Answer::Auth(AuthText(zeroize::Zeroizing::new(text))))
    }

    /// The old `sys/` style: keys under `data` and at top level.
    #[must_use]
    pub const fn twice(data: Map<String, Value>) -> Self {
        Self::of(Answer::Twice(data))
    }

    /// An object without envelope and with a status of its own.
    #[must_use]
    pub const fn bare(status: StatusCode, body: Value) -> Self {
        Self::of(Answer::Bare(status, body))
    }

    /// A status alone.
    #[must_use]
    pub const fn head(status: StatusCode) -> Self {
        Self::of(Answer::Head(status))
    }

    /// Plain text.
    #[must_use]
    pub const fn text(content_type: &'static str, text: String) -> Self {
        Self::of(Answer::Text(content_type, text))
    }

    const fn of(body: Answer) -> Self {
        Self {
            body,
            warnings: Vec::new(),
        }
    }

    /// Adds warnings; an answer without a body then gets one, which clients of Vault take.
    #[must_use]
    pub fn with_warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// Whether the answer has a body without further warnings; Vault drops its own remarks on a 204.
    pub(super) fn has_body(&self) -> bool {
        !matches!(self.body, Answer::Nothing) || !self.warnings.is_empty()
    }

    pub(super) fn into_response(self, request_id: &str) -> Response {
        let warnings = self.warnings;
        let (data, auth, top) = match self.body {
            Answer::Nothing if warnings.is_empty() => return empty(StatusCode::NO_CONTENT),
            Answer::Head(status) => return empty(status),
            Answer::Text(content_type, text) => return text_response(content_type, text),
            Answer::Bare(status, value) => return json_response(status, format!("{value}\n").into_bytes()),
            Answer::Nothing => ("null".to_owned(), None, None),
            Answer::Data(value) => (value.to_string(), None, None),
            Answer::Signed { serial_hex, line } => (signed_data(&serial_hex, &line), None, None),
            Answer::Auth(text) => ("null".to_owned(), Some(text), None),
            Answer::Twice(map) => {
                let data = Value::Object(map.clone()).to_string();
                (data, None, members(map))
            }
        };
        let auth = auth.as_ref().map_or("null", |auth| auth.0.as_str());
        json_response(
            StatusCode::OK,
            envelope(request_id, &data, &warnings, auth, top.as_deref()),
        )
    }
}

/// The members once more, without the braces. Names of the envelope's own members stay out: a caller who chooses a name must
/// not be able to write a second `auth`.
fn members(mut map: Map<String, Value>) -> Option<String> {
    map.retain(|name, _| !ENVELOPE.contains(&name.as_str()));
    let text = Value::Object(map).to_string();
    let members = text.strip_prefix('{')?.strip_suffix('}')?;
    (!members.is_empty()).then(|| members.to_owned())
}

const ENVELOPE: &[&str] = &[
    "request_id",
    "lease_id",
    "renewable",
    "lease_duration",
    "data",
    "wrap_info",
    "warnings",
    "auth",
];

fn envelope(request_id: &str, data: &str, warnings: &[String], auth: &str, top: Option<&str>) -> Vec<u8> {
    let mut body = Vec::with_capacity(256 + data.len() + auth.len() + top.map_or(0, str::len));
    let mut put = |text: &str| body.extend_from_slice(text.as_bytes());
    put("{\"request_id\":\"");
    put(request_id);
    put("\",\"lease_id\":\"\",\"renewable\":false,\"lease_duration\":0,\"data\":");
    put(data);
    put(",\"wrap_info\":null,\"warnings\":");
    if warnings.is_empty() {
        put("null");
    } else {
        put(&serde_json::to_string(warnings).unwrap_or_else(|_| "null".to_owned()));
    }
    put(",\"auth\":");
    put(auth);
    if let Some(top) = top {
        put(",");
        put(top);
    }
    put("}\n");
    body
}

/// A certificate's line is `[a-z0-9@.+/= -]` and a newline, a serial is hex: neither needs JSON's escaping but the newline.
fn signed_data(serial_hex: &str, line: &str) -> String {
    let mut data = String::with_capacity(60 + line.len());
    data.push_str("{\"serial_number\":\"");
    data.push_str(serial_hex);
    data.push_str("\",\"signed_key\":\"");
    data.push_str(line.trim_end_matches('\n'));
    data.push_str("\\n\"}");
    data
}

/// The response for a problem; a 5xx's cause is logged under the request's id, never answered.
pub(super) fn problem_response(problem: &Problem, request_id: &str) -> Response {
    let parts = problem.parts();
    if let Some(cause) = problem.private_cause() {
        tracing::error!(request_id, code = parts.code, cause, "request failed");
    }
    let mut body = Map::new();
    body.insert("errors".to_owned(), parts.texts.into());
    let mut text = Value::Object(body).to_string();
    text.pop();
    text.push_str(",\"code\":");
    text.push_str(&Value::from(parts.code).to_string());
    for (name, value) in [("reason", parts.reason), ("hint", parts.hint)] {
        if let Some(value) = value {
            text.push_str(",\"");
            text.push_str(name);
            text.push_str("\":");
            text.push_str(&Value::from(value).to_string());
        }
    }
    text.push_str(",\"request_id\":");
    text.push_str(&Value::from(request_id).to_string());
    text.push_str("}\n");
    let mut response = json_response(parts.status, text.into_bytes());
    if let Some(secs) = parts.retry_after_secs {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

/// Vault's answer to read and list of nothing holds an empty list and nothing else that clients could trip on.
fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    response(status, "application/json", Body::from(body))
}

fn text_response(content_type: &'static str, text: String) -> Response {
    response(StatusCode::OK, content_type, Body::from(text))
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
