//! The only source of randomness in the client: the kernel's.

use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

/// 32 random bytes, wiped when dropped.
///
/// # Errors
/// The kernel's error, when it has no random source.
pub fn seed() -> std::io::Result<Zeroizing<[u8; 32]>> {
    let mut seed = Zeroizing::new([0; 32]);
    let mut filled = 0;
    while let Some(rest) = seed.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += getrandom(rest, GetRandomFlags::empty())?;
    }
    Ok(seed)
}

/// A random number for spreading requests over time.
///
/// # Errors
/// As [`seed`].
pub fn number() -> std::io::Result<u64> {
    let seed = seed()?;
    Ok(seed.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

/// The kernel's source for libraries that want one handed in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl ssh_key::rand_core::TryRng for Kernel {
    type Error = rustix::io::Errno;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += getrandom(rest, GetRandomFlags::empty())?;
        }
        Ok(())
    }
}

impl ssh_key::rand_core::TryCryptoRng for Kernel {}
