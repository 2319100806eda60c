//! Answers as the wire has them: Vault's envelope with its key order, written into one buffer.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};
use signet_core::time::UnixTime;

use super::problem::Problem;
use super::stream::Chunks;
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
    /// Bytes that caches may keep.
    Cacheable(Box<Cacheable>),
    /// Bytes that are made while they are sent.
    Stream(Body),
}

/// What hosts fetch over and over: answered whole once, and then "not modified" until it changes.
#[derive(Debug)]
pub struct Cacheable {
    /// The media type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// The entity tag, in quotes.
    pub etag: String,
    /// When it was made.
    pub made: UnixTime,
    /// Further headers.
    pub headers: Vec<(&'static str, u64)>,
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

    /// Bytes that caches may keep; without a body when the asker has them already.
    #[must_use]
    pub fn cacheable(answer: Cacheable) -> Self {
        Self::of(Answer::Cacheable(Box::new(answer)))
    }

    /// Bytes that are made while they are sent; a failure in between breaks the connection off.
    #[must_use]
    pub(super) fn stream(bytes: Chunks) -> Self {
        Self::of(Answer::Stream(Body::new(bytes)))
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

    pub(super) fn into_response(self, request_id: &str, asked: &HeaderMap) -> Response {
        let warnings = self.warnings;
        let (data, auth, top) = match self.body {
            Answer::Nothing if warnings.is_empty() => return empty(StatusCode::NO_CONTENT),
            Answer::Head(status) => return empty(status),
            Answer::Text(content_type, text) => return text_response(content_type, text),
            Answer::Cacheable(answer) => return cacheable_response(*answer, asked),
            Answer::Stream(body) => return response(StatusCode::OK, BYTES, body),
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

const BYTES: &str = "application/octet-stream";

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

/// RFC 9110, "If-None-Match": comparison is weak, and `*` stands for anything.
fn is_known(asked: &HeaderMap, etag: &str) -> bool {
    let known = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag;
    asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|tags| tags.split(',').any(|tag| known(tag.trim())))
}

fn cacheable_response(answer: Cacheable, asked: &HeaderMap) -> Response {
    let mut response = if is_known(asked, &answer.etag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        response(StatusCode::OK, answer.content_type, Body::from(answer.body))
    };
    let headers = response.headers_mut();
    // Kept, but asked about each time: a revocation must not wait in a proxy.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    for (name, value) in [(ETAG, answer.etag), (LAST_MODIFIED, http_date(answer.made))] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    for (name, value) in answer.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
    response
}

/// RFC 9110, "Date/Time Formats": `Sun, 22 Nov 2026 03:00:00 GMT`.
fn http_date(time: UnixTime) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = time.to_string();
    let (date, clock) = text.trim_end_matches('Z').split_once('T').unwrap_or_default();
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let nth = |names: &[&'static str], nth: Option<u64>| {
        let index = nth.and_then(|nth| usize::try_from(nth).ok()?.checked_sub(1));
        index.and_then(|index| names.get(index).copied()).unwrap_or_default()
    };
    format!(
        "{}, {} {} {} {clock} GMT",
        nth(&DAYS, Some(time.weekday_utc())),
        day.unwrap_or_default(),
        nth(&MONTHS, month.and_then(|month| month.parse().ok())),
        year.unwrap_or_default(),
    )
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        for (secs, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_795_000_000, "Wed, 18 Nov 2026 11:06:40 GMT"),
        ] {
            assert_eq!(http_date(UnixTime::from_secs(secs)), text);
        }
    }

    #[test]
    fn an_entity_tag_is_known_in_every_way_it_can_be_sent() {
        for (sent, known) in [
            ("\"ab\"", true),
            ("W/\"ab\"", true),
            ("\"x\", \"ab\"", true),
            ("*", true),
            ("ab", false),
            ("\"abc\"", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(sent));
            assert_eq!(is_known(&headers, "\"ab\""), known, "{sent}");
        }
        assert!(!is_known(&HeaderMap::new(), "\"ab\""));
    }
}
