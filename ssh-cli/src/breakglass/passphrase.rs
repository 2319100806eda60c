//! Passphrases of break-glass keys: 160 random bits in nine groups that can be copied from paper, or one that a person chose.

use std::fmt;

use zeroize::Zeroizing;

use super::code;
use crate::random::Kernel;

/// 160 bits: no key derivation is needed to keep it from being guessed.
const RANDOM_BYTES: usize = 20;
const GROUP_CHARS: usize = 4;
/// Characters of the checksum behind the random ones.
const CHECK_CHARS: usize = 4;
const GENERATED_CHARS: usize = RANDOM_BYTES * 8 / 5 + CHECK_CHARS;
/// A person's own passphrase: six words of a word list have some 30.
const CHOSEN_CHARS_MIN: usize = 24;
const CHOSEN_DIFFERENT_MIN: usize = 10;

const GENERATED: u8 = 0;
const CHOSEN: u8 = 1;

/// A passphrase; wiped when dropped, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Why a passphrase is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// Too short or too uniform.
    #[error("a chosen passphrase needs {CHOSEN_CHARS_MIN} characters, {CHOSEN_DIFFERENT_MIN} of them different")]
    Weak,
    /// A character that another keyboard or terminal would send in another way.
    #[error("a chosen passphrase is printable ASCII, with no blank at its ends")]
    Character,
    /// What shares give is no passphrase.
    #[error("the shares do not fit together")]
    NotASecret,
}

impl Passphrase {
    /// Makes a random one.
    ///
    /// # Errors
    /// The kernel's, when it has no random source.
    pub fn generate() -> std::io::Result<Self> {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
        ssh_key::rand_core::TryRng::try_fill_bytes(&mut Kernel, bytes.as_mut_slice())?;
        Ok(Self::from_random(bytes.as_slice()))
    }

    fn from_random(bytes: &[u8]) -> Self {
        let mut chars = code::encode(bytes);
        chars.push_str(&checksum(bytes));
        Self(grouped(&chars))
    }

    /// Takes one that a person chose.
    ///
    /// # Errors
    /// [`PassphraseError`]
    pub fn chosen(text: &str) -> Result<Self, PassphraseError> {
        if text.trim() != text || !text.chars().all(|c| matches!(c, ' '..='~')) {
            return Err(PassphraseError::Character);
        }
        let different: std::collections::BTreeSet<char> = text.chars().collect();
        if text.len() < CHOSEN_CHARS_MIN || different.len() < CHOSEN_DIFFERENT_MIN {
            return Err(PassphraseError::Weak);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Takes one that opens an existing key, as typed: a generated one may be typed with any case, blanks and dashes.
    #[must_use]
    pub fn typed(text: &str) -> Self {
        let chars = code::typed(text);
        Self::read_generated(&chars).unwrap_or_else(|| Self(Zeroizing::new(text.to_owned())))
    }

    fn read_generated(chars: &str) -> Option<Self> {
        if chars.len() != GENERATED_CHARS {
            return None;
        }
        let (random, check) = chars.split_at_checked(GENERATED_CHARS - CHECK_CHARS)?;
        let bytes = code::decode(random).ok()?;
        (*checksum(&bytes) == *check).then(|| Self(grouped(chars)))
    }

    /// What is split into shares: a kind and the shortest form of it.
    #[must_use]
    pub fn to_secret(&self) -> Zeroizing<Vec<u8>> {
        let chars = code::typed(&self.0);
        let random = chars
            .get(..GENERATED_CHARS - CHECK_CHARS)
            .filter(|_| self.is_generated());
        match random.map(code::decode) {
            Some(Ok(bytes)) => Zeroizing::new([&[GENERATED], bytes.as_slice()].concat()),
            _ => Zeroizing::new([&[CHOSEN], self.0.as_bytes()].concat()),
        }
    }

    /// Back from [`Self::to_secret`].
    ///
    /// # Errors
    /// [`PassphraseError::NotASecret`] for what wrong shares give.
    pub fn from_secret(secret: &[u8]) -> Result<Self, PassphraseError> {
        match secret.split_first() {
            Some((&GENERATED, bytes)) if bytes.len() == RANDOM_BYTES => Ok(Self::from_random(bytes)),
            Some((&CHOSEN, bytes)) => {
                let text = std::str::from_utf8(bytes).map_err(|_| PassphraseError::NotASecret)?;
                Self::chosen(text).map_err(|_| PassphraseError::NotASecret)
            }
            _ => Err(PassphraseError::NotASecret),
        }
    }

    /// True when it is one of ours, with a checksum.
    #[must_use]
    pub fn is_generated(&self) -> bool {
        Self::read_generated(&code::typed(&self.0)).is_some_and(|read| read == *self)
    }

    /// The text, exactly as ssh-keygen wants it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

fn grouped(chars: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::new());
    for (at, c) in chars.chars().enumerate() {
        if at > 0 && at % GROUP_CHARS == 0 {
            out.push('-');
        }
        out.push(c);
    }
    out
}

fn checksum(bytes: &[u8]) -> Zeroizing<String> {
    let sum = super::share::sha256(&[b"signet-passphrase", bytes]);
    Zeroizing::new(code::encode(&sum).chars().take(CHECK_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_passphrase_survives_sloppy_typing() {
        let passphrase = Passphrase::generate().unwrap();
        let text = passphrase.expose();
        assert_eq!((text.len(), text.matches('-').count()), (44, 8));
        assert!(passphrase.is_generated());
        let sloppy = format!("  {} ", text.to_lowercase().replace('-', " ").replace('0', "O"));
        assert_eq!(Passphrase::typed(&sloppy), passphrase);
        assert_eq!(Passphrase::from_secret(&passphrase.to_secret()).unwrap(), passphrase);
        assert_eq!(format!("{passphrase:?}"), "Passphrase");
        assert_ne!(Passphrase::generate().unwrap(), passphrase);
    }

    #[test]
    fn a_chosen_passphrase_is_kept_as_it_is_and_must_be_strong() {
        let text = "correct horse battery Staple again";
        let passphrase = Passphrase::chosen(text).unwrap();
        assert!(!passphrase.is_generated());
        assert_eq!(Passphrase::typed(text).expose(), text);
        assert_eq!(Passphrase::from_secret(&passphrase.to_secret()).unwrap(), passphrase);
        for weak in [
            "",
            "short",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababababababab",
        ] {
            assert_eq!(Passphrase::chosen(weak), Err(PassphraseError::Weak), "{weak}");
        }
        for odd in [
            "korrekt pferd batterie klammer ü",
            " correct horse battery staple again",
        ] {
            assert_eq!(Passphrase::chosen(odd), Err(PassphraseError::Character), "{odd}");
        }
        assert_eq!(Passphrase::from_secret(b"\x07xyz"), Err(PassphraseError::NotASecret));
    }
}
