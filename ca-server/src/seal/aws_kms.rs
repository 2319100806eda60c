//! The awskms seal: a data key that KMS made and alone can open wraps the root key. KMS never sees the root key itself, and
//! binds the data key to the encryption context, so that another server's does not open here.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{RootKey, Seal, SealError, SealKind, unwrap_root, wrap_root};
use crate::aws::kms::{Kms, MadeWith, bare_key_id};
use crate::aws::{AwsError, wait_for};
use crate::clock::Clock;
use crate::config::{AwsConfig, AwsEnvironment};

/// For a whole call with its attempts and the credentials before it.
const CALL_LIMIT: Duration = Duration::from_secs(15);
const VERSION: u8 = 1;

/// A key in KMS.
pub struct AwsKmsSeal {
    kms: Kms,
}

impl fmt::Debug for AwsKmsSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKmsSeal({})", self.kms.key_id())
    }
}

/// The wrapped root key, in JSON. Nothing in it is secret.
#[derive(Debug, Serialize, Deserialize)]
struct Wrapped {
    version: u8,
    #[serde(flatten)]
    made_with: MadeWith,
    /// What KMS alone opens, base64.
    data_key: String,
    /// The root key under the data key, base64.
    root_key: String,
}

impl AwsKmsSeal {
    /// The seal that the settings describe. Nothing is asked yet.
    ///
    /// # Errors
    /// [`SealError::Setup`]
    pub fn new(config: &AwsConfig) -> Result<Self, SealError> {
        Self::with(config, &AwsEnvironment::read(), Clock::system())
    }

    /// As [`Self::new`], in another environment and at another time.
    ///
    /// # Errors
    /// [`SealError::Setup`]
    pub fn with(config: &AwsConfig, environment: &AwsEnvironment, clock: Clock) -> Result<Self, SealError> {
        let kms = Kms::new(config, environment, clock).map_err(seal_error)?;
        Ok(Self { kms })
    }

    /// Whether the key named in the settings can be the one that wrapped this.
    fn check(&self, made_with: &MadeWith) -> Result<(), SealError> {
        let (configured, found) = (bare_key_id(self.kms.key_id()), bare_key_id(&made_with.key));
        if configured.is_some() && configured != found {
            tracing::warn!(
                configured = self.kms.key_id(),
                wrapped_under = made_with.key,
                "another key in KMS"
            );
            return Err(wrong_key());
        }
        if made_with.context != *self.kms.context() {
            // KMS has the last word: these texts lie in the open.
            tracing::warn!(
                configured = ?self.kms.context(),
                wrapped_under = ?made_with.context,
                "the encryption context of [seal] (`signet` is the server's name there) differs"
            );
        }
        Ok(())
    }
}

impl Seal for AwsKmsSeal {
    fn kind(&self) -> SealKind {
        SealKind::AwsKms
    }

    fn wrap(&self, root_key: &RootKey) -> Result<Vec<u8>, SealError> {
        let kms = self.kms.clone();
        let data_key = wait_for(CALL_LIMIT, async move { kms.generate_data_key().await }).map_err(seal_error)?;
        let root_key = wrap_root(SealKind::AwsKms, &*key(&data_key.plaintext)?, root_key)?;
        let wrapped = Wrapped {
            version: VERSION,
            made_with: MadeWith {
                key: data_key.key_arn,
                context: self.kms.context().clone(),
            },
            data_key: STANDARD.encode(data_key.ciphertext),
            root_key: STANDARD.encode(root_key),
        };
        serde_json::to_vec(&wrapped).map_err(|error| SealError::Unavailable {
            kind: SealKind::AwsKms,
            reason: error.to_string(),
        })
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<RootKey, SealError> {
        let wrapped: Wrapped = serde_json::from_slice(wrapped).map_err(|_| wrong_key())?;
        if wrapped.version != VERSION {
            return Err(wrong_key());
        }
        self.check(&wrapped.made_with)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| wrong_key());
        let (data_key, root_key) = (decode(&wrapped.data_key)?, decode(&wrapped.root_key)?);
        let kms = self.kms.clone();
        let opened = wait_for(CALL_LIMIT, async move { kms.decrypt(&data_key).await });
        let (data_key, opened_by) = opened.map_err(seal_error)?;
        if bare_key_id(&opened_by) != bare_key_id(&wrapped.made_with.key) {
            return Err(wrong_key());
        }
        unwrap_root(SealKind::AwsKms, &*key(&data_key)?, &root_key)
    }
}

fn key(bytes: &Zeroizing<Vec<u8>>) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let key: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| wrong_key())?;
    Ok(Zeroizing::new(*key))
}

const fn wrong_key() -> SealError {
    SealError::WrongKey { kind: SealKind::AwsKms }
}

fn seal_error(error: AwsError) -> SealError {
    let kind = SealKind::AwsKms;
    match error {
        // KMS locks nobody out: a role that is attached late or a key that is enabled again must not need a hand here too.
        AwsError::Unavailable(reason) | AwsError::Refused(reason) => SealError::Unavailable { kind, reason },
        AwsError::Setup(reason) => SealError::Setup { kind, reason },
        AwsError::WrongKey(reason) => {
            tracing::warn!(reason, "KMS does not open it");
            wrong_key()
        }
    }
}
