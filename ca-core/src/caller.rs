//! The caller: whoever asks, authenticated. Groups and token policies are those in force at this very request.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::time::UnixTime;

/// The token policy that permits everything.
pub const ROOT_POLICY: &str = "root";

/// The group of every host that has enrolled: access policies speak of hosts by it. Nobody else can be in it, whatever a
/// file or a login says.
pub const ENROLLED_HOSTS: &str = "enrolled-hosts";

/// How the caller proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthMethod {
    /// A token that was made by another token.
    Token,
    /// A signature by an SSH key that `people.toml` lists.
    SshKey,
    /// A JSON web token of a trusted issuer.
    Jwt,
    /// An EC2 instance identity document; hosts only.
    Ec2,
    /// A one-time token for enrolment; hosts only.
    HostToken,
    /// The host key that enrolled; hosts only.
    HostKey,
}

impl AuthMethod {
    /// Every method.
    pub const ALL: &[Self] = &[
        Self::Token,
        Self::SshKey,
        Self::Jwt,
        Self::Ec2,
        Self::HostToken,
        Self::HostKey,
    ];

    /// The word used in policies, the ledger and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::SshKey => "ssh-key",
            Self::Jwt => "jwt",
            Self::Ec2 => "ec2",
            Self::HostToken => "host-token",
            Self::HostKey => "host-key",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|method| method.as_str() == word).copied()
    }
}

/// What authentication found out; the only way to make a [`Caller`].
#[derive(Debug, Clone)]
pub struct CallerParts {
    /// The person's stable name (Cedar's `Person` id). Never empty.
    pub person: String,
    /// Vault's display name: `root`, `token-ci`, `ssh-key-alice`; part of key IDs. May be empty.
    pub display_name: String,
    /// How they proved it.
    pub method: AuthMethod,
    /// Groups in force now.
    pub groups: BTreeSet<String>,
    /// Policies of the token.
    pub policies: BTreeSet<String>,
    /// The peer's address: the socket's, never a header's.
    pub address: IpAddr,
    /// The token's accessor, which names the token without being able to use it.
    pub accessor: String,
    /// When the token ends; `None` for a token without end. A certificate never outlives its token.
    pub token_expires: Option<UnixTime>,
    /// What the login learnt about the person; values for templates.
    pub metadata: BTreeMap<String, String>,
}

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Caller(CallerParts);

impl Caller {
    /// Makes the caller that authentication established.
    ///
    /// # Security
    /// Call it only where a token was checked; nothing after this point asks again who the caller is.
    #[must_use]
    pub const fn authenticated(parts: CallerParts) -> Self {
        Self(parts)
    }

    /// The person's stable name.
    #[must_use]
    pub fn person(&self) -> &str {
        &self.0.person
    }

    /// Vault's display name.
    #[must_use]
    pub fn display_name(&self) -> &str {
        &self.0.display_name
    }

    /// How they proved it.
    #[must_use]
    pub const fn method(&self) -> AuthMethod {
        self.0.method
    }

    /// Groups in force now.
    #[must_use]
    pub const fn groups(&self) -> &BTreeSet<String> {
        &self.0.groups
    }

    /// Policies of the token.
    #[must_use]
    pub const fn policies(&self) -> &BTreeSet<String> {
        &self.0.policies
    }

    /// The peer's address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.0.address
    }

    /// The token's accessor.
    #[must_use]
    pub fn accessor(&self) -> &str {
        &self.0.accessor
    }

    /// When the token ends.
    #[must_use]
    pub const fn token_expires(&self) -> Option<UnixTime> {
        self.0.token_expires
    }

    /// What the login learnt about the person.
    #[must_use]
    pub const fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// Whether the token carries the policy that permits everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.policies.contains(ROOT_POLICY)
    }
}
