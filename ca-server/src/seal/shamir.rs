//! The Shamir seal: a random key wraps the root key and is split into n shares, t of which give it back. The splitting is
//! vsss-rs' GF(256), constant-time and without tables; the share's own format, with a set's name and a checksum, is ours, so
//! that a typing error, a duplicate and a share of another split are told apart before anything secret is touched.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use rand_core::{TryCryptoRng, TryRng};
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq as _};
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use super::{RootKey, Seal, SealError, SealKind, unwrap_root, wrap_root};
use crate::random::{self, RandomFailed};

/// First byte of a share.
const VERSION: u8 = 1;
const SET_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
/// Version, set, threshold, number, index, body, checksum.
const SHARE_BYTES: usize = 1 + SET_BYTES + 3 + SECRET_BYTES + CHECKSUM_BYTES;

/// How many shares, and how many of them are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareSpec {
    shares: u8,
    threshold: u8,
}

impl ShareSpec {
    /// Checks the numbers by Vault's rules.
    ///
    /// # Errors
    /// [`ShareError::Spec`] with what is wrong.
    pub fn new(shares: i64, threshold: i64) -> Result<Self, ShareError> {
        let wrong = |reason| Err(ShareError::Spec { reason });
        if !(1..=255).contains(&shares) {
            return wrong("there must be 1 to 255 shares");
        }
        if threshold < 1 || threshold > shares {
            return wrong("the threshold must lie between 1 and the number of shares");
        }
        if shares > 1 && threshold == 1 {
            return wrong("the threshold must be greater than one for multiple shares");
        }
        match (u8::try_from(shares), u8::try_from(threshold)) {
            (Ok(shares), Ok(threshold)) => Ok(Self { shares, threshold }),
            _ => wrong("there must be 1 to 255 shares"),
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn shares(self) -> u8 {
        self.shares
    }

    /// How many are needed.
    #[must_use]
    pub const fn threshold(self) -> u8 {
        self.threshold
    }
}

/// The name of one split, random: shares of two splits never mix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SetId([u8; SET_BYTES]);

impl fmt::Debug for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who knows it may fill a progress bar with rubbish, so it is not shown around.
        f.write_str("SetId")
    }
}

impl SetId {
    fn is(self, other: Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl Serialize for SetId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for SetId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| serde::de::Error::custom("a set's name has 8 bytes"))
    }
}

/// Which split, into how many shares, how many of which are needed. Nothing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareSet {
    /// Its name.
    pub set: SetId,
    /// How many shares there are.
    pub n: u8,
    /// How many are needed.
    pub t: u8,
}

impl ShareSet {
    /// Whether `share` belongs to this split.
    ///
    /// # Errors
    /// [`ShareError::OtherSet`]
    pub fn admit(&self, share: &Share) -> Result<(), ShareError> {
        let same = self.set.is(share.set.set) & self.n.ct_eq(&share.set.n) & self.t.ct_eq(&share.set.t);
        if bool::from(same) {
            Ok(())
        } else {
            Err(ShareError::OtherSet)
        }
    }
}

/// One share. Printed once, to its holder.
pub struct Share {
    set: ShareSet,
    index: u8,
    body: Zeroizing<[u8; SECRET_BYTES]>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({})", self.index)
    }
}

impl Share {
    /// Reads a share in any of the forms it is printed in: hex or base64.
    ///
    /// # Errors
    /// [`ShareError::NotAShare`], [`ShareError::Checksum`].
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        let bytes = decode(text.trim()).ok_or(ShareError::NotAShare)?;
        let (payload, checksum) = bytes
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(ShareError::NotAShare)?;
        if !bool::from(checksum_of(payload).ct_eq(checksum)) {
            return Err(ShareError::Checksum);
        }
        let fields = (|| {
            let (version, rest) = payload.split_first()?;
            let (set, rest) = rest.split_first_chunk::<SET_BYTES>()?;
            let ([t, n, index], rest) = rest.split_first_chunk::<3>()?;
            let body: &[u8; SECRET_BYTES] = rest.try_into().ok()?;
            Some((*version, SetId(*set), (*t, *n, *index), Zeroizing::new(*body)))
        })();
        let (version, set, (t, n, index), body) = fields.ok_or(ShareError::NotAShare)?;
        if version != VERSION || index == 0 || index > n || ShareSpec::new(n.into(), t.into()).is_err() {
            return Err(ShareError::NotAShare);
        }
        Ok(Self {
            set: ShareSet { set, n, t },
            index,
            body,
        })
    }

    /// Which of the n it is, from 1.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// The split it says it is of.
    #[must_use]
    pub const fn set(&self) -> ShareSet {
        self.set
    }

    /// Whether two shares are the same, byte for byte.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.index.ct_eq(&other.index) & self.body.ct_eq(&*other.body)).into()
    }

    /// As hex, Vault's `keys`.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(HEXLOWER.encode(&self.to_bytes()))
    }

    /// As base64, Vault's `keys_base64`.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(&*self.to_bytes()))
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SHARE_BYTES));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.set.set.0);
        bytes.extend_from_slice(&[self.set.t, self.set.n, self.index]);
        bytes.extend_from_slice(&*self.body);
        let checksum = checksum_of(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // The alphabets overlap, the lengths do not.
    let bytes = if text.len() == 2 * SHARE_BYTES {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
    } else {
        STANDARD
            .decode(text)
            .or_else(|_| STANDARD_NO_PAD.decode(text))
            .or_else(|_| URL_SAFE.decode(text))
            .ok()
    };
    bytes.map(Zeroizing::new).filter(|bytes| bytes.len() == SHARE_BYTES)
}

