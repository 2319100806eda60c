//! A CA key on a PKCS#11 token. Digests are made here, signatures there, and each one is verified under the public key in
//! the store before anybody sees it.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use serde::{Deserialize, Serialize};
use signet_core::role::AlgorithmSigner;
use signet_core::signer::{CaKeyType, Condition, RsaBits, SignError, Signer, wire};
use signet_core::subject_key::{KeyKind, SubjectKey};

use crate::config::{Pkcs11Config, Pkcs11Token, TokenName};
use crate::pkcs11::{self, PrivateKey, Purpose, Seat, Standing, TokenError, TokenPool};

const SELF_TEST: &[u8] = b"signet: self-test of a CA key";
/// DER of `DigestInfo` up to the digest (RFC 8017, "EMSA-PKCS1-v1_5", note 1).
const SHA256_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
];
const SHA512_INFO: &[u8] = &[
    0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40,
];

/// A CA key on a token.
#[derive(Debug)]
pub struct Pkcs11Signer {
    public: SubjectKey,
    token: TokenName,
    key_label: String,
    /// The `[[key_holder]]` that a request named.
    key_holder: Option<String>,
    /// `None` when `signet.toml` describes no such token any more.
    pool: Option<Arc<TokenPool>>,
    check: Arc<Mutex<Check>>,
}

/// What was found when the key was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Check {
    NotYet,
    Good,
    Bad(TokenError),
}

/// What the store keeps: JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Reference {
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u64>,
    key_label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_holder: Option<String>,
}

/// Where a key is, for people and for comparing.
#[must_use]
pub fn place(token: &TokenName, key_label: &str) -> String {
    match token {
        TokenName::Label(label) => format!("pkcs11:token={label};object={key_label}"),
        TokenName::Slot(slot) => format!("pkcs11:slot-id={slot};object={key_label}"),
    }
}

impl Pkcs11Signer {
    /// Finds the key, or makes it if that is asked for, and tests it.
    ///
    /// # Errors
    /// [`SignError`] saying what the token said.
    pub fn adopt(config: &Pkcs11Config, key_type: CaKeyType) -> Result<Self, SignError> {
        let pool = pkcs11::pool(&config.token);
        let (label, create) = (config.key_label.clone(), config.create);
        let found = pool.ask(move |seat| {
            let mut key = pkcs11::find_private(seat, &label)?;
            if key.is_none() && create {
                pkcs11::create_key_pair(seat, &label, key_type, Purpose::Sign)?;
                key = pkcs11::find_private(seat, &label)?;
            }
            let key = key.ok_or_else(|| {
                TokenError::Setup(format!(
                    "no private key with the label `{label}` is on the token; `create = true` makes one"
                ))
            })?;
            if !is_of_type(key.public.kind(), key_type) {
                return Err(TokenError::Setup(format!(
                    "the key `{label}` is of type {} with {} bits, not as `key_type` says",
                    key.public.kind().ssh_name(),
                    key.public.kind().bits()
                )));
            }
            examine(seat, &label, &key)?;
            Ok(key.public)
        });
        let public = found.map_err(|error| match error {
            TokenError::Setup(reason) => SignError::Unusable {
                reason: format!("{}: {reason}", pool.shown()),
            },
            other => sign_error(&pool, other),
        })?;
        Ok(Self {
            public,
            token: config.token.token.clone(),
            key_label: config.key_label.clone(),
            key_holder: None,
            pool: Some(pool),
            check: Arc::new(Mutex::new(Check::Good)),
        })
    }

    /// Has the reference say by which key holder it is found again.
    #[must_use]
    pub fn held_by(mut self, key_holder: &str) -> Self {
        self.key_holder = Some(key_holder.to_owned());
        self
    }

