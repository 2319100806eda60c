//! EC2's instance metadata service, version 2 only: a token by PUT first, then the signed identity document.
//!
//! The document is neither secret nor fresh, so it is only half of a proof; the other half is the host key's signature.

use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::vault::fetch::{Fetcher, Method};

/// The service's address, the same on every instance; reached without a proxy.
pub const ADDRESS: &str = "http://169.254.169.254";

const TOKEN_TTL_SECS: &str = "60";
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// It is on the same machine; where it is not there, nothing may wait for it.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why there is no identity document.
#[derive(Debug, thiserror::Error)]
pub enum ImdsError {
    /// Nothing answers: not an EC2 instance, or metadata is switched off.
    #[error("no instance metadata service answers")]
    Absent(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answers, but not with what was asked for.
    #[error("the instance metadata service answered {status} to {what}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What was asked.
        what: &'static str,
    },
    /// What came cannot be a token or a signature.
    #[error("the instance metadata service's {0} cannot be read")]
    Unreadable(&'static str),
}

/// The `rsa2048` signature of this instance's identity: PKCS#7 with the document inside, base64 on one line.
///
/// # Errors
/// [`ImdsError`].
pub fn identity(address: &str) -> Result<String, ImdsError> {
    let absent = |error: crate::vault::VaultError| ImdsError::Absent(error.into());
    let fetcher = Fetcher::new(&Endpoint::plain(address), TIMEOUT).map_err(absent)?;
    let token = fetcher.send(
        Method::Put,
        &format!("{address}/latest/api/token"),
        &[("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_SECS)],
        ANSWER_BYTES_MAX,
    );
    let token = line(&token.map_err(absent)?, "its token")?;
    let graphic = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    graphic.then_some(()).ok_or(ImdsError::Unreadable("token"))?;
    let document = fetcher.send(
        Method::Get,
        &format!("{address}/latest/dynamic/instance-identity/rsa2048"),
        &[("X-aws-ec2-metadata-token", &token)],
        ANSWER_BYTES_MAX,
    );
    let document = line(&document.map_err(absent)?, "the identity document")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let good = !document.is_empty() && document.bytes().all(plain);
    good.then_some(document)
        .ok_or(ImdsError::Unreadable("identity document"))
}

fn line(answer: &crate::vault::fetch::Fetched, what: &'static str) -> Result<String, ImdsError> {
    if answer.status != 200 {
        return Err(ImdsError::Refused {
            status: answer.status,
            what,
        });
    }
    let text = std::str::from_utf8(&answer.body).map_err(|_| ImdsError::Unreadable(what))?;
    Ok(text.split_ascii_whitespace().collect())
}
