//! `signet certs export`: Write live certificates as JSON or CSV.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet certs export`.
#[derive(Debug, Args)]
pub struct ExportArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ExportArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet certs export` is not built yet"))
}
