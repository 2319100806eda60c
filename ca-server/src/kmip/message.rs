//! Requests and answers: one header and one batch item each ("KMIP Specification Version 1.4", section 7 "Message
//! Contents"). An answer is taken only for the question that was asked.

#[cfg(test)]
mod tests;

use super::KmipError;
use super::tag::{Operation, STATUS_FAILED, STATUS_SUCCESS, Tag};
use super::ttlv::{Item, MESSAGE_BYTES_MAX, Value};

/// Longer texts of a server are cut in our errors.
const TEXT_CHARS_MAX: usize = 160;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: i32,
    pub(super) minor: i32,
}

impl Version {
    /// The first with `DiscoverVersions`.
    pub(super) const V1_1: Self = Self::one(1);
    /// The first with `Encrypt` and `Decrypt`.
    pub(super) const V1_2: Self = Self::one(2);
    pub(super) const V1_3: Self = Self::one(3);
    /// The first with a tag and additional data in `Encrypt`.
    pub(super) const V1_4: Self = Self::one(4);

    const fn one(minor: i32) -> Self {
        Self { major: 1, minor }
    }

    pub(super) fn item(self) -> Item {
        Item::structure(
            Tag::PROTOCOL_VERSION,
            vec![
                Item::integer(Tag::PROTOCOL_VERSION_MAJOR, self.major),
                Item::integer(Tag::PROTOCOL_VERSION_MINOR, self.minor),
            ],
        )
    }

    pub(super) fn read(fields: Fields) -> Result<Self, KmipError> {
        let mut fields = fields;
        Ok(Self {
            major: fields.integer(Tag::PROTOCOL_VERSION_MAJOR)?,
            minor: fields.integer(Tag::PROTOCOL_VERSION_MINOR)?,
        })
    }
}

/// What is asked, with the mark by which the answer is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) version: Version,
    pub(super) operation: Operation,
    pub(super) id: u64,
}

impl Question {
    /// The request's message.
    pub(super) fn request(self, payload: Vec<Item>) -> Item {
        let bytes_max = i32::try_from(MESSAGE_BYTES_MAX).unwrap_or(i32::MAX);
        let header = vec![
            self.version.item(),
            Item::integer(Tag::MAXIMUM_RESPONSE_SIZE, bytes_max),
            Item::integer(Tag::BATCH_COUNT, 1),
        ];
        let batch = vec![
            Item::word(Tag::OPERATION, self.operation.number()),
            Item::bytes(Tag::UNIQUE_BATCH_ITEM_ID, &self.id.to_be_bytes()),
            Item::structure(Tag::REQUEST_PAYLOAD, payload),
        ];
        Item::structure(
            Tag::REQUEST_MESSAGE,
            vec![
                Item::structure(Tag::REQUEST_HEADER, header),
                Item::structure(Tag::BATCH_ITEM, batch),
            ],
        )
    }

    /// The payload of the answer.
    ///
    /// # Errors
    /// The server's, by what is to be done; [`KmipError::Refused`] for what is no answer to this question.
    pub(super) fn answer(self, message: Item) -> Result<Fields, KmipError> {
        if message.tag != Tag::RESPONSE_MESSAGE {
            return Err(no_kmip("it is no response message"));
        }
        let mut message = Fields::of(message.value)?;
        let mut header = message.structure(Tag::RESPONSE_HEADER)?;
        let version = Version::read(header.structure(Tag::PROTOCOL_VERSION)?)?;
        if version.major != 1 {
            return Err(no_kmip("it is not in KMIP 1"));
        }
        if header.integer(Tag::BATCH_COUNT)? != 1 {
            return Err(no_kmip("it has another number of parts than the question"));
        }
        let mut batch = message.structure(Tag::BATCH_ITEM)?;
        if message.0.iter().any(|item| item.tag == Tag::BATCH_ITEM) {
            return Err(no_kmip("it has another number of parts than the question"));
        }
        match batch.word(Tag::RESULT_STATUS)? {
            STATUS_SUCCESS => {
                self.must_be_ours(&mut batch)?;
                batch.structure(Tag::RESPONSE_PAYLOAD)
            }
            STATUS_FAILED => {
                let reason = batch.word(Tag::RESULT_REASON)?;
                let text = batch.optional_text(Tag::RESULT_MESSAGE)?.unwrap_or_default();
                Err(self.failure(reason, &text))
            }
            _ => Err(KmipError::Refused(format!(
                "the server wants to answer {} later, which signet does not wait for",
                self.operation.as_str()
            ))),
        }
    }

    /// An answer that names no question is to the only one on this connection; one that names another is to nothing of ours.
    fn must_be_ours(self, batch: &mut Fields) -> Result<(), KmipError> {
        let operation = batch.take(Tag::OPERATION);
        if operation.is_some_and(|value| value != Value::Enumeration(self.operation.number())) {
            return Err(no_kmip("it is about another operation"));
        }
        let id = batch.optional_bytes(Tag::UNIQUE_BATCH_ITEM_ID)?;
        if id.is_some_and(|id| *id != self.id.to_be_bytes()) {
            return Err(no_kmip("it is to another question"));
        }
        Ok(())
    }

