//! Login with a JWT: given, from a file, from the environment, or from GitHub Actions' token service.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::{Login, LoginError, from_envelope};
use crate::endpoint::{Endpoint, canonical_address};
use crate::vault::{Vault, Verb};

/// Where the JWT comes from; the first that is there counts.
#[derive(Debug, Default)]
pub struct Sources {
    /// `-jwt` or `SIGNET_JWT`.
    pub text: Option<SecretString>,
    /// `-jwt-file`.
    pub file: Option<PathBuf>,
    /// `ACTIONS_ID_TOKEN_REQUEST_URL` and `…_TOKEN`.
    pub github: Option<(String, SecretString)>,
    /// `-audience`, for GitHub's.
    pub audience: Option<String>,
}

/// Logs in.
///
/// # Errors
/// [`LoginError`].
pub fn login(vault: &Vault, mount: &str, role: &str, sources: Sources) -> Result<Login, LoginError> {
    let jwt = find(sources)?;
    let body = json!({ "role": role, "jwt": jwt.expose_secret().trim() });
    from_envelope(vault.send(Verb::Put, &format!("auth/{mount}/login"), Some(&body))?)
}

fn find(sources: Sources) -> Result<SecretString, LoginError> {
    if let Some(path) = sources.file {
        let text = std::fs::read_to_string(&path);
        return text.map(SecretString::from).map_err(|error| LoginError::KeyFile {
            path: path.display().to_string(),
            source: error.into(),
        });
    }
    if let Some(text) = sources.text {
        return Ok(text);
    }
    let (url, token) = sources.github.ok_or(LoginError::NoJwt)?;
    from_github(&url, &token, sources.audience.as_deref())
}

/// GitHub's OIDC endpoint: the URL comes with a query of its own, to which the audience is added.
fn from_github(url: &str, token: &SecretString, audience: Option<&str>) -> Result<SecretString, LoginError> {
    let failed = |why: &str| LoginError::GitHub(why.to_owned());
    let mut url = url::Url::parse(url).map_err(|_| failed("ACTIONS_ID_TOKEN_REQUEST_URL is no URL"))?;
    if let Some(audience) = audience {
        url.query_pairs_mut().append_pair("audience", audience);
    }
    let mut base = url.clone();
    base.set_query(None);
    base.set_path("");
    let address = canonical_address(base.as_str()).map_err(|error| failed(&error.to_string()))?;
    let vault = Vault::new(Endpoint::plain(&address), None)?;
    let answer = vault.bearer_json(url, token)?;
    let value = answer.get("value").and_then(serde_json::Value::as_str);
    value
        .map(|text| SecretString::from(text.to_owned()))
        .ok_or_else(|| failed("its answer holds no token"))
}
