//! Where everything lies on a host.

use std::path::{Path, PathBuf};

/// The account that the break-glass keys open.
pub const BREAKGLASS_ACCOUNT: &str = "breakglass";

/// The paths of a host, all under one root (`/` but in tests).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Default for Layout {
    fn default() -> Self {
        Self::under(Path::new("/"))
    }
}

macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident = $path:literal),* $(,)?) => {
        impl Layout {
            $($(#[$doc])* #[must_use] pub fn $name(&self) -> PathBuf { self.root.join($path) })*
        }
    };
}

paths! {
    /// Our folder: root's, 0755; sshd's `StrictModes` wants every folder above a principals file so.
    folder = "etc/ssh/signet",
    /// `TrustedUserCAKeys`.
    user_ca_keys = "etc/ssh/signet/user_ca.pub",
    /// `RevokedKeys`.
    krl = "etc/ssh/signet/revoked.krl",
    /// One file an account, for `AuthorizedPrincipalsFile`.
    principals = "etc/ssh/signet/principals",
    /// `AuthorizedKeysFile` of the break-glass account.
    breakglass_keys = "etc/ssh/signet/breakglass_keys",
    /// `RevokedKeys` of the break-glass account: never the online KRL.
    breakglass_krl = "etc/ssh/signet/breakglass.krl",
    /// `HostCertificate`. Its name keeps clear of `ssh_host_*key*`, which cloud-init deletes.
    host_certificate = "etc/ssh/signet/host-cert.pub",
    /// The host CA's public keys, for clients on this host.
    host_ca_keys = "etc/ssh/signet/host_ca.pub",
    /// The last good trust bundle; written last, so that it names what is in force.
    bundle = "etc/ssh/signet/trust-bundle",
    /// The public keys that a bundle may be signed with.
    bundle_keys = "etc/ssh/signet/bundle_keys.pub",
    /// Settings of this host: the authority's address, tags, where logins are logged.
    settings = "etc/ssh/signet/host.toml",
    /// What bake found and replaced, for `undo`.
    backup = "etc/ssh/signet/backup",
    /// sshd's own configuration.
    sshd_config = "etc/ssh/sshd_config",
    /// Where drop-ins lie, where `sshd_config` includes them.
    sshd_config_d = "etc/ssh/sshd_config.d",
    /// Our drop-in; before `50-cloud-init.conf` and `50-redhat.conf`, since the first value wins.
    drop_in = "etc/ssh/sshd_config.d/10-signet.conf",
    /// State that is not configuration: report sequence, newest bundle version seen, how far the log was read.
    state_folder = "var/lib/signet-host",
    /// The state itself, JSON.
    state = "var/lib/signet-host/state.json",
    /// A local program that is run at each break-glass login that sync sees.
    alarm_hook = "etc/ssh/signet/alarm",
}

impl Layout {
    /// A host whose `/` is elsewhere.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The principals file of an account.
    #[must_use]
    pub fn principals_of(&self, account: &str) -> PathBuf {
        self.principals().join(account)
    }
}
