//! PKCS#11 tokens: modules are loaded once a process, each token has threads of its own with a session each, and whoever
//! wants something of a token queues for a bounded time. Nothing here knows what the keys are for; that is
//! `seal/pkcs11.rs` and `signer/pkcs11.rs`.

mod keys;
mod module;
mod pin;
mod pool;
mod seat;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use cryptoki::error::{Error, RvError};

pub use self::keys::{
    KeyFacts, PrivateKey, Purpose, SecretKey, create_key_pair, create_secret_key, find_private, find_secret,
};
use self::pin::Login;
pub use self::pool::{Standing, TokenPool};
pub use self::seat::Seat;
use crate::config::{Pkcs11Token, TokenName};

/// One pool a token. PKCS#11 itself keeps its state, logins included, once a process, so that ours cannot hang on a value.
static POOLS: LazyLock<Mutex<HashMap<Pkcs11Token, Weak<TokenPool>>>> = LazyLock::new(Mutex::default);

/// The pool for a token; it lives as long as somebody holds it. Nothing is asked of the token yet.
#[must_use]
pub fn pool(token: &Pkcs11Token) -> Arc<TokenPool> {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(token).and_then(Weak::upgrade) {
        return pool;
    }
    let pool = Arc::new(TokenPool::new(token.clone()));
    pools.insert(token.clone(), Arc::downgrade(&pool));
    pool
}

/// Ends all sessions and waits for their threads: a module's own clean-up at the end of the process must not run beside
/// them. A token that hangs is not waited for longer than [`CLOSING`].
pub fn close() {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.values().filter_map(Weak::upgrade).for_each(|pool| pool.close());
    let given_up = Instant::now() + CLOSING;
    while pool::threads() > 0 && Instant::now() < given_up {
        std::thread::sleep(Duration::from_millis(2));
    }
}

const CLOSING: Duration = Duration::from_secs(2);

/// What all pools of one token share: a login counts for the whole process, and so does a refused PIN.
type TokenKey = (PathBuf, TokenName);

static LOGINS: LazyLock<Mutex<HashMap<TokenKey, Arc<Login>>>> = LazyLock::new(Mutex::default);

fn login(token: &Pkcs11Token) -> Arc<Login> {
    let key = (token.module.clone(), token.token.clone());
    let mut logins = LOGINS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(logins.entry(key).or_default())
}

/// Lets PINs that tokens refused be tried once more: somebody has looked, and sent SIGHUP.
pub fn forget_refusals() {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools
        .values()
        .filter_map(Weak::upgrade)
        .for_each(|pool| pool.forget_refusal());
}

/// Why a token did not do it. `Display` never holds a PIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not there, or does not work; it is tried again.
    #[error("{0}")]
    Away(String),
    /// Too many wait for it already.
    #[error("{waiting} requests wait for the token already")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// It did not answer in time.
    #[error("the token has not answered for {secs} s")]
    Slow {
        /// How long it had.
        secs: u64,
    },
    /// It refuses, and asking again might lock it.
    #[error("{0}")]
    Refused(String),
    /// The settings cannot be used: no such module, no such key.
    #[error("{0}")]
    Setup(String),
    /// It answered with an error of its own.
    #[error("the token cannot do it: {0}")]
    Failed(String),
}

impl TokenError {
    /// Whether the session is not to be used any more.
    const fn loses_session(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::Pkcs11(rv, function) => {
                let text = format!("{function:?} answered {rv:?}");
                if means_away(*rv) {
                    Self::Away(text)
                } else {
                    Self::Failed(text)
                }
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

/// What tokens answer when they were pulled, reset or restarted: a new session may help. `GeneralError` and
/// `FunctionFailed` are what modules say when they do not know better.
const fn means_away(rv: RvError) -> bool {
    matches!(
        rv,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::SessionCount
            | RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::DeviceMemory
            | RvError::HostMemory
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::UserNotLoggedIn
            | RvError::KeyHandleInvalid
            | RvError::ObjectHandleInvalid
            | RvError::OperationActive
            | RvError::CryptokiNotInitialized
            | RvError::GeneralError
            | RvError::FunctionFailed
            | RvError::FunctionCanceled
    )
}
