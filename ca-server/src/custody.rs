//! Custody: who can open the store, and how that changes. Founding a store, opening it, changing its keys and its seal, on a
//! [`Store`] and a [`Seal`] and nothing else: no HTTP, no clock, no files. Each change is one step of the store, so that
//! whoever is killed in the middle finds the old seal or the new one, never half of either.

pub mod pot;
pub mod recipients;
mod row;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signet_core::time::UnixTime;

pub use self::pot::SharePot;
use self::row::Pending;
pub use self::row::{SealRow, Waiting};
use crate::barrier::{Barrier, BarrierError};
use crate::keyring::{self, Keyring, KeyringError, Recovery, Stored};
use crate::random::{self, RandomFailed};
use crate::seal::key_file::KeyFileSeal;
use crate::seal::shamir::{Share, ShareError, ShareSeal, ShareSet, ShareSpec, split};
use crate::seal::{RootKey, Seal, SealError, SealKind};
use crate::stop;
use crate::store::{Change, Store, StoreError, Table};

/// What is bound into the check value of recovery keys.
const RECOVERY_PLACE: &str = "seal/recovery-check";
const RECOVERY_TEXT: &[u8] = b"signet recovery keys";

/// The custody of one store.
#[derive(Debug, Clone)]
pub struct Custody {
    store: Arc<dyn Store>,
}

/// What a store is found in.
#[derive(Debug)]
pub enum State {
    /// Nothing was ever sealed into it.
    Uninitialised,
    /// A key file's key sealed it directly, as before there were terms; with the check value.
    BeforeTerms(Vec<u8>),
    /// A seal stands before it.
    Sealed(Box<SealRow>),
}

/// A store about to be founded: nothing is written before [`Founding::commit`].
#[derive(Debug)]
#[must_use = "nothing is written before it is committed"]
pub struct Founding {
    /// The keyring, good for sealing what is to be written in the same step.
    pub keyring: Keyring,
    /// Key shares of a Shamir seal, recovery keys of another; in the order of their holders.
    pub shares: Vec<Share>,
    changes: Vec<Change>,
}

impl Founding {
    /// Writes the seal, the keyring and `beside` in one step. Blocking.
    ///
    /// # Errors
    /// The store's; it is then as before.
    pub fn commit(mut self, beside: Vec<Change>) -> Result<(Keyring, Vec<Share>), CustodyError> {
        self.changes.extend(beside);
        self.keyring.store().apply(self.changes).wait()?;
        Ok((self.keyring, self.shares))
    }
}

/// A store about to go under another seal, which has wrapped the new root key: nothing is written before
/// [`Resealing::commit`].
#[derive(Debug)]
#[must_use = "nothing is written before it is committed"]
pub struct Resealing {
    root: RootKey,
    store: Arc<dyn Store>,
    changes: Vec<Change>,
}

impl Resealing {
    /// Writes the new seal and the keyring under it in one step, and opens it. Blocking.
    ///
    /// # Errors
    /// The store's; it is then as before.
    pub fn commit(self) -> Result<Keyring, CustodyError> {
        stop::at("reseal-recorded");
        self.store.apply(self.changes).wait()?;
        stop::at("reseal-written");
        Ok(Keyring::unlock(&self.root, self.store)?)
    }
}

/// New key shares that are not in force before their holders have proved that they have them.
#[derive(Debug)]
pub struct Rekeyed {
    /// The new shares.
    pub shares: Vec<Share>,
    /// The split they are of.
    pub set: ShareSet,
    /// The nonce of the verification they wait for; `None` when they are in force.
    pub verification: Option<String>,
}

impl Custody {
    /// The custody of `store`.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// What the store is found in. Blocking.
    ///
    /// # Errors
    /// [`CustodyError::SealLost`] when there are secrets and no seal before them.
    pub fn state(&self) -> Result<State, CustodyError> {
        let traces = keyring::traces(self.store.as_ref())?;
        if let Some(row) = SealRow::read(self.store.as_ref())? {
            return Ok(State::Sealed(Box::new(row)));
        }
        if traces.keyring {
            return Err(CustodyError::SealLost);
        }
        if let Some(check) = traces.check {
            return Ok(State::BeforeTerms(check));
        }
        // INVARIANT: a store that holds secrets is never founded anew, whatever happened to its seal.
        for table in Table::ALL.iter().filter(|table| **table != Table::Settings) {
            if !self.store.scan(*table)?.is_empty() {
                return Err(CustodyError::SealLost);
            }
        }
        Ok(State::Uninitialised)
    }

