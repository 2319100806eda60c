//! The PKCS#11 seal: a key on a token wraps the root key and never leaves the token. AES-GCM where the token has it, for
//! it also proves who wrapped; RSA-OAEP is for tokens that have not.

use std::sync::Arc;

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::RsaPublicKeyComponents;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cryptoki::error::Error;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use signet_core::signer::{CaKeyType, RsaBits, wire};
use signet_core::subject_key::{KeyKind, SubjectKey};
use zeroize::Zeroizing;

use super::{RootKey, Seal, SealError, SealKind};
use crate::config::{Pkcs11Seal as Settings, WrapMechanism};
use crate::pkcs11::{self, KeyFacts, Purpose, Seat, TokenError, TokenPool};
use crate::random;

const KIND: SealKind = SealKind::Pkcs11;
const VERSION: u32 = 1;
const IV_BYTES: usize = 12;
const TAG_BITS: u64 = 128;
/// RSA keys that are made for wrapping.
const RSA_BITS: RsaBits = RsaBits::B3072;

/// A wrapping key on a token.
#[derive(Debug)]
pub struct Pkcs11Seal {
    settings: Settings,
    pool: Arc<TokenPool>,
}

/// The wrapped root key as it lies in the store: JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Wrapped {
    version: u32,
    mechanism: String,
    key_label: String,
    key_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    iv: String,
    sealed: String,
}

/// How a blob was wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    AesGcm,
    OaepSha256,
    OaepSha1,
}

impl How {
    const ALL: [Self; 3] = [Self::AesGcm, Self::OaepSha256, Self::OaepSha1];

    const fn as_str(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::OaepSha256 => "rsa-oaep-sha256",
            Self::OaepSha1 => "rsa-oaep-sha1",
        }
    }
}

/// Why a blob did not open.
enum OpenFailure {
    Wrong,
    Token(TokenError),
}

impl From<TokenError> for OpenFailure {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl Pkcs11Seal {
    /// The key that the settings name. Nothing is asked of the token yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            pool: pkcs11::pool(&settings.key.token),
            settings,
        }
    }

    fn error(&self, error: &TokenError) -> SealError {
        let reason = format!("{}: {error}", self.pool.shown());
        match error {
            // Asking again with a PIN that was refused would lock the token; nothing else does harm.
            TokenError::Refused(_) => SealError::Refused { kind: KIND, reason },
            TokenError::Away(_)
            | TokenError::Busy { .. }
            | TokenError::Slow { .. }
            | TokenError::Setup(_)
            | TokenError::Failed(_) => SealError::Unavailable { kind: KIND, reason },
        }
    }
}

impl Seal for Pkcs11Seal {
    fn kind(&self) -> SealKind {
        KIND
    }

