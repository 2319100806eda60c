//! A certificate in plain words, with what is odd about it.
//!
//! For people, not for decisions: it reads far more than sshd accepts (own wire reader), so that a broken certificate can
//! be looked at instead of being met with "invalid format". Nothing here may be used to trust anything.

mod oddities;
mod render;
mod wire;

use serde::Serialize;
use signature::Verifier as _;
use ssh_key::{HashAlg, PublicKey, Signature};

use crate::time::UnixTime;
use wire::{RawCertificate, RawOption};

/// Why a text cannot be shown as a certificate.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InspectError {
    /// There was nothing to read.
    #[error("there is no certificate in it")]
    Empty,
    /// It is a plain public key.
    #[error("this is a public key (`{0}`), not a certificate")]
    PublicKey(String),
    /// It is a private key, whose text must not be repeated.
    #[error("this is a private key, not a certificate")]
    PrivateKey,
    /// The base64 part does not decode.
    #[error("the text is not base64")]
    NotBase64,
    /// The type is none that OpenSSH certifies.
    #[error("`{0}` is not a certificate type that OpenSSH knows")]
    UnknownType(String),
    /// A field runs over the end.
    #[error("the certificate ends in the middle of its {0}")]
    Truncated(&'static str),
    /// Text and blob name different types.
    #[error("the line says `{line}` but the certificate inside is `{blob}`")]
    TypeMismatch {
        /// The word at the head of the line.
        line: String,
        /// The type inside the blob.
        blob: String,
    },
}

/// How bad an oddity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// OpenSSH refuses the certificate for this.
    Refused,
    /// It works and opens more than it should.
    Risky,
    /// Worth knowing.
    Note,
}

/// One thing that a well-made certificate does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oddity {
    /// How bad it is.
    pub severity: Severity,
    /// One sentence, control characters escaped.
    pub text: String,
}

/// Whether the CA's signature is over these bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureState {
    /// The signature is right for the CA key inside the certificate. That says nothing about who holds that key.
    Right,
    /// The signature does not fit.
    Wrong,
    /// It could not be checked, and why.
    Unchecked(String),
}

/// A key as `ssh-keygen -l` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyName {
    /// The wire type, e.g. `ssh-ed25519`.
    pub key_type: String,
    /// RSA modulus length; absent for types of fixed size.
    pub bits: Option<usize>,
    /// `SHA256:…` as OpenSSH prints it.
    pub fingerprint: String,
}

/// An option or extension and its value (empty for a flag).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedOption {
    /// OpenSSH's spelling, escaped.
    pub name: String,
    /// The inner string, escaped; hex in `0x…` where the bytes are not one.
    pub value: String,
}

/// Everything a certificate says. All text is escaped and can be printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The wire type, e.g. `ssh-ed25519-cert-v01@openssh.com`.
    pub algorithm: String,
    /// `user`, `host`, or the number.
    pub cert_type: String,
    /// Decimal, as sshd logs it; a string since 64 bits do not survive every JSON reader.
    pub serial: String,
    /// The text that sshd logs.
    pub key_id: String,
    /// In the certificate's order.
    pub principals: Vec<String>,
    /// Seconds since 1970.
    pub valid_after: u64,
    /// Seconds since 1970; `u64::MAX` means for ever.
    pub valid_before: u64,
    /// In the certificate's order.
    pub critical_options: Vec<NamedOption>,
    /// In the certificate's order.
    pub extensions: Vec<NamedOption>,
    /// The key being certified.
    pub subject_key: KeyName,
    /// The key that signed.
    pub ca_key: KeyName,
    /// Algorithm of the signature.
    pub signature_algorithm: String,
    /// Whether it fits.
    pub signature: SignatureState,
    /// What is odd, worst first.
    pub oddities: Vec<Oddity>,
}

impl Inspection {
    /// True if sshd would refuse the certificate whatever else is configured, the time included.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.oddities.iter().any(|oddity| oddity.severity == Severity::Refused)
    }
}

