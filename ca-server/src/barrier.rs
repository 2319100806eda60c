//! The barrier: AES-256-GCM between every secret and the store. The place of a value is bound into it, so that a value
//! moved to another key or table does not open.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::random::{self, RandomFailed};

/// First byte of every sealed value; a later format gets another.
const VERSION: u8 = 1;

/// Seals and opens secrets. The key lives in aws-lc's key object and leaves it never.
pub struct Barrier(LessSafeKey);

impl Barrier {
    /// Takes a key of 32 bytes; `None` for another length.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?)))
    }

    /// Seals `secret` for `place` (`table/key`): version, random nonce, ciphertext with tag.
    ///
    /// A random 96-bit nonce is safe for 2^32 values under one key (NIST SP 800-38D, "Constraints on the Number of
    /// Invocations"): at ten logins a second that is thirteen years.
    ///
    /// # Errors
    /// [`BarrierError`] without randomness.
    pub fn encrypt(&self, place: &str, secret: &[u8]) -> Result<Vec<u8>, BarrierError> {
        let mut nonce = [0; NONCE_LEN];
        random::fill(&mut nonce)?;
        let mut buffer = Zeroizing::new(secret.to_vec());
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad(place), &mut buffer)
            .map_err(|_| BarrierError::Damaged {
                place: place.to_owned(),
            })?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + buffer.len() + tag.as_ref().len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&buffer);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// [`BarrierError::Damaged`] for a flipped bit, another place's value or another key's.
    pub fn decrypt(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BarrierError> {
        let damaged = || BarrierError::Damaged {
            place: place.to_owned(),
        };
        let rest = sealed.strip_prefix(&[VERSION]).ok_or_else(damaged)?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .0
            .open_in_place(nonce, aad(place), &mut buffer)
            .map_err(|_| damaged())?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Barrier")
    }
}

fn aad(place: &str) -> Aad<&[u8]> {
    Aad::from(place.as_bytes())
}

/// Why a value did not pass the barrier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    /// The bytes are not what was sealed there under this key.
    #[error("the sealed value at `{place}` does not open: it was altered, moved, or belongs to another key file")]
    Damaged {
        /// Where it lies.
        place: String,
    },
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
