//! New key shares and new recovery keys: one undertaking of each at a time, started by who may, carried by the holders of
//! the old shares, and on request proved by the holders of the new ones before they count.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use signet_core::ledger::EventKind;

use super::{Actor, LifeError, Node, lock};
use crate::authority::OpenError;
use crate::custody::recipients::{Printed, Recipients};
use crate::custody::{Custody, CustodyError, SharePot};
use crate::keyring::Recovery;
use crate::random;
use crate::seal::SealKind;
use crate::seal::shamir::{Share, ShareSet, ShareSpec};

/// After this without an end an undertaking makes room for the next.
const LIFE: Duration = Duration::from_hours(1);
/// So long a cancellation must name the nonce, as in Vault: it is then not aimed at somebody else's undertaking.
pub(super) const NONCE_NEEDED: Duration = Duration::from_mins(10);

/// Which shares are made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The key shares of a Shamir seal.
    Barrier,
    /// The recovery keys of another.
    Recovery,
}

impl Target {
    const fn slot(self) -> usize {
        match self {
            Self::Barrier => 0,
            Self::Recovery => 1,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::Recovery => "recovery",
        }
    }
}

/// An undertaking.
#[derive(Debug)]
pub(super) struct Session {
    nonce: String,
    n: u8,
    t: u8,
    required: u8,
    verify: bool,
    stage: Stage,
    started: Instant,
    /// The accessor of the token that started it: who comes with it again means this one.
    starter: Option<String>,
}

#[derive(Debug)]
enum Stage {
    /// The holders of the old shares come together.
    Proving {
        pot: SharePot,
        spec: ShareSpec,
        recipients: Recipients,
    },
    /// The holders of the new ones do.
    Verifying {
        nonce: String,
        pot: SharePot,
        /// New recovery keys, not yet in force; new key shares wait in the store.
        recovery: Option<Recovery>,
    },
}

/// How an undertaking stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RekeyStatus {
    /// Names it; empty when there is none.
    pub nonce: String,
    /// Whether there is one.
    pub started: bool,
    /// New shares needed.
    pub t: u8,
    /// New shares.
    pub n: u8,
    /// Old shares given.
    pub progress: usize,
    /// Old shares needed.
    pub required: u8,
    /// Whether the new shares must be proved.
    pub verification_required: bool,
    /// Names the proof, once it has begun.
    pub verification_nonce: String,
}

/// How a proof of new shares stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyStatus {
    /// Names it; empty when there is none.
    pub nonce: String,
    /// New shares needed.
    pub t: u8,
    /// New shares.
    pub n: u8,
    /// New shares given.
    pub progress: usize,
}

/// New shares, shown once.
#[derive(Debug)]
pub struct RekeyDone {
    /// Names the undertaking.
    pub nonce: String,
    /// The shares.
    pub keys: Printed,
    /// Names the proof that must follow; empty when the shares are in force.
    pub verification_nonce: String,
}

const WHAT: &str = "rekey";

impl Session {
    /// The split whose shares are awaited.
    pub(super) const fn set(&self) -> ShareSet {
        match &self.stage {
            Stage::Proving { pot, .. } | Stage::Verifying { pot, .. } => pot.set(),
        }
    }

    fn status(&self) -> RekeyStatus {
        let (progress, verification_nonce) = match &self.stage {
            Stage::Proving { pot, .. } => (pot.progress(), String::new()),
            Stage::Verifying { nonce, .. } => (0, nonce.clone()),
        };
        RekeyStatus {
            nonce: self.nonce.clone(),
            started: true,
            t: self.t,
            n: self.n,
            progress,
            required: self.required,
            verification_required: self.verify,
            verification_nonce,
        }
    }
}

impl Node {
    /// How the undertaking stands.
    #[must_use]
    pub fn rekey_status(&self, target: Target) -> RekeyStatus {
        let session = lock(self.slot(target));
        session.as_ref().map_or_else(RekeyStatus::default, Session::status)
    }

