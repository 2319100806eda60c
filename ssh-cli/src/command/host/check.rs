//! `signet host check`: what this host trusts, and what is wrong with it.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet host check`.
#[derive(Debug, Args)]
pub struct CheckArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &CheckArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet host check` is not built yet"))
}