    /// The seal's row, of a store that has one. Blocking.
    ///
    /// # Errors
    /// [`CustodyError::Uninitialised`], or the store's.
    pub fn row(&self) -> Result<SealRow, CustodyError> {
        SealRow::read(self.store.as_ref())?.ok_or(CustodyError::Uninitialised)
    }

    /// Founds a store under a seal that opens by itself, with recovery keys if they are wanted. Blocking.
    ///
    /// # Errors
    /// [`CustodyError`]; nothing is written.
    pub fn found_automatic(
        &self,
        seal: &dyn Seal,
        recovery: Option<ShareSpec>,
        now: UnixTime,
    ) -> Result<Founding, CustodyError> {
        self.must_be_new()?;
        let made = recovery.map(new_recovery).transpose()?;
        let (recovery, shares) = made.map_or((None, Vec::new()), |(recovery, shares)| (Some(recovery), shares));
        let root = RootKey::generate()?;
        let row = SealRow::new(seal.kind(), &seal.wrap(&root)?).with_recovery(recovery.as_ref().map(|made| made.set));
        self.founding(&Stored::new(now, recovery)?, &root, &row, shares)
    }

    /// Founds a store under shares. Blocking.
    ///
    /// # Errors
    /// [`CustodyError`]; nothing is written.
    pub fn found_shamir(&self, spec: ShareSpec, now: UnixTime) -> Result<Founding, CustodyError> {
        self.must_be_new()?;
        let (seal, set, shares) = ShareSeal::generate(spec)?;
        let root = RootKey::generate()?;
        let row = SealRow::new(SealKind::Shamir, &seal.wrap(&root)?).with_shares(Some(set));
        self.founding(&Stored::new(now, None)?, &root, &row, shares)
    }

    /// Puts a seal before a store that a key file's key sealed directly: that key becomes term 1. Blocking.
    ///
    /// # Errors
    /// [`CustodyError::Seal`] when it is another key; nothing is changed.
    pub fn take_over(&self, seal: &KeyFileSeal, check: &[u8], now: UnixTime) -> Result<Keyring, CustodyError> {
        let key = seal.key()?;
        if !keyring::is_key_of(&Barrier::of_key(&key)?, check) {
            return Err(KeyringError::WrongKey.into());
        }
        let root = RootKey::generate()?;
        let row = SealRow::new(SealKind::KeyFile, &seal.wrap(&root)?);
        let founding = self.founding(&Stored::taking_over(&key, now)?, &root, &row, Vec::new())?;
        Ok(founding.commit(Vec::new())?.0)
    }

    /// Opens the store. Blocking.
    ///
    /// # Errors
    /// [`CustodyError::OtherSeal`], the seal's, or the keyring's; nothing is changed.
    pub fn open(&self, row: &SealRow, seal: &dyn Seal) -> Result<Keyring, CustodyError> {
        let root = unwrap(row, seal)?;
        Ok(Keyring::unlock(&root, Arc::clone(&self.store))?)
    }

    /// Puts another seal that opens by itself in the place of one that does. Recovery keys stay. Blocking.
    ///
    /// # Errors
    /// [`CustodyError`]; the old seal stays then.
    pub fn migrate(
        &self,
        row: &SealRow,
        from: &dyn Seal,
        to: &dyn Seal,
        now: UnixTime,
    ) -> Result<Resealing, CustodyError> {
        let root = unwrap(row, from)?;
        let stored = Stored::read(&root, self.store.as_ref())?;
        let set = stored.recovery().map(|recovery| recovery.set);
        self.reseal(stored, to, now, |row| row.with_recovery(set))
    }

