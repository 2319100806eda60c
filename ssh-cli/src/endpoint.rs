//! Which authority, and how to reach it: everything a connection needs except the token.
//!
//! It travels to the agent in a control frame, so paths in it are absolute and it is a part of the cache key.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

/// A Vault-speaking server and the connection's options.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `scheme://host[:port][/prefix]`, checked, without a slash at the end.
    pub address: String,
    /// `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// The only certificate authorities to believe, one PEM file.
    pub ca_cert: Option<PathBuf>,
    /// The same, a folder of PEM files.
    pub ca_path: Option<PathBuf>,
    /// This client's TLS certificate.
    pub client_cert: Option<PathBuf>,
    /// The key to it.
    pub client_key: Option<PathBuf>,
    /// The name the server's certificate must have, when it is not the address's.
    pub tls_server_name: Option<String>,
    /// Believe any TLS certificate.
    pub tls_skip_verify: bool,
    /// Further request headers.
    pub headers: Vec<(String, String)>,
    /// Limit for a whole request.
    pub timeout_secs: u64,
    /// How often a 5xx answer is tried again.
    pub retries_max: u32,
    /// HTTP proxy.
    pub proxy: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    /// Headers may hold credentials.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Endpoint")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An address with nothing special about it.
    #[must_use]
    pub fn plain(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            namespace: None,
            ca_cert: None,
            ca_path: None,
            client_cert: None,
            client_key: None,
            tls_server_name: None,
            tls_skip_verify: false,
            headers: Vec::new(),
            timeout_secs: 60,
            retries_max: 0,
            proxy: None,
        }
    }
}

/// The address cannot be one of an authority.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// Not a URL with a host.
    #[error("`{0}` is not an address such as https://ca.example.com:8200")]
    NotAUrl(String),
    /// Neither http nor https.
    #[error("the address `{address}` has the scheme `{scheme}`; http and https are spoken")]
    Scheme {
        /// As given.
        address: String,
        /// What was found.
        scheme: String,
    },
    /// A user, a query or a fragment, which mean nothing here.
    #[error("the address `{0}` must be no more than scheme, host, port and path")]
    Extra(String),
}

/// Checks an address and takes the slash from its end.
///
/// # Errors
/// [`AddressError`].
pub fn canonical_address(text: &str) -> Result<String, AddressError> {
    let shown = || signet_core::inspect::escape(text);
    let url = Url::parse(text.trim()).map_err(|_| AddressError::NotAUrl(shown()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(AddressError::Scheme {
            address: shown(),
            scheme: url.scheme().to_owned(),
        });
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(AddressError::NotAUrl(shown()));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(AddressError::Extra(shown()));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_brought_to_one_spelling_or_refused() {
        assert_eq!(
            canonical_address("HTTPS://CA.example.com:8200/").unwrap(),
            "https://ca.example.com:8200"
        );
        assert_eq!(
            canonical_address("http://127.0.0.1:8200").unwrap(),
            "http://127.0.0.1:8200"
        );
        assert_eq!(canonical_address("https://x/vault/").unwrap(), "https://x/vault");
        assert!(matches!(
            canonical_address("ca.example.com"),
            Err(AddressError::NotAUrl(_))
        ));
        assert!(matches!(
            canonical_address("unix:///run/x"),
            Err(AddressError::Scheme { .. })
        ));
        assert!(matches!(
            canonical_address("https://u:p@x"),
            Err(AddressError::Extra(_))
        ));
    }
}
