//! A session that is logged in, on the one thread that uses it.

use std::collections::HashMap;
use std::sync::Arc;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};

use super::module::Module;
use super::pin::{self, Login};
use super::{TokenError, means_away};
use crate::config::{Pkcs11Token, TokenName};

/// A session and what is known of its token.
#[derive(Debug)]
pub struct Seat {
    session: Option<Session>,
    module: Arc<Module>,
    generation: u64,
    pub(super) epoch: u64,
    slot: Slot,
    mechanisms: Vec<MechanismType>,
    /// Handles of keys by label: finding one costs several calls.
    handles: HashMap<String, ObjectHandle>,
}

impl Seat {
    /// Opens a session and logs in.
    ///
    /// # Errors
    /// [`TokenError::Away`], [`TokenError::Refused`] for the PIN, [`TokenError::Setup`].
    pub(super) fn open(token: &Pkcs11Token, login: &Login, epoch: u64) -> Result<Self, TokenError> {
        let module = Module::at(&token.module)?;
        let loaded = module.enter();
        loaded.started()?;
        let (slot, info) = find_token(&loaded.pkcs11, &token.token)?;
        let mechanisms = loaded.pkcs11.get_mechanism_list(slot)?;
        let session = loaded.pkcs11.open_ro_session_no_drop(slot)?;
        let generation = loaded.generation;
        drop(loaded);
        module.session_opened();
        let seat = Self {
            session: Some(session),
            module,
            generation,
            epoch,
            slot,
            mechanisms,
            handles: HashMap::new(),
        };
        seat.log_in(token, &info, login)?;
        Ok(seat)
    }

    fn log_in(&self, token: &Pkcs11Token, info: &TokenInfo, login: &Login) -> Result<(), TokenError> {
        if !info.login_required() {
            return Ok(());
        }
        let pin = pin::read(&token.pin)?;
        if let Some(reason) = login.refusal(&pin) {
            return Err(TokenError::Refused(reason));
        }
        may_try(info)?;
        match self.with(|session| session.login(UserType::User, Some(&pin))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                login.forget();
                Ok(())
            }
            Err(Error::Pkcs11(rv, _)) if !means_away(rv) => {
                let reason = refusal(rv, info.label().trim_end());
                login.refuse(&pin, reason.clone());
                Err(TokenError::Refused(reason))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Calls into the module with this session.
    ///
    /// # Errors
    /// The token's.
    pub fn with<T>(&self, call: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, Error> {
        let loaded = self.module.enter();
        match &self.session {
            Some(session) if loaded.generation == self.generation => call(session),
            _ => Err(Error::Pkcs11(
                RvError::SessionHandleInvalid,
                cryptoki::context::Function::GetSessionInfo,
            )),
        }
    }

    /// Calls into the module with a session that may change the token; there for one call only, since tokens have few.
    ///
    /// # Errors
    /// The token's.
    pub fn with_write<T>(&self, call: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, Error> {
        let loaded = self.module.enter();
        if loaded.generation != self.generation {
            return self.with(|_| Err(Error::NotSupported));
        }
        let session = loaded.pkcs11.open_rw_session(self.slot)?;
        call(&session)
    }

    /// Whether the token has a mechanism.
    #[must_use]
    pub fn has(&self, mechanism: MechanismType) -> bool {
        self.mechanisms.contains(&mechanism)
    }

    /// A handle that was found before.
    #[must_use]
    pub fn handle(&self, key: &str) -> Option<ObjectHandle> {
        self.handles.get(key).copied()
    }

    /// Keeps a handle as long as the session lives.
    pub fn keep_handle(&mut self, key: &str, handle: ObjectHandle) {
        self.handles.insert(key.to_owned(), handle);
    }

    /// Asks whether the session still is one.
    pub(super) fn probe(&self) -> Result<(), TokenError> {
        self.with(|session| session.get_session_info().map(|_| ()))?;
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let loaded = self.module.enter();
            // The number of a session of an earlier generation may be somebody else's now.
            if loaded.generation == self.generation
                && let Err(error) = session.close()
            {
                tracing::debug!(%error, "a PKCS#11 session cannot be closed");
            }
            drop(loaded);
            self.module.session_gone();
        }
    }
}

/// Asks the token whether a wrong PIN would lock it.
fn may_try(info: &TokenInfo) -> Result<(), TokenError> {
    let shown = info.label().trim_end();
    let refused = |text: &str| Err(TokenError::Refused(format!("the token `{shown}` {text}")));
    if info.user_pin_locked() {
        return refused("has locked its user PIN: its security officer has to unlock it");
    }
    if !info.user_pin_initialized() {
        return refused("has no user PIN yet");
    }
    if info.user_pin_final_try() {
        return refused(
            "would lock after one more wrong PIN, so it is not tried: log in by hand (`pkcs11-tool --login`), then send SIGHUP",
        );
    }
    if info.user_pin_count_low() {
        tracing::warn!(token = shown, "somebody gave this token a wrong PIN lately");
    }
    Ok(())
}

fn refusal(rv: RvError, token: &str) -> String {
    match rv {
        RvError::PinLocked => {
            format!("the token `{token}` has locked its user PIN: its security officer has to unlock it")
        }
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
            format!("the PIN of the token `{token}` is wrong; it is not tried again, lest the token locks")
        }
        RvError::PinExpired => format!("the PIN of the token `{token}` has expired"),
        RvError::UserAnotherAlreadyLoggedIn => {
            format!("another user (its security officer) is logged in to the token `{token}`")
        }
        other => {
            format!("the token `{token}` refuses to log in ({other:?}); it is not tried again, lest the token locks")
        }
    }
}

fn find_token(pkcs11: &Pkcs11, wanted: &TokenName) -> Result<(Slot, TokenInfo), TokenError> {
    match wanted {
        TokenName::Slot(number) => {
            let slot = Slot::try_from(*number)?;
            let info = pkcs11.get_token_info(slot).map_err(|error| {
                TokenError::Away(format!(
                    "there is no token in slot {number}: {}",
                    TokenError::of(&error)
                ))
            })?;
            Ok((slot, info))
        }
        TokenName::Label(label) => {
            let mut found = Vec::new();
            for slot in pkcs11.get_slots_with_token()? {
                // A slot that cannot be read has not got our token.
                if let Ok(info) = pkcs11.get_token_info(slot)
                    && info.label().trim_end() == label
                {
                    found.push((slot, info));
                }
            }
            let several = found.len() > 1;
            match found.pop() {
                Some(_) if several => Err(TokenError::Setup(format!(
                    "several tokens have the label `{label}`; name one by its `slot`"
                ))),
                Some(token) => Ok(token),
                None => Err(TokenError::Away(format!("no token with the label `{label}` is there"))),
            }
        }
    }
}
