//! Plain requests that are not of Vault's API: a trust bundle on any web server, EC2's metadata service. No redirects, no
//! proxy but the endpoint's, no more than the limit is ever read.

use std::time::Duration;

use url::Url;

use super::{VaultError, http};
use crate::endpoint::Endpoint;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Write, here without a body.
    Put,
}

/// Status, the headers that matter here, and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// HTTP status.
    pub status: u16,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Retry-After`, where it is a number of seconds.
    pub retry_after_secs: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

/// Fetches from one server.
#[derive(Debug)]
pub struct Fetcher {
    http: reqwest::blocking::Client,
    endpoint: Endpoint,
}

impl Fetcher {
    /// Prepares; nothing is sent. `timeout` is for a whole request.
    ///
    /// # Errors
    /// [`VaultError::TlsFile`] and [`VaultError::Setup`].
    pub fn new(endpoint: &Endpoint, timeout: Duration) -> Result<Self, VaultError> {
        let mut endpoint = endpoint.clone();
        endpoint.timeout_secs = timeout.as_secs();
        let http = http::client(&endpoint)?;
        Ok(Self { http, endpoint })
    }

    /// One request.
    ///
    /// # Errors
    /// [`VaultError::Unreachable`] also where the answer breaks off, [`VaultError::NotVault`] where it is longer than
    /// `bytes_max`, [`VaultError::Untrusted`].
    pub fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, &str)],
        bytes_max: u64,
    ) -> Result<Fetched, VaultError> {
        let address = || self.endpoint.address.clone();
        let url = Url::parse(url).map_err(|error| VaultError::Setup {
            address: address(),
            source: error.into(),
        })?;
        let mut request = match method {
            Method::Get => self.http.get(url),
            Method::Put => self.http.put(url).header("Content-Length", "0"),
        };
        for (name, value) in headers {
            request = http::secret_header(request, name, value);
        }
        let response = request
            .send()
            .map_err(|error| super::no_answer(&self.endpoint.address, error))?;
        let answer = http::Answer::read(response, bytes_max).map_err(|error| match error.kind() {
            std::io::ErrorKind::FileTooLarge => VaultError::NotVault {
                address: address(),
                why: error.to_string(),
            },
            _ => super::no_answer(&self.endpoint.address, error),
        })?;
        Ok(Fetched {
            status: answer.status,
            etag: answer.etag,
            retry_after_secs: answer.retry_after_secs,
            body: answer.body,
        })
    }
}
