//! TTLV, the bytes of KMIP: tag, type, length, value ("KMIP Specification Version 1.4", section 9.1 "TTLV Encoding"). The
//! decoder takes what the encoder makes and nothing else: no other padding, no bytes left over, nothing deep or endless.

#[cfg(test)]
mod tests;

use std::fmt;

use zeroize::Zeroizing;

use super::tag::Tag;

/// Longer than any answer that we ask for.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The deepest answer that we ask for, `Get`, has seven.
const DEPTH_MAX: usize = 12;
const ITEMS_MAX: usize = 1024;
/// Tag, type and length.
pub const HEADER_BYTES: usize = 8;
const BLOCK: usize = 8;

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub tag: Tag,
    /// Its value.
    pub value: Value,
}

/// The value of an item.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Items.
    Structure(Vec<Item>),
    /// 32 bits.
    Integer(i32),
    /// 64 bits.
    LongInteger(i64),
    /// Two's complement, most significant byte first; a whole number of blocks of eight bytes.
    BigInteger(Zeroizing<Vec<u8>>),
    /// One of a list that the standard has.
    Enumeration(u32),
    /// Yes or no.
    Boolean(bool),
    /// A text.
    Text(String),
    /// Bytes, which may be a key.
    Bytes(Zeroizing<Vec<u8>>),
    /// Seconds since 1970.
    DateTime(i64),
    /// Seconds.
    Interval(u32),
}

impl Value {
    const fn type_number(&self) -> u8 {
        match self {
            Self::Structure(_) => 0x01,
            Self::Integer(_) => 0x02,
            Self::LongInteger(_) => 0x03,
            Self::BigInteger(_) => 0x04,
            Self::Enumeration(_) => 0x05,
            Self::Boolean(_) => 0x06,
            Self::Text(_) => 0x07,
            Self::Bytes(_) => 0x08,
            Self::DateTime(_) => 0x09,
            Self::Interval(_) => 0x0A,
        }
    }

    /// Without padding.
    fn length(&self) -> usize {
        match self {
            Self::Structure(items) => items.iter().map(Item::encoded_length).sum(),
            Self::Integer(_) | Self::Enumeration(_) | Self::Interval(_) => 4,
            Self::LongInteger(_) | Self::DateTime(_) | Self::Boolean(_) => 8,
            Self::BigInteger(bytes) | Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }
}

/// Bytes may be a key, so only their number is shown.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structure(items) => f.debug_list().entries(items).finish(),
            Self::Integer(number) => write!(f, "{number}"),
            Self::LongInteger(number) | Self::DateTime(number) => write!(f, "{number}"),
            Self::Enumeration(number) | Self::Interval(number) => write!(f, "{number:#x}"),
            Self::Boolean(yes) => write!(f, "{yes}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::BigInteger(bytes) | Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

impl Item {
    /// An item.
    #[must_use]
    pub const fn new(tag: Tag, value: Value) -> Self {
        Self { tag, value }
    }

    /// Items in one.
    #[must_use]
    pub const fn structure(tag: Tag, items: Vec<Self>) -> Self {
        Self::new(tag, Value::Structure(items))
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(tag: Tag, bytes: &[u8]) -> Self {
        Self::new(tag, Value::Bytes(Zeroizing::new(bytes.to_vec())))
    }

    /// A text.
    #[must_use]
    pub fn text(tag: Tag, text: &str) -> Self {
        Self::new(tag, Value::Text(text.to_owned()))
    }

    /// One of a list.
    #[must_use]
    pub const fn word(tag: Tag, number: u32) -> Self {
        Self::new(tag, Value::Enumeration(number))
    }

    /// A number.
    #[must_use]
    pub const fn integer(tag: Tag, number: i32) -> Self {
        Self::new(tag, Value::Integer(number))
    }

    fn encoded_length(&self) -> usize {
        HEADER_BYTES + padded(self.value.length())
    }

    /// The item as bytes. One buffer, made in its full length, so that no copy of a key stays behind in a shorter one.
    ///
    /// # Errors
    /// [`TtlvError::TooLong`] for more than [`MESSAGE_BYTES_MAX`].
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, TtlvError> {
        let length = self.encoded_length();
        if length > MESSAGE_BYTES_MAX {
            return Err(TtlvError::TooLong { length });
        }
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        self.append(&mut out);
        Ok(out)
    }

    fn append(&self, out: &mut Vec<u8>) {
        let length = self.value.length();
        let [_, tag @ ..] = self.tag.0.to_be_bytes();
        out.extend_from_slice(&tag);
        out.push(self.value.type_number());
        // `encode` has refused what is longer than this can say.
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        let end = out.len() + padded(length);
        match &self.value {
            Value::Structure(items) => items.iter().for_each(|item| item.append(out)),
            Value::Integer(number) => out.extend_from_slice(&number.to_be_bytes()),
            Value::Enumeration(number) | Value::Interval(number) => out.extend_from_slice(&number.to_be_bytes()),
            Value::LongInteger(number) | Value::DateTime(number) => out.extend_from_slice(&number.to_be_bytes()),
            Value::Boolean(yes) => out.extend_from_slice(&u64::from(*yes).to_be_bytes()),
            Value::BigInteger(bytes) | Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        }
        out.resize(end, 0);
    }

    /// Reads exactly one item.
    ///
    /// # Errors
    /// [`TtlvError`]
    pub fn decode(bytes: &[u8]) -> Result<Self, TtlvError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(TtlvError::TooLong { length: bytes.len() });
        }
        let mut items = 0;
        let (item, rest) = decode(bytes, 1, &mut items)?;
        if rest.is_empty() {
            Ok(item)
        } else {
            Err(TtlvError::LeftOver { bytes: rest.len() })
        }
    }
}

/// How long a message is that begins so, header included.
///
/// # Errors
/// [`TtlvError::TooLong`] before anything of it is read, [`TtlvError::Type`] for what is no structure.
pub fn message_length(header: [u8; HEADER_BYTES]) -> Result<usize, TtlvError> {
    let [_, _, _, type_number, a, b, c, d] = header;
    if type_number != 0x01 {
        return Err(TtlvError::Type { number: type_number });
    }
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let length = length.saturating_add(HEADER_BYTES);
    if length > MESSAGE_BYTES_MAX {
        return Err(TtlvError::TooLong { length });
    }
    Ok(length)
}

const fn padded(length: usize) -> usize {
    length.next_multiple_of(BLOCK)
}

fn decode<'a>(bytes: &'a [u8], depth: usize, items: &mut usize) -> Result<(Item, &'a [u8]), TtlvError> {
    *items += 1;
    if depth > DEPTH_MAX || *items > ITEMS_MAX {
        return Err(TtlvError::TooMuch);
    }
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(TtlvError::Truncated)?;
    let [first, second, third, type_number, a, b, c, d] = *header;
    let tag = Tag(u32::from_be_bytes([0, first, second, third]));
    // 42 is the standard's, 54 is for extensions; everything else is not the beginning of an item.
    if !matches!(first, 0x42 | 0x54) {
        return Err(TtlvError::Tag { tag: tag.0 });
    }
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > rest.len() {
        return Err(TtlvError::Truncated);
    }
    let (value, padded_rest) = rest.split_at(length);
    let (padding, rest) = padded_rest
        .split_at_checked(padded(length) - length)
        .ok_or(TtlvError::Truncated)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(TtlvError::Padding { tag: tag.0 });
    }
    let value = decode_value(type_number, tag, value, depth, items)?;
    Ok((Item { tag, value }, rest))
}

