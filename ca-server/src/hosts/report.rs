//! A host's report: what it trusts, what is wrong with it, who logged in. Believed only under the pinned key's signature and
//! only forwards; what it says is text of others and kept as such.

use signet_core::enrollment::{AcceptedLogin, HostReport, LOGINS_PER_REPORT_MAX};
use signet_core::inspect::escape;

use super::accepted::{Detector, Verdict};
use super::enroll::{HostAsk, HostError, HostRefusal, word};
use super::entry::{HostEntry, LastReport};
use crate::ledger::{Event, EventKind, LedgerError};
use crate::login::host_key::HostKeyRefusal;

/// What is kept of one text, in characters; sshd's own lines are shorter.
const TEXT_CHARS_MAX: usize = 300;
/// What is kept of one list.
const LIST_MAX: usize = 64;
/// The kind of the alarm in the metrics and the ledger.
const NEVER_ISSUED: &str = "certificate-never-issued";

/// What a host sends.
#[derive(Debug, Clone, Copy)]
pub struct SignedReport<'a> {
    /// The host's name as enrolled.
    pub host: &'a str,
    /// The address that the host was told to go to.
    pub address: &'a str,
    /// The report's JSON, exactly as it was signed.
    pub report: &'a str,
    /// The armored signature.
    pub signature: &'a str,
}

/// A login by a certificate that was never issued.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StolenKeyAlarm {
    /// The host that accepted it.
    pub host: String,
    /// When, RFC 3339: by the host's clock in an answer to a report, by ours in `reconcile`.
    pub time: String,
    /// The account.
    pub account: String,
    /// The peer's address.
    pub address: String,
    /// The certificate's serial.
    pub serial: String,
    /// Its key ID.
    pub key_id: String,
    /// The subject key's fingerprint.
    pub fingerprint: String,
    /// What does not fit.
    pub reason: &'static str,
}

