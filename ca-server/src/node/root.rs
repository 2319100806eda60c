//! A root token for who holds enough shares: for the day on which nobody's login opens what must be opened.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use signet_core::ledger::EventKind;
use zeroize::Zeroizing;

use super::rekey::NONCE_NEEDED;
use super::{Actor, LifeError, Node, lock};
use crate::custody::SharePot;
use crate::custody::recipients::Recipients;
use crate::random;
use crate::seal::shamir::{Share, ShareSet};

/// The length of a token's text: `hvs.` and 28 characters.
pub const OTP_CHARS: usize = 32;
const LIFE: Duration = Duration::from_hours(1);
const WHAT: &str = "root generation";

/// An undertaking.
#[derive(Debug)]
pub(super) struct Session {
    nonce: String,
    /// What the token is veiled with; its holder has it already.
    otp: SecretString,
    recipients: Recipients,
    required: u8,
    pot: SharePot,
    started: Instant,
    /// The accessor of the token that started it: who comes with it again means this one.
    starter: Option<String>,
}

/// How an undertaking stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootStatus {
    /// Names it; empty when there is none.
    pub nonce: String,
    /// Whether there is one.
    pub started: bool,
    /// Shares given.
    pub progress: usize,
    /// Shares needed.
    pub required: u8,
}

/// Enough shares were given: whoever has this may make a root token, which is veiled before it is answered.
#[derive(Debug)]
pub struct RootProof {
    /// How the undertaking ended.
    pub status: RootStatus,
    /// Who gave the last share.
    pub actor: Actor,
    otp: SecretString,
    recipients: Recipients,
}

impl RootProof {
    /// Veils a token: for its age recipient, or with the one-time password.
    ///
    /// # Errors
    /// [`LifeError::Recipients`]
    pub fn veil(&self, token: &SecretString) -> Result<String, LifeError> {
        if let Some(encrypted) = self.recipients.one(token.expose_secret())? {
            return Ok(encrypted);
        }
        let veiled: Zeroizing<Vec<u8>> = Zeroizing::new(
            token
                .expose_secret()
                .bytes()
                .zip(self.otp.expose_secret().bytes())
                .map(|(token, otp)| token ^ otp)
                .collect(),
        );
        Ok(STANDARD_NO_PAD.encode(&*veiled))
    }
}

impl Node {
    /// The split whose shares prove an operator.
    ///
    /// # Errors
    /// [`LifeError`], also when there are none.
    pub fn operators(&self) -> Result<ShareSet, LifeError> {
        Ok(self.custody.operators(&self.opened()?.keyring)?)
    }

    /// How the undertaking stands.
    #[must_use]
    pub fn root_status(&self) -> RootStatus {
        lock(&self.root)
            .as_ref()
            .map_or_else(RootStatus::default, |session| RootStatus {
                nonce: session.nonce.clone(),
                started: true,
                progress: session.pot.progress(),
                required: session.required,
            })
    }

    /// Begins one; what comes with it is the one-time password, if the server had to make it. Whoever calls has checked
    /// that `actor` may.
    ///
    /// # Errors
    /// [`LifeError::InProgress`], [`LifeError::Otp`], or that there are no shares to prove an operator with.
    pub fn root_start(
        &self,
        otp: &str,
        recipients: Recipients,
        actor: &Actor,
    ) -> Result<(RootStatus, Option<SecretString>), LifeError> {
        let set = self.custody.operators(&self.opened()?.keyring)?;
        let mut slot = lock(&self.root);
        if slot.as_ref().is_some_and(|session| session.started.elapsed() < LIFE) {
            return Err(LifeError::InProgress { what: WHAT });
        }
        let made = if otp.is_empty() {
            Some(random::base62(OTP_CHARS)?)
        } else {
            None
        };
        let otp = SecretString::from(made.clone().unwrap_or_else(|| otp.to_owned()));
        if otp.expose_secret().len() != OTP_CHARS {
            return Err(LifeError::Otp { wanted: OTP_CHARS });
        }
        self.record(self.event(EventKind::GenerateRootStart, actor))?;
        let session = Session {
            nonce: random::uuid(),
            otp,
            recipients,
            required: set.t,
            pot: SharePot::new(set),
            started: Instant::now(),
            starter: actor.accessor().map(str::to_owned),
        };
        let status = RootStatus {
            nonce: session.nonce.clone(),
            started: true,
            progress: 0,
            required: set.t,
        };
        *slot = Some(session);
        Ok((status, made.map(SecretString::from)))
    }

    /// Gives it up. Whoever calls has checked that `actor` may.
    ///
    /// # Errors
    /// [`LifeError::Nonce`]
    pub fn root_cancel(&self, nonce: &str, actor: &Actor) -> Result<(), LifeError> {
        let mut slot = lock(&self.root);
        let Some(session) = slot.as_ref() else { return Ok(()) };
        let its_own = session.starter.is_some() && session.starter.as_deref() == actor.accessor();
        let unnamed = nonce.is_empty() && (its_own || session.started.elapsed() >= NONCE_NEEDED);
        if nonce != session.nonce && !unnamed {
            return Err(LifeError::Nonce { what: WHAT });
        }
        self.record(self.event(EventKind::GenerateRootCancel, actor))?;
        *slot = None;
        Ok(())
    }

    /// Takes a share. With the last one needed the undertaking ends with a proof; `None` before.
    ///
    /// # Errors
    /// [`LifeError`]
    pub fn root_update(&self, share: &str, nonce: &str, from: IpAddr) -> Result<Option<RootProof>, LifeError> {
        let authority = self.opened()?;
        let mut slot = lock(&self.root);
        let session = slot.as_mut().ok_or(LifeError::NotInProgress { what: WHAT })?;
        if nonce != session.nonce {
            return Err(LifeError::Nonce { what: WHAT });
        }
        let Some(shares) = session.pot.add(Share::parse(share)?, from)? else {
            return Ok(None);
        };
        let actor = Actor::Address(from);
        if let Err(error) = self.custody.prove(&authority.keyring, &shares) {
            let event = self.event(EventKind::GenerateRootFailed, &actor);
            self.record(event.text("reason", &error.to_string()))?;
            return Err(error.into());
        }
        let status = RootStatus {
            nonce: session.nonce.clone(),
            started: true,
            progress: session.required.into(),
            required: session.required,
        };
        Ok(slot.take().map(|session| RootProof {
            status,
            actor,
            otp: session.otp,
            recipients: session.recipients,
        }))
    }

    /// Makes the root token that a proof stands for, and veils it.
    ///
    /// # Errors
    /// [`LifeError`]; there is no token then.
    pub async fn make_root(&self, proof: &RootProof) -> Result<String, LifeError> {
        let authority = self.opened()?;
        let token = crate::tokens::Tokens::new_text()?;
        let veiled = proof.veil(&token)?;
        let hash = crate::tokens::TokenHash::of(token.expose_secret());
        let event = self.event(EventKind::GenerateRoot, &proof.actor);
        self.foundation
            .ledger
            .record(event.text("token", &hash.to_string()))
            .await?;
        authority.tokens.create_root(&token, self.now()).await?;
        Ok(veiled)
    }
}
