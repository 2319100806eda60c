//! `sys/signet/host…`: hosts enrol, renew and report; operators look at them. What was refused to a host reads the same for
//! every reason, which only the ledger names.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use signet_core::time::UnixTime;

use super::login::{brief, reasons, required_texts};
use crate::authority::Authority;
use crate::hosts::enroll::{self, Enrolled, HostAsk, HostError, HostRefusal};
use crate::hosts::entry::HostEntry;
use crate::hosts::evidence::{Evidence, EvidenceRefusal};
use crate::hosts::given::{given, host_name};
use crate::hosts::report::{self, ReportError, SignedReport};
use crate::hosts::tokens::{DEFAULT_TTL_SECS, HostToken, TTL_SECS_MAX};
use crate::hosts::{HostStoreError, entry::HostIdentity, host_mount, user_mount};
use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::EventKind;
use crate::login::challenge::{NONCE_TTL_SECS, NonceError};
use crate::login::host_key::{HostKeyRefusal, HostKeyRequest};
use crate::login::jwt::JwtRefusal;
use crate::random;

const ENROLL: &str = "enroll";
const RENEW: &str = "renew";
const REPORT: &str = "report";

/// `POST sys/signet/host/challenge`: a nonce to sign.
pub(super) fn challenge(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let mut random = [0; 16];
    random::fill(&mut random)?;
    let nonce = ask.authority.login.host_key().challenge(random, ask.now);
    Ok(Reply::data(json!({"nonce": nonce, "expires_in": NONCE_TTL_SECS})))
}

/// `POST sys/signet/host/enroll`: a host key and what proves who has it.
pub(super) async fn enroll(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let names = ["method", "evidence", "nonce", "address", "public_key", "signature"];
    let [method, evidence, nonce, address, public_key, signature] = required_texts(ask, names)?;
    let given = |field| Ok::<_, Problem>(ask.fields.string(field)?.filter(|text| !text.is_empty()));
    let (role, mount) = (given("role")?, given("mount")?);
    let request = HostKeyRequest {
        nonce: &nonce,
        address: &address,
        public_key: &public_key,
        signature: &signature,
    };
    let evidence = Evidence {
        method: &method,
        text: &evidence,
        role: role.as_deref(),
        mount: mount.as_deref(),
    };
    answer(ask, ENROLL, None, enroll::enroll(at(ask), request, evidence).await).await
}

/// `POST sys/signet/host/renew`: the pinned key asks for its next certificate.
pub(super) async fn renew(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let names = ["host", "nonce", "address", "public_key", "signature"];
    let [host, nonce, address, public_key, signature] = required_texts(ask, names)?;
    let request = HostKeyRequest {
        nonce: &nonce,
        address: &address,
        public_key: &public_key,
        signature: &signature,
    };
    answer(ask, RENEW, Some(&host), enroll::renew(at(ask), &host, request).await).await
}

/// `POST sys/signet/host/report`: what the host believes and whom it let in.
pub(super) async fn report(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let [host, address, text, signature] = required_texts(ask, ["host", "address", "report", "signature"])?;
    let signed = SignedReport {
        host: &host,
        address: &address,
        report: &text,
        signature: &signature,
    };
    let taken = report::take(at(ask), signed).await;
    ask.authority.metrics.host_request(REPORT, taken.is_ok());
    match taken {
        Ok((entry, alarms)) => Ok(Reply::data(json!({
            "accepted": true,
            "renew_after": renew_after(&entry),
            "alarms": alarms,
        }))),
        Err(ReportError::Host(error)) => Err(refused(ask, REPORT, Some(&host), error).await),
        Err(error @ ReportError::Malformed(_)) => Err(Problem::refused("report-invalid", error.to_string())
            .with_hint("host and authority may be of different versions; `signet host check` tells the host's")),
        Err(ReportError::Stale { newest, sequence }) => {
            let text = format!("report {sequence} is not newer than the newest one");
            Err(Problem::refused("report-stale", text).with_hint(format!("the newest sequence is {newest}")))
        }
        Err(error @ (ReportError::Ledger(_) | ReportError::Reader(_))) => Err(Problem::internal(&error)),
    }
}

/// `LIST sys/signet/hosts`: the laggards first.
pub(super) fn list(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let mut entries = ask.authority.hosts.list();
    if entries.is_empty() {
        return Err(Problem::NothingThere);
    }
    let stale_after = ask.authority.config.hosts.stale_after_secs;
    entries.sort_by_key(|entry| {
        let fresh = !entry.is_stale(stale_after, ask.now);
        let heard = entry.report.as_ref().map_or(0, |last| last.received);
        (fresh, entry.bundle_version(), heard, entry.host.clone())
    });
    let keys: Vec<&str> = entries.iter().map(|entry| entry.host.as_str()).collect();
    let info: serde_json::Map<String, Value> = entries
        .iter()
        .map(|entry| (entry.host.clone(), summary(ask.authority, entry, ask.now)))
        .collect();
    Ok(Reply::data(json!({"keys": keys, "key_info": info})))
}

