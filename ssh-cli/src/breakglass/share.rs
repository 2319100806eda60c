//! Shares of a passphrase, k of n (Shamir over GF(256)), each in a form that can be printed, typed and checked on its own.
//!
//! A share is `SGS1-` and groups of base32 (see [`super::code`]) over: version, set id (4 bytes), k, n, index, the share's
//! bytes, and the first four bytes of a SHA-256. The set id is random: it says which shares belong together, not to what.
//! Whether k of them give the passphrase is proven by opening the key, and by nothing else.

use std::fmt;

use ssh_key::rand_core::{TryRng as _, UnwrapErr};
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use super::code::{self, CodeError};
use crate::random::Kernel;

/// What every share's text begins with.
pub const PREFIX: &str = "SGS1";
/// More custodians than this is not a secret any more.
pub const SHARES_MAX: u8 = 16;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 8;
const CHECK_BYTES: usize = 4;

/// One share. `Debug` shows which, never what.
#[derive(Clone, PartialEq, Eq)]
pub struct Share {
    set: [u8; 4],
    threshold: u8,
    count: u8,
    index: u8,
    bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} of {}, set {})", self.index, self.count, self.set())
    }
}

/// Why shares cannot be made or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Numbers that make no sense.
    #[error(
        "{threshold} of {count} cannot be: at least 2 shares are needed to open, and at most {SHARES_MAX} are made"
    )]
    Numbers {
        /// k.
        threshold: u8,
        /// n.
        count: u8,
    },
    /// Not the text of a share.
    #[error("it is not a share")]
    NotAShare,
    /// A typing mistake.
    #[error("the share is mistyped")]
    Mistyped(#[from] CodeError),
    /// The whole does not fit its checksum.
    #[error("the share's checksum does not fit: two groups are mistyped, or it is damaged")]
    Checksum,
    /// Made by a later version.
    #[error("the share is of version {0}, which this program does not know")]
    Version(u8),
    /// Shares of two secrets.
    #[error("the shares are of different sets, {0} and {1}")]
    OtherSet(String, String),
    /// The same share again.
    #[error("share {0} is there twice")]
    Twice(u8),
    /// Not enough yet.
    #[error("{have} shares of {need} are there")]
    TooFew {
        /// How many.
        have: usize,
        /// How many it takes.
        need: u8,
    },
    /// The library refuses them.
    #[error("the shares cannot be put together")]
    Combine,
}

/// SHA-256 over the parts.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    use ssh_key::sha2::Digest as _;
    let mut hasher = ssh_key::sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Splits a secret so that any `threshold` of `count` shares give it back and fewer tell nothing.
///
/// # Errors
/// [`ShareError::Numbers`]
pub fn split(secret: &[u8], threshold: u8, count: u8) -> Result<Vec<Share>, ShareError> {
    let numbers = || ShareError::Numbers { threshold, count };
    if threshold < 2 || threshold > count || count > SHARES_MAX {
        return Err(numbers());
    }
    let mut set = [0; 4];
    Kernel.try_fill_bytes(&mut set).map_err(|_| ShareError::Combine)?;
    let made = Gf256::split_bytes(usize::from(threshold), usize::from(count), secret, UnwrapErr(Kernel));
    let made = made.map_err(|_| numbers())?;
    let share = |bytes: Vec<u8>| {
        let bytes = Zeroizing::new(bytes);
        let (index, rest) = bytes.split_first().ok_or(ShareError::Combine)?;
        Ok(Share {
            set,
            threshold,
            count,
            index: *index,
            bytes: Zeroizing::new(rest.to_vec()),
        })
    };
    made.into_iter().map(share).collect()
}

/// The secret that the shares give: the right one if they all are right.
///
/// # Errors
/// [`ShareError`] for too few, doubled or foreign shares.
pub fn combine(shares: &[Share]) -> Result<Zeroizing<Vec<u8>>, ShareError> {
    let first = shares.first().ok_or(ShareError::TooFew { have: 0, need: 2 })?;
    for (at, share) in shares.iter().enumerate() {
        if (share.set, share.threshold, share.count) != (first.set, first.threshold, first.count) {
            return Err(ShareError::OtherSet(first.set(), share.set()));
        }
        if shares.iter().take(at).any(|other| other.index == share.index) {
            return Err(ShareError::Twice(share.index));
        }
    }
    if shares.len() < usize::from(first.threshold) {
        return Err(ShareError::TooFew {
            have: shares.len(),
            need: first.threshold,
        });
    }
    let raw: Vec<Vec<u8>> = shares
        .iter()
        .map(|share| [&[share.index], share.bytes.as_slice()].concat())
        .collect();
    let secret = Gf256::combine_bytes(&raw).map_err(|_| ShareError::Combine);
    drop(Zeroizing::new(raw));
    secret.map(Zeroizing::new)
}

