//! Principals: the login names or host names in a certificate.

use std::fmt;

/// The most principals that OpenSSH reads in one certificate.
pub const PRINCIPALS_MAX: usize = 256;

const PRINCIPAL_BYTES_MAX: usize = 64;
/// RFC 1035, "Size limits": a whole domain name.
const HOST_NAME_BYTES_MAX: usize = 253;

/// A login name or host name that is safe to put in a certificate.
///
/// # Security
/// OpenSSH before 10.3 reads a principal with a comma as a list (CVE-2026-35414), and sshd treats some characters as
/// patterns or line breaks in other files. No such character passes here, whatever a role says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(String);

/// Why a text cannot be a principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// The text is empty or blank.
    #[error("a principal cannot be empty")]
    Empty,
    /// The text is too long.
    #[error("a principal has at most {max} bytes, this one has {len}")]
    TooLong {
        /// Bytes it has.
        len: usize,
        /// Bytes it may have.
        max: usize,
    },
    /// The text holds a character that OpenSSH or a file of principals would read as something else.
    #[error("a principal cannot hold {0:?}")]
    Character(char),
    /// The text starts with a dash or a dot, which tools would read as an option or a hidden file.
    #[error("a principal starts with a letter, a digit or `_`, not {0:?}")]
    Start(char),
}

impl Principal {
    /// Checks a login name: `[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}`.
    ///
    /// # Errors
    /// [`PrincipalError`] naming what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PrincipalError> {
        check(text, PRINCIPAL_BYTES_MAX, |c| matches!(c, '.' | '_' | '@' | '+' | '-'))?;
        Ok(Self(text.to_owned()))
    }

    /// Checks a host name or address: letters, digits, `.`, `-`, `_` and `:` (IPv6), without wildcards.
    ///
    /// # Errors
    /// [`PrincipalError`] naming what is wrong with it.
    pub fn parse_host(text: &str) -> Result<Self, PrincipalError> {
        check(text.trim_start_matches(':'), HOST_NAME_BYTES_MAX, |c| {
            matches!(c, '.' | '_' | '-' | ':')
        })?;
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str, max: usize, punctuation: impl Fn(char) -> bool) -> Result<(), PrincipalError> {
    if text.len() > max {
        return Err(PrincipalError::TooLong { len: text.len(), max });
    }
    let first = text.chars().next().ok_or(PrincipalError::Empty)?;
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || punctuation(*c))) {
        Some(bad) => Err(PrincipalError::Character(bad)),
        None if first.is_ascii_alphanumeric() || first == '_' => Ok(()),
        None => Err(PrincipalError::Start(first)),
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Principal {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_login_names_are_principals() {
        for good in ["ubuntu", "_apt", "a.b-c+d@e", "0day", &"x".repeat(64)] {
            assert!(Principal::parse(good).is_ok(), "{good}");
        }
        let rows = [
            ("", PrincipalError::Empty),
            ("deploy,root", PrincipalError::Character(',')),
            ("zzz root", PrincipalError::Character(' ')),
            ("a\nb", PrincipalError::Character('\n')),
            ("a\0b", PrincipalError::Character('\0')),
            ("te*m", PrincipalError::Character('*')),
            ("!root", PrincipalError::Character('!')),
            ("ro\"ot", PrincipalError::Character('"')),
            ("ünal", PrincipalError::Character('ü')),
            ("-oProxyCommand", PrincipalError::Start('-')),
            (".ssh", PrincipalError::Start('.')),
            (&"x".repeat(65), PrincipalError::TooLong { len: 65, max: 64 }),
        ];
        for (bad, why) in rows {
            assert_eq!(Principal::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn host_names_and_addresses_are_host_principals() {
        for good in ["web-1.example.com", "10.0.0.7", "fe80::1", "::1"] {
            assert!(Principal::parse_host(good).is_ok(), "{good}");
        }
        for bad in ["*.example.com", "a b", "", "web?", "-x"] {
            assert!(Principal::parse_host(bad).is_err(), "{bad}");
        }
    }
}
