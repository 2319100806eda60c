//! What a host signs with its host key to enrol, to renew its certificate and to report. Host and authority both make the
//! texts here, so that they cannot differ.

use serde::{Deserialize, Serialize};

use crate::sshsig::LoginAddress;

/// The SSHSIG namespace of an enrolment.
pub const ENROLL_NAMESPACE: &str = "enroll.signet";
/// The SSHSIG namespace of a renewal.
pub const RENEW_NAMESPACE: &str = "renew.signet";
/// The SSHSIG namespace of a report.
pub const REPORT_NAMESPACE: &str = "report.signet";
/// How many logins one report carries at most; the rest follows with the next.
pub const LOGINS_PER_REPORT_MAX: usize = 200;

/// The text that a host signs to enrol: the authority's address as the host knows it, the nonce, the method, and what proves
/// the host's identity, so that neither can be taken over into another enrolment.
#[must_use]
pub fn enroll_message(address: &LoginAddress, nonce: &str, method: &str, evidence: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, evidence.as_bytes());
    let digest = data_encoding::HEXLOWER.encode(digest.as_ref());
    format!("signet-enroll-v1\naddress: {address}\nnonce: {nonce}\nmethod: {method}\nevidence: {digest}\n")
}

/// The text that a host signs to have its certificate renewed: only the key that is enrolled can.
#[must_use]
pub fn renew_message(address: &LoginAddress, nonce: &str, host: &str) -> String {
    format!("signet-renew-v1\naddress: {address}\nnonce: {nonce}\nhost: {host}\n")
}

/// The text that a host signs under its report.
#[must_use]
pub fn report_message(address: &LoginAddress, report_json: &str) -> String {
    format!("signet-report-v1\naddress: {address}\n{report_json}\n")
}

/// What a host says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostReport {
    /// The host's name as enrolled.
    pub host: String,
    /// Counts up with each report: an old one cannot be played again.
    pub sequence: u64,
    /// The host's clock, seconds since 1970.
    pub time: u64,
    /// `10.0` of `OpenSSH_10.0p2`.
    pub sshd_version: String,
    /// Our own version on the host.
    pub signet_version: String,
    /// Version of the trust bundle in force.
    pub bundle_version: u64,
    /// Until when it counts as fresh, seconds since 1970.
    pub bundle_valid_until: u64,
    /// Version of the KRL in force.
    pub krl_version: u64,
    /// Fingerprints of the CA keys that sshd trusts for users, read from the file that sshd reads.
    pub user_ca_keys: Vec<String>,
    /// Fingerprints of the break-glass keys in place.
    pub breakglass_keys: Vec<String>,
    /// When the host certificate ends, seconds since 1970; 0 without one.
    pub host_certificate_ends: u64,
    /// What `signet host check` found wrong, one sentence each.
    pub problems: Vec<String>,
    /// Certificate logins that sshd accepted since the last report, oldest first.
    pub logins: Vec<AcceptedLogin>,
}

/// One login that sshd accepted (`Accepted publickey for …`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AcceptedLogin {
    /// Seconds since 1970, by the host's clock.
    pub time: u64,
    /// The account.
    pub account: String,
    /// The peer's address.
    pub address: String,
    /// The key type that sshd logs, such as `ED25519-CERT`.
    pub key_type: String,
    /// Fingerprint of the subject key.
    pub fingerprint: String,
    /// The certificate's serial as a decimal number in text, since 64 bits do not survive every JSON reader; empty for a plain
    /// key.
    pub serial: String,
    /// The certificate's key ID; empty for a plain key.
    pub key_id: String,
    /// Fingerprint of the CA key; empty for a plain key.
    pub ca_fingerprint: String,
    /// Whether the account is the break-glass account.
    pub breakglass: bool,
}
