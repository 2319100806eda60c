//! One event on its way into the ledger. The JSON is laid out by the request's own thread, so that the one writer thread
//! has only to chain and store it.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::caller::Caller;
use crate::certificate::SignedCertificate;
use crate::serial::Serial;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is its word in the ledger")]
pub enum EventKind {
    Start,
    Stop,
    PolicyLoad,
    Issue,
    Deny,
    Login,
    LoginFailed,
    TokenCreate,
    TokenRenew,
    TokenRevoke,
    RoleWrite,
    RoleDelete,
    MountCreate,
    MountTune,
    MountDelete,
    CaCreate,
    CaDelete,
    CaStage,
    CaPublish,
    CaPromote,
    CaRetire,
    CaRemove,
    CaRename,
    Revoke,
    KrlPrune,
    HostToken,
    HostEnroll,
    HostRefused,
    HostForget,
    HostLogin,
    Breakglass,
    Alarm,
    Init,
    Unseal,
    UnsealFailed,
    Seal,
    SealMigrate,
    Rotate,
    RekeyStart,
    RekeyCancel,
    RekeyFailed,
    Rekey,
    GenerateRootStart,
    GenerateRootCancel,
    GenerateRootFailed,
    GenerateRoot,
    Backup,
    Restore,
}

impl EventKind {
    /// Every kind, in the order above.
    pub const ALL: &[Self] = &[
        Self::Start,
        Self::Stop,
        Self::PolicyLoad,
        Self::Issue,
        Self::Deny,
        Self::Login,
        Self::LoginFailed,
        Self::TokenCreate,
        Self::TokenRenew,
        Self::TokenRevoke,
        Self::RoleWrite,
        Self::RoleDelete,
        Self::MountCreate,
        Self::MountTune,
        Self::MountDelete,
        Self::CaCreate,
        Self::CaDelete,
        Self::CaStage,
        Self::CaPublish,
        Self::CaPromote,
        Self::CaRetire,
        Self::CaRemove,
        Self::CaRename,
        Self::Revoke,
        Self::KrlPrune,
        Self::HostToken,
        Self::HostEnroll,
        Self::HostRefused,
        Self::HostForget,
        Self::HostLogin,
        Self::Breakglass,
        Self::Alarm,
        Self::Init,
        Self::Unseal,
        Self::UnsealFailed,
        Self::Seal,
        Self::SealMigrate,
        Self::Rotate,
        Self::RekeyStart,
        Self::RekeyCancel,
        Self::RekeyFailed,
        Self::Rekey,
        Self::GenerateRootStart,
        Self::GenerateRootCancel,
        Self::GenerateRootFailed,
        Self::GenerateRoot,
        Self::Backup,
        Self::Restore,
    ];

    /// The word in the record's `event`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::PolicyLoad => "policy-load",
            Self::Issue => "issue",
            Self::Deny => "deny",
            Self::Login => "login",
            Self::LoginFailed => "login-failed",
            Self::TokenCreate => "token-create",
            Self::TokenRenew => "token-renew",
            Self::TokenRevoke => "token-revoke",
            Self::RoleWrite => "role-write",
            Self::RoleDelete => "role-delete",
            Self::MountCreate => "mount-create",
            Self::MountTune => "mount-tune",
            Self::MountDelete => "mount-delete",
            Self::CaCreate => "ca-create",
            Self::CaDelete => "ca-delete",
            Self::CaStage => "ca-stage",
            Self::CaPublish => "ca-publish",
            Self::CaPromote => "ca-promote",
            Self::CaRetire => "ca-retire",
            Self::CaRemove => "ca-remove",
            Self::CaRename => "ca-rename",
            Self::Revoke => "revoke",
            Self::KrlPrune => "krl-prune",
            Self::HostToken => "host-token",
            Self::HostEnroll => "host-enroll",
            Self::HostRefused => "host-refused",
            Self::HostForget => "host-forget",
            Self::HostLogin => "host-login",
            Self::Breakglass => "breakglass",
            Self::Alarm => "alarm",
            Self::Init => "init",
            Self::Unseal => "unseal",
            Self::UnsealFailed => "unseal-failed",
            Self::Seal => "seal",
            Self::SealMigrate => "seal-migrate",
            Self::Rotate => "rotate",
            Self::RekeyStart => "rekey-start",
            Self::RekeyCancel => "rekey-cancel",
            Self::RekeyFailed => "rekey-failed",
            Self::Rekey => "rekey",
            Self::GenerateRootStart => "generate-root-start",
            Self::GenerateRootCancel => "generate-root-cancel",
            Self::GenerateRootFailed => "generate-root-failed",
            Self::GenerateRoot => "generate-root",
            Self::Backup => "backup",
            Self::Restore => "restore",
        }
    }
}

/// Where a certificate was asked for; the rest of its record comes from the certificate itself.
#[derive(Debug, Clone, Copy)]
pub struct IssueContext<'a> {
    /// Who asked.
    pub caller: &'a Caller,
    /// The mount's path.
    pub mount: &'a str,
    /// The role's name.
    pub role: &'a str,
    /// The request's id, as in the log and the answer.
    pub request_id: &'a str,
}

