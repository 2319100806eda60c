//! `signet hosts token`: Make a one-time token for one host to enrol with.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet hosts token`.
#[derive(Debug, Args)]
pub struct TokenArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &TokenArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet hosts token` is not built yet"))
}
