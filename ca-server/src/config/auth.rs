//! The login methods of `signet.toml`: `[auth.ssh-key]` and `[[auth.jwt]]`. A setting that would let in more people than it
//! seems to is refused here, and key files are read here, so that a running server has no surprises left.

mod jwt;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use signet_core::toml_reader::TableReader;

pub use jwt::{JwtAuth, JwtRole, KeySource};

const HOUR_SECS: u64 = 3_600;
const TTL_SECS: std::ops::RangeInclusive<u64> = 1..=super::SYSTEM_TTL_SECS;

/// Login methods.
#[derive(Debug, Clone)]
pub struct Auth {
    /// Login with an SSH key of `people.toml`; `None` when switched off.
    pub ssh_key: Option<SshKeyAuth>,
    /// Logins with a JSON web token, one issuer each.
    pub jwt: Vec<JwtAuth>,
}

/// Login with an SSH key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKeyAuth {
    /// Life of the token, seconds.
    pub ttl_secs: u64,
    /// Furthest that renewing can stretch it, seconds.
    pub max_ttl_secs: u64,
    /// Whether only FIDO keys that verified their user (PIN or finger) may log in.
    pub verify_required: bool,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            ssh_key: Some(SshKeyAuth::default()),
            jwt: Vec::new(),
        }
    }
}

impl Default for SshKeyAuth {
    fn default() -> Self {
        Self {
            ttl_secs: 8 * HOUR_SECS,
            max_ttl_secs: 24 * HOUR_SECS,
            verify_required: false,
        }
    }
}

impl Auth {
    /// Reads the section `[auth]` of the file whose top is `root`; relative paths hang on `base`.
    pub(super) fn read(root: &TableReader<'_>, base: &Path) -> Self {
        let Some(section) = root.table("auth") else {
            return Self::default();
        };
        let ssh_key = match section.table("ssh-key") {
            None => Some(SshKeyAuth::default()),
            Some(ssh_key) => SshKeyAuth::read(&ssh_key),
        };
        let mut mounts = BTreeSet::new();
        let jwt = section
            .tables("jwt")
            .iter()
            .map(|jwt| JwtAuth::read(jwt, base, &mut mounts))
            .collect();
        Self { ssh_key, jwt }
    }
}

impl SshKeyAuth {
    fn read(section: &TableReader<'_>) -> Option<Self> {
        let default = Self::default();
        let (ttl_secs, max_ttl_secs) = read_ttls(section, default.ttl_secs, default.max_ttl_secs);
        let verify_required = section.bool("verify_required").unwrap_or(default.verify_required);
        let enabled = section.bool("enabled").unwrap_or(true);
        enabled.then_some(Self {
            ttl_secs,
            max_ttl_secs,
            verify_required,
        })
    }
}

fn read_ttls(section: &TableReader<'_>, ttl_secs: u64, max_ttl_secs: u64) -> (u64, u64) {
    let ttl_secs = section.duration_secs("ttl", TTL_SECS).unwrap_or(ttl_secs);
    let max_ttl_secs = section
        .duration_secs("max_ttl", TTL_SECS)
        .unwrap_or(max_ttl_secs.max(ttl_secs));
    if max_ttl_secs < ttl_secs {
        section.wrong(
            "max_ttl",
            format!("`max_ttl` is {max_ttl_secs} s, less than `ttl`, {ttl_secs} s"),
        );
    }
    (ttl_secs, max_ttl_secs)
}
