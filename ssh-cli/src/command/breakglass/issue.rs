//! `signet breakglass issue`: Issue a short certificate from the offline CA.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet breakglass issue`.
#[derive(Debug, Args)]
pub struct IssueArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &IssueArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet breakglass issue` is not built yet"))
}
