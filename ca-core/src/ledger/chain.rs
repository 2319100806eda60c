//! Seals events into records: position, previous hash, own hash.

use std::fmt::{self, Write as _};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

use super::event::Event;
use crate::serial::NodeId;

/// A record's SHA-256, as it stands in `hash` and in the next record's `prev`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChainHash([u8; 32]);

/// The newest record: where the next one is sealed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Position of the newest record; 0 while there is none.
    pub position: u64,
    /// Its hash; zeros while there is none.
    pub hash: ChainHash,
}

const OPENING: &str = "{\"prev\":\"";
const POSITION: &str = "\",\"position\":";
const HASH: &str = ",\"hash\":\"";
const CLOSING: &str = "\"}";
const HEX_LENGTH: usize = 64;

impl ChainHash {
    /// What the first record's `prev` holds.
    pub const ZERO: Self = Self([0; 32]);

    /// Reads 64 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    pub(super) fn of(text: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(hash)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = [0; HEX_LENGTH];
        HEXLOWER.encode_mut(&self.0, &mut hex);
        f.write_str(std::str::from_utf8(&hex).unwrap_or_default())
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Head {
    /// The head of an empty ledger.
    pub const EMPTY: Self = Self {
        position: 0,
        hash: ChainHash::ZERO,
    };

    /// Reads the head from the newest record's line, without checking its hash.
    #[must_use]
    pub fn of_line(line: &str) -> Option<Self> {
        let parts = Parts::of(line)?;
        Some(Self {
            position: parts.position,
            hash: parts.hash,
        })
    }

    /// The head after `line`, if that is the record, intact, that was sealed onto this one.
    #[must_use]
    pub fn then(self, line: &str) -> Option<Self> {
        let parts = Parts::of(line)?;
        let follows = parts.prev == self.hash && self.position.checked_add(1) == Some(parts.position);
        (follows && parts.is_intact()).then_some(Self {
            position: parts.position,
            hash: parts.hash,
        })
    }
}

/// Seals `event` on `head`: the record's line (without line end) and the new head.
///
/// The line is appended to nothing else: equal inputs give equal lines.
#[must_use]
pub fn seal(head: Head, node: NodeId, event: &Event) -> (String, Head) {
    let position = head.position.saturating_add(1);
    let mut line = String::with_capacity(event.body().len() + 240);
    // Writing into a String cannot fail.
    let _infallible = write!(
        line,
        "{OPENING}{}{POSITION}{position},\"node\":{node}{}",
        head.hash,
        event.body()
    );
    let hash = ChainHash::of(&line);
    let _infallible = write!(line, "{HASH}{hash}{CLOSING}");
    (line, Head { position, hash })
}

/// A line taken apart at its fixed places. Nothing but the places is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) prev: ChainHash,
    pub(super) position: u64,
    /// The hash as written.
    pub(super) hash: ChainHash,
    /// What the hash covers.
    pub(super) sealed: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(line: &'a str) -> Option<Self> {
        let (sealed, hash) = line.strip_suffix(CLOSING)?.rsplit_once(HASH)?;
        let rest = sealed.strip_prefix(OPENING)?;
        let (prev, rest) = rest.split_once(POSITION)?;
        let (position, _) = rest.split_once(',')?;
        Some(Self {
            prev: ChainHash::parse(prev)?,
            position: position.parse().ok()?,
            hash: ChainHash::parse(hash)?,
            sealed,
        })
    }

    /// Whether the hash as written is the hash of the text.
    pub(super) fn is_intact(&self) -> bool {
        ChainHash::of(self.sealed) == self.hash
    }
}