/// Reads one certificate: an OpenSSH line (`type base64 [comment]`), or the bare base64.
///
/// # Errors
/// Any [`InspectError`]; an odd certificate is not an error.
pub fn inspect(text: &str, now: UnixTime) -> Result<Inspection, InspectError> {
    let text = text.trim();
    if text.contains("PRIVATE KEY-----") {
        return Err(InspectError::PrivateKey);
    }
    let mut words = text.split_ascii_whitespace();
    let first = words.next().ok_or(InspectError::Empty)?;
    let (line_type, base64) = match words.next() {
        Some(second) => (Some(first), second),
        None => (None, first),
    };
    let blob = decode_base64(base64)?;
    let raw = RawCertificate::read(&blob)?;
    if let Some(line_type) = line_type
        && line_type != raw.algorithm
    {
        return Err(InspectError::TypeMismatch {
            line: escape(line_type),
            blob: escape(&raw.algorithm),
        });
    }
    Ok(describe(&raw, now))
}

fn decode_base64(text: &str) -> Result<Vec<u8>, InspectError> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    STANDARD
        .decode(text)
        .or_else(|_| STANDARD_NO_PAD.decode(text))
        .map_err(|_| InspectError::NotBase64)
}

fn describe(raw: &RawCertificate<'_>, now: UnixTime) -> Inspection {
    let signature = check_signature(raw);
    let mut inspection = Inspection {
        algorithm: escape(&raw.algorithm),
        cert_type: match raw.cert_type {
            1 => "user".to_owned(),
            2 => "host".to_owned(),
            other => other.to_string(),
        },
        serial: raw.serial.to_string(),
        key_id: escape_bytes(raw.key_id),
        principals: raw.principals.iter().map(|name| escape_bytes(name)).collect(),
        valid_after: raw.valid_after,
        valid_before: raw.valid_before,
        critical_options: raw.critical_options.iter().map(named).collect(),
        extensions: raw.extensions.iter().map(named).collect(),
        subject_key: key_name(&raw.subject_blob),
        ca_key: key_name(raw.ca_blob),
        signature_algorithm: escape_bytes(wire::leading_string(raw.signature).unwrap_or_default()),
        signature,
        oddities: Vec::new(),
    };
    inspection.oddities = oddities::find(raw, &inspection, now);
    inspection
}

fn named(option: &RawOption<'_>) -> NamedOption {
    NamedOption {
        name: escape_bytes(option.name),
        value: match option.inner {
            Some(inner) => escape_bytes(inner),
            None if option.data.is_empty() => String::new(),
            None => format!("0x{}", data_encoding::HEXLOWER.encode(option.data)),
        },
    }
}

fn key_name(blob: &[u8]) -> KeyName {
    use base64::Engine as _;
    let key_type = escape_bytes(wire::leading_string(blob).unwrap_or_default());
    let digest = HashAlg::Sha256.digest(blob);
    KeyName {
        bits: wire::rsa_bits(blob),
        fingerprint: format!(
            "SHA256:{}",
            base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest)
        ),
        key_type,
    }
}

fn check_signature(raw: &RawCertificate<'_>) -> SignatureState {
    let Ok(key) = PublicKey::from_bytes(raw.ca_blob) else {
        return SignatureState::Unchecked("the CA key inside cannot be read".to_owned());
    };
    let Ok(signature) = Signature::try_from(raw.signature) else {
        return SignatureState::Unchecked("the signature's algorithm is not supported".to_owned());
    };
    match key.key_data().verify(raw.to_be_signed, &signature) {
        Ok(()) => SignatureState::Right,
        Err(_) => SignatureState::Wrong,
    }
}

/// Makes text from a server, a certificate or an identity provider safe to print: control characters, line ends and the
/// characters that reorder or hide text come out as `\u{…}`.
///
/// # Security
/// CVE-2025-64494: names with escape sequences rewrote the terminal of whoever listed them.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        let hidden = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if character.is_control() || hidden {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

fn escape_bytes(bytes: &[u8]) -> String {
    escape(&String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests;
