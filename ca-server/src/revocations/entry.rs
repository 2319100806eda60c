//! One revocation: who, when, why, what it reaches, and until when it is needed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use signet_core::krl::{CaRevocations, Krl, SerialSet};
use signet_core::time::UnixTime;

use super::PRUNE_MARGIN_SECS;

/// Who revoked, when, and in which words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The person.
    pub by: String,
    /// Seconds since 1970.
    pub at: u64,
    /// Why.
    pub reason: String,
    /// What was asked for, field by field.
    pub selector: BTreeMap<String, String>,
}

/// What a revocation adds to the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Blobs of the CA keys that serials and key IDs are of. A mount whose CA key is replaced keeps its old entries.
    pub authorities: Vec<Vec<u8>>,
    /// Serials.
    pub serials: SerialSet,
    /// Key IDs.
    pub key_ids: Vec<String>,
    /// Blobs of keys: subject keys, or a CA key with all it signed.
    pub keys: Vec<Vec<u8>>,
    /// SHA-256 of blobs of keys.
    pub sha256: Vec<[u8; 32]>,
}

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who, when, why, what.
    pub about: About,
    /// What it adds to the list.
    pub reach: Reach,
    /// How many certificates it hit when it was made.
    pub hits: u64,
    /// When the last certificate that it can hit ends, if that is known for all of them. Only such an entry is ever pruned.
    pub until: Option<UnixTime>,
}

/// As it lies in the store.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    about: About,
    authorities: Vec<String>,
    serials: String,
    key_ids: Vec<String>,
    keys: Vec<String>,
    sha256: Vec<String>,
    hits: u64,
    until: Option<u64>,
}

impl Entry {
    /// Whether every certificate that it can hit has ended, for slow clocks too.
    #[must_use]
    pub fn is_spent(&self, now: UnixTime) -> bool {
        self.spent_at().is_some_and(|spent| spent <= now)
    }

    /// When it can be pruned, if ever.
    #[must_use]
    pub fn spent_at(&self) -> Option<UnixTime> {
        Some(self.until?.plus(PRUNE_MARGIN_SECS))
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let base64 = |blobs: &[Vec<u8>]| blobs.iter().map(|blob| STANDARD.encode(blob)).collect();
        let stored = Stored {
            about: self.about.clone(),
            authorities: base64(&self.reach.authorities),
            serials: STANDARD.encode(packed(&self.reach.serials)),
            key_ids: self.reach.key_ids.clone(),
            keys: base64(&self.reach.keys),
            sha256: self.reach.sha256.iter().map(|hash| STANDARD.encode(hash)).collect(),
            hits: self.hits,
            until: self.until.map(UnixTime::secs),
        };
        // A struct of texts and numbers always has a JSON form.
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(json).ok()?;
        let blobs = |texts: &[String]| -> Option<Vec<Vec<u8>>> {
            texts.iter().map(|text| STANDARD.decode(text).ok()).collect()
        };
        let sha256 = blobs(&stored.sha256)?;
        Some(Self {
            reach: Reach {
                authorities: blobs(&stored.authorities)?,
                serials: unpacked(&STANDARD.decode(&stored.serials).ok()?)?,
                key_ids: stored.key_ids,
                keys: blobs(&stored.keys)?,
                sha256: sha256
                    .into_iter()
                    .map(|hash| hash.try_into().ok())
                    .collect::<Option<_>>()?,
            },
            about: stored.about,
            hits: stored.hits,
            until: stored.until.map(UnixTime::from_secs),
        })
    }
}

/// Adds all that `entries` reach to a list. Serials are merged once for all of them, so that many entries cost no more than
/// one.
pub(super) fn add_all<'a>(krl: &mut Krl, entries: impl IntoIterator<Item = &'a Entry>) {
    let mut ranges: BTreeMap<&[u8], Vec<(u64, u64)>> = BTreeMap::new();
    for Entry { reach, .. } in entries {
        for authority in &reach.authorities {
            if !reach.serials.is_empty() {
                let of_authority = ranges.entry(authority).or_default();
                of_authority.extend_from_slice(reach.serials.ranges());
            }
            if !reach.key_ids.is_empty() {
                let revoked = krl.authorities.entry(authority.clone()).or_default();
                revoked.key_ids.extend(reach.key_ids.iter().cloned());
            }
        }
        krl.keys.extend(reach.keys.iter().cloned());
        krl.sha256.extend(reach.sha256.iter().copied());
    }
    for (authority, ranges) in ranges {
        let revoked: &mut CaRevocations = krl.authorities.entry(authority.to_vec()).or_default();
        merge(&mut revoked.serials, ranges);
    }
}

