//! Keys on PKCS#11 tokens, as `[seal]` and a mount's `ca_key` name them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use signet_core::signer::CaKeyType;
use signet_core::toml_reader::TableReader;

use super::AwsCaKey;

/// A token and how it is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pkcs11Token {
    /// The module, a shared library that comes with the token.
    pub module: PathBuf,
    /// Which of the module's tokens.
    pub token: TokenName,
    /// Where the user PIN comes from.
    pub pin: PinSource,
    /// Sessions that work side by side.
    pub sessions: usize,
    /// Requests that wait for a session, at most.
    pub queue: usize,
    /// How long one request may take, waiting included.
    pub timeout: Duration,
}

/// Which of a module's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenName {
    /// The one with this label.
    Label(String),
    /// The one in this slot. Slot numbers may change when tokens are plugged in another order.
    Slot(u64),
}

/// Where a token's user PIN comes from. It is read at each login and never kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PinSource {
    /// A file of mode 0600.
    File(PathBuf),
    /// `LoadCredential=NAME:…` in the unit.
    Credential(String),
}

/// A key on a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Config {
    /// The token.
    pub token: Pkcs11Token,
    /// The key's label; exactly one key has it.
    pub key_label: String,
    /// Whether to make the key on the token if none has the label.
    pub create: bool,
}

impl Pkcs11Token {
    pub(super) fn read(section: &TableReader<'_>, base: &Path) -> Self {
        Self {
            module: base.join(section.required("module").unwrap_or_default()),
            token: token(section),
            pin: pin(section, base),
            sessions: count(section, "sessions", 1..=64, 4),
            queue: count(section, "queue", 1..=256, 64),
            timeout: Duration::from_secs(section.duration_secs("timeout", 1..=120).unwrap_or(10)),
        }
    }
}

impl Pkcs11Config {
    /// Reads `module`, `token_label` or `slot`, `pin_file` or `pin_credential`, `key_label`, `create`, `sessions`, `queue`
    /// and `timeout`. Relative paths hang on `base`.
    #[must_use]
    pub fn read(section: &TableReader<'_>, base: &Path) -> Self {
        let key_label = section.required("key_label").unwrap_or_default();
        if key_label.is_empty() && section.has("key_label") {
            section.wrong("key_label", "`key_label` is empty");
        }
        Self {
            token: Pkcs11Token::read(section, base),
            key_label,
            create: section.bool("create").unwrap_or(false),
        }
    }
}

fn count(section: &TableReader<'_>, key: &str, allowed: std::ops::RangeInclusive<u64>, usual: usize) -> usize {
    let written = section.number(key, allowed);
    written.and_then(|number| usize::try_from(number).ok()).unwrap_or(usual)
}

fn token(section: &TableReader<'_>) -> TokenName {
    match (
        section.string("token_label"),
        section.number("slot", 0..=u64::from(u32::MAX)),
    ) {
        (Some(label), None) => TokenName::Label(label),
        (None, Some(slot)) => TokenName::Slot(slot),
        (None, None) => {
            section.wrong_here("`token_label` or `slot` is missing: which token?");
            TokenName::Slot(0)
        }
        (Some(label), Some(_)) => {
            section.wrong("slot", "give `token_label` or `slot`, not both");
            TokenName::Label(label)
        }
    }
}

fn pin(section: &TableReader<'_>, base: &Path) -> PinSource {
    if section.has("pin") {
        section.wrong_hint(
            "pin",
            "a PIN does not belong into signet.toml: consider it known",
            "put it into a file of mode 0600 and name that with `pin_file`, or use `pin_credential`",
        );
    }
    match (section.string("pin_file"), section.string("pin_credential")) {
        (Some(file), None) => PinSource::File(base.join(file)),
        (None, Some(name)) => {
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                section.wrong(
                    "pin_credential",
                    "`pin_credential` is a name, as in `LoadCredential=NAME:…`",
                );
            }
            PinSource::Credential(name)
        }
        (None, None) => {
            section.wrong_here("`pin_file` or `pin_credential` is missing: where is the token's PIN?");
            PinSource::Credential(String::new())
        }
        (Some(_), Some(_)) => {
            section.wrong("pin_file", "give `pin_file` or `pin_credential`, not both");
            PinSource::Credential(String::new())
        }
    }
}

/// How the seal's key wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrapMechanism {
    /// AES-256-GCM with a random IV.
    AesGcm,
    /// RSA-OAEP, for tokens without AES-GCM. Whoever can write the store and knows the public key can put a store of his
    /// own in its place.
    RsaOaep,
}

/// `[seal] type = "pkcs11"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Seal {
    /// The key.
    pub key: Pkcs11Config,
    /// How it wraps; `None` is AES-GCM where the token has it, else RSA-OAEP.
    pub mechanism: Option<WrapMechanism>,
}

impl Pkcs11Seal {
    pub(super) fn read(section: &TableReader<'_>, base: &Path) -> Self {
        Self {
            key: Pkcs11Config::read(section, base),
            mechanism: section.word(
                "mechanism",
                &[("aes-gcm", WrapMechanism::AesGcm), ("rsa-oaep", WrapMechanism::RsaOaep)],
            ),
        }
    }
}

/// A CA key that does not lie in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaKeyConfig {
    /// On a PKCS#11 token.
    Pkcs11 {
        /// The key.
        key: Pkcs11Config,
        /// Its type: what it must be, or what is made.
        key_type: CaKeyType,
    },
    /// In AWS KMS, where it was made.
    AwsKms(AwsCaKey),
}

impl CaKeyConfig {
    /// Reads a mount's `ca_key = { type = "pkcs11", … }` or `{ type = "awskms", … }`.
    pub(super) fn read(section: &TableReader<'_>, base: &Path) -> Self {
        if section.word("type", &[("pkcs11", false), ("awskms", true)]) == Some(true) {
            return Self::AwsKms(AwsCaKey::read(section));
        }
        let bits = section.number("key_bits", 0..=8192).unwrap_or(0);
        let word = section.required("key_type").unwrap_or_default();
        let key_type = CaKeyType::parse(&word, bits);
        if let Err(error) = &key_type
            && section.has("key_type")
        {
            section.wrong_hint(
                "key_type",
                error.to_string(),
                "ec with key_bits 256 is what every token has",
            );
        }
        Self::Pkcs11 {
            key: Pkcs11Config::read(section, base),
            key_type: key_type.unwrap_or(CaKeyType::EcdsaP256),
        }
    }
}
