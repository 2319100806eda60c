//! The inspection as text for a terminal.

use std::fmt;

use super::{Inspection, KeyName, NamedOption, Severity, SignatureState};
use crate::time::UnixTime;

impl fmt::Display for Inspection {
    /// One fact a line, then what is odd.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} certificate for {}",
            self.cert_type,
            list(&self.principals, "nobody in particular")
        )?;
        row(
            out,
            "key ID",
            if self.key_id.is_empty() { "none" } else { &self.key_id },
        )?;
        let hex = self
            .serial
            .parse::<u64>()
            .map(|number| format!("{number:x}"))
            .unwrap_or_default();
        row(out, "serial", &format!("{} (hex {hex})", self.serial))?;
        row(out, "valid", &window(self.valid_after, self.valid_before))?;
        row(out, "critical options", &options(&self.critical_options))?;
        row(out, "extensions", &options(&self.extensions))?;
        row(out, "subject key", &key(&self.subject_key))?;
        row(
            out,
            "signed by",
            &format!("{} with {}", key(&self.ca_key), self.signature_algorithm),
        )?;
        let verdict = match &self.signature {
            SignatureState::Right => "fits the CA key above (whose key that is, only you can say)",
            SignatureState::Wrong => "does NOT fit",
            SignatureState::Unchecked(_) => "not checked",
        };
        row(out, "signature", verdict)?;
        for oddity in &self.oddities {
            let word = match oddity.severity {
                Severity::Refused => "refused",
                Severity::Risky => "risky",
                Severity::Note => "note",
            };
            writeln!(out, "{word}: {}", oddity.text)?;
        }
        Ok(())
    }
}

fn row(out: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(out, "  {name:<18}{value}")
}

fn list(words: &[String], none: &str) -> String {
    if words.is_empty() {
        none.to_owned()
    } else {
        words.join(", ")
    }
}

fn window(valid_after: u64, valid_before: u64) -> String {
    let start = match valid_after {
        0 => "always".to_owned(),
        secs => UnixTime::from_secs(secs).to_string(),
    };
    if valid_before == u64::MAX {
        return format!("from {start}, for ever");
    }
    let life = valid_before.saturating_sub(valid_after);
    let life = humantime::format_duration(std::time::Duration::from_secs(life));
    format!("from {start} to {} ({life})", UnixTime::from_secs(valid_before))
}

fn options(options: &[NamedOption]) -> String {
    let words: Vec<String> = options
        .iter()
        .map(|option| match option.value.as_str() {
            "" => option.name.clone(),
            value => format!("{}={value}", option.name),
        })
        .collect();
    list(&words, "none")
}

fn key(key: &KeyName) -> String {
    match key.bits {
        Some(bits) => format!("{} {bits} {}", key.key_type, key.fingerprint),
        None => format!("{} {}", key.key_type, key.fingerprint),
    }
}