/// Why a report is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// As for every request of a host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Signed, but not a report.
    #[error("it is not a report: {0}")]
    Malformed(String),
    /// Not newer than the newest.
    #[error("report {sequence} is not newer than report {newest}")]
    Stale {
        /// Its number.
        sequence: u64,
        /// The newest that was taken.
        newest: u64,
    },
    /// The ledger cannot be read.
    #[error("the ledger cannot be read")]
    Ledger(#[from] rusqlite::Error),
    /// The thread that read it ended.
    #[error("the ledger's reader ended")]
    Reader(#[from] tokio::task::JoinError),
}

impl From<HostRefusal> for ReportError {
    fn from(refusal: HostRefusal) -> Self {
        Self::Host(refusal.into())
    }
}

impl From<HostKeyRefusal> for ReportError {
    fn from(refusal: HostKeyRefusal) -> Self {
        Self::Host(refusal.into())
    }
}

impl From<LedgerError> for ReportError {
    fn from(error: LedgerError) -> Self {
        Self::Host(error.into())
    }
}

/// Takes a report: its logins go into the ledger, then the rest into the host's row. A crash in between makes the host send
/// it again, and its logins stand in the ledger twice rather than never.
///
/// # Errors
/// [`ReportError`]; the host keeps what it had to tell then.
pub async fn take(
    at: HostAsk<'_>,
    signed: SignedReport<'_>,
) -> Result<(std::sync::Arc<HostEntry>, Vec<StolenKeyAlarm>), ReportError> {
    let unknown = || HostRefusal::Unknown(signed.host.chars().take(253).collect());
    let hosts = &at.authority.hosts;
    let entry = hosts.find(signed.host).ok_or_else(unknown)?;
    let key = entry.key().ok_or_else(unknown)?;
    at.authority
        .login
        .host_key()
        .report(&key, signed.address, signed.report, signed.signature)?;
    let _reserved = hosts.reserve([word(signed.host)]).ok_or(HostError::Busy)?;
    // Read again: another report, a renewal or an operator may have changed it before the reservation.
    let entry = hosts
        .find(signed.host)
        .filter(|entry| entry.is_pinned_to(&key))
        .ok_or_else(unknown)?;
    let report = read(signed)?;
    let newest = entry.report.as_ref().map_or(0, |last| last.report.sequence);
    if report.sequence <= newest {
        let sequence = report.sequence;
        return Err(ReportError::Stale { sequence, newest });
    }
    let verdicts = judge(at, report.logins.clone()).await?;
    let alarms = record_logins(at, signed.host, &report.logins, &verdicts).await?;
    let entry = HostEntry {
        report: Some(LastReport {
            received: at.now.secs(),
            address: at.peer.to_string(),
            report: kept(report),
        }),
        ..HostEntry::clone(&entry)
    };
    let entry = hosts.put(entry, Vec::new()).await.map_err(HostError::from)?;
    Ok((entry, alarms))
}

fn read(signed: SignedReport<'_>) -> Result<HostReport, ReportError> {
    let report: HostReport =
        serde_json::from_str(signed.report).map_err(|error| ReportError::Malformed(error.to_string()))?;
    if report.host != signed.host {
        let text = format!("it is of host {:?}", clean(&report.host));
        return Err(ReportError::Malformed(text));
    }
    if report.logins.len() > LOGINS_PER_REPORT_MAX {
        let found = report.logins.len();
        let text = format!("it has {found} logins, more than {LOGINS_PER_REPORT_MAX}");
        return Err(ReportError::Malformed(text));
    }
    Ok(report)
}

/// Looks each login up, in a thread that may wait for the disk.
async fn judge(at: HostAsk<'_>, logins: Vec<AcceptedLogin>) -> Result<Vec<Verdict>, ReportError> {
    if logins.is_empty() {
        return Ok(Vec::new());
    }
    let detector = Detector::new(at.authority);
    let judging = tokio::task::spawn_blocking(move || {
        let reader = detector.reader()?;
        logins
            .iter()
            .map(|login| detector.judge(&reader, login))
            .collect::<rusqlite::Result<Vec<Verdict>>>()
    });
    Ok(judging.await??)
}

async fn record_logins(
    at: HostAsk<'_>,
    host: &str,
    logins: &[AcceptedLogin],
    verdicts: &[Verdict],
) -> Result<Vec<StolenKeyAlarm>, LedgerError> {
    let ledger = &at.authority.ledger;
    let mut alarms = Vec::new();
    let mut events = Vec::new();
    for (login, verdict) in logins.iter().zip(verdicts) {
        events.push(described(ledger.event(EventKind::HostLogin), at, host, login));
        if login.breakglass {
            events.push(described(ledger.event(EventKind::Breakglass), at, host, login));
        }
        if let Verdict::NeverIssued(reason) = *verdict {
            let event = ledger
                .event(EventKind::Alarm)
                .text("alarm", NEVER_ISSUED)
                .text("reason", reason);
            events.push(described(event, at, host, login));
            alarms.push(alarm(
                host,
                login,
                signet_core::time::UnixTime::from_secs(login.time).to_string(),
                reason,
            ));
        }
    }
    // All wait for the disk together.
    let mut waiting = tokio::task::JoinSet::new();
    for event in events {
        let ledger = ledger.clone();
        waiting.spawn(async move { ledger.record(event).await });
    }
    while let Some(recorded) = waiting.join_next().await {
        recorded.unwrap_or(Err(LedgerError::Closed))?;
    }
    for login in logins.iter().filter(|login| login.breakglass) {
        at.authority.metrics.alarm("breakglass");
        tracing::error!(
            host,
            account = clean(&login.account),
            from = clean(&login.address),
            "break-glass was used"
        );
    }
    for alarm in &alarms {
        at.authority.metrics.alarm(NEVER_ISSUED);
        let StolenKeyAlarm {
            account,
            serial,
            reason,
            ..
        } = alarm;
        tracing::error!(
            host,
            account,
            serial,
            reason,
            "a host accepted a certificate that was never issued"
        );
    }
    Ok(alarms)
}

fn described(event: Event, at: HostAsk<'_>, host: &str, login: &AcceptedLogin) -> Event {
    event
        .text("host", host)
        .text("account", &clean(&login.account))
        .text("login_address", &clean(&login.address))
        .text("key_type", &clean(&login.key_type))
        .text("fingerprint", &clean(&login.fingerprint))
        .text("serial", &clean(&login.serial))
        .text("key_id", &clean(&login.key_id))
        .text("ca_fingerprint", &clean(&login.ca_fingerprint))
        .number("host_time", login.time)
        .text("address", &at.peer.to_string())
        .text("request_id", at.request_id)
}

/// An alarm about a login.
pub(super) fn alarm(host: &str, login: &AcceptedLogin, time: String, reason: &'static str) -> StolenKeyAlarm {
    StolenKeyAlarm {
        host: host.to_owned(),
        time,
        account: clean(&login.account),
        address: clean(&login.address),
        serial: clean(&login.serial),
        key_id: clean(&login.key_id),
        fingerprint: clean(&login.fingerprint),
        reason,
    }
}

/// What is kept of a report.
fn kept(report: HostReport) -> HostReport {
    let list = |texts: &[String]| texts.iter().take(LIST_MAX).map(|text| clean(text)).collect();
    HostReport {
        sshd_version: clean(&report.sshd_version),
        signet_version: clean(&report.signet_version),
        user_ca_keys: list(&report.user_ca_keys),
        breakglass_keys: list(&report.breakglass_keys),
        problems: list(&report.problems),
        logins: Vec::new(),
        ..report
    }
}

/// A text of others: short, and unable to move a cursor or begin a line wherever it is shown.
fn clean(text: &str) -> String {
    let mut short = escape(text);
    if let Some((end, _)) = short.char_indices().nth(TEXT_CHARS_MAX) {
        short.truncate(end);
        short.push('…');
    }
    short
}
