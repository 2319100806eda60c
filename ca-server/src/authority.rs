//! The value that handlers hold: everything a request may need, opened once. Who has it can act; nothing global exists.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use signet_core::mistake::Mistake;
use signet_core::plan::MountLimits;
use signet_core::policy_set::PolicySet;
use signet_core::role::Role;

use crate::bundle::{BundleError, Bundles};
use crate::certificates::Longest;
use crate::clock::Clock;
use crate::config::Config;
use crate::custody::CustodyError;
use crate::foundation::Foundation;
use crate::hosts::{HostRegistry, HostStoreError};
use crate::keyring::{Keyring, KeyringError};
use crate::ledger::bond::BondError;
use crate::ledger::{Ledger, LedgerError, LedgerOpenError};
use crate::login::{LoginSetupError, Logins};
use crate::metrics::Metrics;
use crate::mounts::{Mount, MountError, Mounts};
use crate::node::Node;
use crate::revocations::{RepeatError, RevocationError, Revocations};
use crate::seal::SealError;
use crate::secret_file::SecretFileError;
use crate::signer::KeySources;
use crate::store::StoreError;
use crate::tokens::{TokenError, Tokens};

/// An opened authority.
#[derive(Debug)]
pub struct Authority {
    /// What `signet.toml` says.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// Mounts with their CA keys and API roles.
    pub mounts: Mounts,
    /// Tokens.
    pub tokens: Tokens,
    /// The durable record.
    pub ledger: Ledger,
    /// Counters.
    pub metrics: Metrics,
    /// Enrolled hosts.
    pub hosts: HostRegistry,
    /// Login methods.
    pub login: Logins,
    /// What is revoked, and the lists that hosts fetch.
    pub revocations: Revocations,
    /// The trust bundles that hosts fetch.
    pub bundles: Bundles,
    /// The longest lifetime that was ever issued.
    pub longest: Longest,
    /// What opens the secrets in the store.
    pub keyring: Arc<Keyring>,
    /// What it stands on.
    pub foundation: Arc<Foundation>,
}

impl Authority {
    /// Opens the data folder (made at the first start), everything in it, and the policies.
    ///
    /// # Errors
    /// [`OpenError`] saying what is wrong and with which file; nothing is changed or lost then.
    pub fn open(config: Config, policy: PolicySet, clock: Clock) -> Result<Arc<Self>, OpenError> {
        Node::start(Foundation::lay(config, policy, clock)?)?.opened()
    }

    /// Opens everything in a store whose seal is open.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed or lost then.
    pub fn open_on(foundation: &Arc<Foundation>, keyring: Keyring) -> Result<Arc<Self>, OpenError> {
        let config = &foundation.config;
        let (keyring, metrics) = (Arc::new(keyring), foundation.metrics.clone());
        let mounts = Mounts::open(Arc::clone(&keyring), &KeySources::of(config))?;
        let allowed_secs = mounts.list().iter().map(|mount| mount.max_ttl()).max();
        Ok(Arc::new(Self {
            revocations: Revocations::open(Arc::clone(&keyring), &mounts, metrics.clone())?,
            bundles: Bundles::open(Arc::clone(&keyring), &mounts, metrics.clone())?,
            longest: Longest::open(
                Arc::clone(&keyring),
                foundation.ledger.has_issued(),
                allowed_secs.unwrap_or_default(),
            )?,
            mounts,
            tokens: Tokens::open(Arc::clone(&keyring), config.limits.tokens_max)?,
            hosts: HostRegistry::open(Arc::clone(&keyring))?,
            ledger: foundation.ledger.clone(),
            login: Logins::new(config)?,
            config: Arc::clone(config),
            clock: foundation.clock.clone(),
            metrics,
            keyring,
            foundation: Arc::clone(foundation),
        }))
    }

    /// The policies in force. Take it once a request, so that one request sees one set.
    #[must_use]
    pub fn policy(&self) -> Arc<PolicySet> {
        self.foundation.policy()
    }

    /// Puts a new set in force for every request that begins from now on.
    pub fn set_policy(&self, policy: PolicySet) {
        self.foundation.set_policy(policy);
    }

    /// The role `name` of a mount: files come before the API.
    #[must_use]
    pub fn role(&self, mount: &Mount, name: &str) -> Option<Arc<Role>> {
        self.policy()
            .role(mount.path(), name)
            .cloned()
            .or_else(|| mount.role(name))
    }

    /// Names of all roles of a mount, of files and of the API, sorted.
    #[must_use]
    pub fn role_names(&self, mount: &Mount) -> Vec<String> {
        let mut names = mount.role_names();
        names.extend(self.policy().roles(mount.path()).map(|role| role.name().to_owned()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What the mount adds to its roles.
    #[must_use]
    pub fn limits(&self, mount: &Mount) -> MountLimits {
        MountLimits {
            default_ttl_secs: mount.default_ttl(),
            max_ttl_secs: mount.max_ttl(),
            strict_empty_principals: self.config.strict_empty_principals,
        }
    }
}

/// Makes the data folder if it is not there, asserts that only we can enter it, and takes its lock.
pub(crate) fn prepare_data(data: &Path) -> Result<File, OpenError> {
    let fail = |source| OpenError::Data {
        path: data.to_owned(),
        source,
    };
    match DirBuilder::new().mode(0o700).recursive(false).create(data) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(fail)?,
    }
    let metadata = fs::metadata(data).map_err(fail)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenError::TooOpen {
            path: data.to_owned(),
            mode,
        });
    }
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(data.join("lock"))
        .map_err(fail)?;
    // INVARIANT: one process per data folder; two would give the same serials and positions.
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| OpenError::InUse { path: data.to_owned() })?;
    Ok(lock)
}

/// Why the authority cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be made or used.
    #[error("the data folder `{}` cannot be used", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can enter the data folder.
    #[error("the data folder `{}` has mode {mode:04o}; others can enter it (run `chmod 700` on it)", path.display())]
    TooOpen {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others can read a file in it.
    #[error("in the data folder, {0}")]
    File(#[from] SecretFileError),
    /// Another server runs on the same folder.
    #[error("another signet-ca runs on the data folder `{}`", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Policies have mistakes.
    #[error("the policies have {} mistake(s)", .0.len())]
    Policies(Vec<Mistake>),
    /// The seal refuses, or is set up wrongly.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The seal and the store do not go together.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The seal stays closed.
    #[error("the authority is sealed: {reason}")]
    Sealed {
        /// What it waits for.
        reason: String,
    },
    /// The configured mounts.
    #[error("the configured mounts cannot be made: {reason}")]
    ConfiguredMounts {
        /// Why.
        reason: String,
    },
    /// The ledger cannot be written.
    #[error(transparent)]
    Record(#[from] LedgerError),
    /// The store.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    /// What lies under the barrier.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Mounts.
    #[error(transparent)]
    Mounts(#[from] MountError),
    /// Tokens.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerOpenError),
    /// Store and ledger do not go together.
    #[error(transparent)]
    Bond(#[from] BondError),
    /// Enrolled hosts.
    #[error(transparent)]
    Hosts(#[from] HostStoreError),
    /// Revocations.
    #[error("the revocations cannot be used")]
    Revocations(#[from] RevocationError),
    /// Revocations that a restored store has lost.
    #[error("the revocations that the ledger tells of cannot be made again")]
    Repeat(#[from] RepeatError),
    /// The trust bundles.
    #[error("the trust bundles cannot be used")]
    Bundles(#[from] BundleError),
    /// Login methods.
    #[error(transparent)]
    Logins(#[from] LoginSetupError),
}
