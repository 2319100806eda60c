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
