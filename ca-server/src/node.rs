//! The server as its life goes: not initialised, sealed for a reason, or open with an [`Authority`]. The HTTP edge and
//! `serve.rs` hold a node; whoever wants to act takes the authority out of it, if there is one. Everything here that waits
//! for a seal or a disk blocks: call it off the request threads.

mod rekey;
mod restore;
mod root;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use secrecy::SecretString;
use signet_core::caller::Caller;
use signet_core::ledger::{Event, EventKind};
use signet_core::time::UnixTime;
use tokio::sync::watch;

pub use self::rekey::{RekeyDone, RekeyStatus, Target, VerifyStatus};
pub use self::root::{OTP_CHARS, RootProof, RootStatus};
use crate::authority::{Authority, OpenError};
use crate::command::chain;
use crate::config::SealSettings;
use crate::custody::{Custody, CustodyError, SealRow, SharePot, State};
use crate::foundation::Foundation;
use crate::keyring::{Keyring, TermInfo};
use crate::ledger::LedgerError;
use crate::random;
use crate::seal::key_file::KeyFileSeal;
use crate::seal::shamir::{Share, ShareError, ShareSet, ShareSpec};
use crate::seal::{self, Seal, SealError, SealKind};
use crate::tokens::{TokenError, Tokens};

/// Seconds between two attempts at a seal that is not available, at most.
const RETRY_SECS_MAX: u64 = 30;

/// A server, whatever state it is in.
#[derive(Debug)]
pub struct Node {
    foundation: Arc<Foundation>,
    custody: Custody,
    current: Option<Arc<dyn Seal>>,
    previous: Option<Arc<dyn Seal>>,
    open: ArcSwapOption<Authority>,
    /// What strangers may be told without asking the disk.
    summary: RwLock<Summary>,
    /// Transitions happen one after the other.
    changing: Mutex<()>,
    unsealing: Mutex<Option<Unsealing>>,
    rekeys: [Mutex<Option<rekey::Session>>; 2],
    root: Mutex<Option<root::Session>>,
    makes_mounts: AtomicBool,
    /// Whether a thread is trying already.
    trying: AtomicBool,
    /// Whether somebody obeys `restart`.
    restarts: AtomicBool,
    restart: tokio::sync::Notify,
    /// Counts how often it was sealed.
    sealings: watch::Sender<u64>,
}

/// Why there is no authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// Nobody has initialised it.
    Uninitialised,
    /// The seal is not available; it is tried again in a moment.
    Waiting(String),
    /// The seal refused. Trying again might lock it, so somebody has to look, then send SIGHUP or restart.
    Refused(String),
    /// People have to bring shares.
    Shares(String),
    /// Somebody sealed it, and it opens by itself at the next start only.
    ByHand,
    /// A backup takes the place of the data; the server starts anew on it.
    Restoring,
}

impl Closed {
    /// The reason in one clause.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Uninitialised => "the server is not initialised: `signet operator init`".to_owned(),
            Self::Waiting(reason) => format!("{reason}; it is tried again"),
            Self::Refused(reason) => format!("{reason}; mend it, then send SIGHUP"),
            Self::Shares(reason) => reason.clone(),
            Self::Restoring => "a backup is being restored; the server starts anew in a moment".to_owned(),
            Self::ByHand => "it was sealed by hand; restart the server to unseal it".to_owned(),
        }
    }
}

/// What `sys/seal-status` and `sys/health` tell.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The kind of seal before the store; of the configured one as long as there is none.
    pub kind: SealKind,
    /// Whether the store was founded.
    pub initialised: bool,
    /// The shares that count: of the Shamir seal, or the recovery keys.
    pub shares: Option<ShareSet>,
    /// Whether the store waits for shares to go to another seal.
    pub migration: bool,
    /// Why it is closed; `None` when open.
    pub closed: Option<Closed>,
}

