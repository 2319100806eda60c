//! The client's side of Vault's HTTP API: one request in, one reply or refusal out. The only user of reqwest.

pub mod backup;
pub mod fetch;
mod http;

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::report::ServerCode;

/// The largest answer read.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A connection to one authority with one token. Keeps its connections.
pub struct Vault {
    http: reqwest::blocking::Client,
    endpoint: Endpoint,
    token: Option<SecretString>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Vault")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The HTTP verbs that Vault's API uses here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Read.
    Get,
    /// Write, as Vault's own client does it.
    Put,
    /// Remove.
    Delete,
    /// LIST, as `GET ?list=true`, which every proxy lets through.
    List,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A file for TLS cannot be used.
    #[error("the TLS file `{path}` cannot be used")]
    TlsFile {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection could not be prepared.
    #[error("the connection to `{address}` cannot be prepared")]
    Setup {
        /// Where to.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody answered.
    #[error("the authority at `{address}` cannot be reached")]
    Unreachable {
        /// Where to.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server's TLS certificate is not believed.
    #[error("the TLS certificate of `{address}` is not trusted")]
    Untrusted {
        /// Where to.
        address: String,
        /// What is wrong with it.
        distrust: Distrust,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An answer that is not of this API.
    #[error("`{address}` does not answer like an authority: {why}")]
    NotVault {
        /// Where to.
        address: String,
        /// What was odd.
        why: String,
    },
    /// The server said no.
    #[error("{}", .0.text())]
    Refused(Box<Refusal>),
}

/// What is wrong with a server's TLS certificate; each has its own next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It is for other names than the address.
    Name,
    /// It has ended or not begun, by this machine's clock.
    Time,
    /// Nobody who is believed signed it, or it is unsound.
    Issuer,
}

/// A refusal as the server worded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Vault's texts, unescaped.
    pub errors: Vec<String>,
    /// Our server's stable code, as sent.
    pub code: Option<String>,
    /// Our server's own words for it, where Vault's say less.
    pub reason: Option<String>,
    /// Our server's next step.
    pub hint: Option<String>,
    /// For whoever reads the server's log.
    pub request_id: Option<String>,
    /// How long the server asks to be left alone.
    pub retry_after_secs: Option<u64>,
}

impl Refusal {
    /// The code, when it is one that this client knows.
    #[must_use]
    pub fn known_code(&self) -> Option<ServerCode> {
        self.code.as_deref().and_then(ServerCode::parse)
    }

    /// True when the token is the trouble and not what was asked.
    #[must_use]
    pub fn wants_login(&self) -> bool {
        let says = |text: &str| self.errors.iter().any(|error| error.contains(text));
        match self.known_code() {
            Some(code) => code.exit() == crate::report::Exit::LogIn,
            None => {
                self.status == 401 || (self.status == 403 && (says("invalid token") || says("missing client token")))
            }
        }
    }

    fn text(&self) -> String {
        let texts: Vec<String> = self
            .errors
            .iter()
            .map(|error| tidy(error))
            .filter(|text| !text.is_empty())
            .collect();
        if texts.is_empty() {
            format!("the authority answered {}", self.status)
        } else {
            texts.join("; ")
        }
    }
}

/// Takes Vault's `1 error occurred:` frame off.
fn tidy(error: &str) -> String {
    let error = error.trim();
    error
        .strip_prefix("1 error occurred:")
        .map_or(error, |rest| rest.trim().trim_start_matches('*'))
        .trim()
        .to_owned()
}

impl Vault {
    /// Prepares a connection; nothing is sent.
    ///
    /// # Errors
    /// [`VaultError::TlsFile`] and [`VaultError::Setup`].
    pub fn new(endpoint: Endpoint, token: Option<SecretString>) -> Result<Self, VaultError> {
        let http = http::client(&endpoint)?;
        Ok(Self { http, endpoint, token })
    }

    /// Where it talks to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends one request to `/v1/<path>` and gives the whole envelope (`null` for an empty answer).
    ///
    /// # Errors
    /// Any [`VaultError`].
    pub fn send(&self, verb: Verb, path: &str, body: Option<&Value>) -> Result<Value, VaultError> {
        let answer = self.exchange(verb, path, body)?;
        if !(200..300).contains(&answer.status) {
            return Err(VaultError::Refused(Box::new(refusal(&answer))));
        }
        if answer.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|_| self.not_vault("the answer is not JSON"))
    }

    /// Reads a path that answers plain text, such as `<mount>/public_key`.
    ///
    /// # Errors
    /// Any [`VaultError`].
    pub fn text(&self, path: &str) -> Result<String, VaultError> {
        let answer = self.exchange(Verb::Get, path, None)?;
        if !(200..300).contains(&answer.status) {
            return Err(VaultError::Refused(Box::new(refusal(&answer))));
        }
        String::from_utf8(answer.body).map_err(|_| self.not_vault("the answer is not text"))
    }

    /// Reads JSON from a URL that is not of this API, with a bearer token: a CI system's identity service.
    ///
    /// # Errors
    /// Any [`VaultError`].
    pub fn bearer_json(&self, url: url::Url, token: &SecretString) -> Result<Value, VaultError> {
        let bearer = format!("Bearer {}", token.expose_secret());
        let request = http::secret_header(self.http.get(url), "Authorization", &bearer);
        let response = request.send().map_err(|error| self.no_answer(error))?;
        let answer = http::Answer::read(response, ANSWER_BYTES_MAX).map_err(|error| self.no_answer(error))?;
        if answer.status != 200 {
            return Err(self.not_vault(&format!("it answered {}", answer.status)));
        }
        serde_json::from_slice(&answer.body).map_err(|_| self.not_vault("the answer is not JSON"))
    }

    /// One request, with Vault's retries and its one redirection to the active node.
    fn exchange(&self, verb: Verb, path: &str, body: Option<&Value>) -> Result<http::Answer, VaultError> {
        let mut url = http::url(&self.endpoint, verb, path).map_err(|why| self.not_vault(&why))?;
        let mut retries = self.endpoint.retries_max;
        let mut redirected = false;
        loop {
            let answer = self.once(verb, url.clone(), body)?;
            if let (Some(target), false) = (&answer.location, redirected) {
                url = http::follow(&url, target).map_err(|why| self.not_vault(&why))?;
                redirected = true;
                continue;
            }
            let again = answer.status == 412 || (answer.status >= 500 && answer.status != 501);
            if !again || retries == 0 {
                return Ok(answer);
            }
            retries -= 1;
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn once(&self, verb: Verb, url: url::Url, body: Option<&Value>) -> Result<http::Answer, VaultError> {
        let mut request = match verb {
            Verb::Get | Verb::List => self.http.get(url),
            Verb::Put => self.http.put(url),
            Verb::Delete => self.http.delete(url),
        };
        request = http::headers(request, &self.endpoint);
        if let Some(token) = &self.token {
            request = http::secret_header(request, "X-Vault-Token", token.expose_secret());
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().map_err(|error| self.no_answer(error))?;
        http::Answer::read(response, ANSWER_BYTES_MAX).map_err(|error| self.no_answer(error))
    }

    fn no_answer(&self, error: impl std::error::Error + Send + Sync + 'static) -> VaultError {
        no_answer(&self.endpoint.address, error)
    }

    fn not_vault(&self, why: &str) -> VaultError {
        VaultError::NotVault {
            address: self.endpoint.address.clone(),
            why: why.to_owned(),
        }
    }
}

fn no_answer(address: &str, error: impl std::error::Error + Send + Sync + 'static) -> VaultError {
    let address = address.to_owned();
    match http::distrust(&error) {
        Some(distrust) => VaultError::Untrusted {
            address,
            distrust,
            source: Box::new(error),
        },
        None => VaultError::Unreachable {
            address,
            source: Box::new(error),
        },
    }
}

fn refusal(answer: &http::Answer) -> Refusal {
    let parsed = serde_json::from_slice::<Value>(&answer.body).ok();
    let body = parsed.as_ref();
    let text = |key: &str| body.and_then(|body| body.get(key)?.as_str()).map(str::to_owned);
    let errors = body.and_then(|body| body.get("errors")?.as_array());
    let errors = match errors {
        Some(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        // A proxy's page: its first words tell more than nothing.
        None => vec![String::from_utf8_lossy(&answer.body).chars().take(200).collect()],
    };
    Refusal {
        status: answer.status,
        errors,
        code: text("code"),
        reason: text("reason"),
        hint: text("hint"),
        request_id: text("request_id"),
        retry_after_secs: answer.retry_after_secs,
    }
}