    /// Begins one. Whoever calls has checked that `actor` may.
    ///
    /// # Errors
    /// [`LifeError::InProgress`], or that the seal has no such shares.
    pub fn rekey_start(
        &self,
        target: Target,
        spec: ShareSpec,
        recipients: Recipients,
        verify: bool,
        actor: &Actor,
    ) -> Result<RekeyStatus, LifeError> {
        let set = self.rekey_set(target)?;
        let mut slot = lock(self.slot(target));
        let in_the_way = |session: &Session| match session.stage {
            Stage::Proving { .. } => session.started.elapsed() < LIFE,
            Stage::Verifying { .. } => true,
        };
        if slot.as_ref().is_some_and(in_the_way) {
            return Err(LifeError::InProgress { what: WHAT });
        }
        let event = self.event(EventKind::RekeyStart, actor).text("target", target.as_str());
        self.record(
            event
                .number("shares", spec.shares().into())
                .number("threshold", spec.threshold().into()),
        )?;
        let session = Session {
            nonce: random::uuid(),
            n: spec.shares(),
            t: spec.threshold(),
            required: set.t,
            verify,
            stage: Stage::Proving {
                pot: SharePot::new(set),
                spec,
                recipients,
            },
            started: Instant::now(),
            starter: actor.accessor().map(str::to_owned),
        };
        let status = session.status();
        *slot = Some(session);
        Ok(status)
    }

    /// The split whose shares are needed to make new ones.
    ///
    /// # Errors
    /// That this seal has none, and what to do instead.
    pub fn rekey_set(&self, target: Target) -> Result<ShareSet, LifeError> {
        let authority = self.opened()?;
        let is_shamir = self.custody.row()?.kind()? == SealKind::Shamir;
        match target {
            Target::Barrier if !is_shamir => Err(LifeError::NotForThisSeal),
            Target::Recovery if is_shamir => Err(CustodyError::NotForShamir.into()),
            Target::Barrier | Target::Recovery => Ok(self.custody.operators(&authority.keyring)?),
        }
    }

    /// Makes the first recovery keys of a server that has none; with `verify` they count when their holders have proved that
    /// they have them. Whoever calls has checked that a policy permits it.
    ///
    /// # Errors
    /// [`LifeError`]; there are none then.
    pub fn first_recovery_keys(
        &self,
        spec: ShareSpec,
        recipients: &Recipients,
        verify: bool,
        actor: &Actor,
    ) -> Result<RekeyDone, LifeError> {
        let _changing = lock(&self.changing);
        let authority = self.opened()?;
        let mut slot = lock(self.slot(Target::Recovery));
        if slot.is_some() {
            return Err(LifeError::InProgress { what: WHAT });
        }
        match self.rekey_set(Target::Recovery) {
            Err(LifeError::Custody(CustodyError::NoRecoveryKeys)) => {}
            Ok(_) => return Err(LifeError::InProgress { what: "recovery keys" }),
            Err(error) => return Err(error),
        }
        let (recovery, shares) = self.custody.make_recovery(spec)?;
        let mut done = RekeyDone {
            nonce: random::uuid(),
            keys: recipients.print(&shares)?,
            verification_nonce: String::new(),
        };
        let kind = if verify {
            EventKind::RekeyStart
        } else {
            EventKind::Rekey
        };
        self.record(self.event(kind, actor).text("target", Target::Recovery.as_str()))?;
        if verify {
            done.verification_nonce = random::uuid();
            *slot = Some(Session {
                nonce: done.nonce.clone(),
                n: spec.shares(),
                t: spec.threshold(),
                required: 0,
                verify,
                stage: Stage::Verifying {
                    nonce: done.verification_nonce.clone(),
                    pot: SharePot::new(recovery.set),
                    recovery: Some(recovery),
                },
                started: Instant::now(),
                starter: actor.accessor().map(str::to_owned),
            });
        } else {
            self.custody.set_recovery(&authority.keyring, recovery)?;
            self.use_new_shares()?;
        }
        Ok(done)
    }

