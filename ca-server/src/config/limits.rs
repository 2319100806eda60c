//! `[limits]`: what a peer may demand of the server. All have safe defaults; each is enforced in `listener.rs` or `http/`.

use signet_core::toml_reader::TableReader;

/// What a peer may demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body.
    pub body_bytes_max: usize,
    /// Bytes of the body when a role is written.
    pub role_body_bytes_max: usize,
    /// Nesting of JSON.
    pub json_depth_max: usize,
    /// Bytes of a request's head.
    pub header_bytes_max: usize,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Seconds until a request must be answered.
    pub request_timeout_secs: u64,
    /// Seconds until a connection must have sent a request's head, and its TLS handshake.
    pub header_timeout_secs: u64,
    /// Seconds that requests in flight get at the end.
    pub drain_secs: u64,
    /// Requests a minute from one address on paths without a token.
    pub login_rate_per_minute: u32,
    /// Requests a minute from one address on the paths of enrolled hosts: a whole site may stand behind one address.
    pub host_rate_per_minute: u32,
    /// KRLs, trust bundles and public keys fetched from one address in a minute. A bucket of its own, since a whole fleet may
    /// fetch them from behind one address; an answer "not modified" counts like any other.
    pub fetch_rate_per_minute: u32,
    /// Bytes of a backup that is sent to be restored.
    pub restore_bytes_max: u64,
    /// Tokens alive at the same time; the next login is refused rather than memory exhausted.
    pub tokens_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 65_536,
            role_body_bytes_max: 1_048_576,
            json_depth_max: 32,
            header_bytes_max: 16_384,
            connections_max: 4_096,
            request_timeout_secs: 30,
            header_timeout_secs: 10,
            drain_secs: 10,
            login_rate_per_minute: 300,
            host_rate_per_minute: 6_000,
            fetch_rate_per_minute: 6_000,
            restore_bytes_max: 16 << 30,
            tokens_max: 1_000_000,
        }
    }
}

impl Limits {
    pub(super) fn read(top: &TableReader<'_>) -> Self {
        let default = Self::default();
        let Some(section) = top.table("limits") else {
            return default;
        };
        let count = |key, least, most, default: usize| {
            section
                .number(key, least..=most)
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(default)
        };
        Self {
            body_bytes_max: count("body_bytes_max", 1024, 16 << 20, default.body_bytes_max),
            role_body_bytes_max: count("role_body_bytes_max", 1024, 16 << 20, default.role_body_bytes_max),
            json_depth_max: count("json_depth_max", 4, 100, default.json_depth_max),
            header_bytes_max: count("header_bytes_max", 8192, 1 << 20, default.header_bytes_max),
            connections_max: count("connections_max", 1, 1 << 20, default.connections_max),
            request_timeout_secs: section
                .duration_secs("request_timeout", 1..=3600)
                .unwrap_or(default.request_timeout_secs),
            header_timeout_secs: section
                .duration_secs("header_timeout", 1..=600)
                .unwrap_or(default.header_timeout_secs),
            drain_secs: section
                .duration_secs("drain_timeout", 0..=600)
                .unwrap_or(default.drain_secs),
            login_rate_per_minute: section
                .number("login_rate_per_minute", 1..=1_000_000)
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or(default.login_rate_per_minute),
            host_rate_per_minute: section
                .number("host_rate_per_minute", 1..=1_000_000)
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or(default.host_rate_per_minute),
            fetch_rate_per_minute: section
                .number("fetch_rate_per_minute", 1..=100_000_000)
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or(default.fetch_rate_per_minute),
            restore_bytes_max: section
                .number("restore_bytes_max", 1 << 20..=1 << 50)
                .unwrap_or(default.restore_bytes_max),
            tokens_max: count("tokens_max", 1, 100_000_000, default.tokens_max),
        }
    }
}
