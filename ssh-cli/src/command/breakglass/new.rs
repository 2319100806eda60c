//! `signet breakglass new`: Make the offline CA and the sealed key, with pages to print.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet breakglass new`.
#[derive(Debug, Args)]
pub struct NewArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &NewArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet breakglass new` is not built yet"))
}
