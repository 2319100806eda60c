//! The only reader of the time in the client.

use std::time::{SystemTime, UNIX_EPOCH};

use signet_core::time::UnixTime;

/// This machine's wall clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one module that reads the clock")]
pub fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_secs(since.as_secs())
}