    /// Puts a seal that opens by itself in the place of shares; they become the recovery keys. Blocking.
    ///
    /// # Errors
    /// [`CustodyError`]; the shares stay in force then.
    pub fn migrate_from_shares(
        &self,
        row: &SealRow,
        shares: &[Share],
        to: &dyn Seal,
        now: UnixTime,
    ) -> Result<Resealing, CustodyError> {
        let from = ShareSeal::from_shares(shares)?;
        let root = unwrap(row, &from)?;
        let set = row.shares().ok_or(CustodyError::RowBroken)?;
        let recovery = Recovery {
            set,
            check: recovery_check(from.secret())?,
        };
        let stored = Stored::read(&root, self.store.as_ref())?.with_recovery(Some(recovery));
        self.reseal(stored, to, now, |row| row.with_recovery(Some(set)))
    }

    /// Puts shares in the place of a seal that opens by itself: the recovery keys become the shares. Blocking.
    ///
    /// # Errors
    /// [`CustodyError::NoRecoveryKeys`] and others; the old seal stays then.
    pub fn migrate_to_shares(
        &self,
        row: &SealRow,
        from: &dyn Seal,
        shares: &[Share],
        now: UnixTime,
    ) -> Result<Resealing, CustodyError> {
        let root = unwrap(row, from)?;
        let stored = Stored::read(&root, self.store.as_ref())?;
        let recovery = stored.recovery().ok_or(CustodyError::NoRecoveryKeys)?.clone();
        let to = proven(&recovery, shares)?;
        self.reseal(stored.with_recovery(None), &to, now, |row| {
            row.with_shares(Some(recovery.set))
        })
    }

    /// Splits anew, for whom `shares` prove. With `verify` the new shares wait beside the old ones, which stay in force
    /// until [`Custody::verify_rekey`]. Blocking.
    ///
    /// # Errors
    /// [`CustodyError`]; the old shares stay in force then.
    pub fn rekey(
        &self,
        keyring: &Keyring,
        shares: &[Share],
        spec: ShareSpec,
        verify: Option<&str>,
        now: UnixTime,
    ) -> Result<Rekeyed, CustodyError> {
        let row = self.row()?;
        let root = unwrap(&row, &ShareSeal::from_shares(shares)?)?;
        let (seal, set, shares) = ShareSeal::generate(spec)?;
        let verification = if let Some(rekey) = verify {
            let nonce = random::uuid();
            let waiting = Waiting {
                rekey: rekey.to_owned(),
                verification: nonce.clone(),
                set,
            };
            let pending = Pending::new(waiting, &seal.wrap(&root)?);
            self.store
                .apply(vec![row.with_pending(Some(pending)).change()])
                .wait()?;
            Some(nonce)
        } else {
            adopt(keyring, &seal, now, |row| row.with_shares(Some(set)))?;
            None
        };
        Ok(Rekeyed {
            shares,
            set,
            verification,
        })
    }

    /// The new shares whose holders have yet to prove that they have them. Blocking.
    ///
    /// # Errors
    /// The store's.
    pub fn pending_rekey(&self) -> Result<Option<Waiting>, CustodyError> {
        let row = SealRow::read(self.store.as_ref())?;
        Ok(row.and_then(|row| row.pending().map(|pending| pending.waiting.clone())))
    }

    /// Puts new shares in force, as t of them are here. Blocking.
    ///
    /// # Errors
    /// [`CustodyError`]; the old shares stay in force then.
    pub fn verify_rekey(&self, keyring: &Keyring, shares: &[Share], now: UnixTime) -> Result<(), CustodyError> {
        let (seal, set) = self.pending_seal(shares)?;
        adopt(keyring, &seal, now, |row| row.with_shares(Some(set)))
    }

    /// Proves that `shares` are of the split that waits for its verification. Blocking.
    ///
    /// # Errors
    /// [`ShareError`], without a word on which share is wrong.
    pub fn prove_pending(&self, shares: &[Share]) -> Result<(), CustodyError> {
        self.pending_seal(shares).map(drop)
    }