/// More than this many new ranges are merged by sorting everything; fewer are put in one by one.
const SORT_FROM: usize = 64;

fn merge(set: &mut SerialSet, mut more: Vec<(u64, u64)>) {
    if more.len() >= SORT_FROM {
        more.extend_from_slice(set.ranges());
        more.sort_unstable();
        *set = SerialSet::default();
    }
    for (first, last) in more {
        set.insert_range(first, last);
    }
}

/// Gap and length of each range as numbers of seven bits a byte: a million scattered serials need two megabytes.
fn packed(serials: &SerialSet) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut end = 0;
    for (first, last) in serials.ranges() {
        push(&mut bytes, first.saturating_sub(end));
        push(&mut bytes, last.saturating_sub(*first));
        end = *last;
    }
    bytes
}

fn unpacked(mut bytes: &[u8]) -> Option<SerialSet> {
    let mut serials = SerialSet::default();
    let mut end: u64 = 0;
    while !bytes.is_empty() {
        let first = end.checked_add(pull(&mut bytes)?)?;
        end = first.checked_add(pull(&mut bytes)?)?;
        (first > 0).then_some(())?;
        serials.insert_range(first, end);
    }
    Some(serials)
}

const MORE: u8 = 0x80;

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            return bytes.push(low);
        }
        bytes.push(low | MORE);
    }
}

fn pull(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0_u64, 0_u32);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & !MORE).checked_shl(shift)?;
        if byte & MORE == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ranges: &[(u64, u64)]) -> Entry {
        let mut reach = Reach {
            authorities: vec![vec![1, 2], vec![3]],
            key_ids: vec!["job-1".to_owned()],
            keys: vec![vec![9; 40]],
            sha256: vec![[7; 32]],
            ..Reach::default()
        };
        for (first, last) in ranges {
            reach.serials.insert_range(*first, *last);
        }
        Entry {
            about: About {
                by: "alice".to_owned(),
                at: 5,
                reason: "lost\nlaptop".to_owned(),
                selector: [("serial".to_owned(), "7".to_owned())].into(),
            },
            reach,
            hits: 1,
            until: Some(UnixTime::from_secs(100)),
        }
    }

    #[test]
    fn an_entry_reads_back_as_it_was_stored() {
        for ranges in [
            &[][..],
            &[(1, 1)],
            &[(7, 7), (9, 300), (281_474_976_710_657, 281_474_976_710_657)],
            &[(1, 3), (u64::MAX - 1, u64::MAX)],
        ] {
            let entry = entry(ranges);
            assert_eq!(Entry::from_json(&entry.to_json()), Some(entry));
        }
        assert_eq!(Entry::from_json(b"{}"), None);
        assert_eq!(unpacked(&[0x80]), None, "cut short");
        assert_eq!(unpacked(&[0xff; 30]), None, "no number");
    }

    #[test]
    fn many_entries_at_once_and_one_by_one_make_the_same_list() {
        let entries: Vec<Entry> = (1..300_u64).rev().map(|n| entry(&[(n * 3, n * 3 + 1)])).collect();
        let mut at_once = Krl::default();
        add_all(&mut at_once, &entries);
        let mut one_by_one = Krl::default();
        for entry in &entries {
            add_all(&mut one_by_one, [entry]);
        }
        assert_eq!(at_once, one_by_one);
        assert_eq!(at_once.authorities.len(), 2);
    }

    #[test]
    fn an_entry_whose_end_is_not_known_is_never_spent() {
        let mut entry = entry(&[(1, 1)]);
        assert!(!entry.is_spent(UnixTime::from_secs(100 + PRUNE_MARGIN_SECS - 1)));
        assert!(entry.is_spent(UnixTime::from_secs(100 + PRUNE_MARGIN_SECS)));
        entry.until = None;
        assert!(!entry.is_spent(UnixTime::from_secs(u64::MAX)));
    }
}
