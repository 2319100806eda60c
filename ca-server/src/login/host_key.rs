//! Proof of possession of a host key: what every enrolment, renewal and report begins with. A document or a token that was
//! read somewhere is worth nothing without it.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use signet_core::enrollment::{
    ENROLL_NAMESPACE, RENEW_NAMESPACE, REPORT_NAMESPACE, enroll_message, renew_message, report_message,
};
use signet_core::sshsig::{LoginAddress, LoginAddressError, SshSigError, SshSignature, VerifyError};
use signet_core::subject_key::{SubjectKey, SubjectKeyError};
use signet_core::time::UnixTime;

use super::challenge::{Challenges, NonceError};

/// Checks signatures by host keys.
#[derive(Debug)]
pub struct HostKeyProof {
    addresses: RwLock<BTreeSet<LoginAddress>>,
    challenges: Challenges,
}

/// What a host sends to show that it has its key.
#[derive(Debug, Clone, Copy)]
pub struct HostKeyRequest<'a> {
    /// The nonce, as the server gave it.
    pub nonce: &'a str,
    /// The address that the host was told to go to.
    pub address: &'a str,
    /// The host's public key, as in `ssh_host_ed25519_key.pub`.
    pub public_key: &'a str,
    /// The armored signature.
    pub signature: &'a str,
}

/// Why a signature by a host key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyRefusal {
    /// The nonce is foreign, old or used.
    #[error(transparent)]
    Nonce(#[from] NonceError),
    /// Not an address at all.
    #[error(transparent)]
    Address(#[from] LoginAddressError),
    /// The signature is meant for another server.
    #[error("it is for `{0}`, which is none of this server's `addresses`")]
    OtherServer(LoginAddress),
    /// Not a public key.
    #[error("the host key is not usable: {0}")]
    PublicKey(#[from] SubjectKeyError),
    /// Not a signature.
    #[error(transparent)]
    NotASignature(#[from] SshSigError),
    /// Not a proof.
    #[error(transparent)]
    NotProven(#[from] VerifyError),
}

impl HostKeyProof {
    /// Prepares proofs at `addresses`; `nonce_key` is random and new for each process.
    #[must_use]
    pub fn new(addresses: BTreeSet<LoginAddress>, nonce_key: &[u8; 32]) -> Self {
        Self {
            addresses: RwLock::new(addresses),
            challenges: Challenges::new(nonce_key),
        }
    }

    /// Accepts proofs at one more address.
    pub(super) fn add_address(&self, address: LoginAddress) {
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        addresses.insert(address);
    }

    /// Makes a nonce.
    #[must_use]
    pub fn challenge(&self, random: [u8; 16], now: UnixTime) -> String {
        self.challenges.issue(random, now)
    }

    /// Checks that the key signed this enrolment; the nonce is then used up.
    ///
    /// # Errors
    /// [`HostKeyRefusal`]; the first rule that is broken.
    pub fn enroll(
        &self,
        request: HostKeyRequest<'_>,
        method: &str,
        evidence: &str,
        now: UnixTime,
    ) -> Result<SubjectKey, HostKeyRefusal> {
        let message = |address: &LoginAddress| enroll_message(address, request.nonce, method, evidence);
        self.prove(request, ENROLL_NAMESPACE, message, now)
    }

    /// Checks that the key signed the renewal of `host`; the nonce is then used up.
    ///
    /// # Errors
    /// [`HostKeyRefusal`]; the first rule that is broken.
    pub fn renew(&self, request: HostKeyRequest<'_>, host: &str, now: UnixTime) -> Result<SubjectKey, HostKeyRefusal> {
        let message = |address: &LoginAddress| renew_message(address, request.nonce, host);
        self.prove(request, RENEW_NAMESPACE, message, now)
    }

    /// Checks that `key`, the one that is pinned, signed this report. It has no nonce: its sequence keeps it from being
    /// played again.
    ///
    /// # Errors
    /// [`HostKeyRefusal`]; the first rule that is broken.
    pub fn report(
        &self,
        key: &SubjectKey,
        address: &str,
        report_json: &str,
        signature: &str,
    ) -> Result<(), HostKeyRefusal> {
        let address = self.own_address(address)?;
        let message = report_message(&address, report_json);
        SshSignature::from_armor(signature)?.verify(key, REPORT_NAMESPACE, message.as_bytes())?;
        Ok(())
    }

    fn prove(
        &self,
        request: HostKeyRequest<'_>,
        namespace: &str,
        message: impl FnOnce(&LoginAddress) -> String,
        now: UnixTime,
    ) -> Result<SubjectKey, HostKeyRefusal> {
        let nonce = self.challenges.check(request.nonce, now)?;
        let address = self.own_address(request.address)?;
        let key = SubjectKey::parse(request.public_key)?;
        let signature = SshSignature::from_armor(request.signature)?;
        signature.verify(&key, namespace, message(&address).as_bytes())?;
        self.challenges.consume(&nonce, now)?;
        Ok(key)
    }

    fn own_address(&self, address: &str) -> Result<LoginAddress, HostKeyRefusal> {
        let address = LoginAddress::parse(address)?;
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        if addresses.contains(&address) {
            Ok(address)
        } else {
            Err(HostKeyRefusal::OtherServer(address))
        }
    }
}
