//! Dev mode: an authority to try things on. Loopback and plain HTTP only, a store that goes away, a root token, one mount
//! with a CA key, and the example policies.

use std::fmt::Debug;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use signet_core::ledger::EventKind;
use signet_core::mistake::Mistake;
use signet_core::policy_set::PolicySet;

use crate::authority::{Authority, OpenError};
use crate::clock::Clock;
use crate::config::Config;
use crate::{hardening, logging, policy_dir, random, serve};

include!(concat!(env!("OUT_DIR"), "/example_policies.rs"));

/// What `signet-ca dev` was asked for.
#[derive(Debug)]
pub struct DevOptions {
    /// A loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The root token; made at random when absent.
    pub root_token: Option<SecretString>,
    /// Policies instead of the examples.
    pub policies: Option<PathBuf>,
    /// A data folder to keep; a temporary one when absent.
    pub data: Option<PathBuf>,
}

/// An opened dev authority; its temporary folder goes with it.
#[derive(Debug)]
pub struct Dev {
    /// The authority, with mounts not yet made: [`serve::run_opened`] makes them.
    pub authority: Arc<Authority>,
    /// The root token.
    pub root_token: SecretString,
    _folder: Option<TemporaryFolder>,
}

/// Runs dev mode until a signal ends it.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn run(options: DevOptions) -> anyhow::Result<()> {
    logging::init();
    hardening::lock_and_report();
    let shown = options.policies.clone();
    let dev = open(options, Clock::system())?;
    serve::run_opened(&dev.authority, None, |address, _| dev.announce(address, shown))
}

/// Opens a dev authority without serving it.
///
/// # Errors
/// [`DevError`]
pub fn open(options: DevOptions, clock: Clock) -> Result<Dev, DevError> {
    if !options.listen.ip().is_loopback() {
        return Err(DevError::NotLoopback {
            address: options.listen,
        });
    }
    let policy = match &options.policies {
        Some(folder) => policy_dir::read(folder),
        None => example_policies(),
    };
    let (folder, data) = if let Some(data) = options.data {
        (None, data)
    } else {
        let folder = TemporaryFolder(std::env::temp_dir().join(format!("signet-dev-{}", random::uuid())));
        let data = folder.0.clone();
        (Some(folder), data)
    };
    let config = Config::dev(options.listen, data, options.policies);
    let authority = Authority::open(config, policy.map_err(DevError::Policies)?, clock)?;
    let root_token = match options.root_token {
        Some(token) => token,
        None => SecretString::from(format!("hvs.{}", random::base62(28).map_err(io::Error::other)?)),
    };
    replace_root(&authority, &root_token)?;
    Ok(Dev {
        authority,
        root_token,
        _folder: folder,
    })
}

/// The example policies that the binary carries.
///
/// # Errors
/// None in a released binary: a test loads them.
pub fn example_policies() -> Result<PolicySet, Vec<Mistake>> {
    let files = EXAMPLE_POLICIES
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    PolicySet::from_files(&files)
}

/// Makes the root token; those of earlier runs on a kept folder end. In a thread of its own, so that tests can open a dev
/// authority from within a runtime.
fn replace_root(authority: &Arc<Authority>, token: &SecretString) -> Result<(), DevError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let made = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(make_root(authority, token))).join());
    made.unwrap_or_else(|_| Err(DevError::Io(io::Error::other("the thread ended by a panic"))))
}

async fn make_root(authority: &Authority, token: &SecretString) -> Result<(), DevError> {
    let now = authority.clock.now();
    for accessor in authority.tokens.list_accessors(now) {
        let old = authority.tokens.by_accessor(&accessor, now);
        if let Some(old) = old.filter(|old| old.path == "auth/token/root") {
            authority.tokens.revoke(old.hash).await?;
        }
    }
    let root = authority.tokens.create_root(token, now).await?;
    let event = authority
        .ledger
        .event(EventKind::TokenCreate)
        .text("person", "root")
        .text("by", "dev");
    authority
        .ledger
        .record(event.text("new_accessor", &root.accessor))
        .await?;
    Ok(())
}

impl Dev {
    fn announce(&self, address: SocketAddr, policies: Option<PathBuf>) -> io::Result<()> {
        let ca_key = self
            .authority
            .mounts
            .get("ssh")
            .and_then(|mount| mount.signer())
            .map(|signer| signer.public_line());
        let policies = policies.map_or_else(|| "the built-in examples".to_owned(), |path| path.display().to_string());
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "signet-ca dev: plain HTTP on http://{address}, for this machine only; policies: {policies}"
        )?;
        writeln!(
            out,
            "CA key of mount ssh (what hosts trust):\n{}",
            ca_key.unwrap_or_default().trim_end()
        )?;
        writeln!(out, "\nType next:")?;
        writeln!(out, "  export SIGNET_ADDR=http://{address}")?;
        writeln!(out, "  export SIGNET_TOKEN={}", self.root_token.expose_secret())?;
        writeln!(out, "  signet ssh -role=backend ubuntu@HOST")?;
        out.flush()
    }
}

/// Removed when dropped.
#[derive(Debug)]
struct TemporaryFolder(PathBuf);

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, "the temporary folder cannot be removed");
        }
    }
}

/// Why dev mode cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// It would be reachable from other machines.
    #[error(
        "dev mode serves plain HTTP with a root token, so it listens on loopback only, not on {address}; use `signet-ca serve`"
    )]
    NotLoopback {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Mistakes in the policies.
    #[error("the policies have {} mistake(s)", .0.len())]
    Policies(Vec<Mistake>),
    /// The authority cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The root token cannot be made.
    #[error("the root token cannot be made")]
    Token(#[from] crate::tokens::TokenError),
    /// The ledger cannot be written.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}
