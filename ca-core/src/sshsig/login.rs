//! What a login with an SSH key signs. Client and server both make the text here, so that it cannot differ.

use std::fmt;
use std::net::Ipv6Addr;

/// The SSHSIG namespace of a login. A signature for anything else (git commits, files) can never log anybody in.
pub const LOGIN_NAMESPACE: &str = "login.signet";

/// The text to sign for a login at `address` with the server's `nonce` (hex, as the server sent it).
///
/// # Security
/// `address` is where the person's client meant to go. A server in the middle that passes a nonce on gets a signature for
/// its own address, which the real server refuses.
#[must_use]
pub fn login_message(address: &LoginAddress, nonce: &str) -> String {
    format!("signet-login-v1\naddress: {address}\nnonce: {nonce}\n")
}

/// A server's address in the one form that is signed: `scheme://host:port`, lower case, the port always written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginAddress(String);

/// Not an address that a login can be bound to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a server's address: write it like https://ca.example.com:8200")]
pub struct LoginAddressError(pub String);

impl LoginAddress {
    /// Reads what a person typed: `https://CA.Example.com`, `http://127.0.0.1:8200/`, `https://[::1]:8200`. A missing port
    /// is the scheme's; a path is dropped, as it is no part of who the server is.
    ///
    /// # Errors
    /// [`LoginAddressError`] for another scheme, user names, an empty host, a host that is not ASCII, or a bad port.
    pub fn parse(text: &str) -> Result<Self, LoginAddressError> {
        Self::canonical(text.trim()).ok_or_else(|| LoginAddressError(text.to_owned()))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn canonical(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = split_port(authority)?;
        let port = match port {
            None => default_port,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        if port == 0_u16 {
            return None;
        }
        Some(Self(format!("{scheme}://{}:{port}", canonical_host(host)?)))
    }
}

impl fmt::Display for LoginAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits `host:port`, `host`, `[v6]:port` or `[v6]`.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if !authority.starts_with('[') {
        return Some(match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        });
    }
    let (host, after) = authority.split_at(authority.find(']')? + 1);
    match after.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => after.is_empty().then_some((host, None)),
    }
}

fn canonical_host(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    // A final dot names the same host.
    let host = host.strip_suffix('.').unwrap_or(host);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (!host.is_empty() && host.bytes().all(plain)).then(|| host.to_ascii_lowercase())
}
