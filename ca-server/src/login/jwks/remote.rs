//! Key sets behind a URL: fetched when a login needs one, kept for as long as the issuer says (one minute to one hour), fetched
//! again for an unknown key at most once a minute. When the issuer is down, the last good set serves on for a day.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use signet_core::time::UnixTime;
use tokio::sync::Mutex;
use url::Url;

use super::{KeySet, KeySetError};

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 256 * 1024;
const FRESH_SECS_MIN: u64 = 60;
const FRESH_SECS_MAX: u64 = 3_600;
/// Between two fetches that unknown key ids cause; they are the requester's choice.
const UNKNOWN_KEY_PAUSE_SECS: u64 = 60;
/// Between two fetches when the last one failed.
const FAILURE_PAUSE_SECS: u64 = 5;
/// How long a set serves on when it cannot be fetched: beyond, a key that the issuer withdrew could be kept alive by
/// keeping us from the issuer.
const STALE_SECS_MAX: u64 = 24 * 3_600;

/// The key set of one URL.
#[derive(Debug)]
pub struct RemoteKeys {
    url: Url,
    roots: Option<Vec<u8>>,
    client: OnceLock<reqwest::Client>,
    kept: ArcSwapOption<Kept>,
    /// Held while fetching, so that one request at a time goes out; holds when the last one did, and how it ended.
    last_fetch: Mutex<Option<LastFetch>>,
}

#[derive(Debug)]
struct Kept {
    keys: Arc<KeySet>,
    fetched: UnixTime,
    fresh_secs: u64,
}

#[derive(Debug, Clone)]
struct LastFetch {
    at: UnixTime,
    failed: bool,
}

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer within five seconds, no connection, no trust in the certificate.
    #[error("the key set at {url} cannot be fetched")]
    Unreachable {
        /// The address.
        url: Url,
        /// reqwest's reason.
        #[source]
        source: reqwest::Error,
    },
    /// An answer other than 200; redirects are not followed.
    #[error("the key set's server answered {0}")]
    Status(u16),
    /// More than 256 KiB.
    #[error("the key set is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// Not a key set.
    #[error("the key set is not usable")]
    NotAKeySet(#[from] KeySetError),
    /// A fetch failed a moment ago.
    #[error("the key set could not be fetched a moment ago")]
    FailedJustNow,
}

impl RemoteKeys {
    /// Prepares to fetch from `url`, trusting `roots` (PEM) or else the system's roots. Nothing is fetched yet.
    #[must_use]
    pub fn new(url: Url, roots: Option<Vec<u8>>) -> Self {
        Self {
            url,
            roots,
            client: OnceLock::new(),
            kept: ArcSwapOption::empty(),
            last_fetch: Mutex::new(None),
        }
    }

    /// The key set to check a token with that names `algorithm` and `key_id`: the one kept if it is fresh and knows the key,
    /// else a new one if one may be fetched now.
    ///
    /// # Errors
    /// [`FetchError`] when there is no set that may still be used.
    pub async fn keys_for(
        &self,
        algorithm: Algorithm,
        key_id: Option<&str>,
        now: UnixTime,
    ) -> Result<Arc<KeySet>, FetchError> {
        let kept = self.kept.load_full();
        if let Some(kept) = kept.filter(|kept| kept.is_fresh(now) && kept.knows(algorithm, key_id)) {
            return Ok(Arc::clone(&kept.keys));
        }
        self.refresh(algorithm, key_id, now).await
    }

    async fn refresh(
        &self,
        algorithm: Algorithm,
        key_id: Option<&str>,
        now: UnixTime,
    ) -> Result<Arc<KeySet>, FetchError> {
        let mut last_fetch = self.last_fetch.lock().await;
        // Others may have fetched while this one waited for its turn.
        let kept = self.kept.load_full();
        let fresh = kept.as_ref().is_some_and(|kept| kept.is_fresh(now));
        if let Some(kept) = kept.as_ref().filter(|kept| fresh && kept.knows(algorithm, key_id)) {
            return Ok(Arc::clone(&kept.keys));
        }
        let pause = |last: &LastFetch| match (last.failed, fresh) {
            (_, true) => UNKNOWN_KEY_PAUSE_SECS,
            (true, false) => FAILURE_PAUSE_SECS,
            (false, false) => 0,
        };
        if last_fetch
            .as_ref()
            .is_some_and(|last| last.at.secs_until(now) < pause(last))
        {
            return kept.and_then(|kept| kept.usable(now)).ok_or(FetchError::FailedJustNow);
        }
        let fetched = self.fetch().await;
        *last_fetch = Some(LastFetch {
            at: now,
            failed: fetched.is_err(),
        });
        match fetched {
            Ok((keys, fresh_secs)) => {
                let keys = Arc::new(keys);
                self.kept.store(Some(Arc::new(Kept {
                    keys: Arc::clone(&keys),
                    fetched: now,
                    fresh_secs,
                })));
                Ok(keys)
            }
            Err(error) => kept.and_then(|kept| kept.usable(now)).ok_or(error),
        }
    }

    async fn fetch(&self) -> Result<(KeySet, u64), FetchError> {
        let unreachable = |source: reqwest::Error| FetchError::Unreachable {
            url: self.url.clone(),
            source,
        };
        // SECURITY: the request carries nothing of the login: no token, no credential, no text from the JWT (CVE-2026-4525).
        let request = self.client()?.get(self.url.clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(unreachable)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let fresh_secs = fresh_secs(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok((KeySet::from_jwks(&body)?, fresh_secs))
    }

    /// The HTTP client, made at the first fetch: reading the system's roots costs more than starting the server may.
    fn client(&self) -> Result<&reqwest::Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let unreachable = |source: reqwest::Error| FetchError::Unreachable {
            url: self.url.clone(),
            source,
        };
        // SECURITY: a redirect would let the issuer's web server choose another host for the keys (CVE-2026-22772).
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(FETCH_TIMEOUT)
            .pool_max_idle_per_host(0)
            .referer(false)
            .no_proxy()
            .user_agent(concat!("signet-ca/", env!("CARGO_PKG_VERSION")));
        if let Some(roots) = &self.roots {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(roots).map_err(unreachable)?);
        }
        let client = builder.build().map_err(unreachable)?;
        Ok(self.client.get_or_init(|| client))
    }
}

impl Kept {
    fn is_fresh(&self, now: UnixTime) -> bool {
        // A clock that was put back makes a set look as if it came from the future: fetch again.
        now >= self.fetched && self.fetched.secs_until(now) < self.fresh_secs
    }

    fn knows(&self, algorithm: Algorithm, key_id: Option<&str>) -> bool {
        self.keys.candidates(algorithm, key_id).next().is_some()
    }

    fn usable(&self, now: UnixTime) -> Option<Arc<KeySet>> {
        (self.fetched.secs_until(now) < STALE_SECS_MAX).then(|| Arc::clone(&self.keys))
    }
}

/// How long an answer stays fresh (RFC 9111, "Calculating Freshness Lifetime"), within our bounds.
fn fresh_secs(headers: &HeaderMap) -> u64 {
    let directives = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in directives.flat_map(|value| value.split(',')).map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            return FRESH_SECS_MIN;
        }
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        if name.eq_ignore_ascii_case("max-age") {
            max_age = value.trim_matches('"').parse::<u64>().ok();
        }
    }
    max_age.unwrap_or(FRESH_SECS_MIN).clamp(FRESH_SECS_MIN, FRESH_SECS_MAX)
}
