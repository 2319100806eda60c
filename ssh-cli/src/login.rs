//! Logging in: each method turns what the person has into a token.

pub mod jwt;
pub mod ssh_key;

use secrecy::SecretString;
use serde_json::Value;

use crate::vault::VaultError;

/// What a login yields.
pub struct Login {
    /// The token.
    pub token: SecretString,
    /// The envelope's `auth` without the token.
    pub auth: Value,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Login")
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The authority said no, or nothing.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The answer holds no token.
    #[error("the authority's answer holds no token")]
    NoToken,
    /// The address cannot be signed.
    #[error(transparent)]
    Address(#[from] signet_core::sshsig::LoginAddressError),
    /// There is no key to try.
    #[error("there is no SSH key to log in with")]
    NoKey,
    /// Keys were tried, and all were refused.
    #[error("the authority took none of the {tried} SSH keys")]
    NoKeyAccepted {
        /// How many.
        tried: usize,
        /// The last refusal.
        #[source]
        last: VaultError,
    },
    /// The ssh-agent.
    #[error(transparent)]
    Agent(#[from] crate::user_agent::UserAgentError),
    /// The key file.
    #[error("the key file `{path}` cannot be used")]
    KeyFile {
        /// Which one.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key is encrypted and nobody can be asked.
    #[error("the key file `{0}` is encrypted and there is no terminal to ask for the passphrase")]
    Encrypted(String),
    /// The signature could not be made.
    #[error("the login cannot be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No JWT was given.
    #[error("there is no JWT to log in with")]
    NoJwt,
    /// GitHub's token service did not answer.
    #[error("GitHub Actions gave no identity token: {0}")]
    GitHub(String),
}

/// Takes the token out of a login's envelope.
///
/// # Errors
/// [`LoginError::NoToken`].
pub fn from_envelope(mut envelope: Value) -> Result<Login, LoginError> {
    let mut auth = envelope.get_mut("auth").map(Value::take).unwrap_or_default();
    let token = auth.as_object_mut().and_then(|auth| auth.remove("client_token"));
    match token {
        Some(Value::String(token)) if !token.is_empty() => Ok(Login {
            token: SecretString::from(token),
            auth,
        }),
        _ => Err(LoginError::NoToken),
    }
}
