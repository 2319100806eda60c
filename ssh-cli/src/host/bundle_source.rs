//! Where trust bundles come from: the authority, any web server, or a file. The bundle proves itself, so none of them has to
//! be believed; what comes is limited in size and read whole before anybody looks into it.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use signet_core::trust_bundle::BUNDLE_BYTES_MAX;

use super::settings::HostSettings;
use crate::endpoint::Endpoint;
use crate::vault::VaultError;
use crate::vault::fetch::{Fetched, Fetcher, Method};

/// A bundle of 11 MB over a slow line.
const TIMEOUT: Duration = Duration::from_mins(2);
const NOT_MODIFIED: u16 = 304;

/// Where to fetch from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleSource {
    /// A URL.
    Url(String),
    /// A file.
    File(PathBuf),
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch {
    /// What the host holds is still the newest.
    Unchanged,
    /// A text that claims to be a bundle.
    Text {
        /// The text.
        text: String,
        /// Its entity tag.
        etag: Option<String>,
    },
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// An answer without a bundle.
    #[error("`{url}` answered {status}")]
    Status {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// How long the server asks to be left alone.
        retry_after_secs: Option<u64>,
    },
    /// The file cannot be read.
    #[error("the bundle `{path}` cannot be read")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Longer than any bundle.
    #[error("what came is longer than any trust bundle")]
    TooLong,
    /// Not text.
    #[error("what came is not a trust bundle")]
    NotText,
}

impl FetchError {
    /// Whether trying again later may help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Vault(VaultError::Unreachable { .. })
                | Self::Status {
                    status: 429 | 500..,
                    ..
                }
        )
    }

    /// How long the server asks to be left alone.
    #[must_use]
    pub const fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::Status { retry_after_secs, .. } => *retry_after_secs,
            _ => None,
        }
    }
}

impl BundleSource {
    /// The source by a host's settings; `None` where they name none.
    #[must_use]
    pub fn of(settings: &HostSettings) -> Option<Self> {
        match (&settings.bundle_url, &settings.address) {
            (Some(url), _) if url.starts_with("http://") || url.starts_with("https://") => Some(Self::Url(url.clone())),
            (Some(path), _) => Some(Self::File(PathBuf::from(path.strip_prefix("file://").unwrap_or(path)))),
            (None, Some(address)) => {
                let address = address.trim_end_matches('/');
                Some(Self::Url(format!("{address}/v1/{}/trust-bundle", settings.mount)))
            }
            (None, None) => None,
        }
    }

    /// For people, and to tell whose entity tag one is.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Whether it is the authority itself that is asked.
    #[must_use]
    pub fn is_at(&self, address: &str) -> bool {
        matches!(self, Self::Url(url) if url.starts_with(&format!("{}/", address.trim_end_matches('/'))))
    }

    /// Fetches, unless what the host holds (`etag`) is what would come.
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn fetch(&self, endpoint: &Endpoint, etag: Option<&str>) -> Result<Fetch, FetchError> {
        match self {
            Self::File(path) => read(path).map(|text| Fetch::Text { text, etag: None }),
            Self::Url(url) => match get(url, endpoint, etag) {
                // Roots that are for the authority alone need not be those of a web server elsewhere.
                Err(FetchError::Vault(VaultError::Untrusted { .. })) if !self.is_at(&endpoint.address) => {
                    let mut public = endpoint.clone();
                    public.ca_cert = None;
                    get(url, &public, etag)
                }
                other => other,
            },
        }
    }
}

fn get(url: &str, endpoint: &Endpoint, etag: Option<&str>) -> Result<Fetch, FetchError> {
    let mut endpoint = endpoint.clone();
    // The connection is set up by the scheme that is really spoken.
    if !url.starts_with(&endpoint.address) {
        url.clone_into(&mut endpoint.address);
    }
    let fetcher = Fetcher::new(&endpoint, TIMEOUT)?;
    let headers: Vec<(&'static str, &str)> = etag.into_iter().map(|etag| ("If-None-Match", etag)).collect();
    let bytes_max = u64::try_from(BUNDLE_BYTES_MAX).unwrap_or(u64::MAX);
    let Fetched {
        status,
        etag: new_etag,
        retry_after_secs,
        body,
    } = fetcher.send(Method::Get, url, &headers, bytes_max)?;
    match status {
        200 => Ok(Fetch::Text {
            text: String::from_utf8(body).map_err(|_| FetchError::NotText)?,
            etag: new_etag,
        }),
        NOT_MODIFIED if etag.is_some() => Ok(Fetch::Unchanged),
        _ => Err(FetchError::Status {
            url: url.to_owned(),
            status,
            retry_after_secs,
        }),
    }
}

fn read(path: &std::path::Path) -> Result<String, FetchError> {
    let wrong = |source| FetchError::File {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(wrong)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(BUNDLE_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    if bytes.len() > BUNDLE_BYTES_MAX {
        return Err(FetchError::TooLong);
    }
    String::from_utf8(bytes).map_err(|_| FetchError::NotText)
}
