//! A CA key in AWS KMS. Digests are made here, signatures there, and each one is verified under the public key in the store
//! before anybody sees it. What is asked at once is limited, so that a slow KMS takes no thread from other mounts.

mod public_key;
mod seats;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use serde::{Deserialize, Serialize};
use signet_core::role::AlgorithmSigner;
use signet_core::signer::{Condition, SignError, Signer, wire};
use signet_core::subject_key::{KeyKind, SubjectKey};
use x509_cert::der::asn1::{AnyRef, UintRef};
use x509_cert::der::{Decode as _, Reader as _};

use self::seats::Seats;
use crate::aws::kms::{Kms, bare_key_id};
use crate::aws::{AwsError, later, wait_for};
use crate::clock::Clock;
use crate::config::{AwsCaKey, AwsConfig, AwsEnvironment};

/// For taking a key into use and for looking at it.
const LOOK_LIMIT: Duration = Duration::from_secs(15);
const SELF_TEST: &[u8] = b"signet: self-test of a CA key";

/// A CA key in KMS.
#[derive(Debug)]
pub struct AwsKmsSigner {
    public: SubjectKey,
    reference: Reference,
    kms: Kms,
    seats: Seats,
    timeout: Duration,
    check: Arc<Mutex<Check>>,
}

/// What was found when the key was last used or looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Check {
    NotYet,
    Good,
    /// Another try may help.
    Fails(String),
    /// Another key is there now.
    OtherKey(String),
}

/// What the store keeps: JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reference {
    public_key: String,
    /// The key's ARN or id, never an alias: one that moves must not take a mount to another key.
    key: String,
    region: String,
    /// The alias that it was found by.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    /// The `[[key_holder]]` that a request named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_holder: Option<String>,
}

impl Reference {
    fn place(&self) -> String {
        match &self.alias {
            Some(alias) => format!("awskms:{} by {alias}", self.key),
            None => format!("awskms:{}", self.key),
        }
    }
}

/// Whether `place` is that of the key that is configured so.
#[must_use]
pub fn names(key_id: &str, place: &str) -> bool {
    let Some(place) = place.strip_prefix("awskms:") else {
        return false;
    };
    let (key, alias) = place.split_once(" by ").unwrap_or((place, ""));
    match bare_key_id(key_id) {
        Some(id) => bare_key_id(key) == Some(id),
        None => alias == key_id,
    }
}

impl AwsKmsSigner {
    /// Takes a key of KMS into use, and tests it.
    ///
    /// # Errors
    /// [`SignError::Unavailable`] saying what KMS said.
    pub fn adopt(config: &AwsCaKey) -> Result<Self, SignError> {
        Self::adopt_in(config, &AwsEnvironment::read(), Clock::system())
    }

    /// As [`Self::adopt`], in another environment and at another time.
    ///
    /// # Errors
    /// [`SignError::Unavailable`] saying what KMS said.
    pub fn adopt_in(config: &AwsCaKey, environment: &AwsEnvironment, clock: Clock) -> Result<Self, SignError> {
        let name = &config.key.key_id;
        let kms = Kms::new(&config.key, environment, clock.clone()).map_err(|error| unavailable(name, &error))?;
        let asked = kms.clone();
        let found = wait_for(LOOK_LIMIT, async move { look(&asked).await });
        let (public, key) = found.map_err(|error| match error {
            AwsError::Refused(_) | AwsError::Setup(_) => SignError::Unusable {
                reason: format!("AWS KMS, key {name}: {error}"),
            },
            AwsError::Unavailable(_) | AwsError::WrongKey(_) => unavailable(name, &error),
        })?;
        let reference = Reference {
            public_key: public.line(),
            key,
            region: kms.region().to_owned(),
            alias: bare_key_id(name).is_none().then(|| name.clone()),
            key_holder: None,
        };
        let signer = Self::new(public, reference, config, environment, clock)?;
        signer.sign(SELF_TEST, AlgorithmSigner::Default)?;
        Ok(signer)
    }

    /// Has the reference say by which key holder it is found again.
    #[must_use]
    pub fn held_by(mut self, key_holder: &str) -> Self {
        self.reference.key_holder = Some(key_holder.to_owned());
        self
    }