    /// Reads what [`Self::to_reference`] wrote. The token is asked in the background; it need not be there.
    ///
    /// # Errors
    /// [`SignError::Failed`] when it is no reference.
    pub fn from_reference<'t>(
        reference: &[u8],
        find: impl FnOnce(&TokenName) -> Option<&'t Pkcs11Token>,
    ) -> Result<Self, SignError> {
        let reference: Reference = serde_json::from_slice(reference).map_err(|_| SignError::Failed)?;
        let token = match (reference.token_label, reference.slot) {
            (Some(label), None) => TokenName::Label(label),
            (None, Some(slot)) => TokenName::Slot(slot),
            _ => return Err(SignError::Failed),
        };
        let signer = Self {
            public: SubjectKey::parse(&reference.public_key).map_err(|_| SignError::Failed)?,
            pool: find(&token).map(pkcs11::pool),
            token,
            key_label: reference.key_label,
            key_holder: reference.key_holder,
            check: Arc::new(Mutex::new(Check::NotYet)),
        };
        signer.look();
        Ok(signer)
    }

    /// What the store keeps. Nothing in it is secret.
    #[must_use]
    pub fn to_reference(&self) -> Vec<u8> {
        let (token_label, slot) = match &self.token {
            TokenName::Label(label) => (Some(label.clone()), None),
            TokenName::Slot(slot) => (None, Some(*slot)),
        };
        let reference = Reference {
            public_key: self.public.line(),
            token_label,
            slot,
            key_label: self.key_label.clone(),
            key_holder: self.key_holder.clone(),
        };
        // A struct of texts and numbers always has a JSON form.
        serde_json::to_vec(&reference).unwrap_or_default()
    }

    /// Has the key looked at when the token has time for it.
    fn look(&self) {
        let Some(pool) = &self.pool else { return };
        let (label, public, check) = (self.key_label.clone(), self.public.clone(), Arc::clone(&self.check));
        pool.ask_later(move |seat| {
            let looked = find_same(seat, &label, &public).and_then(|key| examine(seat, &label, &key));
            if let Err(error) = &looked {
                tracing::error!(key = label, %error, "a CA key on a PKCS#11 token cannot be used");
            }
            *check.lock().unwrap_or_else(PoisonError::into_inner) = match &looked {
                Ok(()) => Check::Good,
                Err(error) => Check::Bad(error.clone()),
            };
            looked
        });
    }

    fn checked(&self) -> Check {
        self.check.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn missing(&self) -> String {
        let place = place(&self.token, &self.key_label);
        match &self.key_holder {
            Some(holder) => format!(
                "`{place}` is on a token that signet.toml does not describe any more: [[key_holder]] `{holder}`"
            ),
            None => {
                format!("`{place}` is on a token that signet.toml does not describe: name it in the mount's `ca_key`")
            }
        }
    }
}

impl Signer for Pkcs11Signer {
    fn public_key(&self) -> &SubjectKey {
        &self.public
    }

    fn sign(&self, tbs: &[u8], algorithm: AlgorithmSigner) -> Result<Vec<u8>, SignError> {
        let pool = self
            .pool
            .as_ref()
            .ok_or_else(|| SignError::Unavailable { reason: self.missing() })?;
        let name = wire::algorithm_name(self.public.kind(), algorithm)?;
        let task = Task::new(self.public.kind(), name, tbs);
        let (label, public) = (self.key_label.clone(), self.public.clone());
        let was_good = self.checked() == Check::Good;
        let bare = pool.ask(move |seat| {
            let handle = if let Some(handle) = seat.handle(&label) {
                handle
            } else {
                let key = find_same(seat, &label, &public).map_err(|error| match error {
                    // It was there before: the token has lost its contents, or shows none without being there.
                    TokenError::Setup(reason) if was_good => TokenError::Away(reason),
                    other => other,
                })?;
                seat.keep_handle(&label, key.handle);
                key.handle
            };
            task.sign(seat, handle)
        });
        let bare = bare.map_err(|error| sign_error(pool, error))?;
        let Some(signature) = wire::verified(&self.public, algorithm, tbs, &bare)? else {
            tracing::error!(
                token = pool.shown(),
                key = self.key_label,
                "a signature does not verify"
            );
            return Err(SignError::BadSignature { holder: pool.shown() });
        };
        *self.check.lock().unwrap_or_else(PoisonError::into_inner) = Check::Good;
        Ok(signature)
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn holder(&self) -> &'static str {
        "pkcs11"
    }

    fn place(&self) -> Option<String> {
        Some(place(&self.token, &self.key_label))
    }

    fn condition(&self) -> Condition {
        let Some(pool) = &self.pool else {
            return Condition::NotReady { reason: self.missing() };
        };
        let reason = match (pool.standing(), self.checked()) {
            (Standing::Fails(error), _) | (_, Check::Bad(error)) => error.to_string(),
            (_, Check::NotYet) => "the token has not been asked yet".to_owned(),
            (Standing::Unused | Standing::Works, Check::Good) => return Condition::Ready,
        };
        Condition::NotReady {
            reason: format!("{}: {reason}", pool.shown()),
        }
    }
}

fn sign_error(pool: &TokenPool, error: TokenError) -> SignError {
    let holder = pool.shown();
    match error {
        TokenError::Busy { .. } => SignError::Busy { holder },
        other => SignError::Unavailable {
            reason: format!("{holder}: {other}"),
        },
    }
}

