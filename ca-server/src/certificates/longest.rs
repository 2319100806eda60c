//! The longest lifetime that was ever issued: how far back a search for live certificates has to look. Raised durably before
//! a certificate that lives longer is issued, so that no search can miss one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::barrier::BarrierError;
use crate::config::SYSTEM_TTL_SECS;
use crate::keyring::{Keyring, KeyringError};
use crate::store::{Change, StoreError, Table};

const KEY: &str = "longest-lifetime";
/// Raised in steps of an hour, so that it is seldom raised.
const STEP_SECS: u64 = 3600;

/// The high-water mark of lifetimes.
#[derive(Debug)]
pub struct Longest {
    secs: AtomicU64,
    keyring: Arc<Keyring>,
    changing: tokio::sync::Mutex<()>,
}

impl Longest {
    /// Reads the mark. A ledger that issued certificates before there was a mark may hold any lifetime that mounts allowed:
    /// `allowed_secs`.
    ///
    /// # Errors
    /// [`KeyringError`] when it cannot be read.
    pub fn open(keyring: Arc<Keyring>, has_issued: bool, allowed_secs: u64) -> Result<Self, KeyringError> {
        let rows = keyring.store().scan(Table::Settings)?;
        let stored = rows.iter().find(|(key, _)| key == KEY);
        let secs = match stored {
            Some((key, sealed)) => {
                let text = keyring.unseal(Table::Settings, key, sealed)?;
                // Sealed by us, so it is a number; anything else counts as "may be any".
                std::str::from_utf8(&text)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(u64::MAX)
            }
            None if has_issued => allowed_secs.max(SYSTEM_TTL_SECS),
            None => 0,
        };
        Ok(Self {
            secs: AtomicU64::new(secs),
            keyring,
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// The change that forgets the mark, of a store that was put back to an older state: then the longest lifetime that is
    /// allowed counts.
    pub(crate) fn forgotten() -> Change {
        Change::Delete(Table::Settings, KEY.to_owned())
    }

    /// Seconds.
    #[must_use]
    pub fn secs(&self) -> u64 {
        self.secs.load(Ordering::Acquire)
    }

    /// Raises the mark to `lifetime_secs` if it is lower. Without that it costs one comparison.
    ///
    /// # Errors
    /// [`CoverError`]; no certificate of this lifetime may be issued then.
    pub async fn cover(&self, lifetime_secs: u64) -> Result<(), CoverError> {
        if lifetime_secs <= self.secs() {
            return Ok(());
        }
        let _changing = self.changing.lock().await;
        if lifetime_secs <= self.secs() {
            return Ok(());
        }
        let raised = lifetime_secs.div_ceil(STEP_SECS).saturating_mul(STEP_SECS);
        let change = self.keyring.seal(Table::Settings, KEY, raised.to_string().as_bytes())?;
        self.keyring.store().apply(vec![change]).durable().await?;
        self.secs.store(raised, Ordering::Release);
        Ok(())
    }
}

/// Why the mark was not raised.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CoverError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be sealed.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::barrier::Barrier;
    use crate::store::sqlite::SqliteStore;

    fn keyring(folder: &tempfile::TempDir) -> Arc<Keyring> {
        let store = Arc::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
        Arc::new(Keyring::open(Barrier::new(&[7; 32]).unwrap(), store).unwrap())
    }

    #[tokio::test]
    async fn the_mark_only_rises_and_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let longest = Longest::open(keyring(&folder), false, 0).unwrap();
        assert_eq!(longest.secs(), 0);
        longest.cover(1800).await.unwrap();
        assert_eq!(longest.secs(), 3600);
        longest.cover(7201).await.unwrap();
        longest.cover(60).await.unwrap();
        assert_eq!(longest.secs(), 10_800);
        drop(longest);
        assert_eq!(Longest::open(keyring(&folder), true, 0).unwrap().secs(), 10_800);
    }

    #[test]
    fn a_ledger_older_than_the_mark_may_hold_any_lifetime_that_was_allowed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            Longest::open(keyring(&folder), true, 0).unwrap().secs(),
            SYSTEM_TTL_SECS
        );
        let year = 366 * 86_400;
        assert_eq!(Longest::open(keyring(&folder), true, year).unwrap().secs(), year);
    }
}