    /// Reads what [`Self::to_reference`] wrote; `config` says how to get there. KMS is asked in the background and need
    /// not be there.
    ///
    /// # Errors
    /// [`SignError::Failed`] when it is no reference, [`SignError::Unavailable`] when settings cannot be used.
    pub fn from_reference(reference: &[u8], config: Option<&AwsCaKey>) -> Result<Self, SignError> {
        Self::from_reference_in(reference, config, &AwsEnvironment::read(), Clock::system())
    }

    /// As [`Self::from_reference`], in another environment and at another time.
    ///
    /// # Errors
    /// As [`Self::from_reference`].
    pub fn from_reference_in(
        reference: &[u8],
        config: Option<&AwsCaKey>,
        environment: &AwsEnvironment,
        clock: Clock,
    ) -> Result<Self, SignError> {
        let reference: Reference = serde_json::from_slice(reference).map_err(|_| SignError::Failed)?;
        let public = SubjectKey::parse(&reference.public_key).map_err(|_| SignError::Failed)?;
        let config = config.cloned().unwrap_or_default();
        let signer = Self::new(public, reference, &config, environment, clock)?;
        signer.look_later();
        Ok(signer)
    }

    fn new(
        public: SubjectKey,
        reference: Reference,
        config: &AwsCaKey,
        environment: &AwsEnvironment,
        clock: Clock,
    ) -> Result<Self, SignError> {
        let key = AwsConfig {
            key_id: reference.key.clone(),
            region: Some(reference.region.clone()),
            ..config.key.clone()
        };
        Ok(Self {
            public,
            kms: Kms::new(&key, environment, clock).map_err(|error| unavailable(&reference.key, &error))?,
            reference,
            seats: Seats::new(config.parallel, config.queue),
            timeout: config.timeout,
            check: Arc::new(Mutex::new(Check::NotYet)),
        })
    }

    /// What the store keeps. Nothing in it is secret.
    #[must_use]
    pub fn to_reference(&self) -> Vec<u8> {
        // A struct of texts always has a JSON form.
        serde_json::to_vec(&self.reference).unwrap_or_default()
    }

    fn look_later(&self) {
        let (kms, public, check) = (self.kms.clone(), self.public.clone(), Arc::clone(&self.check));
        let begun = later(async move {
            let found = match look(&kms).await {
                Ok((found, _)) if found == public => Check::Good,
                Ok((found, _)) => Check::OtherKey(other_key(&found, &public)),
                Err(error) => Check::Fails(error.to_string()),
            };
            if let Check::Fails(reason) | Check::OtherKey(reason) = &found {
                tracing::error!(key = kms.key_id(), reason, "a CA key in KMS cannot be used");
            }
            *check.lock().unwrap_or_else(PoisonError::into_inner) = found;
        });
        if let Err(error) = begun {
            self.found(Check::Fails(error.to_string()));
        }
    }

    fn found(&self, check: Check) {
        *self.check.lock().unwrap_or_else(PoisonError::into_inner) = check;
    }

    fn checked(&self) -> Check {
        self.check.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn holder_shown(&self) -> String {
        format!("AWS KMS, key {}", self.reference.key)
    }

    /// The bare signature: r and s of ECDSA each as long as the curve's order, or RSA's number.
    fn unverified(&self, name: &str, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        let holder = || self.holder_shown();
        let Some((_seat, left)) = self.seats.take(self.timeout) else {
            return Err(SignError::Busy { holder: holder() });
        };
        let (hash, algorithm) = request(self.public.kind(), name).ok_or(SignError::Failed)?;
        let (kms, digest) = (self.kms.clone(), digest(hash, tbs));
        let answer = wait_for(left, async move {
            kms.unverified_signature(digest.as_ref(), algorithm).await
        });
        let signature = answer.map_err(|error| {
            self.found(Check::Fails(error.to_string()));
            unavailable(&self.reference.key, &error)
        })?;
        match order_bytes(self.public.kind()) {
            None => Ok(signature),
            Some(length) => fixed(&signature, length).ok_or_else(|| SignError::BadSignature { holder: holder() }),
        }
    }
}

impl Signer for AwsKmsSigner {
    fn public_key(&self) -> &SubjectKey {
        &self.public
    }

