//! The KMIP seal: a data key that the server encrypted under a key that never leaves it, or the key itself where the server
//! may give it, wraps the root key. Whatever the server's mechanism, what lies in the store is authenticated here.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{RootKey, Seal, SealError, SealKind, unwrap_root_bound, wrap_root_bound};
use crate::config::{KmipConfig, KmipMechanism, KmipOperation};
use crate::kmip::{Encrypted, KmipError, Session};
use crate::random;

const KIND: SealKind = SealKind::Kmip;
const VERSION: u8 = 1;
/// What a KMIP server binds into a data key.
const DATA_KEY_PLACE: &str = "signet seal/data-key 1";

/// A key in a KMIP server.
pub struct KmipSeal {
    config: KmipConfig,
}

impl fmt::Debug for KmipSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KmipSeal({}, {})", self.config.shown(), self.config.key_id)
    }
}

/// The wrapped root key as it lies in the store: JSON. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Wrapped {
    version: u8,
    operation: String,
    key_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_key: Option<DataKey>,
    /// The root key under the data key, or under the server's key, base64.
    root_key: String,
}

/// What the server alone opens; texts in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DataKey {
    mechanism: String,
    iv: String,
    data: String,
    tag: String,
}

impl DataKey {
    fn of(encrypted: &Encrypted) -> Self {
        Self {
            mechanism: encrypted.mechanism.as_str().to_owned(),
            iv: STANDARD.encode(&encrypted.iv),
            data: STANDARD.encode(&encrypted.data),
            tag: STANDARD.encode(&encrypted.tag),
        }
    }

    fn encrypted(&self) -> Option<Encrypted> {
        let decode = |text: &str| STANDARD.decode(text).ok();
        Some(Encrypted {
            mechanism: KmipMechanism::parse(&self.mechanism)?,
            iv: decode(&self.iv)?,
            data: decode(&self.data)?,
            tag: decode(&self.tag)?,
        })
    }
}

impl Wrapped {
    /// What is bound into the wrapped root key: everything beside it, so that no byte of it can be changed unnoticed, whatever
    /// the server's mechanism proves.
    fn bound(&self) -> String {
        let data_key = self.data_key.as_ref().map_or_else(String::new, |key| {
            format!("{} {} {} {}", key.mechanism, key.iv, key.data, key.tag)
        });
        format!("kmip {} {} [{data_key}] {}", self.version, self.operation, self.key_id)
    }
}

impl KmipSeal {
    /// The key that the settings name. Nothing is asked or read yet.
    #[must_use]
    pub const fn new(config: KmipConfig) -> Self {
        Self { config }
    }

    fn error(&self, error: KmipError) -> SealError {
        let reason = format!("KMIP server {}: {error}", self.config.shown());
        match error {
            // `Failed` is a fault of the server's own, as what it was given is known to be good where this is called. What it
            // refuses it may grant later, and it locks nobody out.
            KmipError::Unavailable(_) | KmipError::Failed(_) | KmipError::Refused(_) | KmipError::Unsupported(_) => {
                SealError::Unavailable { kind: KIND, reason }
            }
            KmipError::Setup(reason) => SealError::Setup { kind: KIND, reason },
        }
    }

    fn session(&self) -> Result<Session<'_>, SealError> {
        Session::open(&self.config).map_err(|error| self.error(error))
    }

    /// A new data key, and what the server made of it.
    fn new_data_key(&self) -> Result<(Zeroizing<[u8; 32]>, DataKey), SealError> {
        let mut key = Zeroizing::new([0; 32]);
        random::fill(&mut *key).map_err(|error| self.error(error.into()))?;
        let encrypted = self
            .session()?
            .encrypt(self.config.mechanism, &*key, DATA_KEY_PLACE.as_bytes())
            .map_err(|error| self.error(error))?;
        if encrypted.mechanism == KmipMechanism::AesCbc && self.config.mechanism.is_none() {
            tracing::warn!(
                server = self.config.shown(),
                "the KMIP server has no AES-GCM for us; it encrypts the data key by AES-CBC, and signet authenticates it"
            );
        }
        Ok((key, DataKey::of(&encrypted)))
    }

    /// Opens a data key. A server answers what was altered with anything from "cryptographic failure" to "general failure", or
    /// with another key where its mechanism proves nothing. One that still opens what it encrypts now has looked at this
    /// and refused it.
    fn data_key(&self, encrypted: &Encrypted) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let mut session = self.session()?;
        let bytes = match session.decrypt(encrypted, DATA_KEY_PLACE.as_bytes()) {
            Err(error @ (KmipError::Failed(_) | KmipError::Unsupported(_))) => {
                let probe = self
                    .session()?
                    .encrypt(Some(encrypted.mechanism), &[7; 32], DATA_KEY_PLACE.as_bytes());
                return Err(match probe {
                    Ok(_) => wrong_key(),
                    Err(_) => self.error(error),
                });
            }
            other => other.map_err(|error| self.error(error))?,
        };
        let key: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| wrong_key())?;
        Ok(Zeroizing::new(*key))
    }

    fn fetched_key(&self) -> Result<Zeroizing<[u8; 32]>, SealError> {
        self.session()?.key().map_err(|error| self.error(error))
    }
}

impl Seal for KmipSeal {
    fn kind(&self) -> SealKind {
        KIND
    }

    fn wrap(&self, root_key: &RootKey) -> Result<Vec<u8>, SealError> {
        let (key, data_key) = match self.config.operation {
            KmipOperation::Encrypt => {
                let (key, data_key) = self.new_data_key()?;
                (key, Some(data_key))
            }
            KmipOperation::Get => (self.fetched_key()?, None),
        };
        let mut wrapped = Wrapped {
            version: VERSION,
            operation: self.config.operation.as_str().to_owned(),
            key_id: self.config.key_id.clone(),
            data_key,
            root_key: String::new(),
        };
        wrapped.root_key = STANDARD.encode(wrap_root_bound(KIND, &key, &wrapped.bound(), root_key)?);
        serde_json::to_vec(&wrapped).map_err(|error| SealError::Setup {
            kind: KIND,
            reason: error.to_string(),
        })
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<RootKey, SealError> {
        let wrapped: Wrapped = serde_json::from_slice(wrapped).map_err(|_| wrong_key())?;
        if wrapped.version != VERSION {
            return Err(wrong_key());
        }
        if wrapped.key_id != self.config.key_id {
            tracing::warn!(
                configured = self.config.key_id,
                wrapped_under = wrapped.key_id,
                "another key in the KMIP server"
            );
            return Err(wrong_key());
        }
        let root_key = STANDARD.decode(&wrapped.root_key).map_err(|_| wrong_key())?;
        let key = match (KmipOperation::parse(&wrapped.operation), &wrapped.data_key) {
            (Some(KmipOperation::Encrypt), Some(data_key)) => {
                self.data_key(&data_key.encrypted().ok_or_else(wrong_key)?)?
            }
            (Some(KmipOperation::Get), None) => self.fetched_key()?,
            _ => return Err(wrong_key()),
        };
        unwrap_root_bound(KIND, &key, &wrapped.bound(), &root_key)
    }
}

const fn wrong_key() -> SealError {
    SealError::WrongKey { kind: KIND }
}
