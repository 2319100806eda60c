//! `signet certs ls`: List live certificates by person, role or host.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet certs ls`.
#[derive(Debug, Args)]
pub struct LsArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &LsArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet certs ls` is not built yet"))
}
