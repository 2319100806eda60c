//! The barrier: AES-256-GCM between every secret and the store. The place of a value is bound into it, so that a value
//! moved to another key or table does not open.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::random::{self, RandomFailed};

/// First byte of a value that is sealed under the one key there was before there were terms; also of wrapped keys.
pub(crate) const VERSION: u8 = 1;
/// First byte of a value that names its term.
pub(crate) const VERSION_TERM: u8 = 2;

/// Seals and opens secrets. The key lives in aws-lc's key object and leaves it never.
pub struct Barrier(LessSafeKey);

impl Barrier {
    /// Takes a key of 32 bytes; `None` for another length.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?)))
    }

    /// Takes exactly the 32 bytes that AES-256 wants.
    ///
    /// # Errors
    /// [`RandomFailed`] never happens for a key of this length; it stands for the impossible.
    pub(crate) fn of_key(key: &[u8; 32]) -> Result<Self, BarrierError> {
        Self::new(key).ok_or(BarrierError::Random(RandomFailed))
    }

    /// Seals `secret` for `place` (`table/key`): version, random nonce, ciphertext with tag.
    ///
    /// A random 96-bit nonce is safe for 2^32 values under one key (NIST SP 800-38D, "Constraints on the Number of
    /// Invocations"): at ten logins a second that is thirteen years.
    ///
    /// # Errors
    /// [`BarrierError`] without randomness.
    pub fn encrypt(&self, place: &str, secret: &[u8]) -> Result<Vec<u8>, BarrierError> {
        self.seal(&[VERSION], place.as_bytes(), place, secret)
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// [`BarrierError::Damaged`] for a flipped bit, another place's value or another key's.
    pub fn decrypt(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BarrierError> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or_else(|| damaged(place))?;
        self.open(place.as_bytes(), place, rest)
    }

    /// Seals `secret` under the key of `term`, which stands in front, bound into the tag.
    ///
    /// # Errors
    /// As [`Barrier::encrypt`].
    pub(crate) fn encrypt_term(&self, term: u32, place: &str, secret: &[u8]) -> Result<Vec<u8>, BarrierError> {
        let header = term_header(term);
        self.seal(&header, &[&header, place.as_bytes()].concat(), place, secret)
    }

    /// Opens what [`Barrier::encrypt_term`] made; `rest` is what follows version and term.
    ///
    /// # Errors
    /// As [`Barrier::decrypt`].
    pub(crate) fn decrypt_term(&self, term: u32, place: &str, rest: &[u8]) -> Result<Zeroizing<Vec<u8>>, BarrierError> {
        self.open(&[&term_header(term), place.as_bytes()].concat(), place, rest)
    }

    fn seal(&self, header: &[u8], bound: &[u8], place: &str, secret: &[u8]) -> Result<Vec<u8>, BarrierError> {
        let mut nonce = [0; NONCE_LEN];
        random::fill(&mut nonce)?;
        let mut buffer = Zeroizing::new(secret.to_vec());
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut buffer)
            .map_err(|_| damaged(place))?;
        Ok([header, &nonce, &buffer, tag.as_ref()].concat())
    }

    fn open(&self, bound: &[u8], place: &str, rest: &[u8]) -> Result<Zeroizing<Vec<u8>>, BarrierError> {
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN).ok_or_else(|| damaged(place))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged(place))?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(bound), &mut buffer)
            .map_err(|_| damaged(place))?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

/// Version and term, as they stand before a value.
fn term_header(term: u32) -> [u8; 5] {
    let [a, b, c, d] = term.to_be_bytes();
    [VERSION_TERM, a, b, c, d]
}

fn damaged(place: &str) -> BarrierError {
    BarrierError::Damaged {
        place: place.to_owned(),
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Barrier")
    }
}

/// Why a value did not pass the barrier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    /// The bytes are not what was sealed there under this key.
    #[error("the sealed value at `{place}` does not open: it was altered, moved, or belongs to another keyring")]
    Damaged {
        /// Where it lies.
        place: String,
    },
    /// It was sealed under a term that the keyring has not got.
    #[error(
        "the sealed value at `{place}` is of term {term}, the newest here is {newest}: a part of the store was rolled back"
    )]
    UnknownTerm {
        /// Where it lies.
        place: String,
        /// The term it names.
        term: u32,
        /// The newest term here.
        newest: u32,
    },
    /// The authority was sealed in the meantime; its keys are gone.
    #[error("the authority is sealed")]
    Sealed,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_at_the_same_place_under_the_same_key_open() {
        let barrier = Barrier::new(&[7; 32]).unwrap();
        let sealed = barrier.encrypt("ca_keys/a", b"secret").unwrap();
        assert_eq!(&**barrier.decrypt("ca_keys/a", &sealed).unwrap(), b"secret");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert!(barrier.decrypt("ca_keys/b", &sealed).is_err(), "moved");
        assert!(
            Barrier::new(&[8; 32]).unwrap().decrypt("ca_keys/a", &sealed).is_err(),
            "another key"
        );
        for index in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[index] ^= 1;
            assert!(barrier.decrypt("ca_keys/a", &flipped).is_err(), "byte {index}");
            assert!(
                barrier.decrypt("ca_keys/a", &sealed[..index]).is_err(),
                "cut at {index}"
            );
        }
        assert_ne!(
            sealed,
            barrier.encrypt("ca_keys/a", b"secret").unwrap(),
            "a new nonce each time"
        );
        assert_eq!(format!("{barrier:?}"), "Barrier");
    }
}
