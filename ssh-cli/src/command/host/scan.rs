//! `signet host scan`: looks for keys and traces that an image must not carry.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet host scan`.
#[derive(Debug, Args)]
pub struct ScanArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ScanArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet host scan` is not built yet"))
}
