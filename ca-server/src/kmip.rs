//! A KMIP client of our own, blocking, with the five operations that the seal needs: `DiscoverVersions`, `Encrypt`,
//! `Decrypt`, `Get` and `GetAttributes` at KMIP 1.2 to 1.4. No secret is in an error or a log.

mod connection;
mod message;
pub mod tag;
#[cfg(test)]
mod tests;
pub mod ttlv;

use std::fmt;
use std::time::Instant;

use zeroize::Zeroizing;

use self::connection::Connection;
use self::message::{Fields, Question, Version, no_kmip};
use self::tag::{
    ALGORITHM_AES, FORMAT_RAW, MODE_CBC, MODE_GCM, OBJECT_SYMMETRIC_KEY, Operation, PADDING_PKCS5, STATE_ACTIVE, Tag,
};
use self::ttlv::{Item, Value};
use crate::config::{KmipConfig, KmipMechanism};
use crate::random;

/// What an AES-GCM IV of ours has, and what we ask the server's to have.
const GCM_IV_BYTES: usize = 12;
const CBC_IV_BYTES: usize = 16;
const TAG_BYTES: i32 = 16;

/// Why KMIP did not do it, by what is to be done. `Display` holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KmipError {
    /// It may work in a moment: no connection, no answer in time.
    #[error("{0}")]
    Unavailable(String),
    /// It answered and refuses: no permission, a key that is not active or not there, a certificate that is not accepted.
    #[error("{0}")]
    Refused(String),
    /// It does not know how.
    #[error("{0}")]
    Unsupported(String),
    /// It tried and it did not work: what was given is not this key's, or a fault of its own.
    #[error("{0}")]
    Failed(String),
    /// The settings cannot be used.
    #[error("{0}")]
    Setup(String),
}

impl From<random::RandomFailed> for KmipError {
    fn from(error: random::RandomFailed) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Something that the server encrypted, and what it wants back to decrypt it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// How.
    pub mechanism: KmipMechanism,
    /// The IV, whoever made it.
    pub iv: Vec<u8>,
    /// The ciphertext.
    pub data: Vec<u8>,
    /// The tag, where the server gives it by itself.
    pub tag: Vec<u8>,
}

/// One connection, in which the version of the protocol is agreed upon.
pub struct Session<'a> {
    config: &'a KmipConfig,
    connection: Connection,
    version: Version,
    asked: u64,
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.config.shown())
    }
}

impl<'a> Session<'a> {
    /// Connects. Everything that is asked in it must be over within the configured time.
    ///
    /// # Errors
    /// [`KmipError`]
    pub fn open(config: &'a KmipConfig) -> Result<Self, KmipError> {
        let deadline = Instant::now() + config.timeout;
        let mut session = Self {
            config,
            connection: Connection::open(config, deadline)?,
            version: Version::V1_1,
            asked: 0,
        };
        session.version = session.agree()?;
        Ok(session)
    }

    /// The newest version that both know. A server without `DiscoverVersions`, which is optional, is taken for one of 1.4.
    fn agree(&mut self) -> Result<Version, KmipError> {
        let ours = [Version::V1_4, Version::V1_3, Version::V1_2];
        let offered = ours.iter().map(|version| version.item()).collect();
        let mut answer = match self.ask(Operation::DiscoverVersions, offered) {
            Err(KmipError::Unsupported(_)) => return Ok(Version::V1_4),
            answer => answer?,
        };
        let mut theirs = Vec::new();
        while let Some(version) = answer.optional_structure(Tag::PROTOCOL_VERSION)? {
            theirs.push(Version::read(version)?);
        }
        ours.into_iter()
            .find(|version| theirs.contains(version))
            .ok_or_else(|| KmipError::Refused("it speaks none of KMIP 1.2, 1.3 and 1.4".to_owned()))
    }

    /// Has the server encrypt `secret` under the key: with `mechanism`, else with the best that it can.
    ///
    /// # Errors
    /// [`KmipError`]
    pub fn encrypt(
        &mut self,
        mechanism: Option<KmipMechanism>,
        secret: &[u8],
        bound: &[u8],
    ) -> Result<Encrypted, KmipError> {
        let mut last = None;
        for way in Way::ALL {
            if mechanism.is_some_and(|mechanism| mechanism != way.mechanism()) {
                continue;
            }
            match self.encrypt_in(way, secret, bound) {
                Err(error @ KmipError::Unsupported(_)) => last = Some(error),
                // Not all servers say that it is the IV. Never on to CBC, for a fault that passes.
                Err(error @ KmipError::Failed(_)) if way == Way::GcmTheirIv => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| KmipError::Unsupported("it cannot encrypt".to_owned())))
    }