/// Shares given towards opening the seal.
#[derive(Debug)]
struct Unsealing {
    nonce: String,
    pot: SharePot,
}

/// Who caused a change of custody.
#[derive(Debug, Clone)]
pub enum Actor {
    /// The server by itself, as `signet.toml` says.
    Server,
    /// Somebody with a share, at an address.
    Address(IpAddr),
    /// A caller with a token.
    Caller(Box<Caller>),
}

impl Actor {
    fn accessor(&self) -> Option<&str> {
        match self {
            Self::Server | Self::Address(_) => None,
            Self::Caller(caller) => Some(caller.accessor()),
        }
    }

    /// Writes into an event who caused it.
    fn sign(&self, event: Event) -> Event {
        match self {
            Self::Server => event.text("by", "signet.toml"),
            Self::Address(address) => event.text("by", "key-share").text("address", &address.to_string()),
            Self::Caller(caller) => event.caller(caller),
        }
    }
}

/// What `sys/init` makes, shown once.
#[derive(Debug)]
pub struct Initialised {
    /// Key shares or recovery keys.
    pub shares: Vec<Share>,
    /// The root token.
    pub root_token: SecretString,
}

impl Node {
    /// Begins: opens the seal if it can be opened without people, at the first start founds the store under a seal that
    /// needs none.
    ///
    /// # Errors
    /// What waiting cannot mend: a wrong key, settings that cannot be used, a damaged store.
    pub fn start(foundation: Arc<Foundation>) -> Result<Arc<Self>, OpenError> {
        let node = Self::closed(foundation)?;
        node.try_open()?;
        Ok(Arc::new(node))
    }

    /// A node around an authority that is open already.
    ///
    /// # Errors
    /// The settings' of a seal.
    pub fn around(authority: Arc<Authority>) -> Result<Arc<Self>, OpenError> {
        let node = Self::closed(Arc::clone(&authority.foundation))?;
        let row = node.custody.row()?;
        node.open.store(Some(authority));
        node.summarise(&row, None)?;
        Ok(Arc::new(node))
    }

    fn closed(foundation: Arc<Foundation>) -> Result<Self, OpenError> {
        let settings = &foundation.config.seal;
        let previous = settings.previous.as_ref().map(seal::automatic).transpose()?;
        let summary = Summary {
            kind: settings.current.kind(),
            initialised: false,
            shares: None,
            migration: false,
            closed: Some(Closed::Uninitialised),
        };
        Ok(Self {
            custody: Custody::new(Arc::clone(&foundation.store)),
            current: seal::automatic(&settings.current)?,
            previous: previous.flatten(),
            foundation,
            open: ArcSwapOption::empty(),
            summary: RwLock::new(summary),
            changing: Mutex::default(),
            unsealing: Mutex::default(),
            rekeys: Default::default(),
            root: Mutex::default(),
            makes_mounts: AtomicBool::new(false),
            trying: AtomicBool::new(false),
            restarts: AtomicBool::new(false),
            restart: tokio::sync::Notify::new(),
            sealings: watch::Sender::default(),
        })
    }

    /// What it stands on.
    #[must_use]
    pub const fn foundation(&self) -> &Arc<Foundation> {
        &self.foundation
    }

