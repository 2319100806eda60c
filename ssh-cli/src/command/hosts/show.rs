//! `signet hosts show`: Show one host and what it last reported.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet hosts show`.
#[derive(Debug, Args)]
pub struct ShowArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ShowArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet hosts show` is not built yet"))
}