    fn sign(&self, tbs: &[u8], algorithm: AlgorithmSigner) -> Result<Vec<u8>, SignError> {
        let name = wire::algorithm_name(self.public.kind(), algorithm)?;
        if let Check::OtherKey(reason) = self.checked() {
            return Err(SignError::Unavailable { reason });
        }
        let bare = self.unverified(name, tbs)?;
        let Some(signature) = wire::verified(&self.public, algorithm, tbs, &bare)? else {
            tracing::error!(key = self.reference.key, "a signature of KMS does not verify");
            return Err(SignError::BadSignature {
                holder: self.holder_shown(),
            });
        };
        self.found(Check::Good);
        Ok(signature)
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn holder(&self) -> &'static str {
        "awskms"
    }

    fn place(&self) -> Option<String> {
        Some(self.reference.place())
    }

    fn condition(&self) -> Condition {
        let reason = match self.checked() {
            Check::Good => return Condition::Ready,
            Check::NotYet => "KMS has not been asked yet".to_owned(),
            Check::Fails(reason) | Check::OtherKey(reason) => reason,
        };
        Condition::NotReady {
            reason: format!("{}: {reason}", self.holder_shown()),
        }
    }
}

/// The public key of a key that signs, and the key's ARN or id.
async fn look(kms: &Kms) -> Result<(SubjectKey, String), AwsError> {
    let answer = kms.public_key().await?;
    if answer.usage != "SIGN_VERIFY" {
        return Err(AwsError::Setup(
            "the key does not sign: make one with the usage SIGN_VERIFY".to_owned(),
        ));
    }
    if bare_key_id(&answer.key).is_none() {
        return Err(AwsError::Unavailable(
            "KMS answered GetPublicKey without the key's id".to_owned(),
        ));
    }
    let public = public_key::read(&answer.spki).ok_or_else(|| {
        AwsError::Setup(
            "OpenSSH has no CA keys of its kind: make one of ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521 or RSA_2048 to \
             RSA_4096"
                .to_owned(),
        )
    })?;
    Ok((public, answer.key))
}

fn other_key(found: &SubjectKey, stored: &SubjectKey) -> String {
    format!(
        "the key in KMS is {}, but the mount's CA key is {}",
        found.fingerprint(),
        stored.fingerprint()
    )
}

fn unavailable(key: &str, error: &AwsError) -> SignError {
    SignError::Unavailable {
        reason: format!("AWS KMS, key {key}: {error}"),
    }
}

/// The digest to make and KMS's word for the signature.
fn request(kind: KeyKind, name: &str) -> Option<(&'static Algorithm, &'static str)> {
    Some(match kind {
        KeyKind::EcdsaP256 => (&SHA256, "ECDSA_SHA_256"),
        KeyKind::EcdsaP384 => (&SHA384, "ECDSA_SHA_384"),
        KeyKind::EcdsaP521 => (&SHA512, "ECDSA_SHA_512"),
        KeyKind::Rsa { .. } if name == "rsa-sha2-512" => (&SHA512, "RSASSA_PKCS1_V1_5_SHA_512"),
        KeyKind::Rsa { .. } => (&SHA256, "RSASSA_PKCS1_V1_5_SHA_256"),
        KeyKind::Ed25519 | KeyKind::SkEd25519 | KeyKind::SkEcdsaP256 => return None,
    })
}

const fn order_bytes(kind: KeyKind) -> Option<usize> {
    match kind {
        KeyKind::EcdsaP256 => Some(32),
        KeyKind::EcdsaP384 => Some(48),
        KeyKind::EcdsaP521 => Some(66),
        _ => None,
    }
}

/// From KMS's ECDSA signature, SEQUENCE of r and s in DER, to both one after the other.
fn fixed(der: &[u8], length: usize) -> Option<Vec<u8>> {
    let any = AnyRef::from_der(der).ok()?;
    let (r, s) = any
        .sequence(|reader| {
            Ok::<_, x509_cert::der::Error>((reader.decode::<UintRef<'_>>()?, reader.decode::<UintRef<'_>>()?))
        })
        .ok()?;
    let mut both = Vec::with_capacity(length * 2);
    for number in [r.as_bytes(), s.as_bytes()] {
        both.resize(both.len() + length.checked_sub(number.len())?, 0);
        both.extend_from_slice(number);
    }
    Some(both)
}
