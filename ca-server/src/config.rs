//! `signet.toml`, validated. As written it is a TOML table that [`toml_reader`] reads key by key; a setting that is parsed
//! is used, one that is unknown is refused. Also the one place that reads the environment.

pub mod auth;
mod aws;
mod hosts;
mod key_holder;
mod kmip;
mod limits;
mod pkcs11;
mod read;
mod rotation;
mod seal;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use signet_core::mistake::Mistake;
use signet_core::serial::NodeId;
use signet_core::signer::CaKeyType;
use signet_core::toml_reader;

pub use auth::Auth;
pub use aws::{
    AwsCaKey, AwsConfig, AwsEnvironment, ContainerAddress, EnvironmentKeys, region_of_arn, service_endpoint,
};
pub use hosts::{Ec2, Hosts};
pub use key_holder::{KeyHolder, KeyHolderWay, KeyWish, KeyWishError};
pub use kmip::{KmipConfig, KmipMechanism, KmipOperation};
pub use limits::Limits;
pub use pkcs11::{CaKeyConfig, PinSource, Pkcs11Config, Pkcs11Seal, Pkcs11Token, TokenName, WrapMechanism};
pub use rotation::Rotation;
pub use seal::{SealConfig, SealSettings};

/// Everything `signet.toml` says, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The authority's name, for people.
    pub name: String,
    /// What clients type, canonical (`https://ca.example.com:8200`: lower case, port explicit, no path).
    pub addresses: Vec<String>,
    /// This node's number, the upper 16 bits of each serial.
    pub node: NodeId,
    /// The data folder (0700): store, ledger, keys.
    pub data: PathBuf,
    /// The policies folder; `None` means no files: everybody but root is denied.
    pub policies: Option<PathBuf>,
    /// Where it listens.
    pub listen: Listen,
    /// How connections are protected.
    pub tls: Tls,
    /// What stands before the store.
    pub seal: SealConfig,
    /// Mounts made at start if absent.
    pub mounts: Vec<MountConfig>,
    /// Tokens and AWS accounts in which requests may name CA keys.
    pub key_holders: Vec<KeyHolder>,
    /// JSON-lines files that follow the ledger.
    pub sinks: Vec<PathBuf>,
    /// What a peer may demand.
    pub limits: Limits,
    /// Whether a role without principals may yield a certificate (`legacy`) or not (`strict`, the default).
    pub strict_empty_principals: bool,
    /// Login methods.
    pub auth: Auth,
    /// Hosts: their mounts, bundles and enrolment.
    pub hosts: Hosts,
    /// When a new CA key may sign.
    pub rotation: Rotation,
}

/// Where the server listens.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The API's address.
    pub address: SocketAddr,
    /// A second plain-HTTP listener that answers `/metrics` only.
    pub metrics: Option<SocketAddr>,
}

/// How connections are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// PEM files, read again on SIGHUP.
    Files {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The leaf's private key.
        key: PathBuf,
    },
    /// A self-signed certificate kept in the data folder.
    SelfSigned,
    /// Plain HTTP; only dev mode makes this, on loopback.
    Off,
}

/// A mount that is made at start if it is absent.
#[derive(Debug, Clone)]
pub struct MountConfig {
    /// Path without slashes at the ends.
    pub path: String,
    /// For people.
    pub description: String,
    /// The CA key to make; `None` leaves it to `config/ca`.
    pub ca_key_type: Option<CaKeyType>,
    /// A CA key that lies elsewhere, in place of `ca_key_type`.
    pub ca_key: Option<CaKeyConfig>,
    /// Seconds, for roles that say nothing.
    pub default_ttl: u64,
    /// Seconds, the mount's ceiling.
    pub max_ttl: u64,
}

/// Vault's default lease TTL and maximum, 32 days: what a mount without settings of its own has.
pub const SYSTEM_TTL_SECS: u64 = 2_764_800;

impl Config {
    /// Reads and checks `signet.toml`.
    ///
    /// # Errors
    /// Every mistake in the file, or one that says the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, Vec<Mistake>> {
        let shown = path.display().to_string();
        let source = std::fs::read_to_string(path)
            .map_err(|error| vec![Mistake::new(shown.clone(), format!("cannot be read: {error}"))])?;
        Self::parse(&shown, &source, path.parent().unwrap_or(Path::new(".")))
    }

    /// Checks `source`; relative paths hang on `base`.
    ///
    /// # Errors
    /// Every mistake in the text.
    pub fn parse(file: &str, source: &str, base: &Path) -> Result<Self, Vec<Mistake>> {
        toml_reader::read(file, source, |top| read::config(top, base))
    }

    /// What dev mode runs with: loopback, plain HTTP, one mount `ssh` with an Ed25519 CA key.
    #[must_use]
    pub fn dev(address: SocketAddr, data: PathBuf, policies: Option<PathBuf>) -> Self {
        Self {
            name: "signet-dev".to_owned(),
            addresses: vec![
                format!("http://{address}"),
                format!("http://localhost:{}", address.port()),
            ],
            node: NodeId(1),
            seal: SealConfig::in_data(&data),
            data,
            policies,
            listen: Listen { address, metrics: None },
            tls: Tls::Off,
            mounts: vec![MountConfig {
                path: "ssh".to_owned(),
                description: "SSH certificates".to_owned(),
                ca_key_type: Some(CaKeyType::Ed25519),
                ca_key: None,
                default_ttl: SYSTEM_TTL_SECS,
                max_ttl: SYSTEM_TTL_SECS,
            }],
            key_holders: Vec::new(),
            sinks: Vec::new(),
            limits: Limits::default(),
            strict_empty_principals: true,
            auth: Auth::default(),
            hosts: Hosts::default(),
            rotation: Rotation::default(),
        }
    }
}

/// Reads one environment variable; `None` when unset or not UTF-8.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the one home of the environment"
)]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
