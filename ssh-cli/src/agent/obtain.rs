//! Makes a key in memory and has it certified. The one way to an [`Identity`], with and without an agent.

use std::path::Path;

use serde_json::{Map, Value, json};
use ssh_key::PublicKey;

use super::control::{CertificateRequest, HostKeys};
use super::identity::{CertificateError, FreshKey, Identity};
use super::runtime_dir::write_private;
use crate::clock::Clock;
use crate::vault::{Vault, VaultError, Verb};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// No random source.
    #[error("no key can be made")]
    Key(#[source] std::io::Error),
    /// The authority did not sign.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// It signed something else.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The envelope lacks the certificate.
    #[error("the authority's answer holds no `signed_key`")]
    NoSignedKey,
    /// The host CA key does not parse.
    #[error("the host CA key of mount `{mount}` cannot be read")]
    HostKey {
        /// Which mount.
        mount: String,
        /// Why.
        #[source]
        source: ssh_key::Error,
    },
    /// A file for ssh could not be written.
    #[error("the known_hosts file `{path}` cannot be written")]
    KnownHosts {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Our own field; a Vault server remarks that it does not know it.
const OR_DEFAULT_USER: &str = "or_default_user";

/// What a sign request asks besides the key.
#[derive(Debug, Clone, Copy)]
pub struct SignFields<'a> {
    /// `user` or `host`.
    pub cert_type: &'a str,
    /// Comma list.
    pub principals: Option<&'a str>,
    /// The role's default will do where it does not allow `principals`.
    pub or_default_user: bool,
    /// Asked lifetime.
    pub ttl_secs: Option<u64>,
    /// Asked extensions.
    pub extensions: &'a std::collections::BTreeMap<String, String>,
}

/// Sends `sign/<role>` and gives the whole envelope.
///
/// # Errors
/// [`VaultError`].
pub fn sign(vault: &Vault, mount: &str, role: &str, key: &str, fields: SignFields<'_>) -> Result<Value, VaultError> {
    let mut body = Map::new();
    body.insert("public_key".to_owned(), json!(key));
    body.insert("cert_type".to_owned(), json!(fields.cert_type));
    if let Some(principals) = fields.principals {
        body.insert("valid_principals".to_owned(), json!(principals));
    }
    if fields.or_default_user {
        body.insert(OR_DEFAULT_USER.to_owned(), json!(true));
    }
    if let Some(ttl) = fields.ttl_secs {
        body.insert("ttl".to_owned(), json!(format!("{ttl}s")));
    }
    // Absent extensions leave the role's defaults; an explicit map replaces them.
    if !fields.extensions.is_empty() {
        body.insert("extensions".to_owned(), json!(fields.extensions));
    }
    vault.send(Verb::Put, &format!("{mount}/sign/{role}"), Some(&Value::Object(body)))
}

/// The certificate line in a sign reply.
///
/// # Errors
/// [`ObtainError::NoSignedKey`].
pub fn signed_key(envelope: &Value) -> Result<&str, ObtainError> {
    envelope
        .pointer("/data/signed_key")
        .and_then(Value::as_str)
        .ok_or(ObtainError::NoSignedKey)
}

/// The remarks in a reply, but for a Vault server's about our own field, which it rightly does without.
#[must_use]
pub fn warnings(envelope: &Value) -> Vec<String> {
    let list = envelope.get("warnings").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|warning| !warning.ends_with(&format!("[{OR_DEFAULT_USER}]")))
        .map(str::to_owned)
        .collect()
}

/// Makes a key and has it certified; the clock is read once the certificate is here.
///
/// # Errors
/// Any [`ObtainError`].
pub fn obtain(
    vault: &Vault,
    request: &CertificateRequest,
    clock: &Clock,
) -> Result<(Identity, Vec<String>), ObtainError> {
    let key = FreshKey::generate().map_err(ObtainError::Key)?;
    let fields = SignFields {
        cert_type: "user",
        principals: Some(&request.principals),
        or_default_user: request.or_default_user,
        ttl_secs: request.ttl_secs,
        extensions: &request.extensions,
    };
    let envelope = sign(vault, &request.mount, &request.role, &key.public_line(), fields)?;
    let identity = key.certify(signed_key(&envelope)?, clock.now())?;
    Ok((identity, warnings(&envelope)))
}

/// Fetches a host CA's key and writes the `known_hosts` file that trusts it.
///
/// # Errors
/// Any [`ObtainError`].
///
/// # Security
/// The key is parsed and written anew: nothing that a server sends becomes a line of its own in the file.
pub fn write_known_hosts(vault: &Vault, hosts: &HostKeys, path: &Path) -> Result<(), ObtainError> {
    let line = host_ca(vault, &hosts.mount)?;
    let read =
        PublicKey::from_openssh(line.trim()).and_then(|key| PublicKey::from(key.key_data().clone()).to_openssh());
    let key = read.map_err(|source| ObtainError::HostKey {
        mount: hosts.mount.clone(),
        source,
    })?;
    write_private(path, &format!("@cert-authority {} {key}\n", hosts.hostnames)).map_err(|source| {
        ObtainError::KnownHosts {
            path: path.display().to_string(),
            source,
        }
    })
}

/// The open path first; `config/ca`, which needs a token, for servers that hide it.
fn host_ca(vault: &Vault, mount: &str) -> Result<String, ObtainError> {
    match vault.text(&format!("{mount}/public_key")) {
        Err(VaultError::Refused(_)) => {}
        other => return Ok(other?),
    }
    let envelope = vault.send(Verb::Get, &format!("{mount}/config/ca"), None)?;
    let key = envelope.pointer("/data/public_key").and_then(Value::as_str);
    key.map(str::to_owned).ok_or(ObtainError::NoSignedKey)
}