    /// The authority, while the seal is open. Take it once a request.
    #[must_use]
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.open.load_full()
    }

    /// Changes whenever somebody seals it: for whoever holds what came over the wire.
    #[must_use]
    pub fn sealings(&self) -> watch::Receiver<u64> {
        self.sealings.subscribe()
    }

    /// The authority, or why there is none.
    ///
    /// # Errors
    /// [`OpenError::Sealed`]
    pub fn opened(&self) -> Result<Arc<Authority>, OpenError> {
        self.authority()
            .ok_or_else(|| OpenError::Sealed { reason: self.reason() })
    }

    /// What strangers may be told.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.summary.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why it is closed; empty when open.
    #[must_use]
    pub fn reason(&self) -> String {
        self.summary().closed.map_or_else(String::new, |closed| closed.reason())
    }

    /// Shares given so far towards opening the seal, and the nonce of the undertaking.
    #[must_use]
    pub fn unseal_progress(&self) -> (usize, String) {
        lock(&self.unsealing).as_ref().map_or((0, String::new()), |unsealing| {
            (unsealing.pot.progress(), unsealing.nonce.clone())
        })
    }

    /// Whether this is a share of a split that counts here now. Its holder may have forged the rest of it.
    #[must_use]
    pub fn recognises(&self, share: &str) -> bool {
        let Ok(share) = Share::parse(share) else { return false };
        let mut sets: Vec<ShareSet> = self.summary().shares.into_iter().collect();
        sets.extend(
            self.rekeys
                .iter()
                .filter_map(|slot| lock(slot).as_ref().map(rekey::Session::set)),
        );
        sets.iter().any(|set| set.admit(&share).is_ok())
    }

    /// From now on the configured mounts are made whenever the seal opens, now if it is open.
    ///
    /// # Errors
    /// [`OpenError::ConfiguredMounts`]
    pub fn make_mounts(&self) -> Result<(), OpenError> {
        self.makes_mounts.store(true, Ordering::SeqCst);
        self.authority().map_or(Ok(()), |authority| make_mounts(&authority))
    }

    /// Keeps trying a seal that is not available, in a thread of its own that ends when it opened.
    pub fn keep_trying(self: &Arc<Self>) {
        if !matches!(self.summary().closed, Some(Closed::Waiting(_))) || self.trying.swap(true, Ordering::SeqCst) {
            return;
        }
        let node = Arc::clone(self);
        let trying = move || {
            let mut wait = 1;
            while matches!(node.summary().closed, Some(Closed::Waiting(_))) {
                std::thread::sleep(Duration::from_secs(wait));
                wait = (wait * 2).min(RETRY_SECS_MAX);
                node.try_again();
            }
            node.trying.store(false, Ordering::SeqCst);
        };
        if let Err(error) = std::thread::Builder::new().name("unseal".to_owned()).spawn(trying) {
            tracing::error!(%error, "no thread to unseal with");
        }
    }

    /// Tries a seal again that was not available or refused; a server that was sealed by hand stays sealed.
    pub fn try_again(&self) {
        if !matches!(self.summary().closed, Some(Closed::Waiting(_) | Closed::Refused(_))) {
            return;
        }
        if let Err(error) = self.try_open() {
            self.close(Closed::Refused(chain(&error)));
        }
        crate::serve::tell_status(self);
    }

    fn try_open(&self) -> Result<(), OpenError> {
        let _changing = lock(&self.changing);
        // Somebody may have sealed it by hand while this waited for the lock.
        if self.open.load().is_some() || self.summary().closed == Some(Closed::ByHand) {
            return Ok(());
        }
        match self.custody.state()? {
            State::Uninitialised => self.found_by_itself(),
            State::BeforeTerms(check) => self.take_over(&check),
            State::Sealed(row) => self.open_sealed(&row),
        }
    }

    /// A key file and a passphrase are there when the server is; all other seals wait for `sys/init`.
    fn found_by_itself(&self) -> Result<(), OpenError> {
        let by_itself = |seal: &&Arc<dyn Seal>| matches!(seal.kind(), SealKind::KeyFile | SealKind::Passphrase);
        let Some(seal) = self.current.as_ref().filter(by_itself) else {
            self.close(Closed::Uninitialised);
            return Ok(());
        };
        let founding = match self.custody.found_automatic(seal.as_ref(), None, self.now()) {
            Ok(founding) => founding,
            Err(error) => return self.wait_or_fail(error),
        };
        self.record(
            self.event(EventKind::Init, &Actor::Server)
                .text("seal", seal.kind().as_str()),
        )?;
        let (keyring, _) = founding.commit(Vec::new())?;
        self.take_into_use(keyring, &Actor::Server)
    }

    fn take_over(&self, check: &[u8]) -> Result<(), OpenError> {
        let settings = &self.foundation.config.seal;
        let both = [Some(&settings.current), settings.previous.as_ref()];
        let path = both.into_iter().flatten().find_map(|settings| match settings {
            SealSettings::KeyFile { path } => Some(path.clone()),
            _ => None,
        });
        let seal = KeyFileSeal::new(path.ok_or(CustodyError::TakeOverFirst)?);
        match self.custody.take_over(&seal, check, self.now()) {
            Ok(_) => {
                tracing::info!("the store has a keyring now: the key file's key wraps it");
                self.open_sealed(&self.custody.row()?)
            }
            Err(error) => self.wait_or_fail(error),
        }
    }

    fn open_sealed(&self, row: &SealRow) -> Result<(), OpenError> {
        self.summarise(row, Some(Closed::Waiting("the seal is being opened".to_owned())))?;
        let (found, configured) = (row.kind()?, self.foundation.config.seal.current.kind());
        let previous = self.previous.as_ref().filter(|seal| seal.kind() == found);
        let opened = match &self.current {
            Some(current) if found == configured => match (self.custody.open(row, current.as_ref()), previous) {
                // Another key of the same kind: the old one is described in [seal.previous].
                (
                    Err(CustodyError::Seal(SealError::WrongKey { .. } | SealError::Unavailable { .. })),
                    Some(previous),
                ) => self.migrate(row, previous.as_ref(), current.as_ref()),
                (opened, _) => opened.map_err(OpenError::from),
            },
            None if found == configured => {
                self.close(Closed::Shares(waits_for(
                    row.shares(),
                    "key shares: `signet operator unseal`",
                )));
                return Ok(());
            }
            Some(current) if found.is_automatic() => match previous {
                Some(previous) => self.migrate(row, previous.as_ref(), current.as_ref()),
                None => Err(CustodyError::OtherSeal { found, configured }.into()),
            },
            _ => return self.wait_for_migration(row, found, configured),
        };
        match opened {
            Ok(keyring) => self.take_into_use(keyring, &Actor::Server),
            Err(OpenError::Custody(error)) => self.wait_or_fail(error),
            Err(error) => Err(error),
        }
    }

    /// From shares or to shares: their holders decide.
    fn wait_for_migration(&self, row: &SealRow, found: SealKind, configured: SealKind) -> Result<(), OpenError> {
        let described = self.foundation.config.seal.previous.as_ref().map(SealSettings::kind);
        if described != Some(found) {
            return Err(CustodyError::OtherSeal { found, configured }.into());
        }
        let set = if found == SealKind::Shamir {
            row.shares()
        } else {
            row.recovery()
        };
        if set.is_none() {
            return Err(CustodyError::NoRecoveryKeys.into());
        }
        let command = format!(
            "to go from the {} seal to the {} seal: `signet operator migrate`",
            found.as_str(),
            configured.as_str()
        );
        self.close(Closed::Shares(waits_for(set, &command)));
        let mut summary = self.summary.write().unwrap_or_else(PoisonError::into_inner);
        (summary.migration, summary.shares) = (true, set);
        Ok(())
    }

    /// Recorded once the new seal has wrapped: one that is away is tried again and again, and that is no migration.
    fn migrate(&self, row: &SealRow, from: &dyn Seal, to: &dyn Seal) -> Result<Keyring, OpenError> {
        let resealing = self.custody.migrate(row, from, to, self.now())?;
        let event = self
            .event(EventKind::SealMigrate, &Actor::Server)
            .text("from", from.kind().as_str())
            .text("to", to.kind().as_str());
        self.record(event)?;
        Ok(resealing.commit()?)
    }

    /// A seal that is away is waited for, one that refuses is left alone; everything else ends the start.
    fn wait_or_fail(&self, error: CustodyError) -> Result<(), OpenError> {
        match error {
            CustodyError::Seal(SealError::Unavailable { .. }) => {
                tracing::warn!(%error, "sealed");
                self.close(Closed::Waiting(error.to_string()));
                Ok(())
            }
            CustodyError::Seal(SealError::Refused { .. }) => {
                tracing::error!(%error, "sealed");
                self.close(Closed::Refused(error.to_string()));
                Ok(())
            }
            other => Err(other.into()),
        }
    }

    /// `sys/init` for a seal of shares.
    ///
    /// # Errors
    /// [`LifeError`]; nothing is written then.
    pub fn init_shamir(&self, spec: ShareSpec, actor: &Actor) -> Result<Initialised, LifeError> {
        let _changing = lock(&self.changing);
        let founding = self.custody.found_shamir(spec, self.now())?;
        let (_, initialised) = self.found(founding, actor)?;
        self.summarise(&self.custody.row()?, None)?;
        let waits = waits_for(self.custody.row()?.shares(), "key shares: `signet operator unseal`");
        self.close(Closed::Shares(waits));
        Ok(initialised)
    }

    /// `sys/init` for a seal that opens by itself; it is open then.
    ///
    /// # Errors
    /// [`LifeError`]; nothing is written then.
    pub fn init_automatic(&self, recovery: ShareSpec, actor: &Actor) -> Result<Initialised, LifeError> {
        let _changing = lock(&self.changing);
        let seal = self.current.as_ref().ok_or(LifeError::NotForThisSeal)?;
        let founding = self
            .custody
            .found_automatic(seal.as_ref(), Some(recovery), self.now())?;
        let (keyring, initialised) = self.found(founding, actor)?;
        self.take_into_use(keyring, actor)?;
        Ok(initialised)
    }

    fn found(&self, founding: crate::custody::Founding, actor: &Actor) -> Result<(Keyring, Initialised), LifeError> {
        let root_token = Tokens::new_text()?;
        let (change, accessor) = Tokens::founding_root(&founding.keyring, &root_token, self.now())?;
        let event = self
            .event(EventKind::Init, actor)
            .text("seal", self.foundation.config.seal.current.kind().as_str())
            .text("new_accessor", &accessor);
        self.record(event)?;
        let (keyring, shares) = founding.commit(vec![change])?;
        Ok((keyring, Initialised { shares, root_token }))
    }

    /// Takes a share towards opening the seal; with the last one needed it opens.
    ///
    /// # Errors
    /// [`LifeError`]; with [`ShareError::DoNotOpen`] all shares must be given again.
    pub fn unseal(&self, share: &str, migrate: bool, from: IpAddr) -> Result<(), LifeError> {
        // Rubbish is refused before anything waits for it.
        let share = Share::parse(share)?;
        let _changing = lock(&self.changing);
        if self.open.load().is_some() {
            return Ok(());
        }
        let (row, summary) = (self.custody.row()?, self.summary());
        match (summary.migration, migrate) {
            (true, false) => return Err(LifeError::MigrationWaits),
            (false, true) => return Err(LifeError::NoMigration),
            (false, false) if row.kind()? != SealKind::Shamir => {
                return Err(LifeError::UnsealsItself { reason: self.reason() });
            }
            (true, true) | (false, false) => {}
        }
        let set = summary.shares.ok_or(CustodyError::RowBroken)?;
        let Some(shares) = self.collect(share, set, from)? else {
            return Ok(());
        };
        let actor = Actor::Address(from);
        let opened = if migrate {
            self.migrate_with(&row, &shares, &actor)
        } else {
            let seal = crate::seal::shamir::ShareSeal::from_shares(&shares)?;
            self.custody.open(&row, &seal).map_err(LifeError::from)
        };
        match opened {
            Ok(keyring) => Ok(self.take_into_use(keyring, &actor)?),
            Err(error) => {
                let event = self
                    .event(EventKind::UnsealFailed, &actor)
                    .text("reason", &error.to_string());
                self.record(event)?;
                Err(error)
            }
        }
    }

    fn collect(&self, share: Share, set: ShareSet, from: IpAddr) -> Result<Option<Vec<Share>>, LifeError> {
        let mut unsealing = lock(&self.unsealing);
        let fresh = || Unsealing {
            nonce: random::uuid(),
            pot: SharePot::new(set),
        };
        let current = unsealing.get_or_insert_with(fresh);
        if current.pot.set() != set {
            *current = fresh();
        }
        let complete = current.pot.add(share, from)?;
        if complete.is_some() {
            *unsealing = None;
        }
        Ok(complete)
    }

    fn migrate_with(&self, row: &SealRow, shares: &[Share], actor: &Actor) -> Result<Keyring, LifeError> {
        let (found, configured) = (row.kind()?, self.foundation.config.seal.current.kind());
        let resealing = match (&self.current, &self.previous) {
            (Some(to), _) => self.custody.migrate_from_shares(row, shares, to.as_ref(), self.now())?,
            (None, Some(from)) => self.custody.migrate_to_shares(row, from.as_ref(), shares, self.now())?,
            (None, None) => return Err(LifeError::NoMigration),
        };
        let event = self
            .event(EventKind::SealMigrate, actor)
            .text("from", found.as_str())
            .text("to", configured.as_str());
        self.record(event)?;
        Ok(resealing.commit()?)
    }

    /// Throws shares away: those from this address; all of them for who brings a share of the set.
    ///
    /// # Errors
    /// [`ShareError`] when what was brought is no share of the set.
    pub fn reset_unseal(&self, share: Option<&str>, from: IpAddr) -> Result<(), LifeError> {
        let mut unsealing = lock(&self.unsealing);
        let Some(current) = unsealing.as_mut() else {
            return Ok(());
        };
        // SECURITY: a stranger must not undo what the holders of shares did elsewhere.
        if let Some(share) = share {
            current.pot.set().admit(&Share::parse(share)?)?;
            current.pot.clear();
        } else {
            current.pot.forget_from(from);
        }
        if current.pot.progress() == 0 {
            *unsealing = None;
        }
        Ok(())
    }

    /// Seals: the keys leave the memory, requests that still run open nothing any more.
    ///
    /// # Errors
    /// The ledger's; it stays open then.
    pub fn seal(&self, actor: &Actor) -> Result<(), LifeError> {
        let _changing = lock(&self.changing);
        let Some(authority) = self.authority() else {
            return Ok(());
        };
        self.record(self.event(EventKind::Seal, actor))?;
        self.open.store(None);
        authority.keyring.forget();
        self.forget_sessions();
        self.sealings.send_modify(|count| *count += 1);
        let closed = match self.custody.row()? {
            row if row.kind()? == SealKind::Shamir => {
                Closed::Shares(waits_for(row.shares(), "key shares: `signet operator unseal`"))
            }
            _ => Closed::ByHand,
        };
        self.close(closed);
        crate::serve::tell_status(self);
        tracing::warn!("sealed");
        Ok(())
    }

    /// Begins a new term of the keyring.
    ///
    /// # Errors
    /// [`LifeError`]; the old term stays in force then.
    pub fn rotate(&self, actor: &Actor) -> Result<TermInfo, LifeError> {
        let _changing = lock(&self.changing);
        let authority = self.opened()?;
        self.record(self.event(EventKind::Rotate, actor))?;
        Ok(authority.keyring.rotate(self.now()).map_err(CustodyError::from)?)
    }

    fn take_into_use(&self, keyring: Keyring, actor: &Actor) -> Result<(), OpenError> {
        let row = self.custody.row()?;
        let authority = Authority::open_on(&self.foundation, keyring)?;
        self.record(self.event(EventKind::Unseal, actor).text("seal", row.kind()?.as_str()))?;
        crate::revocations::repeat_blocking(&authority).map_err(OpenError::from)?;
        if self.makes_mounts.load(Ordering::SeqCst) {
            make_mounts(&authority)?;
        }
        self.open.store(Some(authority));
        *lock(&self.unsealing) = None;
        self.summarise(&row, None)?;
        self.resume_rekey()?;
        crate::serve::tell_status(self);
        tracing::info!(seal = row.kind()?.as_str(), "unsealed");
        Ok(())
    }

    fn close(&self, closed: Closed) {
        self.summary.write().unwrap_or_else(PoisonError::into_inner).closed = Some(closed);
    }

    fn summarise(&self, row: &SealRow, closed: Option<Closed>) -> Result<(), CustodyError> {
        let kind = row.kind()?;
        let summary = Summary {
            kind,
            initialised: true,
            shares: if kind == SealKind::Shamir {
                row.shares()
            } else {
                row.recovery()
            },
            migration: false,
            closed,
        };
        *self.summary.write().unwrap_or_else(PoisonError::into_inner) = summary;
        Ok(())
    }

    fn now(&self) -> UnixTime {
        self.foundation.clock.now()
    }

    fn event(&self, kind: EventKind, actor: &Actor) -> Event {
        actor.sign(self.foundation.ledger.event(kind))
    }

    fn record(&self, event: Event) -> Result<(), LedgerError> {
        self.foundation.ledger.record_blocking(event).map(drop)
    }
}