    /// Gives an undertaking up. Whoever calls has checked that `actor` may.
    ///
    /// # Errors
    /// [`LifeError::Nonce`] for another's nonce, or for none in the first ten minutes.
    pub fn rekey_cancel(&self, target: Target, nonce: &str, actor: &Actor) -> Result<(), LifeError> {
        let mut slot = lock(self.slot(target));
        let Some(session) = slot.as_ref() else { return Ok(()) };
        let its_own = session.starter.is_some() && session.starter.as_deref() == actor.accessor();
        let unnamed = nonce.is_empty() && (its_own || session.started.elapsed() >= NONCE_NEEDED);
        let named =
            nonce == session.nonce || matches!(&session.stage, Stage::Verifying { nonce: of, .. } if of == nonce);
        if !named && !unnamed {
            return Err(LifeError::Nonce { what: WHAT });
        }
        self.record(
            self.event(EventKind::RekeyCancel, actor)
                .text("target", target.as_str()),
        )?;
        if target == Target::Barrier {
            self.custody.cancel_rekey()?;
        }
        *slot = None;
        Ok(())
    }

    /// Takes an old share. With the last one needed the new ones are made; `None` before.
    ///
    /// # Errors
    /// [`LifeError`]; the old shares stay in force then.
    pub fn rekey_update(
        &self,
        target: Target,
        share: &str,
        nonce: &str,
        from: IpAddr,
    ) -> Result<Option<RekeyDone>, LifeError> {
        let _changing = lock(&self.changing);
        let authority = self.opened()?;
        let mut slot = lock(self.slot(target));
        let session = slot.as_mut().ok_or(LifeError::NotInProgress { what: WHAT })?;
        if nonce != session.nonce {
            return Err(LifeError::Nonce { what: WHAT });
        }
        let Stage::Proving { pot, spec, recipients } = &mut session.stage else {
            return Err(LifeError::InProgress { what: "verification" });
        };
        let Some(shares) = pot.add(Share::parse(share)?, from)? else {
            return Ok(None);
        };
        let (spec, recipients, actor) = (*spec, recipients.clone(), Actor::Address(from));
        if let Err(error) = self.custody.prove(&authority.keyring, &shares) {
            let event = self
                .event(EventKind::RekeyFailed, &actor)
                .text("target", target.as_str());
            self.record(event.text("reason", &error.to_string()))?;
            return Err(error.into());
        }
        // While new shares wait for their proof nothing has changed yet: `rekey` is recorded when they come into force.
        let kind = if session.verify {
            EventKind::RekeyStart
        } else {
            EventKind::Rekey
        };
        self.record(
            self.event(kind, &actor)
                .text("target", target.as_str())
                .text("stage", "shares-made"),
        )?;
        let (new, set, recovery) = match target {
            Target::Barrier => {
                let verify = session.verify.then_some(session.nonce.as_str());
                let rekeyed = self
                    .custody
                    .rekey(&authority.keyring, &shares, spec, verify, self.now())?;
                (rekeyed.shares, rekeyed.set, None)
            }
            Target::Recovery => {
                let (recovery, shares) = self.custody.make_recovery(spec)?;
                let set = recovery.set;
                if !session.verify {
                    self.custody.set_recovery(&authority.keyring, recovery.clone())?;
                }
                (shares, set, Some(recovery))
            }
        };
        let mut done = RekeyDone {
            nonce: session.nonce.clone(),
            keys: recipients.print(&new)?,
            verification_nonce: String::new(),
        };
        if session.verify {
            let pending = self.custody.pending_rekey()?.filter(|_| target == Target::Barrier);
            done.verification_nonce = pending.map_or_else(random::uuid, |pending| pending.verification);
            session.stage = Stage::Verifying {
                nonce: done.verification_nonce.clone(),
                pot: SharePot::new(set),
                recovery,
            };
        } else {
            *slot = None;
            self.use_new_shares()?;
        }
        Ok(Some(done))
    }

    /// How the proof of new shares stands.
    ///
    /// # Errors
    /// [`LifeError::NotInProgress`]
    pub fn verify_status(&self, target: Target) -> Result<VerifyStatus, LifeError> {
        match lock(self.slot(target)).as_ref().map(|session| &session.stage) {
            Some(Stage::Verifying { nonce, pot, .. }) => Ok(VerifyStatus {
                nonce: nonce.clone(),
                t: pot.set().t,
                n: pot.set().n,
                progress: pot.progress(),
            }),
            _ => Err(LifeError::NotInProgress { what: "verification" }),
        }
    }