    fn pending_seal(&self, shares: &[Share]) -> Result<(ShareSeal, ShareSet), CustodyError> {
        let row = self.row()?;
        let pending = row.pending().ok_or(CustodyError::NothingPending)?;
        let seal = ShareSeal::from_shares(shares)?;
        let root = seal.unwrap(&pending.wrapped()?).map_err(|_| ShareError::DoNotOpen)?;
        // SECURITY: a pending row that somebody else wrote into the store wraps another root key.
        Stored::read(&root, self.store.as_ref())?;
        Ok((seal, pending.waiting.set))
    }

    /// Gives a rekey up that waits for its verification. Blocking.
    ///
    /// # Errors
    /// The store's.
    pub fn cancel_rekey(&self) -> Result<(), CustodyError> {
        let row = self.row()?;
        if row.pending().is_none() {
            return Ok(());
        }
        Ok(self.store.apply(vec![row.with_pending(None).change()]).wait()?)
    }

    /// Proves that `shares` open the store's Shamir seal, or are its recovery keys. Blocking.
    ///
    /// # Errors
    /// [`ShareError`], without a word on which share is wrong.
    pub fn prove(&self, keyring: &Keyring, shares: &[Share]) -> Result<(), CustodyError> {
        let row = self.row()?;
        if row.kind()? == SealKind::Shamir {
            return unwrap(&row, &ShareSeal::from_shares(shares)?).map(drop);
        }
        let recovery = keyring.recovery()?.ok_or(CustodyError::NoRecoveryKeys)?;
        proven(&recovery, shares).map(drop)
    }

    /// The split whose shares prove an operator: the key shares, or the recovery keys. Blocking.
    ///
    /// # Errors
    /// [`CustodyError::NoRecoveryKeys`] where there are none.
    pub fn operators(&self, keyring: &Keyring) -> Result<ShareSet, CustodyError> {
        let row = self.row()?;
        match row.kind()? {
            SealKind::Shamir => row.shares().ok_or(CustodyError::RowBroken),
            // The row's copy is for people; what counts lies under the root key.
            _ => Ok(keyring.recovery()?.ok_or(CustodyError::NoRecoveryKeys)?.set),
        }
    }

    /// New recovery keys, not yet in force. Whoever asks has proved the old ones, where there are some.
    ///
    /// # Errors
    /// [`CustodyError`]
    pub fn make_recovery(&self, spec: ShareSpec) -> Result<(Recovery, Vec<Share>), CustodyError> {
        if self.row()?.kind()? == SealKind::Shamir {
            return Err(CustodyError::NotForShamir);
        }
        new_recovery(spec)
    }

    /// Proves that `shares` are of these recovery keys.
    ///
    /// # Errors
    /// [`ShareError`]
    pub fn prove_recovery(recovery: &Recovery, shares: &[Share]) -> Result<(), CustodyError> {
        proven(recovery, shares).map(drop)
    }

    /// Puts recovery keys in force. Blocking.
    ///
    /// # Errors
    /// [`CustodyError`]; the old ones stay in force then.
    pub fn set_recovery(&self, keyring: &Keyring, recovery: Recovery) -> Result<(), CustodyError> {
        let row = self.row()?.with_recovery(Some(recovery.set));
        Ok(keyring.set_recovery(Some(recovery), vec![row.change()])?)
    }

    fn must_be_new(&self) -> Result<(), CustodyError> {
        match self.state()? {
            State::Uninitialised => Ok(()),
            State::BeforeTerms(_) | State::Sealed(_) => Err(CustodyError::AlreadyInitialised),
        }
    }

    fn founding(
        &self,
        stored: &Stored,
        root: &RootKey,
        row: &SealRow,
        shares: Vec<Share>,
    ) -> Result<Founding, CustodyError> {
        let (keyring, mut changes) = Keyring::found(stored, root, Arc::clone(&self.store))?;
        changes.push(row.change());
        Ok(Founding {
            keyring,
            shares,
            changes,
        })
    }