/// `GET sys/signet/hosts/:host`: everything that is known of one.
pub(super) fn read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let entry = ask.authority.hosts.find(ask.capture).ok_or(Problem::NothingThere)?;
    let mut data = summary(ask.authority, &entry, ask.now);
    if let Some(fields) = data.as_object_mut() {
        fields.insert("host".to_owned(), entry.host.clone().into());
        fields.insert("names".to_owned(), json!(entry.names));
        fields.insert("identity".to_owned(), json!(entry.identity));
        fields.insert("public_key".to_owned(), entry.public_key.clone().into());
        let fingerprint = entry.key().map(|key| key.fingerprint());
        fields.insert("fingerprint".to_owned(), json!(fingerprint));
        fields.insert("renewed".to_owned(), time(entry.renewed));
        fields.insert("address".to_owned(), entry.address.clone().into());
        let last = entry.report.as_ref();
        fields.insert("report_address".to_owned(), json!(last.map(|last| &last.address)));
        fields.insert("report".to_owned(), json!(last.map(|last| &last.report)));
    }
    Ok(Reply::data(data))
}

/// `DELETE sys/signet/hosts/:host`: the host may enrol anew, with another key.
pub(super) async fn forget(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let hosts = &ask.authority.hosts;
    let _reserved = hosts.reserve([enroll::word(ask.capture)]).ok_or_else(busy)?;
    let entry = hosts.find(ask.capture).ok_or(Problem::NothingThere)?;
    let event = ask
        .authority
        .ledger
        .event(EventKind::HostForget)
        .caller(&permit.session().caller)
        .text("host", &entry.host)
        .text("identity", &entry.identity.key())
        .optional("fingerprint", entry.key().map(|key| key.fingerprint()).as_deref())
        .text("request_id", ask.request_id);
    ask.authority.ledger.record(event).await?;
    hosts.forget(&entry.host).await?;
    let ends = UnixTime::from_secs(entry.certificate_ends);
    Ok(Reply::nothing().with_warnings((ends > ask.now).then(|| {
        format!("its host certificate stays valid until {ends}; revoke it if the host is not to be believed any more")
    })))
}

/// `POST sys/signet/host-tokens`: a one-time token for one host.
pub(super) async fn create_token(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let [host] = required_texts(ask, ["host"])?;
    let host =
        host_name(&host).ok_or_else(|| Problem::refused("field-invalid", format!("{host:?} is not a host's name")))?;
    let tags = ask.fields.comma_list("tags")?.unwrap_or_default().into_iter().collect();
    let ttl = ask
        .fields
        .duration_secs("ttl")?
        .filter(|ttl| *ttl > 0)
        .unwrap_or(DEFAULT_TTL_SECS);
    if ttl > TTL_SECS_MAX {
        let text = format!("a token for a host lives for {TTL_SECS_MAX} s at most, not {ttl} s");
        return Err(Problem::refused("host-token-refused", text).with_hint("ask for less, such as -ttl=15m"));
    }
    if host_mount(ask.authority).is_none() {
        return Err(Problem::NotOffered("enrolment of hosts ([hosts] host_mount)"));
    }
    let identity = HostIdentity::Token {
        host: host.clone(),
        tags,
    };
    if let Err(error) = given(&ask.authority.policy().hosts, &identity) {
        let hint = "hosts.toml needs an [[enroll]] with method = \"token\", these tags and a domain of this name";
        return Err(Problem::refused("host-token-refused", error.to_string()).with_hint(hint));
    }
    if let Some(owner) = ask.authority.hosts.owner_of(&host) {
        let text = format!("`{host}` has enrolled already, as `{}`", owner.host);
        let hint = format!(
            "`signet hosts forget {}` first, if it is to enrol with another key",
            owner.host
        );
        return Err(Problem::refused("host-token-refused", text).with_hint(hint));
    }
    let HostIdentity::Token { host, tags } = identity else {
        return Err(Problem::UnsupportedPath);
    };
    let expires = ask.now.plus(ttl);
    let event = ask
        .authority
        .ledger
        .event(EventKind::HostToken)
        .caller(&permit.session().caller)
        .text("host", &host)
        .list("tags", tags.iter().map(String::as_str))
        .text("expires", &expires.to_string())
        .text("request_id", ask.request_id);
    ask.authority.ledger.record(event).await?;
    let token = HostToken {
        host: host.clone(),
        tags: tags.clone(),
        expires: expires.secs(),
        used: false,
    };
    let made = ask.authority.hosts.tokens().create(token, ask.now).await?;
    let text = made.ok_or_else(|| Problem::unavailable("too-many-tokens", "there are too many one-time tokens"))?;
    Ok(Reply::data(json!({
        "token": text.expose_secret(),
        "host": host,
        "tags": tags,
        "expires": expires.to_string(),
    })))
}

fn at<'a>(ask: &'a Ask<'_>) -> HostAsk<'a> {
    HostAsk {
        authority: ask.authority,
        peer: ask.peer,
        now: ask.now,
        request_id: ask.request_id,
    }
}