fn waits_for(set: Option<ShareSet>, what: &str) -> String {
    set.map_or_else(
        || format!("it waits for {what}"),
        |set| format!("it waits for {} of {} {what}", set.t, set.n),
    )
}

/// In a thread of its own, as a runtime must not begin inside another.
fn make_mounts(authority: &Arc<Authority>) -> Result<(), OpenError> {
    let failed = |reason: String| OpenError::ConfiguredMounts { reason };
    let make = || -> Result<(), OpenError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        let made = runtime.block_on(crate::serve::make_mounts(authority));
        made.map_err(|error| failed(format!("{error:#}")))
    };
    std::thread::scope(|scope| scope.spawn(make).join()).unwrap_or_else(|_| Err(failed("a thread crashed".to_owned())))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a change of custody did not happen.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// Shares do not go with this seal.
    #[error("the configured seal has no key shares")]
    NotForThisSeal,
    /// The seal opens by itself.
    #[error("this server unseals itself, key shares do not open it: {reason}")]
    UnsealsItself {
        /// What it waits for.
        reason: String,
    },
    /// A migration is configured and was not meant.
    #[error("the server waits for a migration to another seal: give the key share with migrate=true")]
    MigrationWaits,
    /// A migration was meant and none is configured.
    #[error("no seal migration is in progress: describe the old seal in [seal.previous] and restart")]
    NoMigration,
    /// There is one already.
    #[error("{what} already in progress")]
    InProgress {
        /// Vault's word for it.
        what: &'static str,
    },
    /// There is none.
    #[error("no {what} in progress")]
    NotInProgress {
        /// Vault's word for it.
        what: &'static str,
    },
    /// The nonce is of another undertaking.
    #[error("incorrect nonce supplied; it must be the one that the {what} was started with")]
    Nonce {
        /// Vault's word for it.
        what: &'static str,
    },
    /// The one-time password has the wrong length.
    #[error("the OTP must have {wanted} characters")]
    Otp {
        /// How many.
        wanted: usize,
    },
    /// Custody.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// A backup that cannot be used.
    #[error(transparent)]
    Archive(#[from] crate::backup::archive::ArchiveError),
    /// A backup that cannot be restored.
    #[error(transparent)]
    Restore(#[from] crate::backup::restore::RestoreError),
    /// Opening.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Shares.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// Recipients of shares.
    #[error(transparent)]
    Recipients(#[from] crate::custody::recipients::RecipientError),
    /// The record could not be made durable: nothing was changed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The root token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] crate::random::RandomFailed),
}
