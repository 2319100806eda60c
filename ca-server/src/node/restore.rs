//! Putting a backup in the place of what a running server has. Until it is decided nothing has happened; from then on this
//! process is of the past, and starts itself anew.

use std::io::BufRead;
use std::path::Path;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::{Actor, Closed, LifeError, Node, lock};
use crate::backup::archive::{Archive, ArchiveError, Header};
use crate::backup::restore::{self, Outcome, Site, Staged};
use crate::custody::{Custody, CustodyError, State};
use crate::keyring::Keyring;
use crate::seal::shamir::{Share, ShareSeal};

/// Has the process start itself anew when dropped.
struct Ends<'a>(&'a Notify);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Node {
    /// Whether this process can start itself anew.
    #[must_use]
    pub fn can_restart(&self) -> bool {
        self.restarts.load(Ordering::SeqCst)
    }

    /// From now on a restore may start this process anew: whoever says so waits for [`Node::restart_wanted`].
    pub(crate) fn allow_restart(&self) {
        self.restarts.store(true, Ordering::SeqCst);
    }

    /// Returns when this process has to start itself anew.
    pub(crate) async fn restart_wanted(&self) {
        self.restart.notified().await;
    }

    /// Restores the backup in the file `path`, opened by the configured seal or by `shares`. Blocking.
    ///
    /// # Errors
    /// [`LifeError`]; the data is as before.
    pub fn restore(&self, path: &Path, shares: &[Share], actor: &Actor) -> Result<Outcome, LifeError> {
        let foundation = &self.foundation;
        let site = Site::of(&foundation.config, &foundation.clock);
        let mut archive = Archive::open(path)?;
        let keyring = self.open_archive(archive.header(), shares)?;
        let (staged, keyring) = Staged::unpack(&site, &mut archive, &keyring)?;
        let _changing = lock(&self.changing);
        // Who needed no permission, as there was nothing, must not replace what somebody has founded meanwhile.
        if matches!(actor, Actor::Address(_)) && !matches!(self.custody.state()?, State::Uninitialised) {
            return Err(CustodyError::AlreadyInitialised.into());
        }
        // INVARIANT: whatever has left this server is in the ledger that the restored one is mended from: nothing is recorded
        // any more from here on, so nothing is issued, and what was is on the disk.
        if let Some(authority) = self.open.swap(None) {
            authority.keyring.forget();
        }
        self.close(Closed::Restoring);
        foundation.ledger.close();
        // Whatever comes of it, this process can record nothing any more. It ends when that is decided, not before.
        let _ends = Ends(&self.restart);
        let outcome = staged.decide(&site, &keyring, |event| match actor {
            // Nobody had initialised the server: who has the backup and what opens it may restore it.
            Actor::Address(address) => event.text("by", "backup").text("address", &address.to_string()),
            Actor::Server | Actor::Caller(_) => actor.sign(event),
        })?;
        tracing::warn!(
            position = outcome.position,
            "a backup was restored; the server starts anew"
        );
        Ok(outcome)
    }

    /// Whether a backup with these lines in front would open, and be of this node.
    ///
    /// # Errors
    /// [`LifeError`] saying why not.
    pub fn opens_archive(&self, front: &mut impl BufRead, shares: &[Share]) -> Result<(), LifeError> {
        let header = Header::read(front)?;
        self.open_archive(&header, shares)?;
        Ok(header.is_of(self.foundation.config.node)?)
    }

    fn open_archive(&self, header: &Header, shares: &[Share]) -> Result<Keyring, ArchiveError> {
        let seals = &self.foundation.config.seal;
        restore::open(seals, &header.seal()?, &Custody::new(header.rows()?), |set| {
            for share in shares {
                set.admit(share).map_err(CustodyError::from)?;
            }
            Ok(ShareSeal::from_shares(shares).map_err(CustodyError::from)?)
        })
    }
}
