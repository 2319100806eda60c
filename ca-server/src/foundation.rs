//! What a server has whether it is sealed or not: configuration, time, counters, the store with nothing opened in it, the
//! ledger, and the policies in force. An [`Authority`](crate::authority::Authority) stands on it while the seal is open.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use signet_core::policy_set::PolicySet;

use crate::authority::{OpenError, prepare_data};
use crate::backup::{STORE, swap, take};
use crate::clock::Clock;
use crate::config::Config;
use crate::ledger::{FILE, Ledger, bond};
use crate::metrics::Metrics;
use crate::secret_file;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;

/// Everything that needs no key.
#[derive(Debug)]
pub struct Foundation {
    /// What `signet.toml` says.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
    /// The durable record; not encrypted, so that a sealed server records too.
    pub ledger: Ledger,
    /// The tables.
    pub store: Arc<dyn Store>,
    /// Whether a backup is being taken.
    pub backing_up: Arc<AtomicBool>,
    /// Whether one is being restored.
    pub restoring: Arc<AtomicBool>,
    policy: ArcSwap<PolicySet>,
    /// Held as long as this process may write the data folder.
    _lock: File,
}

impl Foundation {
    /// Makes the data folder at the first start, locks it, and opens what needs no key.
    ///
    /// # Errors
    /// [`OpenError`] saying what is wrong and with which file; nothing is changed or lost then.
    pub fn lay(config: Config, policy: PolicySet, clock: Clock) -> Result<Arc<Self>, OpenError> {
        let lock = prepare_data(&config.data)?;
        let fail = |source| OpenError::Data {
            path: config.data.clone(),
            source,
        };
        if let Some(aside) = swap::finish(&config.data).map_err(fail)? {
            tracing::warn!(aside = %aside.display(), "a restore was finished; the data of before lies aside");
        }
        take::tidy(&config.data).map_err(fail)?;
        secret_file::assert_all_private(&config.data, &config.sinks)?;
        let store = Arc::new(SqliteStore::open(&config.data.join(STORE))?);
        let metrics = Metrics::new();
        let ledger = Ledger::open(&config.data, config.node, &config.sinks, clock.clone(), metrics.clone())?;
        bond::renew(store.as_ref(), &config.data.join(FILE))?;
        Ok(Arc::new(Self {
            config: Arc::new(config),
            clock,
            metrics,
            ledger,
            store,
            backing_up: Arc::default(),
            restoring: Arc::default(),
            policy: ArcSwap::from_pointee(policy),
            _lock: lock,
        }))
    }

    /// Ends in good order: what waits is written, and a copy of one file that was made until now does not go with the other
    /// any more.
    pub fn end(&self) {
        self.ledger.close();
        if let Err(error) = bond::renew(self.store.as_ref(), &self.config.data.join(FILE)) {
            tracing::warn!(
                error = crate::command::chain(&error),
                "store and ledger keep the marks they had"
            );
        }
    }

    /// The policies in force.
    #[must_use]
    pub fn policy(&self) -> Arc<PolicySet> {
        self.policy.load_full()
    }

    /// Puts a new set in force for every request that begins from now on.
    pub fn set_policy(&self, policy: PolicySet) {
        self.policy.store(Arc::new(policy));
    }
}
