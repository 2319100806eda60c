//! `signet hosts forget`: Forget a host, so that it can enrol anew.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet hosts forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ForgetArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet hosts forget` is not built yet"))
}