    fn wrap(&self, root_key: &RootKey) -> Result<Vec<u8>, SealError> {
        let settings = self.settings.clone();
        let root = Zeroizing::new(*root_key.expose());
        let wrapped = self.pool.ask(move |seat| wrap(seat, &settings, &root));
        let wrapped = wrapped.map_err(|error| self.error(&error))?;
        serde_json::to_vec(&wrapped).map_err(|error| SealError::Setup {
            kind: KIND,
            reason: error.to_string(),
        })
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<RootKey, SealError> {
        let wrong = || SealError::WrongKey { kind: KIND };
        let wrapped: Wrapped = serde_json::from_slice(wrapped).map_err(|_| wrong())?;
        if wrapped.version != VERSION || wrapped.key_label != self.settings.key.key_label {
            return Err(wrong());
        }
        let opened = self.pool.ask(move |seat| match unwrap(seat, &wrapped) {
            Ok(root) => Ok(Some(root)),
            Err(OpenFailure::Wrong) => Ok(None),
            Err(OpenFailure::Token(error)) => Err(error),
        });
        let root = opened.map_err(|error| self.error(&error))?.ok_or_else(wrong)?;
        Ok(RootKey::new(root))
    }
}

/// A wrapping key that was found.
struct Found {
    handle: ObjectHandle,
    id: Vec<u8>,
    facts: KeyFacts,
    /// Of an RSA key.
    public: Option<SubjectKey>,
}

fn find(seat: &Seat, label: &str, mechanism: WrapMechanism) -> Result<Option<Found>, TokenError> {
    Ok(match mechanism {
        WrapMechanism::AesGcm => pkcs11::find_secret(seat, label)?.map(|key| Found {
            handle: key.handle,
            id: key.id,
            facts: key.facts,
            public: None,
        }),
        WrapMechanism::RsaOaep => pkcs11::find_private(seat, label)?.map(|key| Found {
            handle: key.handle,
            id: key.id,
            facts: key.facts,
            public: Some(key.public),
        }),
    })
}

fn wrap(seat: &Seat, settings: &Settings, root: &[u8; 32]) -> Result<Wrapped, TokenError> {
    let label = &settings.key.key_label;
    let mechanism = settings.mechanism.unwrap_or(if seat.has(MechanismType::AES_GCM) {
        WrapMechanism::AesGcm
    } else {
        WrapMechanism::RsaOaep
    });
    let mut found = find(seat, label, mechanism)?;
    if found.is_none() && settings.key.create {
        match mechanism {
            WrapMechanism::AesGcm => pkcs11::create_secret_key(seat, label)?,
            WrapMechanism::RsaOaep => {
                pkcs11::create_key_pair(seat, label, CaKeyType::Rsa(RSA_BITS), Purpose::Decrypt)?;
            }
        }
        found = find(seat, label, mechanism)?;
    }
    let found = found.ok_or_else(|| {
        let kind = match mechanism {
            WrapMechanism::AesGcm => "AES",
            WrapMechanism::RsaOaep => "RSA",
        };
        TokenError::Setup(format!(
            "no {kind} key with the label `{label}` is on the token; `create = true` makes one"
        ))
    })?;
    if found.facts.extractable || !found.facts.sensitive {
        tracing::warn!(
            key = label,
            "the token gives the seal's key away to whoever has its PIN; make one that is sensitive and not extractable"
        );
    }
    let wrapped = match mechanism {
        WrapMechanism::AesGcm => wrap_aes(seat, label, &found, root)?,
        WrapMechanism::RsaOaep => wrap_rsa(seat, label, &found, root)?,
    };
    // What does not open again must not become the only copy.
    match unwrap(seat, &wrapped) {
        Ok(opened) if *opened == *root => Ok(wrapped),
        Ok(_) | Err(OpenFailure::Wrong) => Err(TokenError::Setup(format!(
            "what the key `{label}` wraps it does not unwrap again"
        ))),
        Err(OpenFailure::Token(error)) => Err(error),
    }
}

fn wrap_aes(seat: &Seat, label: &str, key: &Found, root: &[u8; 32]) -> Result<Wrapped, TokenError> {
    let mut iv = [0; IV_BYTES];
    random::fill(&mut iv).map_err(|error| TokenError::Away(error.to_string()))?;
    let wrapped = gcm(&iv, &bound(label, &key.id), |mechanism| {
        seat.with(|session| session.encrypt(mechanism, key.handle, root))
    })?;
    Ok(blob(How::AesGcm, label, &key.id, &iv, &wrapped))
}

/// Encrypts here with the public half; the token shows by unwrapping which hash it knows. SoftHSM and older tokens know
/// SHA-1 only, which OAEP does not need to resist collisions of.
fn wrap_rsa(seat: &Seat, label: &str, key: &Found, root: &[u8; 32]) -> Result<Wrapped, TokenError> {
    let mut last = None;
    for how in [How::OaepSha256, How::OaepSha1] {
        let wrapped = key
            .public
            .as_ref()
            .and_then(|public| encrypt(public, how, root))
            .ok_or_else(|| TokenError::Setup(format!("the key `{label}` is no RSA key that wraps")))?;
        match decrypt(seat, how, key.handle, &wrapped) {
            Ok(_) => {
                if how == How::OaepSha1 {
                    tracing::warn!(key = label, "this token knows RSA-OAEP with SHA-1 only");
                }
                tracing::warn!(
                    "RSA-OAEP keeps the root key secret but does not tell who wrapped it: whoever can write the store could \
                     put another in its place; AES-GCM would not have it"
                );
                return Ok(blob(how, label, &key.id, &[], &wrapped));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(
        || TokenError::Setup("the token knows no RSA-OAEP".to_owned()),
        |error| TokenError::Setup(format!("the token does not unwrap with RSA-OAEP: {error}")),
    ))
}

fn unwrap(seat: &Seat, wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, OpenFailure> {
    let how = How::ALL.into_iter().find(|how| how.as_str() == wrapped.mechanism);
    let (Some(how), Ok(sealed), Ok(iv)) = (how, STANDARD.decode(&wrapped.sealed), STANDARD.decode(&wrapped.iv)) else {
        return Err(OpenFailure::Wrong);
    };
    let label = &wrapped.key_label;
    let mechanism = if how == How::AesGcm {
        WrapMechanism::AesGcm
    } else {
        WrapMechanism::RsaOaep
    };
    let key = find(seat, label, mechanism)?
        .ok_or_else(|| TokenError::Setup(format!("no key with the label `{label}` is on the token")))?;
    if HEXLOWER.encode(&key.id) != wrapped.key_id {
        return Err(OpenFailure::Wrong);
    }
    let opened = match how {
        How::AesGcm => {
            let iv: [u8; IV_BYTES] = iv.try_into().map_err(|_| OpenFailure::Wrong)?;
            gcm(&iv, &bound(label, &key.id), |mechanism| {
                seat.with(|session| session.decrypt(mechanism, key.handle, &sealed))
            })
        }
        How::OaepSha256 | How::OaepSha1 => decrypt(seat, how, key.handle, &sealed),
    };
    match opened {
        Ok(bytes) => {
            let bytes = Zeroizing::new(bytes);
            let root: [u8; 32] = bytes.as_slice().try_into().map_err(|_| OpenFailure::Wrong)?;
            Ok(Zeroizing::new(root))
        }
        // Tokens answer an altered blob with anything from CKR_ENCRYPTED_DATA_INVALID to CKR_GENERAL_ERROR. The token that
        // still opens something else has looked at this blob and refused it.
        Err(error) => Err(if still_opens(seat, how, &key, label) {
            OpenFailure::Wrong
        } else {
            OpenFailure::Token(error)
        }),
    }
}

fn still_opens(seat: &Seat, how: How, key: &Found, label: &str) -> bool {
    let probe = [7; 32];
    match how {
        How::AesGcm => {
            let mut iv = [0; IV_BYTES];
            if random::fill(&mut iv).is_err() {
                return false;
            }
            let bound = bound(label, &key.id);
            let sealed = gcm(&iv, &bound, |mechanism| {
                seat.with(|session| session.encrypt(mechanism, key.handle, &probe))
            });
            sealed
                .and_then(|sealed| {
                    gcm(&iv, &bound, |mechanism| {
                        seat.with(|session| session.decrypt(mechanism, key.handle, &sealed))
                    })
                })
                .is_ok_and(|opened| opened == probe)
        }
        How::OaepSha256 | How::OaepSha1 => key
            .public
            .as_ref()
            .and_then(|public| encrypt(public, how, &probe))
            .and_then(|sealed| decrypt(seat, how, key.handle, &sealed).ok())
            .is_some_and(|opened| opened == probe),
    }
}

/// What is bound into an AES-GCM blob.
fn bound(label: &str, id: &[u8]) -> Vec<u8> {
    format!("signet seal/root-key {VERSION} {} {label}", HEXLOWER.encode(id)).into_bytes()
}

fn gcm(
    iv: &[u8; IV_BYTES],
    bound: &[u8],
    call: impl FnOnce(&Mechanism<'_>) -> Result<Vec<u8>, Error>,
) -> Result<Vec<u8>, TokenError> {
    let mut iv = *iv;
    let parameters = GcmParams::new(&mut iv, bound, TAG_BITS.into())?;
    Ok(call(&Mechanism::AesGcm(parameters))?)
}

fn encrypt(public: &SubjectKey, how: How, root: &[u8; 32]) -> Option<Vec<u8>> {
    let KeyKind::Rsa { .. } = public.kind() else {
        return None;
    };
    let (exponent, modulus) = wire::rsa_numbers(public)?;
    let components = RsaPublicKeyComponents {
        n: modulus,
        e: exponent,
    };
    let key: PublicEncryptingKey = components.try_into().ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let algorithm: &'static OaepAlgorithm = match how {
        How::OaepSha256 => &OAEP_SHA256_MGF1SHA256,
        How::OaepSha1 => &OAEP_SHA1_MGF1SHA1,
        How::AesGcm => return None,
    };
    let mut out = vec![0; key.ciphertext_size()];
    // No OAEP label: SoftHSM and others refuse one. The key's id is compared instead.
    let length = key.encrypt(algorithm, root, &mut out, None).ok()?.len();
    out.truncate(length);
    Some(out)
}

fn decrypt(seat: &Seat, how: How, key: ObjectHandle, sealed: &[u8]) -> Result<Vec<u8>, TokenError> {
    let (hash, mask) = if how == How::OaepSha256 {
        (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256)
    } else {
        (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1)
    };
    let mechanism = Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mask, PkcsOaepSource::empty()));
    Ok(seat.with(|session| session.decrypt(&mechanism, key, sealed))?)
}

fn blob(how: How, label: &str, id: &[u8], iv: &[u8], wrapped: &[u8]) -> Wrapped {
    Wrapped {
        version: VERSION,
        mechanism: how.as_str().to_owned(),
        key_label: label.to_owned(),
        key_id: HEXLOWER.encode(id),
        iv: STANDARD.encode(iv),
        sealed: STANDARD.encode(wrapped),
    }
}