    fn encrypt_in(&mut self, way: Way, secret: &[u8], bound: &[u8]) -> Result<Encrypted, KmipError> {
        let iv = way.iv()?;
        let mut payload = vec![
            Item::text(Tag::UNIQUE_IDENTIFIER, &self.config.key_id),
            way.mechanism().parameters(way == Way::GcmTheirIv),
            Item::bytes(Tag::DATA, secret),
        ];
        if !iv.is_empty() {
            payload.push(Item::bytes(Tag::IV_COUNTER_NONCE, &iv));
        }
        payload.extend(self.bound_item(way.mechanism(), bound)?);
        let mut answer = self.ask(Operation::Encrypt, payload)?;
        answer.must_be_about(&self.config.key_id)?;
        let data = answer.bytes(Tag::DATA)?.to_vec();
        let their_iv = answer.optional_bytes(Tag::IV_COUNTER_NONCE)?;
        let tag = answer.optional_bytes(Tag::AUTHENTICATED_ENCRYPTION_TAG)?;
        let iv = their_iv.map_or(iv, |iv| iv.to_vec());
        if iv.is_empty() {
            return Err(KmipError::Unsupported("it did not say which IV it took".to_owned()));
        }
        // SECURITY: a server that answers with what it was given has encrypted nothing.
        if data.windows(secret.len().max(1)).any(|window| window == secret) {
            return Err(no_kmip("it did not encrypt"));
        }
        let tag = tag.map_or_else(Vec::new, |tag| tag.to_vec());
        let encrypted = Encrypted {
            mechanism: way.mechanism(),
            iv,
            data,
            tag,
        };
        // What does not open again must not become the only copy.
        if *self.decrypt(&encrypted, bound)? == secret {
            Ok(encrypted)
        } else {
            Err(KmipError::Failed(
                "what it encrypts it does not decrypt again".to_owned(),
            ))
        }
    }

    /// Has the server decrypt what it encrypted.
    ///
    /// # Errors
    /// [`KmipError`]
    pub fn decrypt(&mut self, encrypted: &Encrypted, bound: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmipError> {
        let mut payload = vec![
            Item::text(Tag::UNIQUE_IDENTIFIER, &self.config.key_id),
            encrypted.mechanism.parameters(false),
            Item::bytes(Tag::DATA, &encrypted.data),
            Item::bytes(Tag::IV_COUNTER_NONCE, &encrypted.iv),
        ];
        payload.extend(self.bound_item(encrypted.mechanism, bound)?);
        if !encrypted.tag.is_empty() {
            payload.push(Item::bytes(Tag::AUTHENTICATED_ENCRYPTION_TAG, &encrypted.tag));
        }
        let mut answer = self.ask(Operation::Decrypt, payload)?;
        answer.must_be_about(&self.config.key_id)?;
        answer.bytes(Tag::DATA)
    }

    fn bound_item(&self, mechanism: KmipMechanism, bound: &[u8]) -> Result<Option<Item>, KmipError> {
        match mechanism {
            KmipMechanism::AesCbc => Ok(None),
            KmipMechanism::AesGcm if self.version < Version::V1_4 => Err(KmipError::Unsupported(
                "AES-GCM needs KMIP 1.4, and the server is older".to_owned(),
            )),
            KmipMechanism::AesGcm => Ok(Some(Item::bytes(Tag::AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA, bound))),
        }
    }

    /// Fetches the key itself, 32 bytes, if it is Active.
    ///
    /// # Errors
    /// [`KmipError`]
    pub fn key(&mut self) -> Result<Zeroizing<[u8; 32]>, KmipError> {
        self.must_be_active()?;
        let payload = vec![
            Item::text(Tag::UNIQUE_IDENTIFIER, &self.config.key_id),
            Item::word(Tag::KEY_FORMAT_TYPE, FORMAT_RAW),
        ];
        let mut answer = self.ask(Operation::Get, payload)?;
        answer.must_be_about(&self.config.key_id)?;
        if answer.word(Tag::OBJECT_TYPE)? != OBJECT_SYMMETRIC_KEY {
            return Err(KmipError::Refused("`key_id` names no symmetric key".to_owned()));
        }
        let mut block = answer.structure(Tag::SYMMETRIC_KEY)?.structure(Tag::KEY_BLOCK)?;
        let algorithm = block.word(Tag::CRYPTOGRAPHIC_ALGORITHM)?;
        if algorithm != ALGORITHM_AES
            || block.word(Tag::KEY_FORMAT_TYPE)? != FORMAT_RAW
            || block.take(Tag::KEY_WRAPPING_DATA).is_some()
        {
            return Err(KmipError::Refused("`key_id` names no AES key in the clear".to_owned()));
        }
        let bytes = block.structure(Tag::KEY_VALUE)?.bytes(Tag::KEY_MATERIAL)?;
        let key: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| {
            KmipError::Refused(format!(
                "`key_id` names a key of {} bits; make one of 256",
                bytes.len() * 8
            ))
        })?;
        Ok(Zeroizing::new(*key))
    }

