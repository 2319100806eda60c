//! Lines of an `authorized_keys` file (sshd(8), "`AUTHORIZED_KEYS` FILE FORMAT"), read strictly: what is installed as a
//! break-glass key must be a key, with options that open no other door.

use signet_core::subject_key::{SubjectKey, SubjectKeyError};

/// Options that a break-glass line may have. None of them runs a program or opens a tunnel of its own.
const ALLOWED: [&str; 18] = [
    "agent-forwarding",
    "cert-authority",
    "expiry-time",
    "from",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "port-forwarding",
    "principals",
    "pty",
    "restrict",
    "user-rc",
    "verify-required",
    "x11-forwarding",
    "touch-required",
];
const WITH_VALUE: [&str; 3] = ["expiry-time", "from", "principals"];

/// One key with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLine {
    /// The line, counted from 1.
    pub line: usize,
    /// Options: names in lower case, values without their quotes.
    pub options: Vec<(String, Option<String>)>,
    /// The key.
    pub key: SubjectKey,
    /// What follows the key.
    pub comment: String,
}

impl KeyLine {
    /// Whether the option is there.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|(name, _)| name == option)
    }

    /// The value of an option.
    #[must_use]
    pub fn value(&self, option: &str) -> Option<&str> {
        let (_, value) = self.options.iter().find(|(name, _)| name == option)?;
        value.as_deref()
    }
}

/// A line that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct LineError {
    /// The line, counted from 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// Reads every line that is neither empty nor a comment, each with what is wrong with it, if anything.
pub fn lines(text: &str) -> impl Iterator<Item = Result<KeyLine, LineError>> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| key_line(number, line))
}

/// Reads the lines of a break-glass file.
///
/// # Errors
/// [`LineError`] for the first line that is no key, has an option that is not on the list, or is a CA without `principals=`.
pub fn breakglass(text: &str) -> Result<Vec<KeyLine>, LineError> {
    let lines: Vec<KeyLine> = lines(text).collect::<Result<_, _>>()?;
    for line in &lines {
        let wrong = |why: String| LineError { line: line.line, why };
        for (name, value) in &line.options {
            if !ALLOWED.contains(&name.as_str()) {
                return Err(wrong(format!("the option `{name}` is not for break-glass keys")));
            }
            if WITH_VALUE.contains(&name.as_str()) != value.is_some() {
                return Err(wrong(format!(
                    "the option `{name}` has no value where it needs one, or one too many"
                )));
            }
        }
        // sshd up to 9.6 takes a certificate without principals here, which opens every account.
        if line.has("cert-authority") && line.value("principals").is_none_or(str::is_empty) {
            return Err(wrong("a `cert-authority` line needs principals=\"…\"".to_owned()));
        }
    }
    Ok(lines)
}

fn key_line(line: usize, text: &str) -> Result<KeyLine, LineError> {
    let wrong = |why: String| LineError { line, why };
    if text.contains("PRIVATE KEY") {
        return Err(wrong("it is a PRIVATE key: consider it burnt".to_owned()));
    }
    let (options, rest) = if starts_with_key(text) {
        (Vec::new(), text)
    } else {
        let end = options_end(text).ok_or_else(|| wrong("it is no public key".to_owned()))?;
        let (options, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        (split_options(options).map_err(wrong)?, rest.trim_start())
    };
    if !starts_with_key(rest) {
        return Err(wrong("it is no public key".to_owned()));
    }
    let mut words = rest.splitn(3, [' ', '\t']);
    let (kind, base64) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let comment = words.next().unwrap_or_default().trim().to_owned();
    let key = SubjectKey::parse(&format!("{kind} {base64}")).map_err(|error| match error {
        SubjectKeyError::NotAKeyLine => wrong("it is no public key".to_owned()),
        other => wrong(other.to_string()),
    })?;
    Ok(KeyLine {
        line,
        options,
        key,
        comment,
    })
}

fn starts_with_key(text: &str) -> bool {
    let first = text.split([' ', '\t']).next().unwrap_or_default();
    first.starts_with("ssh-") || first.starts_with("ecdsa-sha2-") || first.starts_with("sk-")
}

/// The first blank outside quotes.
fn options_end(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn split_options(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut options = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['=', ',']).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let name = name.to_ascii_lowercase();
        if name.is_empty() {
            return Err("its options cannot be read".to_owned());
        }
        let Some(value) = after.strip_prefix('=') else {
            options.push((name, None));
            rest = after.strip_prefix(',').unwrap_or_default();
            continue;
        };
        let quoted = value
            .strip_prefix('"')
            .and_then(|inner| inner.split_once('"'))
            .ok_or_else(|| format!("the value of `{name}` is not in quotes"))?;
        if quoted.0.contains('\\') {
            return Err(format!("the value of `{name}` holds a backslash"));
        }
        options.push((name, Some(quoted.0.to_owned())));
        rest = match (quoted.1.strip_prefix(','), quoted.1) {
            (Some(next), _) => next,
            (None, "") => "",
            _ => return Err("its options cannot be read".to_owned()),
        };
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8x3pKbTNxtA7+dGyMHzCwY5yH5SLBlD+3GD1Lp3QmV";

    #[test]
    fn break_glass_lines_are_keys_with_harmless_options() {
        let good = [
            KEY.to_owned(),
            format!("# sealed\n\n{KEY} a comment here"),
            format!("restrict,pty {KEY}"),
            format!("cert-authority,principals=\"breakglass\",restrict,pty,from=\"10.0.0.0/8,192.0.2.1\" {KEY} ca"),
            format!("expiry-time=\"20300101Z\" {KEY}"),
        ];
        for text in good {
            assert!(breakglass(&text).is_ok(), "{text}");
        }
        let bad = [
            (
                format!("command=\"/bin/sh\" {KEY}"),
                "the option `command` is not for break-glass keys",
            ),
            (
                format!("environment=\"A=b\" {KEY}"),
                "the option `environment` is not for break-glass keys",
            ),
            (
                format!("cert-authority {KEY}"),
                "a `cert-authority` line needs principals=\"…\"",
            ),
            (
                format!("cert-authority,principals=\"\" {KEY}"),
                "a `cert-authority` line needs principals=\"…\"",
            ),
            ("ssh-ed25519 AAAA".to_owned(), "the key's bytes are damaged"),
            ("hello world".to_owned(), "it is no public key"),
            (
                format!("restrict=\"x\" {KEY}"),
                "the option `restrict` has no value where it needs one, or one too many",
            ),
            (format!("from=10.0.0.1 {KEY}"), "the value of `from` is not in quotes"),
        ];
        for (text, why) in bad {
            assert_eq!(breakglass(&text).unwrap_err().why, why, "{text}");
        }
        let line = breakglass(&format!("restrict,FROM=\"10.0.0.0/8\" {KEY} on call")).unwrap();
        let line = line.first().unwrap();
        assert_eq!(
            (line.value("from"), line.comment.as_str()),
            (Some("10.0.0.0/8"), "on call")
        );
    }
}
