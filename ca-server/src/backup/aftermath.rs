//! What must be done to a store that was put back to an older state, wherever that came from, before it may serve. What was
//! used up or taken back since then would be alive again, and what hosts have seen must not be offered a second time.

use signet_core::time::UnixTime;

use crate::bundle;
use crate::certificates::Longest;
use crate::custody::{Custody, CustodyError};
use crate::keyring::Keyring;
use crate::revocations::{self, RevocationError};
use crate::store::{Change, StoreError, Table};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aftermath {
    /// Tokens that were dropped.
    pub tokens: usize,
    /// One-time tokens of hosts that were dropped.
    pub host_tokens: usize,
    /// Whether a rekey was given up that waited for its proof.
    pub rekey: bool,
}

/// Makes the store behind `keyring` safe to serve from. Blocking.
///
/// - Tokens, those of hosts too: any of them may have been revoked or used up since.
/// - A rekey that waits for its proof: it may have been cancelled, or been proved and be in force elsewhere.
/// - Trust bundles: made anew with a version of now's clock, since hosts take nothing older than they have.
/// - Revocation lists: their versions go beyond all that may have been published.
/// - The longest lifetime ever issued: may have risen since; without it the longest one that is allowed counts.
///
/// # Errors
/// [`AftermathError`]; nothing was changed, or it can be done again.
pub fn make_safe(keyring: &Keyring, now: UnixTime) -> Result<Aftermath, AftermathError> {
    let store = keyring.store();
    let all = |table: Table| -> Result<Vec<Change>, StoreError> {
        let rows = store.scan(table)?.into_iter();
        Ok(rows.map(|(key, _)| Change::Delete(table, key)).collect())
    };
    let (tokens, host_tokens) = (all(Table::Tokens)?, all(Table::HostTokens)?);
    let custody = Custody::new(std::sync::Arc::clone(store));
    let aftermath = Aftermath {
        tokens: tokens.len(),
        host_tokens: host_tokens.len(),
        rekey: custody.pending_rekey()?.is_some(),
    };
    custody.cancel_rekey()?;
    let mut changes = tokens;
    changes.extend(host_tokens);
    changes.extend(bundle::forgotten(store.as_ref())?);
    changes.extend(revocations::raised(keyring, now)?);
    changes.push(Longest::forgotten());
    store.apply(changes).wait()?;
    Ok(aftermath)
}

/// Why a store could not be made safe.
#[derive(Debug, thiserror::Error)]
pub enum AftermathError {
    /// The seal's row.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// A revocation list.
    #[error(transparent)]
    Revocations(#[from] RevocationError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
