//! `signet hosts ls`: List enrolled hosts, the laggards first.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet hosts ls`.
#[derive(Debug, Args)]
pub struct LsArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &LsArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet hosts ls` is not built yet"))
}