/// Tells a typing error from a wrong share. It is made of the share alone, so it tells nothing that its holder has not got.
fn checksum_of(payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = digest(&SHA256, &[b"signet-share-1".as_slice(), payload].concat());
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

/// Splits a secret.
///
/// # Errors
/// [`ShareError::Random`] without randomness.
pub fn split(secret: &[u8; SECRET_BYTES], spec: ShareSpec) -> Result<(ShareSet, Vec<Share>), ShareError> {
    let mut id = [0; SET_BYTES];
    random::fill(&mut id)?;
    let set = ShareSet {
        set: SetId(id),
        n: spec.shares,
        t: spec.threshold,
    };
    if spec.threshold == 1 {
        let body = Zeroizing::new(*secret);
        return Ok((set, vec![Share { set, index: 1, body }]));
    }
    let mut randomness = Randomness { failed: false };
    let split = Gf256::split_bytes(spec.threshold.into(), spec.shares.into(), secret, &mut randomness);
    let split = split.map_err(|_| ShareError::Spec {
        reason: "the secret cannot be split like this",
    })?;
    let shares: Option<Vec<Share>> = split
        .into_iter()
        .map(Zeroizing::new)
        .map(|share| {
            let (index, body) = share.split_first()?;
            let body: &[u8; SECRET_BYTES] = body.try_into().ok()?;
            Some(Share {
                set,
                index: *index,
                body: Zeroizing::new(*body),
            })
        })
        .collect();
    // SECURITY: with a generator that failed the coefficients are known; nothing of this split may leave.
    match shares {
        Some(shares) if !randomness.failed => Ok((set, shares)),
        _ => Err(ShareError::Random(RandomFailed)),
    }
}

/// Puts a secret together. Fewer or wrong shares give another secret without an error: what it is for must prove it.
///
/// # Errors
/// [`ShareError::Duplicate`], [`ShareError::OtherSet`], [`ShareError::TooFew`].
pub fn combine(shares: &[Share]) -> Result<Zeroizing<[u8; SECRET_BYTES]>, ShareError> {
    let first = shares.first().ok_or(ShareError::TooFew)?;
    for (position, share) in shares.iter().enumerate() {
        first.set.admit(share)?;
        if shares.iter().skip(position + 1).any(|other| other.index == share.index) {
            return Err(ShareError::Duplicate { index: share.index });
        }
    }
    if shares.len() < usize::from(first.set.t) {
        return Err(ShareError::TooFew);
    }
    if first.set.t == 1 {
        return Ok(Zeroizing::new(*first.body));
    }
    let raw: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(
        shares
            .iter()
            .map(|share| {
                let mut raw = Vec::with_capacity(1 + SECRET_BYTES);
                raw.push(share.index);
                raw.extend_from_slice(&*share.body);
                raw
            })
            .collect(),
    );
    let secret = Zeroizing::new(Gf256::combine_bytes(&*raw).map_err(|_| ShareError::NotAShare)?);
    let secret: &[u8; SECRET_BYTES] = secret.as_slice().try_into().map_err(|_| ShareError::NotAShare)?;
    Ok(Zeroizing::new(*secret))
}

/// The server's generator, for vsss-rs, which knows no generator that can fail: a failure is remembered.
struct Randomness {
    failed: bool,
}

impl TryRng for Randomness {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
        self.failed |= random::fill(buffer).is_err();
        Ok(())
    }
}

impl TryCryptoRng for Randomness {}

/// The seal that t shares make, while they are together.
pub struct ShareSeal(Zeroizing<[u8; SECRET_BYTES]>);

impl fmt::Debug for ShareSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareSeal")
    }
}

impl ShareSeal {
    /// Takes the secret that the shares were split from.
    #[must_use]
    pub fn new(secret: Zeroizing<[u8; SECRET_BYTES]>) -> Self {
        Self(secret)
    }

    /// A new secret and its shares.
    ///
    /// # Errors
    /// [`ShareError`]
    pub fn generate(spec: ShareSpec) -> Result<(Self, ShareSet, Vec<Share>), ShareError> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        random::fill(&mut *secret)?;
        let (set, shares) = split(&secret, spec)?;
        Ok((Self(secret), set, shares))
    }

    /// Puts shares together.
    ///
    /// # Errors
    /// [`ShareError`]
    pub fn from_shares(shares: &[Share]) -> Result<Self, ShareError> {
        combine(shares).map(Self)
    }

    /// The secret, to prove recovery keys with.
    pub(crate) fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl Seal for ShareSeal {
    fn kind(&self) -> SealKind {
        SealKind::Shamir
    }

    fn wrap(&self, root_key: &RootKey) -> Result<Vec<u8>, SealError> {
        wrap_root(SealKind::Shamir, &self.0, root_key)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<RootKey, SealError> {
        unwrap_root(SealKind::Shamir, &self.0, wrapped)
    }
}

/// Why shares cannot be used. `Display` never holds a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Numbers that make no split.
    #[error("{reason}")]
    Spec {
        /// What is wrong.
        reason: &'static str,
    },
    /// Something else than a share.
    #[error("this is no key share of signet: it must be given whole, in hex or base64")]
    NotAShare,
    /// A mistake in it.
    #[error("this key share has a typing error: its checksum does not fit")]
    Checksum,
    /// A share of another split.
    #[error("this key share is of another split: of another server, or of before a rekey")]
    OtherSet,
    /// One share twice.
    #[error("key share {index} was given already")]
    Duplicate {
        /// Which one.
        index: u8,
    },
    /// Fewer than needed.
    #[error("there are too few key shares")]
    TooFew,
    /// The shares fit together and open nothing.
    #[error(
        "these key shares do not open the seal: at least one of them is wrong, or the store was altered; all must be given again"
    )]
    DoNotOpen,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}
