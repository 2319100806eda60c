//! The PIN: read when a session logs in, gone right after. A PIN that the token refused is remembered as a salted hash, so
//! that it is not tried again: three wrong ones lock most tokens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use cryptoki::types::AuthPin;
use secrecy::ExposeSecret as _;

use super::TokenError;
use crate::config::PinSource;
use crate::random;
use crate::secret_file::{self, SecretFileError};

/// Reads the PIN.
///
/// # Errors
/// [`TokenError::Away`] when its file is not there yet, [`TokenError::Setup`] when others can read it.
pub(super) fn read(source: &PinSource) -> Result<AuthPin, TokenError> {
    let text = match source {
        PinSource::File(path) => secret_file::read(path),
        PinSource::Credential(name) => secret_file::credential(name),
    };
    let text = text.map_err(|error| {
        let reason = error.of("the PIN file");
        match error {
            SecretFileError::Missing { .. } => TokenError::Away(reason),
            _ => TokenError::Setup(reason),
        }
    })?;
    let pin = text.trim_end_matches(['\n', '\r']);
    if pin.is_empty() {
        return Err(TokenError::Setup("the PIN is empty".to_owned()));
    }
    Ok(AuthPin::from(pin))
}

/// Logging in to one token.
#[derive(Debug, Default)]
pub(super) struct Login {
    /// One thread opens the token at a time: a wrong PIN is tried once, not once a thread.
    pub(super) opening: Mutex<()>,
    /// Never locked while the token is asked: it may hang.
    refused: Mutex<Option<RefusedPin>>,
    /// Grows when the token is lost; sessions of an earlier epoch are dropped, in whichever pool they are.
    epoch: AtomicU64,
}

impl Login {
    /// The epoch that sessions of now belong to.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// A session of that epoch found the token gone.
    pub(super) fn lost(&self, epoch: u64) {
        // Of several threads that find out, the first counts.
        let _others_were_first = self
            .epoch
            .compare_exchange(epoch, epoch + 1, Ordering::SeqCst, Ordering::SeqCst)
            .is_err();
    }

    /// Why this PIN is not to be tried.
    pub(super) fn refusal(&self, pin: &AuthPin) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused
            .as_ref()
            .filter(|refused| refused.is(pin))
            .map(|refused| refused.reason.clone())
    }

    /// Remembers that the token refused this PIN.
    pub(super) fn refuse(&self, pin: &AuthPin, reason: String) {
        let refused = RefusedPin::new(pin, reason);
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
    }

    /// Forgets what was refused.
    pub(super) fn forget(&self) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A PIN that was refused, and what the token said.
#[derive(Debug)]
struct RefusedPin {
    salt: [u8; 16],
    digest: Vec<u8>,
    reason: String,
}

impl RefusedPin {
    fn new(pin: &AuthPin, reason: String) -> Self {
        let mut salt = [0; 16];
        // Without randomness the salt is zero: the hash then only tells PINs apart, which is what it is for.
        let _unsalted = random::fill(&mut salt).is_err();
        Self {
            salt,
            digest: digest(salt, pin),
            reason,
        }
    }

    /// Whether it is this PIN that was refused.
    fn is(&self, pin: &AuthPin) -> bool {
        digest(self.salt, pin) == self.digest
    }
}

fn digest(salt: [u8; 16], pin: &AuthPin) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(&salt);
    context.update(pin.expose_secret().as_bytes());
    context.finish().as_ref().to_vec()
}
