//! `signet host bake`: makes this machine trust the authority.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet host bake`.
#[derive(Debug, Args)]
pub struct BakeArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &BakeArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet host bake` is not built yet"))
}