    /// "KMIP Specification Version 1.4", section 9.1.3.2.29 "Result Reason Enumeration", and KMIP 2.0's further ones.
    fn failure(self, reason: u32, text: &str) -> KmipError {
        let told = |what: &str, next: &str| {
            let text = shown(text);
            let text = if text.is_empty() {
                text
            } else {
                format!(" (\"{text}\")")
            };
            format!("{} answered: {what}{text}{next}", self.operation.as_str())
        };
        match reason {
            0x01 | 0x36 | 0x37 => KmipError::Refused(told(
                "there is no such key for this client",
                ": see that `key_id` names it, that it is not destroyed, and that it belongs to whom `certificate` names",
            )),
            0x0D => KmipError::Refused(told("the key is archived", ": recover it")),
            0x03 | 0x14 | 0x15 => KmipError::Refused(told(
                "the client is not known",
                ": see that the server knows the subject of `certificate`, which must be made for client authentication",
            )),
            0x0C | 0x39 => KmipError::Refused(told(
                "permission denied",
                ": the key must be Active, its usage mask allow Encrypt and Decrypt, and its policy this client",
            )),
            0x0B | 0x16 | 0x17 | 0x1A => KmipError::Refused(told(
                "the key does not allow it",
                ": see its state, its usage and whether it may be read out",
            )),
            0x05 | 0x06 | 0x07 | 0x08 | 0x10 | 0x11 | 0x24 | 0x29 | 0x34 => {
                KmipError::Unsupported(told("the server does not do it so", ""))
            }
            0x04 => KmipError::Unsupported(told("the server does not understand it", "")),
            0x0A | 0x100 | 0x2A => KmipError::Failed(told("it did not work", ": see the server's log")),
            other => KmipError::Refused(told(&format!("result reason {other:#x}"), "")),
        }
    }
}

/// The answer is not what KMIP has.
pub(super) fn no_kmip(what: &str) -> KmipError {
    KmipError::Refused(format!(
        "its answer cannot be used, {what}: see that `endpoint` is a KMIP server's"
    ))
}

/// A text of the server, for people and logs: one line, and not endless.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(TEXT_CHARS_MAX)
        .collect();
    shown.truncate(shown.trim_end().len());
    shown
}

/// The items of a structure, taken one by one. What is left over is an extension that we do not know.
#[derive(Debug)]
pub(super) struct Fields(Vec<Item>);

impl Fields {
    /// The items of a value.
    ///
    /// # Errors
    /// [`KmipError::Refused`] when it is no structure.
    pub(super) fn of(value: Value) -> Result<Self, KmipError> {
        match value {
            Value::Structure(items) => Ok(Self(items)),
            _ => Err(no_kmip("a structure is missing")),
        }
    }

    /// Takes the first with this tag.
    pub(super) fn take(&mut self, tag: Tag) -> Option<Value> {
        let at = self.0.iter().position(|item| item.tag == tag)?;
        Some(self.0.remove(at).value)
    }

    pub(super) fn optional_structure(&mut self, tag: Tag) -> Result<Option<Self>, KmipError> {
        self.take(tag).map(Self::of).transpose()
    }

    pub(super) fn structure(&mut self, tag: Tag) -> Result<Self, KmipError> {
        self.optional_structure(tag)?
            .ok_or_else(|| no_kmip(&format!("{:06x} is missing", tag.0)))
    }

    pub(super) fn integer(&mut self, tag: Tag) -> Result<i32, KmipError> {
        match self.take(tag) {
            Some(Value::Integer(number)) => Ok(number),
            other => Err(unfit(tag, other.is_some())),
        }
    }

    pub(super) fn word(&mut self, tag: Tag) -> Result<u32, KmipError> {
        match self.take(tag) {
            Some(Value::Enumeration(number)) => Ok(number),
            other => Err(unfit(tag, other.is_some())),
        }
    }

    pub(super) fn optional_text(&mut self, tag: Tag) -> Result<Option<String>, KmipError> {
        match self.take(tag) {
            Some(Value::Text(text)) => Ok(Some(text)),
            None => Ok(None),
            Some(_) => Err(unfit(tag, true)),
        }
    }

    pub(super) fn optional_bytes(&mut self, tag: Tag) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, KmipError> {
        match self.take(tag) {
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            None => Ok(None),
            Some(_) => Err(unfit(tag, true)),
        }
    }

    pub(super) fn bytes(&mut self, tag: Tag) -> Result<zeroize::Zeroizing<Vec<u8>>, KmipError> {
        self.optional_bytes(tag)?.ok_or_else(|| unfit(tag, false))
    }

    /// The answer must be about the key that was asked for.
    ///
    /// # Errors
    /// [`KmipError::Refused`] when it names another.
    pub(super) fn must_be_about(&mut self, key_id: &str) -> Result<(), KmipError> {
        match self.optional_text(Tag::UNIQUE_IDENTIFIER)? {
            Some(id) if id != key_id => Err(no_kmip("it is about another key")),
            Some(_) | None => Ok(()),
        }
    }
}

fn unfit(tag: Tag, is_there: bool) -> KmipError {
    let what = if is_there { "is of another type" } else { "is missing" };
    no_kmip(&format!("{:06x} {what}", tag.0))
}
