//! Login with an SSH key: the server's nonce, bound to the server's address, signed by a key that `people.toml` lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use signet_core::caller::AuthMethod;
use signet_core::people::People;
use signet_core::sshsig::{
    LOGIN_NAMESPACE, LoginAddress, LoginAddressError, SshSigError, SshSignature, VerifyError, login_message,
};
use signet_core::subject_key::{SubjectKey, SubjectKeyError};
use signet_core::time::UnixTime;

use super::Login;
use super::challenge::{Challenges, NonceError};
use crate::config::auth::SshKeyAuth;

/// The path's middle part and the display name's first.
pub const MOUNT: &str = "ssh-key";
/// The metadata entry that names the key; a token is worth nothing once its key has left `people.toml`.
pub const KEY_FINGERPRINT: &str = "key_fingerprint";

/// The method, ready for logins.
#[derive(Debug)]
pub struct SshKeyLogin {
    auth: SshKeyAuth,
    addresses: RwLock<BTreeSet<LoginAddress>>,
    challenges: Challenges,
}

/// What a client sends to log in.
#[derive(Debug, Clone, Copy)]
pub struct SshKeyRequest<'a> {
    /// The nonce, as the server gave it.
    pub nonce: &'a str,
    /// The address that the client was told to go to.
    pub address: &'a str,
    /// The public key, as in a `.pub` file.
    pub public_key: &'a str,
    /// The armored signature.
    pub signature: &'a str,
}

/// Why a login with an SSH key is refused. The caller is told none of it; the ledger is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshKeyRefusal {
    /// The nonce is foreign, old or used.
    #[error(transparent)]
    Nonce(#[from] NonceError),
    /// Not an address at all.
    #[error(transparent)]
    Address(#[from] LoginAddressError),
    /// The signature is meant for another server, as a server in the middle would have it.
    #[error("the login is for `{0}`, which is none of this server's `addresses`")]
    OtherServer(LoginAddress),
    /// Not a public key.
    #[error("the public key is not usable: {0}")]
    PublicKey(#[from] SubjectKeyError),
    /// Nobody's key.
    #[error("nobody in people.toml has the key {0}")]
    UnknownKey(String),
    /// Not a signature.
    #[error(transparent)]
    NotASignature(#[from] SshSigError),
    /// Not a proof.
    #[error(transparent)]
    NotProven(#[from] VerifyError),
}

impl SshKeyLogin {
    /// Prepares logins at `addresses`; `nonce_key` is random and new for each process.
    #[must_use]
    pub fn new(auth: SshKeyAuth, addresses: BTreeSet<LoginAddress>, nonce_key: &[u8; 32]) -> Self {
        Self {
            auth,
            addresses: RwLock::new(addresses),
            challenges: Challenges::new(nonce_key),
        }
    }

    /// Accepts logins at one more address.
    pub(super) fn add_address(&self, address: LoginAddress) {
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        addresses.insert(address);
    }

    fn is_here(&self, address: &LoginAddress) -> bool {
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        addresses.contains(address)
    }

    /// Makes a nonce.
    #[must_use]
    pub fn challenge(&self, random: [u8; 16], now: UnixTime) -> String {
        self.challenges.issue(random, now)
    }

    /// Checks a login; on success its nonce is used up.
    ///
    /// # Errors
    /// [`SshKeyRefusal`]; the first rule that is broken.
    ///
    /// # Security
    /// `people` must be the policy set in force now, not one from when the server started.
    pub fn prove(&self, request: SshKeyRequest<'_>, people: &People, now: UnixTime) -> Result<Login, SshKeyRefusal> {
        let nonce = self.challenges.check(request.nonce, now)?;
        let address = LoginAddress::parse(request.address)?;
        if !self.is_here(&address) {
            return Err(SshKeyRefusal::OtherServer(address));
        }
        let key = SubjectKey::parse(request.public_key)?;
        let unknown = || SshKeyRefusal::UnknownKey(key.fingerprint());
        let person = people.by_key_blob(key.blob()).ok_or_else(unknown)?;
        let signature = SshSignature::from_armor(request.signature)?;
        let message = login_message(&address, request.nonce);
        let verified = signature.verify(&key, LOGIN_NAMESPACE, message.as_bytes())?;
        if self.auth.verify_required {
            verified.require_user_verification()?;
        }
        self.challenges.consume(&nonce, now)?;
        Ok(self.login(person.name(), &key))
    }

    fn login(&self, person: &str, key: &SubjectKey) -> Login {
        Login {
            method: AuthMethod::SshKey,
            mount: MOUNT.to_owned(),
            person: person.to_owned(),
            display_name: format!("{MOUNT}-{person}"),
            groups: BTreeSet::new(),
            policies: BTreeSet::new(),
            metadata: BTreeMap::from([
                ("person".to_owned(), person.to_owned()),
                (KEY_FINGERPRINT.to_owned(), key.fingerprint()),
            ]),
            ttl_secs: self.auth.ttl_secs,
            max_ttl_secs: self.auth.max_ttl_secs,
        }
    }
}

#[cfg(test)]
mod tests;
