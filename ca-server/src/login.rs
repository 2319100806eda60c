//! Login methods: how a person or a job proves who they are. Each method ends in a [`Login`], which only a finished proof
//! makes; turning it into a token and writing it down is `http/routes/login.rs`. Nothing here touches a disk or a token.

pub mod challenge;
pub mod claims;
pub mod host_key;
pub mod jose;
pub mod jwks;
pub mod jwt;
pub mod ssh_key;
#[cfg(test)]
pub(crate) mod test_issuer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use signet_core::caller::AuthMethod;
use signet_core::sshsig::{LoginAddress, LoginAddressError};

use crate::config::Config;
use crate::random::{self, RandomFailed};
use host_key::HostKeyProof;
use jwt::JwtLogin;
use ssh_key::SshKeyLogin;

/// The login methods that the configuration switches on.
#[derive(Debug)]
pub struct Logins {
    ssh_key: Option<SshKeyLogin>,
    host_key: HostKeyProof,
    jwt: BTreeMap<String, JwtLogin>,
}

/// Why the login methods cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum LoginSetupError {
    /// One of `addresses` is none.
    #[error("`addresses` holds something that is no address")]
    Address(#[from] LoginAddressError),
    /// No key for the nonces.
    #[error("no key for login nonces can be made")]
    Random(#[from] RandomFailed),
}

impl Logins {
    /// Prepares the methods of `config`. Nonces of an earlier process are no good any more.
    ///
    /// # Errors
    /// [`LoginSetupError`]
    pub fn new(config: &Config) -> Result<Self, LoginSetupError> {
        // Port 0 stands for one that is known only when the listener has it; see [`Logins::listen_at`].
        let known = config.addresses.iter().filter(|text| !text.ends_with(":0"));
        let addresses: BTreeSet<_> = known.map(|text| LoginAddress::parse(text)).collect::<Result<_, _>>()?;
        let host_key = HostKeyProof::new(addresses.clone(), &random::nonce32()?);
        let nonce_key = random::nonce32()?;
        let ssh_key = config
            .auth
            .ssh_key
            .clone()
            .map(|auth| SshKeyLogin::new(auth, addresses, &nonce_key));
        let jwt = config
            .auth
            .jwt
            .iter()
            .map(|auth| (auth.mount.clone(), JwtLogin::new(auth.clone())))
            .collect();
        Ok(Self { ssh_key, host_key, jwt })
    }

    /// Accepts logins at the loopback address that a plain-HTTP listener got: dev mode with port 0.
    ///
    /// # Errors
    /// [`LoginSetupError::Address`] for port 0, which no listener has.
    pub fn listen_at(&self, listener: SocketAddr) -> Result<(), LoginSetupError> {
        for host in [listener.to_string(), format!("localhost:{}", listener.port())] {
            let address = LoginAddress::parse(&format!("http://{host}"))?;
            self.host_key.add_address(address.clone());
            if let Some(ssh_key) = &self.ssh_key {
                ssh_key.add_address(address);
            }
        }
        Ok(())
    }

    /// Login with an SSH key, unless it is switched off.
    #[must_use]
    pub const fn ssh_key(&self) -> Option<&SshKeyLogin> {
        self.ssh_key.as_ref()
    }

    /// Proofs by host keys.
    #[must_use]
    pub const fn host_key(&self) -> &HostKeyProof {
        &self.host_key
    }

    /// Login with a JSON web token at `auth/<mount>/login`.
    #[must_use]
    pub fn jwt(&self, mount: &str) -> Option<&JwtLogin> {
        self.jwt.get(mount)
    }
}

/// A finished proof of identity, and what the token made for it has to carry. Only the login methods make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    method: AuthMethod,
    mount: String,
    person: String,
    display_name: String,
    groups: BTreeSet<String>,
    policies: BTreeSet<String>,
    metadata: BTreeMap<String, String>,
    ttl_secs: u64,
    max_ttl_secs: u64,
}

impl Login {
    /// How it was proven.
    #[must_use]
    pub const fn method(&self) -> AuthMethod {
        self.method
    }

    /// `ssh-key` in `auth/ssh-key/login`.
    #[must_use]
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// The person's stable name: as in `people.toml`, or `<mount>/<user>` for names that an issuer gave, so that the two
    /// never meet (CVE-2021-41802).
    #[must_use]
    pub fn person(&self) -> &str {
        &self.person
    }

    /// Vault's display name, `<mount>-<user>`.
    #[must_use]
    pub fn display_name(&self) -> &str {
        &self.display_name
    }

    /// Groups that came with the login. Those of `people.toml` are not among them: they are looked up at each request.
    #[must_use]
    pub const fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }

    /// Policies for the token; never `root`.
    #[must_use]
    pub const fn policies(&self) -> &BTreeSet<String> {
        &self.policies
    }

    /// What the login learnt.
    #[must_use]
    pub const fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The token's life, seconds.
    #[must_use]
    pub const fn ttl_secs(&self) -> u64 {
        self.ttl_secs
    }

    /// How far renewing can stretch it, seconds.
    #[must_use]
    pub const fn max_ttl_secs(&self) -> u64 {
        self.max_ttl_secs
    }
}
