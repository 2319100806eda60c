//! Modules: loaded and initialised once a process, by path. A module that lost its token for good is initialised anew, but
//! only when no session of it works any more.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::TokenError;

/// Between two initialisations of a module, at least.
const RENEWAL_PAUSE: Duration = Duration::from_secs(2);

type Place = Arc<Mutex<Option<Arc<Module>>>>;

static MODULES: LazyLock<Mutex<HashMap<PathBuf, Place>>> = LazyLock::new(Mutex::default);

/// A loaded module.
#[derive(Debug)]
pub(super) struct Module {
    path: PathBuf,
    /// Calls into the module hold it for reading; who initialises it anew holds it alone.
    state: RwLock<Loaded>,
    /// Sessions that worked when they were last used.
    live: AtomicUsize,
    renewed: Mutex<Option<Instant>>,
}

/// A module between two initialisations.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) pkcs11: Pkcs11,
    /// Sessions of an earlier generation are gone; their numbers may belong to others now.
    pub(super) generation: u64,
    /// Why the module does not start, if it does not.
    trouble: Option<TokenError>,
}

impl Module {
    /// The module at a path, loaded if it is not yet.
    pub(super) fn at(path: &Path) -> Result<Arc<Self>, TokenError> {
        let path = std::fs::canonicalize(path).map_err(|error| {
            TokenError::Setup(format!(
                "the PKCS#11 module `{}` cannot be loaded: {error}",
                path.display()
            ))
        })?;
        let place = {
            let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(modules.entry(path.clone()).or_default())
        };
        // A lock a module: one that hangs keeps no other from loading.
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = place.as_ref() {
            return Ok(Arc::clone(module));
        }
        let pkcs11 = Pkcs11::new(&path).map_err(|error| {
            TokenError::Setup(format!(
                "the PKCS#11 module `{}` cannot be loaded: {error}",
                path.display()
            ))
        })?;
        let mut loaded = Loaded {
            pkcs11,
            generation: 0,
            trouble: None,
        };
        loaded.initialise();
        let module = Arc::new(Self {
            path,
            state: RwLock::new(loaded),
            live: AtomicUsize::new(0),
            renewed: Mutex::default(),
        });
        *place = Some(Arc::clone(&module));
        Ok(module)
    }

    /// Holds the module for calls into it.
    pub(super) fn enter(&self) -> RwLockReadGuard<'_, Loaded> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn session_opened(&self) {
        self.live.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn session_gone(&self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }

    /// Initialises the module anew, unless somebody works with it, is inside it, or it was done a moment ago.
    pub(super) fn renew(&self) {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.live.load(Ordering::SeqCst) > 0 || renewed.is_some_and(|at| at.elapsed() < RENEWAL_PAUSE) {
            return;
        }
        // A call that hangs inside the module keeps the lock; finalising under it would be undefined.
        let mut state = match self.state.try_write() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        *renewed = Some(Instant::now());
        state.generation += 1;
        if state.trouble.is_none()
            && let Err(error) = state.pkcs11.clone().finalize()
        {
            tracing::warn!(module = %self.path.display(), %error, "a PKCS#11 module cannot be finalised");
        }
        state.initialise();
        tracing::debug!(module = %self.path.display(), trouble = ?state.trouble, "a PKCS#11 module was initialised anew");
    }
}

impl Loaded {
    fn initialise(&mut self) {
        let answer = self
            .pkcs11
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        self.trouble = match answer {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => None,
            Err(error) => Some(TokenError::Away(format!(
                "the PKCS#11 module does not start: {}",
                TokenError::of(&error)
            ))),
        };
    }

    /// Whether the module has started.
    pub(super) fn started(&self) -> Result<(), TokenError> {
        self.trouble.clone().map_or(Ok(()), Err)
    }
}