    /// `Get` gives away a key in any state, but one that was taken out of use must not open a store.
    fn must_be_active(&mut self) -> Result<(), KmipError> {
        let payload = vec![
            Item::text(Tag::UNIQUE_IDENTIFIER, &self.config.key_id),
            Item::text(Tag::ATTRIBUTE_NAME, "State"),
        ];
        let mut answer = self.ask(Operation::GetAttributes, payload)?;
        answer.must_be_about(&self.config.key_id)?;
        while let Some(mut attribute) = answer.optional_structure(Tag::ATTRIBUTE)? {
            let name = attribute.optional_text(Tag::ATTRIBUTE_NAME)?;
            if name.as_deref() != Some("State") {
                continue;
            }
            let state = attribute.word(Tag::ATTRIBUTE_VALUE)?;
            if state == STATE_ACTIVE {
                return Ok(());
            }
            return Err(KmipError::Refused(format!(
                "the key is {}, and must be Active",
                tag::state(state)
            )));
        }
        Err(KmipError::Refused(
            "the server does not tell the key's state".to_owned(),
        ))
    }

    fn ask(&mut self, operation: Operation, payload: Vec<Item>) -> Result<Fields, KmipError> {
        self.asked += 1;
        let question = Question {
            version: self.version,
            operation,
            id: self.asked,
        };
        let request = question
            .request(payload)
            .encode()
            .map_err(|error| KmipError::Setup(error.to_string()))?;
        let answer = self.connection.exchange(&request)?;
        let answer = Item::decode(&answer).map_err(|error| no_kmip(&error.to_string()))?;
        question.answer(answer)
    }
}

/// Whether the files that the settings name can be used. Nothing is asked of the server.
///
/// # Errors
/// [`KmipError`]
pub fn check_files(config: &KmipConfig) -> Result<(), KmipError> {
    connection::check_files(config)
}

/// How a server is asked to encrypt, the best first. The standard lets a server make the IV; not all do, and not all let us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    GcmTheirIv,
    GcmOurIv,
    Cbc,
}

impl Way {
    const ALL: [Self; 3] = [Self::GcmTheirIv, Self::GcmOurIv, Self::Cbc];

    const fn mechanism(self) -> KmipMechanism {
        match self {
            Self::GcmTheirIv | Self::GcmOurIv => KmipMechanism::AesGcm,
            Self::Cbc => KmipMechanism::AesCbc,
        }
    }

    /// Ours; empty where the server makes it.
    fn iv(self) -> Result<Vec<u8>, KmipError> {
        let mut iv = vec![
            0;
            match self {
                Self::GcmTheirIv => 0,
                Self::GcmOurIv => GCM_IV_BYTES,
                Self::Cbc => CBC_IV_BYTES,
            }
        ];
        random::fill(&mut iv)?;
        Ok(iv)
    }
}

impl KmipMechanism {
    fn parameters(self, random_iv: bool) -> Item {
        let mut items = match self {
            Self::AesGcm => vec![Item::word(Tag::BLOCK_CIPHER_MODE, MODE_GCM)],
            Self::AesCbc => vec![
                Item::word(Tag::BLOCK_CIPHER_MODE, MODE_CBC),
                Item::word(Tag::PADDING_METHOD, PADDING_PKCS5),
            ],
        };
        items.push(Item::word(Tag::CRYPTOGRAPHIC_ALGORITHM, ALGORITHM_AES));
        if random_iv {
            items.push(Item::new(Tag::RANDOM_IV, Value::Boolean(true)));
            items.push(Item::integer(Tag::IV_LENGTH, i32::try_from(GCM_IV_BYTES).unwrap_or(0)));
        }
        if self == Self::AesGcm {
            items.push(Item::integer(Tag::TAG_LENGTH, TAG_BYTES));
        }
        Item::structure(Tag::CRYPTOGRAPHIC_PARAMETERS, items)
    }
}