impl Share {
    /// The text that is printed.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut body = self.body();
        let check = checksum(&body);
        body.extend(check);
        Zeroizing::new(format!("{PREFIX}-{}", *code::encode_groups(&body)))
    }

    fn body(&self) -> Zeroizing<Vec<u8>> {
        let mut body = Zeroizing::new(Vec::with_capacity(HEAD_BYTES + self.bytes.len() + CHECK_BYTES));
        body.push(VERSION);
        body.extend(self.set);
        body.extend([self.threshold, self.count, self.index]);
        body.extend(self.bytes.iter());
        body
    }

    /// Reads a share, typed with any blanks, dashes and case.
    ///
    /// # Errors
    /// [`ShareError`]; a mistyped group is named by its number.
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        let typed = code::typed(text);
        let groups = typed.strip_prefix(PREFIX).ok_or(ShareError::NotAShare)?;
        let all = code::decode_groups(groups)?;
        let body_ends = all.len().checked_sub(CHECK_BYTES).ok_or(ShareError::NotAShare)?;
        let (body, check) = all.split_at_checked(body_ends).ok_or(ShareError::NotAShare)?;
        if checksum(body) != *check {
            return Err(ShareError::Checksum);
        }
        let (head, bytes) = body.split_first_chunk::<HEAD_BYTES>().ok_or(ShareError::NotAShare)?;
        let [version, a, b, c, d, threshold, count, index] = *head;
        if version != VERSION {
            return Err(ShareError::Version(version));
        }
        if threshold < 2 || threshold > count || count > SHARES_MAX || index == 0 || bytes.is_empty() {
            return Err(ShareError::NotAShare);
        }
        Ok(Self {
            set: [a, b, c, d],
            threshold,
            count,
            index,
            bytes: Zeroizing::new(bytes.to_vec()),
        })
    }

    /// Which shares belong together.
    #[must_use]
    pub fn set(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.set)
    }

    /// How many it takes.
    #[must_use]
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Which one this is, from 1.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.index
    }
}

fn checksum(body: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] = sha256(&[b"signet-share", body]);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"\x00twenty random bytes!";

    #[test]
    fn every_subset_of_k_gives_the_secret_and_fewer_do_not() {
        for count in 2..=6_u8 {
            for threshold in 2..=count {
                let shares = split(SECRET, threshold, count).unwrap();
                for mask in 1_u32..1 << count {
                    let chosen: Vec<Share> = shares
                        .iter()
                        .enumerate()
                        .filter(|(at, _)| mask & (1 << at) != 0)
                        .map(|(_, share)| Share::parse(&share.text()).unwrap())
                        .collect();
                    let enough = chosen.len() >= usize::from(threshold);
                    match combine(&chosen) {
                        Ok(secret) => assert!(enough && *secret == SECRET, "{chosen:?}"),
                        Err(error) => {
                            assert!(!enough, "{chosen:?}");
                            let have = chosen.len();
                            assert_eq!(error, ShareError::TooFew { have, need: threshold });
                        }
                    }
                }
            }
        }
    }

    /// The library does not know the threshold; ours stands in the share. Even past that check too few tell nothing.
    #[test]
    fn one_share_less_gives_another_secret_even_when_it_claims_to_suffice() {
        let shares = split(SECRET, 3, 5).unwrap();
        let lying: Vec<Share> = shares
            .into_iter()
            .take(2)
            .map(|share| Share { threshold: 2, ..share })
            .collect();
        assert_ne!(*combine(&lying).unwrap(), SECRET);
    }

    #[test]
    fn doubled_foreign_and_changed_shares_are_told_apart() {
        let shares = split(SECRET, 3, 5).unwrap();
        let others = split(SECRET, 3, 5).unwrap();
        let doubled = [shares[0].clone(), shares[1].clone(), shares[1].clone()];
        assert_eq!(combine(&doubled), Err(ShareError::Twice(2)));
        let foreign = [shares[0].clone(), shares[1].clone(), others[2].clone()];
        assert!(matches!(combine(&foreign), Err(ShareError::OtherSet(..))));
        assert!(matches!(combine(&[]), Err(ShareError::TooFew { .. })));
        assert!(format!("{:?}", shares[0]).starts_with("Share(1 of 5, set "));
    }

    #[test]
    fn typing_mistakes_are_found_and_named() {
        let share = split(SECRET, 2, 3).unwrap().remove(1);
        let text = share.text();
        assert_eq!(Share::parse(&text.to_lowercase().replace('-', " ")).unwrap(), share);
        let swap = |at: usize, with: char| {
            let mut chars: Vec<char> = text.chars().collect();
            chars[at] = with;
            chars.into_iter().collect::<String>()
        };
        let third_group = 5 + 2 * 6;
        let other = if text.as_bytes()[third_group] == b'7' { '8' } else { '7' };
        assert_eq!(
            Share::parse(&swap(third_group, other)),
            Err(ShareError::Mistyped(CodeError::Group(3)))
        );
        assert_eq!(
            Share::parse(&swap(third_group, 'U')),
            Err(ShareError::Mistyped(CodeError::Character('U')))
        );
        assert!(
            Share::parse(text.rsplit_once('-').unwrap().0).is_err(),
            "a group is missing"
        );
        for garbage in ["", "SGS1", "SGS1-", "SGS2-00000", "hello", "SGS1-0001C"] {
            assert!(Share::parse(garbage).is_err(), "{garbage}");
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for (threshold, count) in [(0, 0), (1, 1), (1, 5), (4, 3), (2, 17)] {
            assert_eq!(
                split(SECRET, threshold, count),
                Err(ShareError::Numbers { threshold, count })
            );
        }
    }
}