    /// Takes a new share. With the last one needed all new ones are in force: `true`.
    ///
    /// # Errors
    /// [`LifeError`]; the old shares stay in force then.
    pub fn verify_update(&self, target: Target, share: &str, nonce: &str, from: IpAddr) -> Result<bool, LifeError> {
        let _changing = lock(&self.changing);
        let authority = self.opened()?;
        let mut slot = lock(self.slot(target));
        let Some(Stage::Verifying {
            nonce: expected,
            pot,
            recovery,
        }) = slot.as_mut().map(|session| &mut session.stage)
        else {
            return Err(LifeError::NotInProgress { what: "verification" });
        };
        if nonce != expected {
            return Err(LifeError::Nonce { what: "verification" });
        }
        let Some(shares) = pot.add(Share::parse(share)?, from)? else {
            return Ok(false);
        };
        let (recovery, actor) = (recovery.clone(), Actor::Address(from));
        let proved = match &recovery {
            Some(recovery) => Custody::prove_recovery(recovery, &shares),
            None => self.custody.prove_pending(&shares),
        };
        if let Err(error) = proved {
            let event = self
                .event(EventKind::RekeyFailed, &actor)
                .text("target", target.as_str());
            self.record(event.text("reason", &error.to_string()))?;
            return Err(error.into());
        }
        let event = self.event(EventKind::Rekey, &actor).text("target", target.as_str());
        self.record(event.text("stage", "verified"))?;
        match recovery {
            None => self.custody.verify_rekey(&authority.keyring, &shares, self.now())?,
            Some(recovery) => self.custody.set_recovery(&authority.keyring, recovery)?,
        }
        *slot = None;
        self.use_new_shares()?;
        Ok(true)
    }

    /// The old shares open nothing any more: a root generation that waits for them would wait for ever.
    fn use_new_shares(&self) -> Result<(), CustodyError> {
        *lock(&self.root) = None;
        self.summarise(&self.custody.row()?, None)
    }

    /// Lets the proof of new shares begin again, from the shares that came from this address.
    ///
    /// # Errors
    /// [`LifeError::NotInProgress`], [`LifeError::Nonce`].
    pub fn verify_reset(&self, target: Target, nonce: &str) -> Result<(), LifeError> {
        match lock(self.slot(target)).as_mut().map(|session| &mut session.stage) {
            Some(Stage::Verifying {
                nonce: expected, pot, ..
            }) => {
                if nonce != expected && !nonce.is_empty() {
                    return Err(LifeError::Nonce { what: "verification" });
                }
                pot.clear();
                Ok(())
            }
            _ => Err(LifeError::NotInProgress { what: "verification" }),
        }
    }

    /// Takes a rekey up again that a restart interrupted while it waited for its proof.
    pub(super) fn resume_rekey(&self) -> Result<(), OpenError> {
        let Some(waiting) = self.custody.pending_rekey()? else {
            return Ok(());
        };
        let required = self.custody.row()?.shares().map_or(0, |old| old.t);
        *lock(self.slot(Target::Barrier)) = Some(Session {
            nonce: waiting.rekey,
            n: waiting.set.n,
            t: waiting.set.t,
            required,
            verify: true,
            stage: Stage::Verifying {
                nonce: waiting.verification,
                pot: SharePot::new(waiting.set),
                recovery: None,
            },
            started: Instant::now(),
            starter: None,
        });
        Ok(())
    }

    pub(super) fn forget_sessions(&self) {
        for slot in &self.rekeys {
            *lock(slot) = None;
        }
        *lock(&self.root) = None;
        *lock(&self.unsealing) = None;
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the slot of a target is below the number of targets"
    )]
    fn slot(&self, target: Target) -> &std::sync::Mutex<Option<Session>> {
        &self.rekeys[target.slot()]
    }
}
