//! The only reader of time in the server. Everything else takes a [`Clock`] and can therefore be tested at any hour.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use signet_core::time::UnixTime;

/// Tells the wall-clock time; cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Fixed(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::advance`] moves it; clones share the time.
    #[must_use]
    pub fn fixed(now: UnixTime) -> Self {
        Self(Source::Fixed(Arc::new(AtomicU64::new(now.secs().saturating_mul(1000)))))
    }

    /// Moves a fixed clock forward; the system clock ignores it.
    pub fn advance(&self, secs: u64) {
        if let Source::Fixed(millis) = &self.0 {
            millis.fetch_add(secs.saturating_mul(1000), Ordering::SeqCst);
        }
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.now_millis() / 1000)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_millis(&self) -> u64 {
        match &self.0 {
            Source::System => system_millis(),
            Source::Fixed(millis) => millis.load(Ordering::SeqCst),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this module is the one home of the clock")]
fn system_millis() -> u64 {
    // A clock before 1970 reads as 1970: every certificate would then be long expired, so nothing is granted by it.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
