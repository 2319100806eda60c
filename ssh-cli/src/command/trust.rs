//! `signet trust`: the `@cert-authority` line for ssh.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet trust`.
#[derive(Debug, Args)]
pub struct TrustArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &TrustArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet trust` is not built yet"))
}
