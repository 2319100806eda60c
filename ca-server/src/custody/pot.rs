//! Where shares come together, from several people over some time.

use std::net::IpAddr;

use crate::seal::shamir::{Share, ShareError, ShareSet};

/// The shares of one undertaking so far.
#[derive(Debug)]
pub struct SharePot {
    set: ShareSet,
    shares: Vec<(IpAddr, Share)>,
}

impl SharePot {
    /// An empty pot for shares of `set`.
    #[must_use]
    pub const fn new(set: ShareSet) -> Self {
        Self {
            set,
            shares: Vec::new(),
        }
    }

    /// The split it takes shares of.
    #[must_use]
    pub const fn set(&self) -> ShareSet {
        self.set
    }

    /// How many there are.
    #[must_use]
    pub fn progress(&self) -> usize {
        self.shares.len()
    }

    /// Takes a share in. With the last one needed all come out and the pot is empty, whatever they then open.
    ///
    /// # Errors
    /// [`ShareError::OtherSet`], [`ShareError::Duplicate`]; the others stay in.
    pub fn add(&mut self, share: Share, from: IpAddr) -> Result<Option<Vec<Share>>, ShareError> {
        self.set.admit(&share)?;
        if self.shares.iter().any(|(_, other)| other.index() == share.index()) {
            return Err(ShareError::Duplicate { index: share.index() });
        }
        self.shares.push((from, share));
        if self.shares.len() < usize::from(self.set.t) {
            return Ok(None);
        }
        Ok(Some(self.shares.drain(..).map(|(_, share)| share).collect()))
    }

    /// Throws the shares away that came from one address.
    pub fn forget_from(&mut self, address: IpAddr) {
        self.shares.retain(|(from, _)| *from != address);
    }

    /// Throws all shares away.
    pub fn clear(&mut self) {
        self.shares.clear();
    }
}
