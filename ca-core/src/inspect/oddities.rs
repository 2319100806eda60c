//! What a well-made certificate does not have, each with what OpenSSH makes of it (seen with OpenSSH 8.0 to 10.5).

use std::collections::BTreeSet;

use super::wire::{RawCertificate, RawOption};
use super::{Inspection, Oddity, Severity, SignatureState, escape_bytes};
use crate::options::{CRITICAL_OPTIONS, EXTENSIONS};
use crate::time::UnixTime;

const DAY_SECS: u64 = 24 * 3600;
const SIZE_MAX: usize = 16 * 1024;

pub(super) fn find(raw: &RawCertificate<'_>, seen: &Inspection, now: UnixTime) -> Vec<Oddity> {
    let mut odd = Odd(Vec::new());
    odd.signature(raw, seen);
    odd.kind(raw);
    odd.window(raw, now);
    odd.principals(raw);
    odd.options(raw);
    odd.keys(raw, seen);
    odd.shape(raw);
    odd.0.sort_by_key(|oddity| oddity.severity);
    odd.0
}

struct Odd(Vec<Oddity>);

impl Odd {
    fn refused(&mut self, text: impl Into<String>) {
        self.0.push(Oddity {
            severity: Severity::Refused,
            text: text.into(),
        });
    }

    fn risky(&mut self, text: impl Into<String>) {
        self.0.push(Oddity {
            severity: Severity::Risky,
            text: text.into(),
        });
    }

    fn note(&mut self, text: impl Into<String>) {
        self.0.push(Oddity {
            severity: Severity::Note,
            text: text.into(),
        });
    }

    fn signature(&mut self, raw: &RawCertificate<'_>, seen: &Inspection) {
        match &seen.signature {
            SignatureState::Right => {}
            SignatureState::Wrong => self.refused("the signature is not the CA key's over this certificate"),
            SignatureState::Unchecked(why) => self.refused(format!("the signature could not be checked: {why}")),
        }
        if seen.signature_algorithm == "ssh-rsa" {
            self.refused("signed with SHA-1 (`ssh-rsa`), which OpenSSH 8.2 and newer do not take from a CA");
        }
        if seen.ca_key.key_type.contains("-cert-") {
            self.refused("the CA key inside is itself a certificate");
        }
        if raw.ca_blob == raw.subject_blob.as_slice() {
            self.risky("the key signed itself: subject key and CA key are the same");
        }
    }

    fn kind(&mut self, raw: &RawCertificate<'_>) {
        if !matches!(raw.cert_type, 1 | 2) {
            self.refused(format!(
                "certificate type {} is neither user (1) nor host (2)",
                raw.cert_type
            ));
        }
        if raw.serial == 0 {
            self.risky("serial 0 cannot be revoked by serial");
        }
        if raw.key_id.is_empty() {
            self.note("no key ID: sshd's log will not say whose certificate it was");
        }
        if raw.key_id.contains(&0) {
            self.refused("the key ID holds a NUL byte");
        } else if raw.key_id.iter().any(u8::is_ascii_control) {
            self.risky("the key ID holds control characters, which end up in sshd's log");
        }
        if raw.key_id.len() > 256 {
            self.note(format!("the key ID is {} bytes long", raw.key_id.len()));
        }
    }

    fn window(&mut self, raw: &RawCertificate<'_>, now: UnixTime) {
        let now = now.secs();
        if raw.valid_before <= raw.valid_after {
            self.refused("the window is empty: it is never valid");
            return;
        }
        if raw.valid_before == u64::MAX {
            self.risky("valid for ever");
        } else if raw.valid_before - raw.valid_after > DAY_SECS + 600 {
            self.note(format!(
                "lives longer than a day ({} days)",
                (raw.valid_before - raw.valid_after) / DAY_SECS
            ));
        }
        if now >= raw.valid_before {
            self.refused(format!("expired at {}", UnixTime::from_secs(raw.valid_before)));
        } else if now < raw.valid_after {
            self.refused(format!("not valid before {}", UnixTime::from_secs(raw.valid_after)));
        }
    }

    fn principals(&mut self, raw: &RawCertificate<'_>) {
        if raw.principals.is_empty() {
            match raw.cert_type {
                2 => self.risky("no principals: older clients take it for every host name"),
                _ => self.risky("no principals: refused under TrustedUserCAKeys; elsewhere it may open every account"),
            }
        }
        if raw.principals.len() > 256 {
            self.refused(format!("{} principals; sshd reads at most 256", raw.principals.len()));
        }
        let mut seen = BTreeSet::new();
        for name in &raw.principals {
            let shown = escape_bytes(name);
            if name.contains(&0) {
                self.refused(format!("principal `{shown}` holds a NUL byte"));
            } else if name.is_empty() {
                self.risky("one principal is empty");
            } else if name.contains(&b',') {
                self.risky(format!(
                    "principal `{shown}` holds a comma, which OpenSSH up to 10.2 may read as two names"
                ));
            } else if name
                .iter()
                .any(|byte| byte.is_ascii_control() || byte.is_ascii_whitespace())
            {
                self.risky(format!("principal `{shown}` holds blanks or control characters"));
            } else if name.iter().any(|byte| b"*?!".contains(byte)) {
                self.note(format!(
                    "principal `{shown}` looks like a pattern; user names are compared letter by letter"
                ));
            }
            if !seen.insert(*name) {
                self.note(format!("principal `{shown}` is there twice"));
            }
        }
    }

