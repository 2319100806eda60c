//! The only reader of the time in the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use signet_core::time::UnixTime;

/// This machine's wall clock.
#[must_use]
pub fn now() -> UnixTime {
    Clock::system().now()
}

/// A clock to hand to whatever lives longer than one moment; tests hand it one that they set.
#[derive(Debug, Clone)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// This machine's wall clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is moved on; its clones move with it.
    #[must_use]
    pub fn standing(now: UnixTime) -> Self {
        Self(Some(Arc::new(AtomicU64::new(now.secs()))))
    }

    /// Moves a standing clock on; the wall clock cannot be moved.
    pub fn advance(&self, secs: u64) {
        if let Some(now) = &self.0 {
            now.fetch_add(secs, Ordering::SeqCst);
        }
    }

    /// What it shows.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one module that reads the clock")]
    pub fn now(&self) -> UnixTime {
        let secs = self.0.as_ref().map_or_else(
            || {
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs()
            },
            |now| now.load(Ordering::SeqCst),
        );
        UnixTime::from_secs(secs)
    }
}
