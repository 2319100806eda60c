//! Nonces for logins by SSH key. Asking for one costs no memory: a nonce is random ‖ time ‖ HMAC under a key that only this
//! process has, and only nonces that a login has used up are remembered, until they would have expired anyway.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use signet_core::time::UnixTime;

/// How long a nonce can be signed, in seconds.
pub const NONCE_TTL_SECS: u64 = 60;
const RANDOM_BYTES: usize = 16;
const TIME_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// A nonce in hex.
const NONCE_CHARS: usize = 2 * (RANDOM_BYTES + TIME_BYTES + TAG_BYTES);
/// Successful logins within [`NONCE_TTL_SECS`] that are remembered; past it logins wait rather than lose single use.
const USED_MAX: usize = 100_000;

/// Makes and checks nonces.
#[derive(Debug)]
pub struct Challenges {
    key: hmac::Key,
    used: Mutex<UsedNonces>,
    used_max: usize,
}

/// The random parts of used nonces, oldest first.
#[derive(Debug, Default)]
struct UsedNonces {
    by_age: VecDeque<(UnixTime, [u8; RANDOM_BYTES])>,
    set: HashSet<[u8; RANDOM_BYTES]>,
}

/// Why a nonce is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NonceError {
    /// Not made by this process: garbage, forged, another node's, or from before a restart.
    #[error("the nonce was not made by this server")]
    Foreign,
    /// Older than a minute, or from the future.
    #[error("the nonce has expired")]
    Expired,
    /// A login has used it.
    #[error("the nonce was used before")]
    Used,
    /// Too many logins within a minute.
    #[error("too many logins within a minute")]
    Full,
}

/// A nonce that is ours and fresh, and not used up yet.
#[derive(Debug)]
pub struct FreshNonce {
    random: [u8; RANDOM_BYTES],
    expires: UnixTime,
}

impl Challenges {
    /// Takes the key that signs nonces; random, new for each process.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            used: Mutex::default(),
            used_max: USED_MAX,
        }
    }

    /// Makes a nonce (hex) that can be used until [`NONCE_TTL_SECS`] after `now`.
    #[must_use]
    pub fn issue(&self, random: [u8; RANDOM_BYTES], now: UnixTime) -> String {
        let mut nonce = random.to_vec();
        nonce.extend_from_slice(&now.secs().to_be_bytes());
        let tag = hmac::sign(&self.key, &nonce);
        nonce.extend(tag.as_ref().iter().take(TAG_BYTES));
        HEXLOWER.encode(&nonce)
    }

    /// Checks that `nonce` is ours and fresh, and was not used.
    ///
    /// # Errors
    /// [`NonceError`]
    pub fn check(&self, nonce: &str, now: UnixTime) -> Result<FreshNonce, NonceError> {
        let fresh = self.open(nonce).ok_or(NonceError::Foreign)?;
        let issued = fresh.expires.minus(NONCE_TTL_SECS);
        if now >= fresh.expires || now < issued {
            return Err(NonceError::Expired);
        }
        if self
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .set
            .contains(&fresh.random)
        {
            return Err(NonceError::Used);
        }
        Ok(fresh)
    }

    /// Uses the nonce up. Of two logins with one nonce, at the same moment too, one gets an error.
    ///
    /// # Errors
    /// [`NonceError::Used`] and [`NonceError::Full`]
    pub fn consume(&self, nonce: &FreshNonce, now: UnixTime) -> Result<(), NonceError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.forget_expired(now);
        if used.set.len() >= self.used_max {
            return Err(NonceError::Full);
        }
        if !used.set.insert(nonce.random) {
            return Err(NonceError::Used);
        }
        used.by_age.push_back((nonce.expires, nonce.random));
        Ok(())
    }

    /// Takes a nonce of ours apart; the tag is compared in constant time.
    fn open(&self, nonce: &str) -> Option<FreshNonce> {
        if nonce.len() != NONCE_CHARS {
            return None;
        }
        let bytes = HEXLOWER.decode(nonce.as_bytes()).ok()?;
        let (signed, tag) = bytes.split_at_checked(RANDOM_BYTES + TIME_BYTES)?;
        let whole = hmac::sign(&self.key, signed);
        let right = whole.as_ref().get(..TAG_BYTES)?;
        if !bool::from(subtle::ConstantTimeEq::ct_eq(right, tag)) {
            return None;
        }
        let (random, time) = signed.split_at_checked(RANDOM_BYTES)?;
        let issued = u64::from_be_bytes(time.try_into().ok()?);
        Some(FreshNonce {
            random: random.try_into().ok()?,
            expires: UnixTime::from_secs(issued).plus(NONCE_TTL_SECS),
        })
    }
}

impl UsedNonces {
    /// Drops what would be refused as expired. Ages may be out of order by up to a minute, so the front decides late
    /// rather than early: an entry is never dropped before its time.
    fn forget_expired(&mut self, now: UnixTime) {
        while let Some((expires, random)) = self.by_age.front() {
            if *expires > now {
                break;
            }
            self.set.remove(random);
            self.by_age.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn challenges() -> Challenges {
        Challenges::new(&[9; 32])
    }

    #[test]
    fn a_nonce_is_good_for_a_minute_and_once() {
        let challenges = challenges();
        let nonce = challenges.issue([1; 16], NOW);
        assert_eq!(nonce.len(), NONCE_CHARS);
        assert_eq!(
            challenges.check(&nonce, NOW.minus(1)).err(),
            Some(NonceError::Expired),
            "from the future"
        );
        assert!(challenges.check(&nonce, NOW).is_ok());
        assert!(challenges.check(&nonce, NOW.plus(59)).is_ok());
        assert_eq!(challenges.check(&nonce, NOW.plus(60)).err(), Some(NonceError::Expired));

        let first = challenges.check(&nonce, NOW).unwrap();
        let second = challenges.check(&nonce, NOW).unwrap();
        assert_eq!(challenges.consume(&first, NOW), Ok(()));
        assert_eq!(
            challenges.consume(&second, NOW),
            Err(NonceError::Used),
            "two at the same moment"
        );
        assert_eq!(challenges.check(&nonce, NOW).err(), Some(NonceError::Used));
    }

    #[test]
    fn a_changed_or_foreign_nonce_is_refused() {
        let challenges = challenges();
        let nonce = challenges.issue([1; 16], NOW);
        for at in 0..NONCE_CHARS {
            let mut changed = nonce.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(
                challenges.check(&changed, NOW).err(),
                Some(NonceError::Foreign),
                "at {at}"
            );
        }
        let other = Challenges::new(&[8; 32]).issue([1; 16], NOW);
        for text in [
            other.as_str(),
            "",
            "zz",
            &nonce.to_uppercase(),
            &format!("{nonce}00"),
            &"é".repeat(40),
        ] {
            assert_eq!(challenges.check(text, NOW).err(), Some(NonceError::Foreign), "{text}");
        }
    }

    #[test]
    fn the_memory_of_used_nonces_is_bounded_and_drains() {
        let challenges = Challenges {
            used_max: 2,
            ..challenges()
        };
        let consume = |n: u8, at: UnixTime| {
            let nonce = challenges.issue([n; 16], at);
            let fresh = challenges.check(&nonce, at).unwrap();
            challenges.consume(&fresh, at)
        };
        assert_eq!(consume(1, NOW), Ok(()));
        assert_eq!(consume(2, NOW.plus(1)), Ok(()));
        assert_eq!(
            consume(3, NOW.plus(2)),
            Err(NonceError::Full),
            "refused rather than forgotten"
        );
        assert_eq!(consume(4, NOW.plus(60)), Ok(()));
    }
}
