//! What the server counts, for Prometheus. Counters are plain atomics; labels come from closed sets, so that no caller can
//! make the number of series grow.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The server's counters. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    certificates: Counter,
    denials: Family<Code, Counter>,
    signatures: Family<Signature, Counter>,
    logins: Family<Login, Counter>,
    requests: Family<Status, Counter>,
    rate_limited: Counter,
    host_requests: Family<HostRequest, Counter>,
    alarms: Family<AlarmKind, Counter>,
    region_certificate_ends: Gauge,
    connections: Gauge,
    connections_refused: Counter,
    ledger_batch_records: Histogram,
    ledger_commit_seconds: Histogram,
    ledger_failures: Counter,
    sink_behind_records: Gauge,
    policy_reloads: Family<Outcome, Counter>,
    krl_version: Family<OfMount, Gauge>,
    krl_entries: Family<OfMount, Gauge>,
    trust_bundle_version: Family<OfMount, Gauge>,
}

/// A mount; only operators make them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct OfMount {
    mount: String,
}

impl EncodeLabelSet for OfMount {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        ("mount", self.mount.as_str()).encode(encoder.encode_label())
    }
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $($field:ident),+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        struct $name { $($field: &'static str),+ }

        impl EncodeLabelSet for $name {
            fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
                $((stringify!($field), self.$field).encode(encoder.encode_label())?;)+
                Ok(())
            }
        }
    };
}

use prometheus_client::encoding::EncodeLabel as _;

label!(
    /// A denial's stable code.
    Code,
    code
);
label!(
    /// How a signature that takes its time went.
    Signature,
    holder,
    outcome
);
label!(
    /// How a login ended.
    Login,
    method,
    outcome
);
label!(
    /// What a host asked for, and how it ended.
    HostRequest,
    request,
    outcome
);
label!(
    /// What an alarm is about.
    AlarmKind,
    kind
);
label!(
    /// Class of an HTTP status.
    Status,
    class
);
label!(
    /// `ok` or `failed`.
    Outcome,
    outcome
);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

const OK: &str = "ok";
const FAILED: &str = "failed";

const fn outcome(good: bool) -> &'static str {
    if good { OK } else { FAILED }
}