/// An event that is not yet sealed.
///
/// # Security
/// What is put in here stays for ever and is read by many: never a token, a key or a request's raw body.
#[derive(Debug, Clone)]
pub struct Event {
    kind: EventKind,
    /// `,"time":"…","event":"…",…`: all fields after the chain's own.
    body: String,
    serial: Option<Serial>,
}

impl Event {
    /// Begins an event that happened at `millis` since 1970.
    #[must_use]
    pub fn new(kind: EventKind, millis: u64) -> Self {
        let mut body = String::with_capacity(640);
        let time = UNIX_EPOCH + Duration::from_millis(millis.min(LAST_MILLIS));
        // Writing into a String cannot fail.
        let _infallible = write!(
            body,
            ",\"time\":\"{}\",\"event\":\"{}\"",
            humantime::format_rfc3339_millis(time),
            kind.as_str()
        );
        Self {
            kind,
            body,
            serial: None,
        }
    }

    /// The record of a certificate: who, where, when, by which policies, and what the certificate says.
    #[must_use]
    pub fn issued(certificate: &SignedCertificate, context: &IssueContext<'_>, millis: u64) -> Self {
        let plan = certificate.plan();
        let mut event = Self::new(EventKind::Issue, millis)
            .caller(context.caller)
            .text("mount", context.mount)
            .text("role", context.role)
            .list("policies", plan.grant().policies().iter().map(String::as_str))
            .text("serial", &plan.serial().to_string())
            .text("key_id", plan.resolved().key_id().as_str())
            .text("cert_type", plan.resolved().cert_type().as_str())
            .list(
                "principals",
                plan.resolved()
                    .principals()
                    .iter()
                    .map(crate::principal::Principal::as_str),
            )
            .text("valid_after", &plan.validity().valid_after().to_string())
            .text("valid_before", &plan.validity().valid_before().to_string())
            .map(
                "critical_options",
                plan.resolved()
                    .critical_options()
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            )
            .list("extensions", plan.resolved().extensions().keys().map(String::as_str))
            .text("fingerprint", &plan.resolved().key().fingerprint())
            .text("ca_fingerprint", certificate.ca_fingerprint())
            .text("request_id", context.request_id);
        event.serial = Some(plan.serial());
        event
    }

    /// Adds who caused it: person, display name, login method, groups, address and the token's accessor.
    #[must_use]
    pub fn caller(self, caller: &Caller) -> Self {
        let mut address = String::new();
        let _infallible = write!(address, "{}", caller.address());
        self.text("person", caller.person())
            .text("display_name", caller.display_name())
            .text("method", caller.method().as_str())
            .list("groups", caller.groups().iter().map(String::as_str))
            .text("address", &address)
            .text("accessor", caller.accessor())
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, name: &'static str, value: &str) -> Self {
        self.name(name);
        push_json(&mut self.body, value);
        self
    }

    /// Adds a text unless it is absent.
    #[must_use]
    pub fn optional(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, name: &'static str, value: u64) -> Self {
        self.name(name);
        let _infallible = write!(self.body, "{value}");
        self
    }

    /// Adds true or false.
    #[must_use]
    pub fn flag(mut self, name: &'static str, value: bool) -> Self {
        self.name(name);
        self.body.push_str(if value { "true" } else { "false" });
        self
    }

    /// Adds a list of texts.
    #[must_use]
    pub fn list<'a>(mut self, name: &'static str, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.name(name);
        self.body.push('[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.body.push(',');
            }
            push_json(&mut self.body, value);
        }
        self.body.push(']');
        self
    }

    /// Adds an object of texts.
    #[must_use]
    pub fn map<'a>(mut self, name: &'static str, values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.name(name);
        self.body.push('{');
        for (index, (key, value)) in values.into_iter().enumerate() {
            if index > 0 {
                self.body.push(',');
            }
            push_json(&mut self.body, key);
            self.body.push(':');
            push_json(&mut self.body, value);
        }
        self.body.push('}');
        self
    }

    /// What happened.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        self.kind
    }

    /// The certificate's serial, for the index; only an `issue` has one.
    #[must_use]
    pub const fn serial(&self) -> Option<Serial> {
        self.serial
    }

    pub(super) fn body(&self) -> &str {
        &self.body
    }

    fn name(&mut self, name: &'static str) {
        debug_assert!(
            !["prev", "position", "node", "time", "event", "hash"].contains(&name),
            "`{name}` is the chain's"
        );
        self.body.push_str(",\"");
        self.body.push_str(name);
        self.body.push_str("\":");
    }
}

/// 9999-12-31, the last day that RFC 3339 can write.
const LAST_MILLIS: u64 = 253_402_300_799_999;

/// Appends `text` as a JSON string. Control characters, quotes and backslashes are escaped, so that no value can end its
/// own line or forge a field.
fn push_json(body: &mut String, text: &str) {
    body.push('"');
    for character in text.chars() {
        match character {
            '"' => body.push_str("\\\""),
            '\\' => body.push_str("\\\\"),
            '\n' => body.push_str("\\n"),
            '\r' => body.push_str("\\r"),
            '\t' => body.push_str("\\t"),
            // U+007F to U+009F drive terminals, U+2028 and U+2029 end lines for some readers.
            control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}') => {
                let _infallible = write!(body, "\\u{:04x}", u32::from(control));
            }
            other => body.push(other),
        }
    }
    body.push('"');
}