/// The certificate and what the host has to know beside it.
async fn answer(
    ask: &Ask<'_>,
    request: &'static str,
    host: Option<&str>,
    enrolled: Result<Enrolled, HostError>,
) -> Result<Reply, Problem> {
    ask.authority.metrics.host_request(request, enrolled.is_ok());
    let enrolled = match enrolled {
        Ok(enrolled) => enrolled,
        Err(error) => return Err(refused(ask, request, host, error).await),
    };
    let entry = &enrolled.entry;
    let mount = user_mount(ask.authority);
    Ok(Reply::data(json!({
        "host": entry.host,
        "names": entry.names,
        "tags": entry.tags,
        "signed_key": enrolled.certificate.line(),
        "valid_before": entry.certificate_ends,
        "renew_after": renew_after(entry),
        "mount": mount.as_ref().map(|mount| mount.path()),
        "bundle_public_key": ask.authority.bundles.public_line(),
        "host_ca_key": enrolled.host_ca_key,
    }))
    .with_warnings(enrolled.certificate.warnings().to_vec()))
}

/// Two thirds of the certificate's life: time enough for many more tries.
fn renew_after(entry: &HostEntry) -> u64 {
    let life = entry.certificate_ends.saturating_sub(entry.renewed);
    entry.renewed.saturating_add(life / 3 * 2)
}

fn summary(authority: &Authority, entry: &HostEntry, now: UnixTime) -> Value {
    let last = entry.report.as_ref();
    let report = last.map(|last| &last.report);
    let current = user_mount(authority).and_then(|mount| Some(authority.bundles.made(&mount)?.version()));
    json!({
        "tags": entry.tags,
        "method": entry.identity.method(),
        "enrolled": time(entry.enrolled),
        "last_report": last.map(|last| time(last.received)),
        "stale": entry.is_stale(authority.config.hosts.stale_after_secs, now),
        "bundle_version": entry.bundle_version(),
        "current_bundle_version": current,
        "trusts": report.map(|report| &report.user_ca_keys),
        "sshd_version": report.map(|report| &report.sshd_version),
        "problems_count": report.map_or(0, |report| report.problems.len()),
        "host_certificate_ends": time(entry.certificate_ends),
    })
}

fn time(secs: u64) -> Value {
    UnixTime::from_secs(secs).to_string().into()
}

/// The answer to what a host cannot have; a refusal is recorded first, and an alarm where somebody has to look.
async fn refused(ask: &Ask<'_>, request: &'static str, host: Option<&str>, error: HostError) -> Problem {
    let refusal = match error {
        HostError::Refused(refusal) => refusal,
        HostError::NotOffered => return Problem::NotOffered("enrolment of hosts ([hosts] host_mount)"),
        HostError::NoMount(mount) => return Problem::NoCaKey { mount },
        HostError::Busy => return busy(),
        HostError::Ledger(error) => return error.into(),
        HostError::Store(error) => return error.into(),
        HostError::Issue(error) => return Problem::internal(&error),
    };
    if let Err(problem) = record_refusal(ask, request, host, &refusal).await {
        return problem;
    }
    if is_our_fault(&refusal) {
        return Problem::unavailable("login-unavailable", "the proof cannot be checked at the moment");
    }
    // One answer for all reasons: an unknown host, a wrong signature, a name that is taken.
    Problem::forbidden("host-refused", "the host is refused")
        .with_hint("the reason is in the authority's ledger, under this request's id")
}

async fn record_refusal(
    ask: &Ask<'_>,
    request: &'static str,
    host: Option<&str>,
    refusal: &HostRefusal,
) -> Result<(), Problem> {
    let ledger = &ask.authority.ledger;
    let reason = brief(&reasons(refusal));
    let (address, host) = (ask.peer.to_string(), host.map(brief));
    let method = ask.text("method").unwrap_or_default();
    let kinds = [EventKind::HostRefused]
        .into_iter()
        .chain(refusal.is_alarming().then_some(EventKind::Alarm));
    for kind in kinds {
        let event = ledger.event(kind);
        let event = if kind == EventKind::Alarm {
            event.text("alarm", "host-key-changed")
        } else {
            event
        };
        let event = event
            .text("request", request)
            .text("method", &brief(&method))
            .optional("host", host.as_deref())
            .text("reason", &reason)
            .text("address", &address)
            .text("request_id", ask.request_id);
        ledger.record(event).await?;
    }
    if refusal.is_alarming() {
        ask.authority.metrics.alarm("host-key-changed");
        tracing::error!(
            request,
            reason,
            address,
            request_id = ask.request_id,
            "another key asks in a host's name"
        );
    }
    Ok(())
}

/// Whether the host would be let in at another moment.
fn is_our_fault(refusal: &HostRefusal) -> bool {
    matches!(
        refusal,
        HostRefusal::Key(HostKeyRefusal::Nonce(NonceError::Full))
            | HostRefusal::Evidence(EvidenceRefusal::Jwt(JwtRefusal::Keys(_)))
    )
}

fn busy() -> Problem {
    Problem::unavailable("host-busy", "another request is about the same host")
}

impl From<HostStoreError> for Problem {
    fn from(error: HostStoreError) -> Self {
        Self::internal(&error)
    }
}
