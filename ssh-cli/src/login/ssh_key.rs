//! Login with an SSH key: the server's nonce and the address that was typed, signed by the ssh-agent or a key file.

use std::path::{Path, PathBuf};

use serde_json::json;
use signet_core::sshsig::{HashAlgorithm, LOGIN_NAMESPACE, LoginAddress, SshSignature, login_message, signed_data};
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey};

use super::{Login, LoginError, from_envelope};
use crate::user_agent::{AgentKey, UserAgent};
use crate::vault::{Vault, VaultError, Verb};
use crate::{secret_file, terminal};

/// An ssh-agent with more keys than this is told to choose.
const AGENT_KEYS_MAX: usize = 16;
/// No private key is longer.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where the key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// `-key`: a private key file, or the `.pub` of a key that the agent holds.
    pub key: Option<PathBuf>,
    /// `$SSH_AUTH_SOCK`.
    pub agent: Option<String>,
    /// Tried when nothing else is there, in this order.
    pub defaults: Vec<PathBuf>,
    /// May a person be asked for a passphrase?
    pub interactive: bool,
}

/// Logs in with the first key that the authority takes.
///
/// # Errors
/// [`LoginError`].
pub fn login(vault: &Vault, mount: &str, sources: &Sources) -> Result<Login, LoginError> {
    let attempt = Attempt {
        vault,
        mount,
        address: LoginAddress::parse(&vault.endpoint().address)?,
    };
    if let Some(path) = &sources.key {
        return attempt.with_named(path, sources);
    }
    let mut outcome = Err(LoginError::NoKey);
    if let Some(agent) = &sources.agent {
        outcome = attempt.with_agent(agent, None);
    }
    // The agent has nothing that fits (or is not there): the files that ssh would try.
    if matches!(
        outcome,
        Err(LoginError::NoKey | LoginError::NoKeyAccepted { .. } | LoginError::Agent(_))
    ) {
        for path in sources.defaults.iter().filter(|path| path.exists()) {
            match attempt.with_file(path, sources.interactive) {
                Ok(login) => return Ok(login),
                Err(LoginError::Vault(error)) if is_refusal(&error) => {
                    outcome = Err(LoginError::NoKeyAccepted { tried: 1, last: error });
                }
                Err(error) => return Err(error),
            }
        }
    }
    outcome
}

struct Attempt<'a> {
    vault: &'a Vault,
    mount: &'a str,
    address: LoginAddress,
}

impl Attempt<'_> {
    fn with_named(&self, path: &Path, sources: &Sources) -> Result<Login, LoginError> {
        let text = std::fs::read_to_string(path).map_err(|error| key_file(path, error))?;
        let Ok(public) = PublicKey::from_openssh(text.trim()) else {
            return self.with_file(path, sources.interactive);
        };
        let agent = sources.agent.as_deref().ok_or(LoginError::NoKey)?;
        let blob = public.to_bytes().map_err(|error| key_file(path, error))?;
        self.with_agent(agent, Some(&blob))
    }

    fn with_agent(&self, path: &str, only: Option<&[u8]>) -> Result<Login, LoginError> {
        let mut agent = UserAgent::connect(path)?;
        let mut keys = agent.keys()?;
        keys.retain(|key| only.is_none_or(|blob| blob == key.blob));
        keys.truncate(AGENT_KEYS_MAX);
        let mut outcome = Err(LoginError::NoKey);
        for (at, key) in keys.iter().enumerate() {
            match self.with_agent_key(&mut agent, key) {
                Ok(login) => return Ok(login),
                Err(LoginError::Vault(error)) if is_refusal(&error) => {
                    outcome = Err(LoginError::NoKeyAccepted {
                        tried: at + 1,
                        last: error,
                    });
                }
                // A key that needs a confirmation which was not given is passed over.
                Err(LoginError::Agent(crate::user_agent::UserAgentError::Refused)) if keys.len() > 1 => {}
                Err(error) => return Err(error),
            }
        }
        outcome
    }

    fn with_agent_key(&self, agent: &mut UserAgent, key: &AgentKey) -> Result<Login, LoginError> {
        let nonce = self.challenge()?;
        let message = login_message(&self.address, &nonce);
        let data = signed_data(LOGIN_NAMESPACE, HashAlgorithm::Sha512, message.as_bytes()).map_err(sign_error)?;
        let blob = agent.sign(key, &data)?;
        let signature = SshSignature::new(&key.blob, LOGIN_NAMESPACE, HashAlgorithm::Sha512, &blob)
            .and_then(|signature| signature.to_armor())
            .map_err(sign_error)?;
        let public = PublicKey::from_bytes(&key.blob)
            .and_then(|key| key.to_openssh())
            .map_err(sign_error)?;
        self.finish(&nonce, &public, &signature)
    }

    fn with_file(&self, path: &Path, interactive: bool) -> Result<Login, LoginError> {
        let key = read_key(path, interactive)?;
        let nonce = self.challenge()?;
        let message = login_message(&self.address, &nonce);
        let signature = key
            .sign(LOGIN_NAMESPACE, HashAlg::Sha512, message.as_bytes())
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .map_err(sign_error)?;
        let public = PublicKey::from(key.public_key().key_data().clone())
            .to_openssh()
            .map_err(sign_error)?;
        self.finish(&nonce, &public, &signature)
    }

    fn challenge(&self) -> Result<String, LoginError> {
        let path = format!("auth/{}/challenge", self.mount);
        let envelope = self.vault.send(Verb::Put, &path, Some(&json!({})))?;
        let nonce = envelope.pointer("/data/nonce").and_then(serde_json::Value::as_str);
        Ok(nonce.ok_or(LoginError::NoToken)?.to_owned())
    }

    fn finish(&self, nonce: &str, public_key: &str, signature: &str) -> Result<Login, LoginError> {
        let body = json!({
            "nonce": nonce,
            "address": self.address.as_str(),
            "public_key": public_key,
            "signature": signature,
        });
        from_envelope(
            self.vault
                .send(Verb::Put, &format!("auth/{}/login", self.mount), Some(&body))?,
        )
    }
}

/// A refusal of this key, after which another may be tried.
fn is_refusal(error: &VaultError) -> bool {
    matches!(error, VaultError::Refused(refusal) if matches!(refusal.status, 400 | 401 | 403))
}

fn read_key(path: &Path, interactive: bool) -> Result<PrivateKey, LoginError> {
    let text = secret_file::read(path, KEY_FILE_BYTES_MAX).map_err(|error| key_file(path, error))?;
    let key = PrivateKey::from_openssh(&*text).map_err(|error| key_file(path, error))?;
    if !key.is_encrypted() {
        return Ok(key);
    }
    let encrypted = || LoginError::Encrypted(path.display().to_string());
    if !interactive {
        return Err(encrypted());
    }
    let prompt = format!("Passphrase for {}: ", path.display());
    let passphrase = terminal::ask_secret(&prompt).map_err(|_| encrypted())?;
    key.decrypt(passphrase.as_bytes())
        .map_err(|error| key_file(path, error))
}

fn key_file(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LoginError {
    LoginError::KeyFile {
        path: path.display().to_string(),
        source: source.into(),
    }
}

fn sign_error(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LoginError {
    LoginError::Sign(source.into())
}