impl Metrics {
    /// Makes all counters, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("signet");
        let inner = Inner {
            certificates: Counter::default(),
            denials: Family::default(),
            signatures: Family::default(),
            logins: Family::default(),
            requests: Family::default(),
            rate_limited: Counter::default(),
            host_requests: Family::default(),
            alarms: Family::default(),
            region_certificate_ends: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            ledger_batch_records: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            ledger_commit_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            ledger_failures: Counter::default(),
            sink_behind_records: Gauge::default(),
            policy_reloads: Family::default(),
            krl_version: Family::default(),
            krl_entries: Family::default(),
            trust_bundle_version: Family::default(),
            registry: Registry::default(),
        };
        registry.register("certificates", "Certificates issued", inner.certificates.clone());
        registry.register("denials", "Requests refused, by code", inner.denials.clone());
        registry.register(
            "slow_signatures",
            "Signatures by RSA keys and by CA keys that lie elsewhere, by holder and outcome",
            inner.signatures.clone(),
        );
        registry.register("logins", "Logins, by method and outcome", inner.logins.clone());
        registry.register(
            "requests",
            "Requests answered, by class of status",
            inner.requests.clone(),
        );
        registry.register(
            "rate_limited",
            "Requests refused for coming too fast",
            inner.rate_limited.clone(),
        );
        registry.register(
            "host_requests",
            "Enrolments, renewals and reports, by outcome",
            inner.host_requests.clone(),
        );
        registry.register("alarms", "Alarms in the ledger, by kind", inner.alarms.clone());
        registry.register(
            "region_certificate_ends_timestamp_seconds",
            "When the first of AWS's pinned region certificates ends; 0 without any",
            inner.region_certificate_ends.clone(),
        );
        registry.register("connections", "Connections open", inner.connections.clone());
        registry.register(
            "connections_refused",
            "Connections closed at once because there were too many",
            inner.connections_refused.clone(),
        );
        registry.register(
            "ledger_batch_records",
            "Records made durable together",
            inner.ledger_batch_records.clone(),
        );
        registry.register_with_unit(
            "ledger_commit",
            "Time to make a batch of records durable",
            Unit::Seconds,
            inner.ledger_commit_seconds.clone(),
        );
        registry.register(
            "ledger_failures",
            "Batches that could not be made durable",
            inner.ledger_failures.clone(),
        );
        registry.register(
            "sink_behind_records",
            "Records that the slowest sink has not written yet",
            inner.sink_behind_records.clone(),
        );
        registry.register(
            "policy_reloads",
            "Policy reloads, by outcome",
            inner.policy_reloads.clone(),
        );
        registry.register(
            "krl_version",
            "Version of the revocation list",
            inner.krl_version.clone(),
        );
        registry.register(
            "krl_entries",
            "Revocations that the list was made from",
            inner.krl_entries.clone(),
        );
        registry.register(
            "trust_bundle_version",
            "Version of the trust bundle last signed",
            inner.trust_bundle_version.clone(),
        );
        Self(Arc::new(Inner { registry, ..inner }))
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        encode(&mut text, &self.0.registry).map(|()| text).unwrap_or_default()
    }

    /// A certificate was issued.
    pub fn certificate(&self) {
        self.0.certificates.inc();
    }

    /// A request was refused.
    pub fn denial(&self, code: &'static str) {
        self.0.denials.get_or_create(&Code { code }).inc();
    }

    /// A signature was asked of an RSA key or of a CA key that lies elsewhere.
    pub fn slow_signature(&self, holder: &'static str, outcome: &'static str) {
        self.0.signatures.get_or_create(&Signature { holder, outcome }).inc();
    }

    /// Somebody logged in, or tried to.
    pub fn login(&self, method: &'static str, good: bool) {
        self.0
            .logins
            .get_or_create(&Login {
                method,
                outcome: outcome(good),
            })
            .inc();
    }

    /// A request was answered.
    pub fn request(&self, status: u16) {
        let class = match status {
            0..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.0.requests.get_or_create(&Status { class }).inc();
    }

    /// A request came too fast.
    pub fn rate_limited(&self) {
        self.0.rate_limited.inc();
    }

    /// A host enrolled, renewed or reported, or tried to.
    pub fn host_request(&self, request: &'static str, good: bool) {
        let outcome = outcome(good);
        self.0
            .host_requests
            .get_or_create(&HostRequest { request, outcome })
            .inc();
    }

    /// Something happened that somebody has to look at.
    pub fn alarm(&self, kind: &'static str) {
        self.0.alarms.get_or_create(&AlarmKind { kind }).inc();
    }

    /// When the first of AWS's pinned certificates ends, in seconds since 1970.
    pub fn region_certificate_ends(&self, secs: u64) {
        self.0
            .region_certificate_ends
            .set(i64::try_from(secs).unwrap_or(i64::MAX));
    }

    /// A connection was accepted.
    pub fn connection_opened(&self) {
        self.0.connections.inc();
    }

    /// A connection ended.
    pub fn connection_closed(&self) {
        self.0.connections.dec();
    }

    /// A connection was closed at once because there were too many.
    pub fn connection_refused(&self) {
        self.0.connections_refused.inc();
    }

    /// A batch of records became durable.
    pub fn ledger_batch(&self, records: usize, secs: f64) {
        self.0
            .ledger_batch_records
            .observe(f64::from(u32::try_from(records).unwrap_or(u32::MAX)));
        self.0.ledger_commit_seconds.observe(secs);
    }

    /// A batch of records could not be made durable.
    pub fn ledger_failure(&self) {
        self.0.ledger_failures.inc();
    }

    /// How many records the slowest sink has still to write.
    pub fn sink_behind(&self, records: u64) {
        self.0
            .sink_behind_records
            .set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// A mount has a new revocation list.
    pub fn krl(&self, mount: &str, version: u64, entries: usize) {
        let mount = OfMount {
            mount: mount.to_owned(),
        };
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        self.0.krl_version.get_or_create(&mount).set(version);
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.0.krl_entries.get_or_create(&mount).set(entries);
    }

    /// A mount has a new trust bundle.
    pub fn trust_bundle(&self, mount: &str, version: u64) {
        let mount = OfMount {
            mount: mount.to_owned(),
        };
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        self.0.trust_bundle_version.get_or_create(&mount).set(version);
    }

    /// The policies were reloaded, or not.
    pub fn policy_reload(&self, good: bool) {
        self.0
            .policy_reloads
            .get_or_create(&Outcome { outcome: outcome(good) })
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_rendered() {
        let metrics = Metrics::new();
        metrics.certificate();
        metrics.denial("unknown-role");
        metrics.login("ssh-key", false);
        metrics.request(403);
        metrics.ledger_batch(3, 0.000_1);
        let text = metrics.render();
        for line in [
            "signet_certificates_total 1",
            "signet_denials_total{code=\"unknown-role\"} 1",
            "signet_logins_total{method=\"ssh-key\",outcome=\"failed\"} 1",
            "signet_requests_total{class=\"4xx\"} 1",
            "signet_ledger_batch_records_sum 3.0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
