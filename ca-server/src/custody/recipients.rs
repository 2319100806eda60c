//! Key shares encrypted to their holders, so that who runs `init` or a rekey sees none of them.

use std::fmt;
use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::seal::shamir::Share;

/// The age recipients that shares are encrypted to, one for each in order; or nobody.
#[derive(Clone, Default)]
pub struct Recipients(Vec<age::x25519::Recipient>);

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipients({})", self.0.len())
    }
}

/// Shares as they are given away: hex and base64 of the same bytes, as in Vault.
#[derive(Debug)]
pub struct Printed {
    /// Vault's `keys`.
    pub hex: Vec<Zeroizing<String>>,
    /// Vault's `keys_base64`.
    pub base64: Vec<Zeroizing<String>>,
}

impl Recipients {
    /// Reads `age1…` recipients; there must be none or as many as `shares`.
    ///
    /// # Errors
    /// [`RecipientError`]
    pub fn parse(texts: &[String], shares: usize) -> Result<Self, RecipientError> {
        if !texts.is_empty() && texts.len() != shares {
            return Err(RecipientError::Count {
                given: texts.len(),
                wanted: shares,
            });
        }
        let parsed = texts.iter().map(|text| {
            age::x25519::Recipient::from_str(text.trim()).map_err(|why| RecipientError::Unreadable {
                text: text.clone(),
                why,
            })
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Prints shares, encrypted where there are recipients. What is inside is the share's base64 text.
    ///
    /// # Errors
    /// [`RecipientError::Encrypt`]
    pub fn print(&self, shares: &[Share]) -> Result<Printed, RecipientError> {
        if self.0.is_empty() {
            return Ok(Printed {
                hex: shares.iter().map(Share::to_hex).collect(),
                base64: shares.iter().map(Share::to_base64).collect(),
            });
        }
        let encrypted: Vec<Vec<u8>> = shares
            .iter()
            .zip(&self.0)
            .map(|(share, recipient)| encrypt(recipient, &share.to_base64()))
            .collect::<Result<_, _>>()?;
        Ok(Printed {
            hex: encrypted
                .iter()
                .map(|bytes| Zeroizing::new(HEXLOWER.encode(bytes)))
                .collect(),
            base64: encrypted
                .iter()
                .map(|bytes| Zeroizing::new(STANDARD.encode(bytes)))
                .collect(),
        })
    }

    /// Encrypts a text to the one recipient, as base64; `None` without one.
    ///
    /// # Errors
    /// [`RecipientError::Encrypt`]
    pub fn one(&self, text: &str) -> Result<Option<String>, RecipientError> {
        let encrypted = self.0.first().map(|recipient| encrypt(recipient, text)).transpose()?;
        Ok(encrypted.map(|bytes| STANDARD.encode(bytes)))
    }
}

fn encrypt(recipient: &age::x25519::Recipient, text: &str) -> Result<Vec<u8>, RecipientError> {
    age::encrypt(recipient, text.as_bytes()).map_err(|_| RecipientError::Encrypt)
}

/// Why shares cannot be encrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// Not one for each share.
    #[error("there are {given} age keys for {wanted} shares; give one for each, in the order of their holders")]
    Count {
        /// How many were given.
        given: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// Not an age recipient.
    #[error("`{text}` is no age recipient (age1…): {why}")]
    Unreadable {
        /// What was given; a public key, no secret.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// age failed.
    #[error("the share cannot be encrypted")]
    Encrypt,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::shamir::{ShareSpec, split};

    #[test]
    fn each_holder_opens_their_own_share_only() {
        let (_, shares) = split(&[1; 32], ShareSpec::new(2, 2).unwrap()).unwrap();
        let holders = [age::x25519::Identity::generate(), age::x25519::Identity::generate()];
        let texts: Vec<String> = holders.iter().map(|holder| holder.to_public().to_string()).collect();
        let printed = Recipients::parse(&texts, 2).unwrap().print(&shares).unwrap();
        for (index, holder) in holders.iter().enumerate() {
            let bytes = STANDARD.decode(&*printed.base64[index]).unwrap();
            assert_eq!(HEXLOWER.encode(&bytes), *printed.hex[index]);
            let text = String::from_utf8(age::decrypt(holder, &bytes).unwrap()).unwrap();
            assert!(Share::parse(&text).unwrap().is_same(&shares[index]));
            assert!(age::decrypt(&holders[1 - index], &bytes).is_err());
        }
    }

    #[test]
    fn recipients_that_cannot_be_used_are_named() {
        let one = age::x25519::Identity::generate().to_public().to_string();
        assert_eq!(
            Recipients::parse(std::slice::from_ref(&one), 2).unwrap_err(),
            RecipientError::Count { given: 1, wanted: 2 }
        );
        let wrong = Recipients::parse(&["keybase:me".to_owned()], 1).unwrap_err();
        assert!(wrong.to_string().contains("keybase:me"));
        assert!(Recipients::parse(&[], 5).is_ok());
    }
}