    fn options(&mut self, raw: &RawCertificate<'_>) {
        for option in &raw.critical_options {
            self.critical_option(option);
        }
        for option in &raw.extensions {
            self.extension(option);
        }
        for (what, options) in [
            ("critical options", &raw.critical_options),
            ("extensions", &raw.extensions),
        ] {
            let names: Vec<_> = options.iter().map(|option| option.name).collect();
            if names
                .windows(2)
                .any(|pair| matches!(pair, [left, right] if left > right))
            {
                self.note(format!(
                    "the {what} are not in order; sshd takes that, other readers refuse it"
                ));
            }
            if names.iter().collect::<BTreeSet<_>>().len() != names.len() {
                match what {
                    "critical options" => self.refused("a critical option is there twice"),
                    _ => self.note("an extension is there twice"),
                }
            }
        }
        if raw.cert_type == 1 && raw.extensions.is_empty() {
            self.note("no extensions: no terminal, no forwarding (commands without a terminal work)");
        }
        if raw.cert_type == 2 && !(raw.extensions.is_empty() && raw.critical_options.is_empty()) {
            self.note("a host certificate with options, which mean nothing on a host");
        }
    }

    fn critical_option(&mut self, option: &RawOption<'_>) {
        let name = escape_bytes(option.name);
        if !CRITICAL_OPTIONS.contains(&name.as_str()) {
            self.refused(format!("critical option `{name}` is unknown to sshd"));
        } else if name == "verify-required" {
            if !option.data.is_empty() {
                self.refused("`verify-required` is a flag and must carry no value");
            }
        } else if option.inner.is_none() {
            self.refused(format!("the value of `{name}` is not one string"));
        } else if name == "force-command" && option.inner == Some(b"".as_slice()) {
            self.note("`force-command` is empty: the login runs nothing");
        } else if name == "source-address"
            && let Some(why) = bad_source_address(option.inner.unwrap_or_default())
        {
            self.refused(format!("`source-address`: {why}"));
        }
    }

    fn extension(&mut self, option: &RawOption<'_>) {
        let name = escape_bytes(option.name);
        if CRITICAL_OPTIONS.contains(&name.as_str()) {
            self.risky(format!(
                "`{name}` stands among the extensions, where sshd ignores it: it restricts nothing"
            ));
        } else if !EXTENSIONS.contains(&name.as_str()) {
            if !name.contains('@') {
                self.note(format!("extension `{name}` is unknown to sshd, which ignores it"));
            }
        } else if !option.data.is_empty() {
            self.refused(format!("`{name}` is a flag and must carry no value"));
        }
    }

    fn keys(&mut self, raw: &RawCertificate<'_>, seen: &Inspection) {
        if seen.algorithm.starts_with("ssh-dss") {
            self.refused("a DSA key, which no present OpenSSH takes");
        }
        if seen.algorithm.starts_with("rsa-sha2-") {
            self.refused(
                "the type names a signature algorithm; certificates of RSA keys are `ssh-rsa-cert-v01@openssh.com`",
            );
        }
        for (whose, key) in [("subject", &seen.subject_key), ("CA", &seen.ca_key)] {
            if key.bits.is_some_and(|bits| bits < 2048) {
                self.risky(format!(
                    "the {whose} key is RSA with only {} bits",
                    key.bits.unwrap_or_default()
                ));
            }
        }
        let signature = seen.signature_algorithm.as_str();
        let fits = match seen.ca_key.key_type.as_str() {
            "ssh-rsa" => matches!(signature, "ssh-rsa" | "rsa-sha2-256" | "rsa-sha2-512"),
            other => signature == other || other.is_empty(),
        };
        if !fits {
            self.refused(format!(
                "signature `{signature}` does not belong to a CA key of type `{}`",
                seen.ca_key.key_type
            ));
        }
        if raw.nonce.len() < 16 {
            self.note(format!("the nonce has {} bytes; 32 are usual", raw.nonce.len()));
        }
    }

    fn shape(&mut self, raw: &RawCertificate<'_>) {
        if raw.trailing > 0 {
            self.refused(format!("{} bytes follow after the end", raw.trailing));
        }
        if !raw.reserved.is_empty() {
            self.note("the reserved field is not empty");
        }
        if raw.size > SIZE_MAX {
            self.note(format!(
                "{} bytes large; past some 200,000 sshd drops the connection",
                raw.size
            ));
        }
    }
}

/// sshd refuses the whole certificate when one entry of the list is off (`addr_match_cidr_list`).
fn bad_source_address(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    if text.is_empty() {
        return Some("it is empty".to_owned());
    }
    text.split(',').find_map(|entry| {
        let shown = super::escape(entry);
        if entry.parse::<std::net::IpAddr>().is_ok() {
            return None;
        }
        match entry.parse::<ipnet::IpNet>() {
            Ok(net) if net.trunc() == net => None,
            Ok(net) => Some(format!("`{shown}` has host bits set; `{}` is meant", net.trunc())),
            Err(_) => Some(format!("`{shown}` is not an address or a CIDR range")),
        }
    })
}
