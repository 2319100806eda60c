//! `[seal] type = "kmip"`: a key in a KMIP server, and the way to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::ServerName;
use signet_core::toml_reader::TableReader;

/// KMIP's own port.
const PORT: u16 = 5696;
/// Seconds that one undertaking may take, from the name's look-up to the last answer.
const TIMEOUT_SECS: u64 = 10;

/// A key in a KMIP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmipConfig {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The name that its certificate must hold.
    pub server_name: String,
    /// Who may issue its certificate, PEM. No other roots count.
    pub ca: PathBuf,
    /// Our certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, mode 0600.
    pub key: PathBuf,
    /// The unique identifier of the AES key.
    pub key_id: String,
    /// What is asked of the server when the root key is wrapped.
    pub operation: KmipOperation,
    /// How it encrypts; `None` is AES-GCM where the server has it, else AES-CBC.
    pub mechanism: Option<KmipMechanism>,
    /// How long one undertaking may take.
    pub timeout: Duration,
}

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmipOperation {
    /// It encrypts and decrypts a data key; the key stays there.
    Encrypt,
    /// It gives the key, and we wrap with it.
    Get,
}

impl KmipOperation {
    const ALL: [Self; 2] = [Self::Encrypt, Self::Get];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Get => "get",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == word)
    }
}

/// How a KMIP server encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmipMechanism {
    /// AES-GCM; needs KMIP 1.4.
    AesGcm,
    /// AES-CBC with PKCS#5 padding. What is wrapped under the data key is authenticated all the same.
    AesCbc,
}

impl KmipMechanism {
    const ALL: [Self; 2] = [Self::AesGcm, Self::AesCbc];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::AesCbc => "aes-cbc",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.as_str() == word)
    }
}

impl KmipConfig {
    /// Reads `endpoint`, `server_name`, `ca`, `certificate`, `key`, `key_id`, `operation`, `mechanism` and `timeout`. Relative
    /// paths hang on `base`.
    #[must_use]
    pub(super) fn read(section: &TableReader<'_>, base: &Path) -> Self {
        let path = |key| base.join(section.required(key).unwrap_or_default());
        let written = section.required("endpoint").unwrap_or_default();
        let endpoint = parse_endpoint(&written);
        if endpoint.is_none() && section.has("endpoint") {
            section.wrong(
                "endpoint",
                format!("`endpoint` is `{written}`, but must be HOST:PORT or HOST (an IPv6 address in brackets)"),
            );
        }
        let (host, port) = endpoint.unwrap_or_default();
        let server_name = section.parsed("server_name", "a host's name or an address", |text| {
            is_host(text).then(|| text.to_owned())
        });
        let operation = section.word(
            "operation",
            &KmipOperation::ALL.map(|operation| (operation.as_str(), operation)),
        );
        let mechanism = section.word(
            "mechanism",
            &KmipMechanism::ALL.map(|mechanism| (mechanism.as_str(), mechanism)),
        );
        let operation = operation.unwrap_or(KmipOperation::Encrypt);
        if operation == KmipOperation::Get && section.has("mechanism") {
            section.wrong(
                "mechanism",
                "`mechanism` is how the server encrypts; with `operation = \"get\"` it does not",
            );
        }
        Self {
            server_name: server_name.unwrap_or_else(|| host.clone()),
            host,
            port,
            ca: path("ca"),
            certificate: path("certificate"),
            key: path("key"),
            key_id: key_id(section),
            operation,
            mechanism,
            timeout: Duration::from_secs(section.duration_secs("timeout", 1..=120).unwrap_or(TIMEOUT_SECS)),
        }
    }

    /// The server, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn key_id(section: &TableReader<'_>) -> String {
    let key_id = section.required("key_id").unwrap_or_default();
    if section.has("key_id") && (key_id.is_empty() || key_id.len() > 256 || key_id.chars().any(char::is_control)) {
        section.wrong(
            "key_id",
            "`key_id` is the unique identifier that the server gave the key: 1 to 256 characters",
        );
    }
    key_id
}

fn parse_endpoint(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None if port.is_empty() => PORT,
        None => return None,
    };
    is_host(host).then(|| (host.to_owned(), port))
}

fn is_host(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}
