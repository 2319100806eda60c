//! `signet host enroll`: a name and a certificate for this host.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet host enroll`.
#[derive(Debug, Args)]
pub struct EnrollArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &EnrollArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet host enroll` is not built yet"))
}
