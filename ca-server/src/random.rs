//! The only source of randomness in the server: aws-lc's generator, seeded by the kernel.

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;

/// Fills `buffer` with random bytes.
///
/// # Errors
/// [`RandomFailed`] if the generator has no entropy; nothing may then be issued.
pub fn fill(buffer: &mut [u8]) -> Result<(), RandomFailed> {
    rand::fill(buffer).map_err(|_| RandomFailed)
}

/// 32 random bytes, as a certificate's nonce wants them.
///
/// # Errors
/// [`RandomFailed`] as for [`fill`].
pub fn nonce32() -> Result<[u8; 32], RandomFailed> {
    let mut nonce = [0; 32];
    fill(&mut nonce)?;
    Ok(nonce)
}

/// A random (version 4) UUID as text, for request ids and mount ids. Never a secret.
#[must_use]
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `length` random characters out of 0-9, A-Z, a-z, as Vault's tokens and accessors are written.
///
/// # Errors
/// [`RandomFailed`] as for [`fill`].
pub fn base62(length: usize) -> Result<String, RandomFailed> {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(length);
    let mut block = [0; 64];
    while text.len() < length {
        fill(&mut block)?;
        // Rejection keeps every character equally likely: 248 is the largest multiple of 62 in a byte.
        let usable = block
            .iter()
            .filter(|byte| **byte < 248)
            .filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        text.extend(usable.take(length - text.len()).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

/// Random lower-case hex of `bytes` bytes.
///
/// # Errors
/// [`RandomFailed`] as for [`fill`].
pub fn hex(bytes: usize) -> Result<String, RandomFailed> {
    let mut buffer = vec![0; bytes];
    fill(&mut buffer)?;
    Ok(HEXLOWER.encode(&buffer))
}

/// The random generator did not deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the random generator failed")]
pub struct RandomFailed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_text_has_the_length_asked_for_and_differs_each_time() {
        let (one, two) = (base62(28).unwrap(), base62(28).unwrap());
        assert_eq!(one.len(), 28);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(one, two);
    }
}
