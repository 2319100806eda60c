//! One enrolled host.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use signet_core::enrollment::HostReport;
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;

/// A host's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// The first name it enrolled with, which it is called by from then on.
    pub host: String,
    /// The names in its certificate.
    pub names: Vec<String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Who it proved to be.
    pub identity: HostIdentity,
    /// The line of the host key that it is pinned to.
    pub public_key: String,
    /// When it enrolled first, seconds since 1970.
    pub enrolled: u64,
    /// When it last got a certificate.
    pub renewed: u64,
    /// When that certificate ends.
    pub certificate_ends: u64,
    /// From where it last got one.
    pub address: String,
    /// What it last reported.
    #[serde(default)]
    pub report: Option<LastReport>,
}

/// A report, and when and from where it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReport {
    /// Seconds since 1970, by our clock.
    pub received: u64,
    /// The peer's address.
    pub address: String,
    /// What it said, without the logins, which are in the ledger.
    pub report: HostReport,
}

/// Who a host proved to be; its names and tags follow from this and the policies, at each renewal anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum HostIdentity {
    /// An EC2 instance.
    Ec2 {
        /// The AWS account.
        account_id: String,
        /// The region.
        region: String,
        /// The image.
        image_id: String,
        /// The instance, unique within its account.
        instance_id: String,
        /// The first private address.
        private_ip: std::net::Ipv4Addr,
        /// The name that AWS's resolver has for it.
        private_dns: String,
    },
    /// Whoever an issuer named.
    Jwt {
        /// The login mount.
        mount: String,
        /// Its role.
        role: String,
        /// The user that the issuer named.
        user: String,
    },
    /// The host for which an operator made a one-time token.
    Token {
        /// Its name.
        host: String,
        /// Its tags, as the token carried them.
        tags: BTreeSet<String>,
    },
}

impl HostIdentity {
    /// What no two rows share: `ec2/<account>/<instance>`, `jwt/<mount>/<user>`, `token/<host>`.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Ec2 {
                account_id,
                instance_id,
                ..
            } => format!("ec2/{account_id}/{instance_id}"),
            Self::Jwt { mount, user, .. } => format!("jwt/{mount}/{user}"),
            Self::Token { host, .. } => format!("token/{host}"),
        }
    }

    /// The method's word in the request and in answers.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Ec2 { .. } => "ec2",
            Self::Jwt { .. } => "jwt",
            Self::Token { .. } => "token",
        }
    }
}

impl HostEntry {
    /// Whether this is the key that the host is pinned to.
    #[must_use]
    pub fn is_pinned_to(&self, key: &SubjectKey) -> bool {
        self.public_key == key.line()
    }

    /// The pinned key; `None` only for a row that somebody altered.
    #[must_use]
    pub fn key(&self) -> Option<SubjectKey> {
        SubjectKey::parse(&self.public_key).ok()
    }

    /// Names that no other host may have: those in the certificate and the one it is called by.
    pub fn owned_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).chain([self.host.as_str()])
    }

    /// Whether it last reported that its sshd trusts the CA key with this fingerprint.
    #[must_use]
    pub fn trusts(&self, fingerprint: &str) -> bool {
        self.report
            .as_ref()
            .is_some_and(|last| last.report.user_ca_keys.iter().any(|trusted| trusted == fingerprint))
    }

    /// Whether nothing was heard of it for longer than `stale_after_secs`.
    #[must_use]
    pub fn is_stale(&self, stale_after_secs: u64, now: UnixTime) -> bool {
        let heard = self.report.as_ref().map_or(self.enrolled, |last| last.received);
        now.secs() > heard.saturating_add(stale_after_secs)
    }

    /// The version of the trust bundle that it last reported.
    #[must_use]
    pub fn bundle_version(&self) -> Option<u64> {
        self.report.as_ref().map(|last| last.report.bundle_version)
    }
}
