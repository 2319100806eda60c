//! Waiting for something to become true, instead of sleeping and hoping.

use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine; only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Asks again and again until the answer is there.
///
/// # Panics
/// After a minute, naming what was awaited.
pub fn until<T>(awaited: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain for {awaited}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
