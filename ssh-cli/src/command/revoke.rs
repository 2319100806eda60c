//! `signet revoke`: certificates that must end now.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &RevokeArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet revoke` is not built yet"))
}