fn decode_value(type_number: u8, tag: Tag, bytes: &[u8], depth: usize, items: &mut usize) -> Result<Value, TtlvError> {
    let wrong_length = || TtlvError::Length {
        tag: tag.0,
        length: bytes.len(),
    };
    let four = || <[u8; 4]>::try_from(bytes).map_err(|_| wrong_length());
    let eight = || <[u8; 8]>::try_from(bytes).map_err(|_| wrong_length());
    Ok(match type_number {
        0x01 => {
            let mut inner = Vec::new();
            let mut rest = bytes;
            while !rest.is_empty() {
                let (item, after) = decode(rest, depth + 1, items)?;
                inner.push(item);
                rest = after;
            }
            Value::Structure(inner)
        }
        0x02 => Value::Integer(i32::from_be_bytes(four()?)),
        0x03 => Value::LongInteger(i64::from_be_bytes(eight()?)),
        0x04 if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK) => return Err(wrong_length()),
        0x04 => Value::BigInteger(Zeroizing::new(bytes.to_vec())),
        0x05 => Value::Enumeration(u32::from_be_bytes(four()?)),
        0x06 => match u64::from_be_bytes(eight()?) {
            0 => Value::Boolean(false),
            1 => Value::Boolean(true),
            _ => return Err(TtlvError::Value { tag: tag.0 }),
        },
        0x07 => Value::Text(String::from_utf8(bytes.to_vec()).map_err(|_| TtlvError::Value { tag: tag.0 })?),
        0x08 => Value::Bytes(Zeroizing::new(bytes.to_vec())),
        0x09 => Value::DateTime(i64::from_be_bytes(eight()?)),
        0x0A => Value::Interval(u32::from_be_bytes(four()?)),
        number => return Err(TtlvError::Type { number }),
    })
}

/// Why bytes are no TTLV of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TtlvError {
    /// An item ends before its length.
    #[error("an item ends before its length")]
    Truncated,
    /// A message is longer than any that is asked for.
    #[error("a message of {length} bytes is too long")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Items are nested too deep, or too many.
    #[error("a message has too many items")]
    TooMuch,
    /// Bytes after the item.
    #[error("{bytes} bytes are left over after the message")]
    LeftOver {
        /// How many.
        bytes: usize,
    },
    /// Not the beginning of an item.
    #[error("{tag:06x} is no tag")]
    Tag {
        /// What stands there.
        tag: u32,
    },
    /// Not a type of the standard.
    #[error("{number:#04x} is no type that belongs here")]
    Type {
        /// What stands there.
        number: u8,
    },
    /// Not the length that this type has.
    #[error("the item {tag:06x} has a wrong length ({length} bytes)")]
    Length {
        /// The item.
        tag: u32,
        /// Its length.
        length: usize,
    },
    /// Padding that is not zero.
    #[error("the item {tag:06x} is not padded with zeros")]
    Padding {
        /// The item.
        tag: u32,
    },
    /// A value that the type cannot have.
    #[error("the item {tag:06x} has a value that its type cannot have")]
    Value {
        /// The item.
        tag: u32,
    },
}