fn is_of_type(kind: KeyKind, wanted: CaKeyType) -> bool {
    match (kind, wanted) {
        (KeyKind::Rsa { bits }, CaKeyType::Rsa(wanted)) => {
            let wanted = match wanted {
                RsaBits::B2048 => 2048,
                RsaBits::B3072 => 3072,
                RsaBits::B4096 => 4096,
                RsaBits::B8192 => 8192,
            };
            bits == wanted
        }
        (kind, wanted) => matches!(
            (kind, wanted),
            (KeyKind::Ed25519, CaKeyType::Ed25519)
                | (KeyKind::EcdsaP256, CaKeyType::EcdsaP256)
                | (KeyKind::EcdsaP384, CaKeyType::EcdsaP384)
                | (KeyKind::EcdsaP521, CaKeyType::EcdsaP521)
        ),
    }
}

/// The key of this label, which must be the one in the store.
fn find_same(seat: &Seat, label: &str, public: &SubjectKey) -> Result<PrivateKey, TokenError> {
    let key = pkcs11::find_private(seat, label)?.ok_or_else(|| {
        TokenError::Setup(format!(
            "no private key with the label `{label}` is on the token any more"
        ))
    })?;
    if key.public == *public {
        Ok(key)
    } else {
        Err(TokenError::Setup(format!(
            "the key `{label}` on the token is {}, but the mount's CA key is {}",
            key.public.fingerprint(),
            public.fingerprint()
        )))
    }
}

/// Signs and verifies a fixed text, and says what is wrong with how the key is kept.
fn examine(seat: &Seat, label: &str, key: &PrivateKey) -> Result<(), TokenError> {
    if key.facts.always_authenticate {
        return Err(TokenError::Setup(format!(
            "the key `{label}` wants its PIN before each signature (CKA_ALWAYS_AUTHENTICATE); a server cannot use it"
        )));
    }
    if key.facts.extractable || !key.facts.sensitive {
        tracing::warn!(
            key = label,
            sensitive = key.facts.sensitive,
            extractable = key.facts.extractable,
            "the token gives this CA key away to whoever has its PIN; make one that is sensitive and not extractable"
        );
    }
    let algorithm = AlgorithmSigner::Default;
    let failed = |error: SignError| TokenError::Failed(error.to_string());
    let name = wire::algorithm_name(key.public.kind(), algorithm).map_err(failed)?;
    let bare = Task::new(key.public.kind(), name, SELF_TEST).sign(seat, key.handle)?;
    match wire::verified(&key.public, algorithm, SELF_TEST, &bare).map_err(failed)? {
        Some(_) => Ok(()),
        None => Err(TokenError::Setup(format!(
            "a signature by the key `{label}` does not verify under its public half"
        ))),
    }
}

/// One signature, prepared so far as it can be without the token.
struct Task {
    kind: KeyKind,
    sha512: bool,
    /// What was to be signed.
    text: Vec<u8>,
    /// Its digest, where the token is to sign that.
    digest: Vec<u8>,
}

impl Task {
    fn new(kind: KeyKind, name: &str, tbs: &[u8]) -> Self {
        let sha512 = name == "rsa-sha2-512";
        let hash: &'static Algorithm = match kind {
            KeyKind::EcdsaP384 => &SHA384,
            KeyKind::EcdsaP521 => &SHA512,
            KeyKind::Rsa { .. } if sha512 => &SHA512,
            _ => &SHA256,
        };
        Self {
            kind,
            sha512,
            text: tbs.to_vec(),
            digest: digest(hash, tbs).as_ref().to_vec(),
        }
    }

    fn sign(&self, seat: &Seat, key: cryptoki::object::ObjectHandle) -> Result<Vec<u8>, TokenError> {
        let sign = |mechanism: &Mechanism<'_>, data: &[u8]| seat.with(|session| session.sign(mechanism, key, data));
        let signature = match self.kind {
            KeyKind::Ed25519 => sign(
                &Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
                &self.text,
            ),
            KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => sign(&Mechanism::Ecdsa, &self.digest),
            KeyKind::Rsa { .. } if self.sha512 && seat.has(MechanismType::SHA512_RSA_PKCS) => {
                sign(&Mechanism::Sha512RsaPkcs, &self.text)
            }
            KeyKind::Rsa { .. } if !self.sha512 && seat.has(MechanismType::SHA256_RSA_PKCS) => {
                sign(&Mechanism::Sha256RsaPkcs, &self.text)
            }
            KeyKind::Rsa { .. } => {
                let mut info = if self.sha512 { SHA512_INFO } else { SHA256_INFO }.to_vec();
                info.extend_from_slice(&self.digest);
                sign(&Mechanism::RsaPkcs, &info)
            }
            KeyKind::SkEd25519 | KeyKind::SkEcdsaP256 => Err(cryptoki::error::Error::NotSupported),
        };
        Ok(signature?)
    }
}
