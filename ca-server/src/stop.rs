//! Where a debug build stops if it is told to, so that a test can kill it between two steps. A release build has no such places.

/// Stops for ever if `SIGNET_STOP_AT` names this step.
#[cfg(debug_assertions)]
pub(crate) fn at(step: &str) {
    if crate::config::environment("SIGNET_STOP_AT").as_deref() == Some(step) {
        tracing::warn!(step, "stopped, as SIGNET_STOP_AT says");
        loop {
            std::thread::park();
        }
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
pub(crate) const fn at(_step: &str) {}
