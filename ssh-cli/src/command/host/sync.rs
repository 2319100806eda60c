//! `signet host sync`: fetches the trust bundle, renews the certificate, reports.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet host sync`.
#[derive(Debug, Args)]
pub struct SyncArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &SyncArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet host sync` is not built yet"))
}
