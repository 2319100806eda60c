//! Login with a JSON web token, as a CI job has one: `auth/<mount>/login` with `role` and `jwt`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde_json::Value;
use signet_core::caller::AuthMethod;
use signet_core::time::UnixTime;

use super::Login;
use super::claims::{ClaimError, Identity};
use super::jose::{JoseError, UnverifiedJwt, VerifiedClaims};
use super::jwks::{FetchError, KeySet, RemoteKeys};
use crate::config::auth::{JwtAuth, JwtRole, KeySource};

/// One issuer's logins.
#[derive(Debug)]
pub struct JwtLogin {
    auth: JwtAuth,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Files(Arc<KeySet>),
    Remote(RemoteKeys),
}

/// Why a login with a token is refused. The caller is told none of it; the ledger is.
#[derive(Debug, thiserror::Error)]
pub enum JwtRefusal {
    /// No such role at this mount.
    #[error("there is no role {0:?} at this login")]
    UnknownRole(String),
    /// Not a token, or not signed by the issuer.
    #[error(transparent)]
    Jose(#[from] JoseError),
    /// Signed, or said to be, in a way that the configuration does not list.
    #[error("the token's algorithm {0:?} is not among the configured ones")]
    Algorithm(String),
    /// The issuer's keys are not to be had. Not the caller's fault.
    #[error("the issuer's keys are not to be had")]
    Keys(#[from] FetchError),
    /// Signed by the issuer, but not good enough for the role.
    #[error("{broken}")]
    Claims {
        /// The rule that the claims break.
        broken: ClaimError,
        /// The token's subject, which the issuer vouches for.
        subject: Option<String>,
    },
}

impl JwtLogin {
    /// Prepares logins; nothing is fetched yet.
    #[must_use]
    pub fn new(auth: JwtAuth) -> Self {
        let keys = match &auth.keys {
            KeySource::Files(keys) => Keys::Files(Arc::clone(keys)),
            KeySource::Url { url, roots } => Keys::Remote(RemoteKeys::new(url.clone(), roots.clone())),
        };
        Self { auth, keys }
    }

    /// The issuer whose tokens are taken.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.auth.issuer
    }

    /// Checks a token for a role.
    ///
    /// # Errors
    /// [`JwtRefusal`]; the first rule that is broken.
    pub async fn prove(&self, role_name: &str, jwt: &str, now: UnixTime) -> Result<Login, JwtRefusal> {
        let unknown = || JwtRefusal::UnknownRole(role_name.to_owned());
        let role = self.auth.roles.get(role_name).ok_or_else(unknown)?;
        let token = UnverifiedJwt::parse(jwt)?;
        let algorithm = self.allowed_algorithm(token.unverified_algorithm())?;
        let keys = self.keys_for(algorithm, token.unverified_key_id(), now).await?;
        let claims = token.verify(algorithm, keys.candidates(algorithm, token.unverified_key_id()))?;
        let refused = |broken| JwtRefusal::Claims {
            broken,
            subject: subject_of(&claims),
        };
        let identity = role.rules.check(&claims, now).map_err(refused)?;
        Ok(self.login(role_name, role, identity))
    }

    /// SECURITY: the token only picks from the configured list; `none` and HMAC are in no list.
    fn allowed_algorithm(&self, name: &str) -> Result<Algorithm, JwtRefusal> {
        let named = name.parse::<Algorithm>().ok();
        named
            .filter(|algorithm| self.auth.algorithms.contains(algorithm))
            .ok_or_else(|| JwtRefusal::Algorithm(name.to_owned()))
    }

    async fn keys_for(
        &self,
        algorithm: Algorithm,
        key_id: Option<&str>,
        now: UnixTime,
    ) -> Result<Arc<KeySet>, FetchError> {
        match &self.keys {
            Keys::Files(keys) => Ok(Arc::clone(keys)),
            Keys::Remote(remote) => remote.keys_for(algorithm, key_id, now).await,
        }
    }

    fn login(&self, role_name: &str, role: &JwtRole, identity: Identity) -> Login {
        let mount = &self.auth.mount;
        Login {
            method: AuthMethod::Jwt,
            mount: mount.clone(),
            person: format!("{mount}/{}", identity.user),
            display_name: format!("{mount}-{}", identity.user),
            groups: role.groups.iter().cloned().chain(identity.groups).collect(),
            policies: role.policies.clone(),
            metadata: BTreeMap::from([
                ("role".to_owned(), role_name.to_owned()),
                ("issuer".to_owned(), role.rules.issuer.clone()),
                ("subject".to_owned(), identity.user),
            ]),
            ttl_secs: role.ttl_secs,
            max_ttl_secs: role.max_ttl_secs,
        }
    }
}

fn subject_of(claims: &VerifiedClaims) -> Option<String> {
    claims.claim("sub").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests;