    /// Puts `seal` before the keyring, with a new root key and a new term: who keeps the old seal and an old copy of the
    /// store reads nothing that is written from now on.
    fn reseal(
        &self,
        mut stored: Stored,
        seal: &dyn Seal,
        now: UnixTime,
        complete: impl FnOnce(SealRow) -> SealRow,
    ) -> Result<Resealing, CustodyError> {
        stop::at("reseal-begun");
        let root = RootKey::generate()?;
        stored.add_term(now)?;
        let row = complete(SealRow::new(seal.kind(), &seal.wrap(&root)?));
        stop::at("reseal-wrapped");
        Ok(Resealing {
            changes: vec![stored.change(&root)?, row.change()],
            store: Arc::clone(&self.store),
            root,
        })
    }
}

/// As [`Custody::reseal`], for a keyring that is in use.
fn adopt(
    keyring: &Keyring,
    seal: &dyn Seal,
    now: UnixTime,
    complete: impl FnOnce(SealRow) -> SealRow,
) -> Result<(), CustodyError> {
    let root = RootKey::generate()?;
    let row = complete(SealRow::new(seal.kind(), &seal.wrap(&root)?));
    Ok(keyring.adopt(&root, vec![row.change()], now)?)
}

fn unwrap(row: &SealRow, seal: &dyn Seal) -> Result<RootKey, CustodyError> {
    let (found, configured) = (row.kind()?, seal.kind());
    if found != configured {
        return Err(CustodyError::OtherSeal { found, configured });
    }
    match seal.unwrap(&row.wrapped()?) {
        Err(SealError::WrongKey { kind: SealKind::Shamir }) => Err(ShareError::DoNotOpen.into()),
        other => Ok(other?),
    }
}

fn new_recovery(spec: ShareSpec) -> Result<(Recovery, Vec<Share>), CustodyError> {
    let secret = RootKey::generate()?;
    let (set, shares) = split(secret.expose(), spec)?;
    let check = recovery_check(secret.expose())?;
    Ok((Recovery { set, check }, shares))
}

fn recovery_check(secret: &[u8; 32]) -> Result<String, BarrierError> {
    Ok(STANDARD.encode(Barrier::of_key(secret)?.encrypt(RECOVERY_PLACE, RECOVERY_TEXT)?))
}

fn proven(recovery: &Recovery, shares: &[Share]) -> Result<ShareSeal, CustodyError> {
    for share in shares {
        recovery.set.admit(share)?;
    }
    let seal = ShareSeal::from_shares(shares)?;
    let check = STANDARD.decode(&recovery.check).map_err(|_| CustodyError::RowBroken)?;
    match Barrier::of_key(seal.secret())?.decrypt(RECOVERY_PLACE, &check) {
        Ok(text) if text.as_slice() == RECOVERY_TEXT => Ok(seal),
        Ok(_) | Err(_) => Err(ShareError::DoNotOpen.into()),
    }
}

/// Why custody did not change, or the store does not open.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CustodyError {
    /// Nothing was ever sealed into the store.
    #[error("the store is not initialised")]
    Uninitialised,
    /// It was founded already.
    #[error("Vault is already initialized")]
    AlreadyInitialised,
    /// Secrets without a seal.
    #[error(
        "the store holds secrets and no seal before them: a part of it was lost or rolled back; restore it from a backup"
    )]
    SealLost,
    /// The seal's row is not one of ours, or of a newer program.
    #[error("the store's seal cannot be read: it was altered, or a newer program wrote it")]
    RowBroken,
    /// Another kind of seal stands before the store than was configured.
    #[error("the store is under a {} seal, [seal] says {}: describe the old one in [seal.previous] to migrate", found.as_str(), configured.as_str())]
    OtherSeal {
        /// The store's.
        found: SealKind,
        /// The configured one.
        configured: SealKind,
    },
    /// A store of before there were seals.
    #[error("the store is under a key file of an older version: start it once with [seal] type = \"key-file\"")]
    TakeOverFirst,
    /// There are none.
    #[error("this server has no recovery keys: make them first (`signet operator rekey -target=recovery`)")]
    NoRecoveryKeys,
    /// The Shamir seal's own shares are its recovery keys.
    #[error("a shamir seal has no recovery keys beside its key shares")]
    NotForShamir,
    /// No new shares wait for their verification.
    #[error("no rekey waits for a verification")]
    NothingPending,
    /// Shares.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The seal.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// A value.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}
