//! The break-glass ceremony: keys, shares, pages and documents. Nothing here talks to an authority, and a decrypted key is
//! only ever in memory.

pub mod code;
pub mod files;
pub mod key_file;
pub mod memory_agent;
pub mod page;
pub mod passphrase;
pub mod probe;
pub mod share;
pub mod unlock;

use signet_core::time::UnixTime;

/// The day of a time, `2026-11-26`.
#[must_use]
pub fn day(time: UnixTime) -> String {
    time.to_string().chars().take(10).collect()
}

/// A time without what a file name or a key ID would stumble over, `20261126T044615Z`.
#[must_use]
pub fn stamp(time: UnixTime) -> String {
    time.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect()
}
