//! Critical options and extensions: a closed list, each with the kind of value that OpenSSH reads.

use std::collections::BTreeMap;

use crate::source_address::{SourceAddressError, SourceAddresses};

/// Critical options of OpenSSH (draft-ietf-sshm-cert, "critical options"; PROTOCOL.certkeys).
pub const CRITICAL_OPTIONS: &[&str] = &["force-command", "source-address", "verify-required"];

/// Extensions of OpenSSH.
pub const EXTENSIONS: &[&str] = &[
    "no-touch-required",
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
];

const VALUE_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 128;

/// The value of an option, in the shape in which OpenSSH reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// No value: zero bytes. A flag with any byte in it makes sshd refuse the certificate.
    Flag,
    /// A text, written as a string inside the value's string.
    Text(String),
}

impl OptionValue {
    /// The text; empty for a flag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Flag => "",
            Self::Text(text) => text,
        }
    }
}

/// Options of one section, sorted by name and unique, as every reader accepts them.
pub type Options = BTreeMap<String, OptionValue>;

/// An option that OpenSSH would refuse, ignore or misread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A critical option among the extensions: sshd ignores it there and gives an unrestricted session.
    #[error("`{0}` is a critical option, as an extension it would restrict nothing")]
    CriticalAsExtension(String),
    /// An extension among the critical options: sshd refuses the certificate.
    #[error("`{0}` is an extension, as a critical option it makes sshd refuse the certificate")]
    ExtensionAsCritical(String),
    /// The name is neither OpenSSH's nor `name@domain`.
    #[error("`{0}` is not an option that OpenSSH knows, and has no `@domain` as options of others do")]
    Unknown(String),
    /// The name holds characters that no option name has.
    #[error("{0:?} cannot be the name of an option")]
    Name(String),
    /// A flag with a value.
    #[error("`{name}` takes no value, {value:?} was given")]
    FlagWithValue {
        /// Option.
        name: String,
        /// Value given.
        value: String,
    },
    /// `force-command` without a command.
    #[error("`{0}` needs a value")]
    Empty(String),
    /// A value with control characters or too long.
    #[error("the value of `{0}` holds a control character or is longer than 4096 bytes")]
    Value(String),
    /// `source-address` that sshd would refuse.
    #[error("`source-address`: {0}")]
    SourceAddress(SourceAddressError),
    /// `verify-required` for a key that cannot verify a person: sshd would ignore it.
    #[error("`verify-required` works with security keys (`sk-…`) only; for this key it would restrict nothing")]
    VerifyRequiredOnPlainKey,
}

/// Reads critical options. `listed` says whether the role itself lists a name that OpenSSH does not know.
///
/// # Errors
/// [`OptionError`] for the first option that OpenSSH would not read as meant.
pub fn critical_options(
    given: &BTreeMap<String, String>,
    listed: impl Fn(&str) -> bool,
) -> Result<Options, OptionError> {
    given
        .iter()
        .map(|(name, value)| Ok((name.clone(), critical_value(name, value, &listed)?)))
        .collect()
}

/// Reads extensions; as [`critical_options`].
///
/// # Errors
/// [`OptionError`] for the first extension that OpenSSH would not read as meant.
pub fn extensions(given: &BTreeMap<String, String>, listed: impl Fn(&str) -> bool) -> Result<Options, OptionError> {
    given
        .iter()
        .map(|(name, value)| Ok((name.clone(), extension_value(name, value, &listed)?)))
        .collect()
}

fn critical_value(name: &str, value: &str, listed: impl Fn(&str) -> bool) -> Result<OptionValue, OptionError> {
    check_text(name, value)?;
    match name {
        "force-command" if value.trim().is_empty() => Err(OptionError::Empty(name.to_owned())),
        "force-command" => Ok(OptionValue::Text(value.to_owned())),
        "source-address" => SourceAddresses::parse(value)
            .map(|list| OptionValue::Text(list.to_string()))
            .map_err(OptionError::SourceAddress),
        "verify-required" => flag(name, value),
        _ if EXTENSIONS.contains(&name) => Err(OptionError::ExtensionAsCritical(name.to_owned())),
        _ => foreign(name, value, listed),
    }
}

fn extension_value(name: &str, value: &str, listed: impl Fn(&str) -> bool) -> Result<OptionValue, OptionError> {
    check_text(name, value)?;
    match name {
        _ if EXTENSIONS.contains(&name) => flag(name, value),
        _ if CRITICAL_OPTIONS.contains(&name) => Err(OptionError::CriticalAsExtension(name.to_owned())),
        _ => foreign(name, value, listed),
    }
}

fn check_text(name: &str, value: &str) -> Result<(), OptionError> {
    let good_name = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, ',' | '"' | '\\' | '='));
    if !good_name {
        return Err(OptionError::Name(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    if value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
        return Err(OptionError::Value(name.to_owned()));
    }
    Ok(())
}

fn flag(name: &str, value: &str) -> Result<OptionValue, OptionError> {
    if value.is_empty() {
        Ok(OptionValue::Flag)
    } else {
        Err(OptionError::FlagWithValue {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// An option of somebody else (`login@github.com`): carried as it is.
fn foreign(name: &str, value: &str, listed: impl Fn(&str) -> bool) -> Result<OptionValue, OptionError> {
    if name.contains('@') || listed(name) {
        Ok(if value.is_empty() {
            OptionValue::Flag
        } else {
            OptionValue::Text(value.to_owned())
        })
    } else {
        Err(OptionError::Unknown(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn critical_options_are_a_closed_list() {
        let rows = [
            ("force-command", "uptime", true),
            ("force-command", "", false),
            ("force-command", "a\nb", false),
            ("source-address", "10.0.0.0/8", true),
            ("source-address", "bogus", false),
            ("verify-required", "", true),
            ("verify-required", "yes", false),
            ("permit-pty", "", false),
            ("x@example.com", "v", true),
            ("x", "v", false),
            ("", "v", false),
            ("a b", "v", false),
        ];
        for (name, value, good) in rows {
            assert_eq!(
                critical_options(&one(name, value), |_| false).is_ok(),
                good,
                "{name}={value}"
            );
        }
        assert!(
            critical_options(&one("x", "v"), |name| name == "x").is_ok(),
            "the role itself lists it"
        );
    }

    #[test]
    fn cve_force_command_among_the_extensions_is_refused() {
        for name in CRITICAL_OPTIONS {
            let error = extensions(&one(name, "x"), |_| true).unwrap_err();
            assert_eq!(error, OptionError::CriticalAsExtension((*name).to_owned()));
        }
    }

    #[test]
    fn flags_carry_no_value() {
        assert!(extensions(&one("permit-pty", ""), |_| false).is_ok());
        assert!(extensions(&one("permit-pty", "1"), |_| false).is_err());
        let vendor = extensions(&one("login@github.com", "alice"), |_| false).unwrap();
        assert_eq!(vendor["login@github.com"], OptionValue::Text("alice".to_owned()));
    }
}
