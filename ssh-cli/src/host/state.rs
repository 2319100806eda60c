//! What sync remembers between its runs, one JSON file, replaced whole or not at all.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use signet_core::enrollment::AcceptedLogin;
use signet_core::time::UnixTime;

use super::layout::Layout;
use super::logins::Position;

/// Logins that wait for the authority. When so many wait, the log is not read on: it keeps them as well as this file would.
pub const UNREPORTED_MAX: usize = 10_000;
/// After the first failure the next try waits up to this long, then up to twice as long, and so on.
const BACK_OFF_SECS: u64 = 5 * 60;
/// No host stays behind for longer than this once the authority is back.
const BACK_OFF_MAX_SECS: u64 = 30 * 60;

/// The state of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Of the last report that was sent or about to be.
    pub sequence: u64,
    /// The newest version of the trust bundle that was verified here; `signet host check` reads it too.
    #[serde(rename = "newest_bundle_version")]
    pub newest_version: u64,
    /// The mount that it is of: each counts for itself. Empty in the state of an older `signet`.
    #[serde(rename = "newest_bundle_mount")]
    pub newest_mount: String,
    /// The entity tag that came with the bundle in force.
    pub etag: Option<HeldTag>,
    /// How far the log was read.
    pub log: Position,
    /// Logins that the authority has not taken yet, oldest first.
    pub unreported: Vec<AcceptedLogin>,
    /// Break-glass logins for which the alarm has not run yet.
    pub alarms_due: Vec<AcceptedLogin>,
    /// How often in a row the authority could not be reached.
    pub failures: u32,
    /// Before this time it is not asked again, seconds since 1970.
    pub not_before: u64,
    /// When the authority last took a report, seconds since 1970.
    pub last_report: u64,
}

/// An entity tag and the bundle it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTag {
    /// As the server sent it.
    pub etag: String,
    /// The bundle's version.
    pub version: u64,
    /// Where it came from.
    pub source: String,
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading failed.
    #[error("`{path}` cannot be read")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not what was written.
    #[error("`{path}` is damaged; what it knew is forgotten")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl State {
    /// Reads the state; that of a new host where there is none.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn load(layout: &Layout) -> Result<Self, StateError> {
        let path = layout.state();
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| StateError::Damaged { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(StateError::Read { path, source }),
        }
    }

    /// The text of the file.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The newest version of this mount's bundle that was verified here; 0 for none.
    #[must_use]
    pub fn newest_of(&self, mount: &str) -> u64 {
        let is_same = self.newest_mount.is_empty() || self.newest_mount == mount;
        if is_same { self.newest_version } else { 0 }
    }

    /// How many more logins fit.
    #[must_use]
    pub fn room(&self) -> usize {
        UNREPORTED_MAX.saturating_sub(self.unreported.len())
    }

    /// Whether the authority may be asked now. A clock that was set back must not silence a host for years.
    #[must_use]
    pub fn may_ask(&self, now: UnixTime) -> bool {
        now.secs() >= self.not_before || now.plus(2 * BACK_OFF_MAX_SECS).secs() < self.not_before
    }

    /// The authority answered.
    pub fn reached(&mut self) {
        self.failures = 0;
        self.not_before = 0;
    }

    /// It did not: the next try waits for a random time up to a limit that doubles, or for as long as the authority said, so
    /// that a thousand hosts do not come back in the same second.
    pub fn not_reached(&mut self, now: UnixTime, retry_after_secs: Option<u64>, random: u64) {
        let doubled = BACK_OFF_SECS.saturating_mul(1_u64.checked_shl(self.failures).unwrap_or(u64::MAX));
        let limit = doubled.min(BACK_OFF_MAX_SECS);
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after_secs.unwrap_or_default().min(BACK_OFF_MAX_SECS);
        self.not_before = now.plus(asked).plus(random % limit).secs();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_spread_the_next_try_over_more_and_more_time() {
        let now = UnixTime::from_secs(1_000_000);
        let mut state = State::default();
        for (random, wait) in [(299, 299), (599, 599), (1199, 1199), (1799, 1799), (1800, 0)] {
            state.not_reached(now, None, random);
            assert_eq!(state.not_before, now.plus(wait).secs());
        }
        assert!(
            !State {
                not_before: now.plus(1).secs(),
                ..State::default()
            }
            .may_ask(now)
        );
        assert!(state.may_ask(now));
        state.not_reached(now, Some(600), 5);
        assert_eq!(state.not_before, now.plus(605).secs());
        state.not_reached(now, Some(u64::MAX), 0);
        assert_eq!(state.not_before, now.plus(1800).secs());
        let set_back = UnixTime::from_secs(1000);
        assert!(
            state.may_ask(set_back),
            "a clock that was set back does not silence the host"
        );
        state.reached();
        assert!(state.may_ask(now) && state.failures == 0);
    }

    #[test]
    fn a_state_of_another_version_is_read_and_a_damaged_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::under(folder.path());
        assert_eq!(State::load(&layout).unwrap(), State::default());
        std::fs::create_dir_all(layout.state_folder()).unwrap();
        std::fs::write(layout.state(), r#"{"sequence": 7, "later": true}"#).unwrap();
        assert_eq!(State::load(&layout).unwrap().sequence, 7);
        std::fs::write(layout.state(), "").unwrap();
        assert!(matches!(State::load(&layout), Err(StateError::Damaged { .. })));
    }
}
