//! One issuer of a mount: a CA key with a name, and how far hosts should trust it. Which issuers there are lies in one row,
//! so that a change of two of them happens wholly or not at all; each key lies in a row of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signet_core::role::{DEFAULT_ISSUER, is_role_name};
use signet_core::signer::Signer;
use signet_core::time::UnixTime;

use super::MountError;

/// How far a CA key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made, and shown to nobody yet.
    Staged,
    /// Hosts are told to trust it; it signs only for roles that name it.
    Published,
    /// It signs.
    Default,
    /// It signs no more; hosts trust it until its certificates have ended.
    Retired,
}

impl State {
    /// The word in answers and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Published => "published",
            Self::Default => "default",
            Self::Retired => "retired",
        }
    }
}

/// What is known of an issuer besides its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) state: State,
    /// 0 for one that was there before issuers had times.
    pub(super) created: u64,
    /// Since when it is in this state.
    pub(super) since: u64,
    /// Since when hosts are told to trust it.
    pub(super) published: u64,
    /// Until when a retired one is trusted.
    pub(super) until: u64,
    /// It is to become the default.
    pub(super) successor: bool,
    /// It was the default before.
    pub(super) predecessor: bool,
    /// Somebody judges whether it can be removed, and it signs nothing meanwhile. Not kept: a restart ends it.
    #[serde(skip)]
    pub(super) paused: bool,
}

impl About {
    pub(super) fn new(id: String, name: String, state: State, now: UnixTime) -> Self {
        Self {
            id,
            name,
            state,
            created: now.secs(),
            since: now.secs(),
            published: now.secs(),
            until: 0,
            successor: false,
            predecessor: false,
            paused: false,
        }
    }
}

/// A CA key of a mount.
#[derive(Debug, Clone)]
pub struct Issuer {
    pub(super) about: About,
    pub(super) signer: Arc<dyn Signer>,
}

impl Issuer {
    /// Its UUID.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.about.id
    }

    /// Its name; `""` if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// What to call it before people: the name, else the id.
    #[must_use]
    pub fn shown(&self) -> &str {
        if self.about.name.is_empty() {
            &self.about.id
        } else {
            &self.about.name
        }
    }

    /// How far it has come.
    #[must_use]
    pub const fn state(&self) -> State {
        self.about.state
    }

    /// When it was made, if that is known.
    #[must_use]
    pub fn created(&self) -> Option<UnixTime> {
        (self.about.created > 0).then(|| UnixTime::from_secs(self.about.created))
    }

    /// Since when it is in its state.
    #[must_use]
    pub const fn since(&self) -> UnixTime {
        UnixTime::from_secs(self.about.since)
    }

    /// Since when hosts are told to trust it; of a staged one, when it was made.
    #[must_use]
    pub const fn published(&self) -> UnixTime {
        UnixTime::from_secs(self.about.published)
    }

    /// Until when a retired one is trusted.
    #[must_use]
    pub fn until(&self) -> Option<UnixTime> {
        (self.about.state == State::Retired).then(|| UnixTime::from_secs(self.about.until))
    }

    /// Whether a rotation made it, to become the default.
    #[must_use]
    pub const fn is_successor(&self) -> bool {
        self.about.successor
    }

    /// Whether it was the default before the present one.
    #[must_use]
    pub const fn is_predecessor(&self) -> bool {
        self.about.predecessor
    }

    /// Its key.
    #[must_use]
    pub fn signer(&self) -> &Arc<dyn Signer> {
        &self.signer
    }

    /// The fingerprint of its public key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.signer.public_key().fingerprint()
    }

    /// Whether hosts are told to trust it.
    #[must_use]
    pub fn is_trusted(&self, now: UnixTime) -> bool {
        match self.about.state {
            State::Staged => false,
            State::Published | State::Default => true,
            State::Retired => now.secs() < self.about.until,
        }
    }

    /// Whether a role may have it sign.
    #[must_use]
    pub const fn signs(&self) -> bool {
        matches!(self.about.state, State::Published | State::Default) && !self.about.paused
    }

    /// Whether a reference means it: its id, its name, or `default`.
    #[must_use]
    pub fn is_meant(&self, reference: &str) -> bool {
        if reference.eq_ignore_ascii_case(DEFAULT_ISSUER) {
            return self.about.state == State::Default;
        }
        !reference.is_empty() && (reference == self.about.id || reference == self.about.name)
    }
}

/// All issuers of a mount, in the order in which they were made.
pub(super) type Issuers = Vec<Arc<Issuer>>;

/// The row of all issuers.
pub(super) fn to_json(issuers: &Issuers) -> Vec<u8> {
    let abouts: Vec<&About> = issuers.iter().map(|issuer| &issuer.about).collect();
    // A list of texts and numbers always has a JSON form.
    serde_json::to_vec(&abouts).unwrap_or_default()
}

/// Reads [`to_json`].
pub(super) fn from_json(json: &[u8], mount: &str) -> Result<Vec<About>, MountError> {
    serde_json::from_slice(json).map_err(|_| MountError::Damaged {
        what: format!("list of issuers of mount `{mount}`"),
    })
}

/// Whether an issuer may be called so: as a role but for `@`, and not as what means another, in whatever case.
#[must_use]
pub fn is_issuer_name(name: &str) -> bool {
    let uuid = name.len() == 36 && name.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    is_role_name(name) && !name.contains('@') && !name.eq_ignore_ascii_case(DEFAULT_ISSUER) && !uuid
}
