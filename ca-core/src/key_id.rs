//! Key IDs: the text that sshd logs for a certificate.

use std::fmt;

use crate::denial::Denial;

/// The longest key ID that is issued, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 256;

/// A key ID that can be logged on one line and parsed back.
///
/// # Security
/// sshd writes the key ID into its log as it is; a newline or a bracket would forge log lines. Only
/// `[A-Za-z0-9._@:/+=-]` passes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Takes a text that was chosen by the caller or written out in a role.
    ///
    /// # Errors
    /// [`Denial::KeyIdInvalid`] when a character or the length is not allowed.
    pub fn parse(text: &str) -> Result<Self, Denial> {
        let invalid = |reason| Denial::KeyIdInvalid {
            key_id: text.chars().take(64).collect(),
            reason,
        };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.len() > KEY_ID_BYTES_MAX {
            return Err(invalid("it has more than 256 bytes"));
        }
        if !text.chars().all(is_allowed) {
            return Err(invalid("only letters, digits and . _ @ : / + = - are allowed"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | ':' | '/' | '+' | '=' | '-')
}

/// Replaces each character that a key ID cannot hold by `-`: for parts of a key ID that the server itself fills in.
#[must_use]
pub fn sanitized(text: &str) -> String {
    text.chars().map(|c| if is_allowed(c) { c } else { '-' }).collect()
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_cannot_forge_a_log_line() {
        assert!(KeyId::parse("vault-root-2260/x@y:z+=").is_ok());
        for bad in [
            "",
            "a\nAccepted publickey for root",
            "a b",
            "a (serial 1)",
            "a\u{1b}[0m",
            &"x".repeat(257),
        ] {
            assert!(KeyId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(sanitized("a\nb c"), "a-b-c");
    }
}
