//! The chain of credentials, in the order of AWS's own tools: environment, profile files, web identity, container,
//! instance metadata (version 2 only). The first that is there counts, and is asked again before what it gave expires.

mod container;
mod instance;
mod profile;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use signet_core::time::UnixTime;
use tokio::sync::Mutex;
use url::Url;

use self::container::Container;
use self::instance::Instance;
use self::profile::Profile;
pub(super) use self::profile::region;
use super::AwsError;
use super::sts::WebIdentity;
use super::transport::metadata_client;
use crate::config::{AwsConfig, AwsEnvironment};

/// Seconds before their end at which credentials are fetched anew. STS and metadata services have new ones by then.
const RENEW_SECS: u64 = 300;
/// Seconds between two attempts while the old ones are still good.
const PAUSE_SECS: u64 = 10;
/// Seconds for which a failure answers everybody who waited behind it.
const FAILURE_SECS: u64 = 1;

/// A key to sign with, for a while or for good.
#[derive(Clone)]
pub struct Credentials {
    id: String,
    secret: SecretString,
    token: Option<SecretString>,
    expires: Option<UnixTime>,
    source: &'static str,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.source)
    }
}

impl Credentials {
    pub(super) fn new(
        id: &str,
        secret: SecretString,
        token: Option<SecretString>,
        expires: Option<UnixTime>,
        source: &'static str,
    ) -> Self {
        Self {
            id: id.to_owned(),
            secret,
            token,
            expires,
            source,
        }
    }

    /// Where they are from, for people.
    #[must_use]
    pub const fn source(&self) -> &'static str {
        self.source
    }

    pub(super) fn identity(&self) -> aws_credential_types::Credentials {
        let token = self.token.as_ref().map(|token| token.expose_secret().to_owned());
        aws_credential_types::Credentials::new(&self.id, self.secret.expose_secret(), token, None, self.source)
    }

    fn is_good(&self, now: UnixTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    fn is_fresh(&self, now: UnixTime) -> bool {
        self.expires.is_none_or(|expires| now.plus(RENEW_SECS) < expires)
    }
}

/// What metadata services answer with.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(default)]
    code: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<String>,
}

/// Reads what a container's or an instance's service answered.
fn document(body: &[u8], source: &'static str) -> Result<Credentials, AwsError> {
    let wrong = |what: &str| AwsError::Unavailable(format!("{source} answered {what}"));
    let document: Document = serde_json::from_slice(body).map_err(|_| wrong("with something else than credentials"))?;
    if let Some(code) = document.code.filter(|code| code != "Success") {
        let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        return Err(wrong(&format!("`{code}`")));
    }
    let (Some(id), Some(secret)) = (document.access_key_id, document.secret_access_key) else {
        return Err(wrong("without a key"));
    };
    let expires = match document.expiration {
        None => None,
        Some(text) => Some(UnixTime::parse_rfc3339(&text).map_err(|_| wrong("with an end that is no time"))?),
    };
    let token = document.token.map(SecretString::from);
    Ok(Credentials::new(&id, secret.into(), token, expires, source))
}

#[derive(Debug)]
enum Provider {
    Environment(Credentials),
    Profile(Profile),
    WebIdentity(WebIdentity),
    Container(Container),
    Instance(Instance),
}

impl Provider {
    /// `None` where there is nothing of the kind.
    async fn load(&self) -> Result<Option<Credentials>, AwsError> {
        match self {
            Self::Environment(credentials) => Ok(Some(credentials.clone())),
            Self::Profile(profile) => profile.load().await,
            Self::WebIdentity(identity) => identity.load().await.map(Some),
            Self::Container(container) => container.load().await.map(Some),
            Self::Instance(instance) => instance.load().await,
        }
    }
}

/// The chain with what it found last.
#[derive(Debug)]
pub struct Chain {
    providers: Vec<Provider>,
    kept: ArcSwapOption<Credentials>,
    /// Held while fetching, so that one request at a time goes out.
    fetching: Mutex<Attempt>,
}

/// How the last attempt ended.
#[derive(Debug, Default)]
struct Attempt {
    at: Option<UnixTime>,
    failed: Option<AwsError>,
}

impl Chain {
    /// The chain that configuration and environment describe. Nothing is fetched yet. `sts` is where roles are taken on.
    ///
    /// # Errors
    /// [`AwsError::Setup`]
    pub fn new(config: &AwsConfig, environment: &AwsEnvironment, http: &Client, sts: &Url) -> Result<Self, AwsError> {
        let metadata = metadata_client()?;
        let session_name = environment
            .role_session_name
            .clone()
            .unwrap_or_else(|| "signet-ca".to_owned());
        let mut providers = Vec::new();
        let profile = Profile::new(config, environment, &session_name, http, sts);
        if config.profile.is_some() {
            return Ok(Self::of(vec![Provider::Profile(profile)]));
        }
        if let Some(keys) = &environment.keys {
            let (secret, token) = (keys.secret.clone(), keys.token.clone());
            let credentials = Credentials::new(&keys.id, secret, token, None, "the environment");
            providers.push(Provider::Environment(credentials));
        }
        providers.push(Provider::Profile(profile));
        if let Some((role_arn, token_file)) = &environment.web_identity {
            providers.push(Provider::WebIdentity(WebIdentity {
                role_arn: role_arn.clone(),
                session_name,
                token_file: token_file.clone(),
                endpoint: sts.clone(),
                http: http.clone(),
            }));
        }
        if let Some(container) = Container::new(environment, &metadata)? {
            providers.push(Provider::Container(container));
        }
        if !environment.instance_metadata_disabled {
            providers.push(Provider::Instance(Instance::new(
                environment.instance_metadata.as_deref(),
                metadata,
            )?));
        }
        Ok(Self::of(providers))
    }

    fn of(providers: Vec<Provider>) -> Self {
        Self {
            providers,
            kept: ArcSwapOption::empty(),
            fetching: Mutex::default(),
        }
    }

    /// Credentials that are good now.
    ///
    /// # Errors
    /// [`AwsError`]
    pub async fn credentials(&self, now: UnixTime) -> Result<Arc<Credentials>, AwsError> {
        let kept = self.kept.load_full();
        match kept {
            Some(kept) if kept.is_fresh(now) => Ok(kept),
            // Soon to end, and somebody fetches new ones: nobody else waits for that.
            Some(kept) if kept.is_good(now) => match self.fetching.try_lock() {
                Ok(mut attempt) => self.renew_early(&mut attempt, kept, now).await,
                Err(_) => Ok(kept),
            },
            _ => {
                let mut attempt = self.fetching.lock().await;
                // Others may have fetched while this one waited for its turn.
                match self.kept.load_full().filter(|kept| kept.is_good(now)) {
                    Some(kept) => Ok(kept),
                    None => self.fetch(&mut attempt, now).await,
                }
            }
        }
    }

    /// Fetches anew because AWS says that `used` has expired.
    ///
    /// # Errors
    /// [`AwsError`]
    pub async fn renew(&self, used: &Arc<Credentials>, now: UnixTime) -> Result<Arc<Credentials>, AwsError> {
        let mut attempt = self.fetching.lock().await;
        match self.kept.load_full() {
            Some(kept) if !Arc::ptr_eq(&kept, used) && kept.is_good(now) => Ok(kept),
            _ => {
                self.kept.store(None);
                self.fetch(&mut attempt, now).await
            }
        }
    }

    /// Whether there is anybody to ask for others: the environment of a process does not change.
    #[must_use]
    pub fn can_renew(&self) -> bool {
        !matches!(self.providers.first(), Some(Provider::Environment(_)))
    }

    async fn renew_early(
        &self,
        attempt: &mut Attempt,
        kept: Arc<Credentials>,
        now: UnixTime,
    ) -> Result<Arc<Credentials>, AwsError> {
        if attempt.at.is_some_and(|at| at.secs_until(now) < PAUSE_SECS) {
            return Ok(kept);
        }
        match self.fetch(attempt, now).await {
            Ok(fresh) => Ok(fresh),
            Err(error) => {
                tracing::warn!(%error, "AWS credentials cannot be renewed; those at hand are good for a while");
                Ok(kept)
            }
        }
    }

    async fn fetch(&self, attempt: &mut Attempt, now: UnixTime) -> Result<Arc<Credentials>, AwsError> {
        let just_now = attempt.at.is_some_and(|at| at.secs_until(now) < FAILURE_SECS);
        if let Some(error) = attempt.failed.clone().filter(|_| just_now) {
            return Err(error);
        }
        let fetched = self.ask(now).await;
        attempt.at = Some(now);
        attempt.failed = fetched.as_ref().err().cloned();
        let fresh = Arc::new(fetched?);
        tracing::debug!(source = fresh.source, "AWS credentials");
        self.kept.store(Some(Arc::clone(&fresh)));
        Ok(fresh)
    }

    async fn ask(&self, now: UnixTime) -> Result<Credentials, AwsError> {
        for provider in &self.providers {
            match provider.load().await? {
                Some(credentials) if credentials.is_good(now) => return Ok(credentials),
                Some(expired) => {
                    let source = expired.source;
                    return Err(AwsError::Unavailable(format!(
                        "{source} gave AWS credentials that have expired; is this machine's clock right?"
                    )));
                }
                None => {}
            }
        }
        Err(AwsError::Unavailable(
            "no AWS credentials: neither in the environment nor in profile files, web identity, container or instance \
             metadata"
                .to_owned(),
        ))
    }
}
