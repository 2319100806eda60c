//! `signet breakglass verify`: Check keys, shares and documents without opening anything.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet breakglass verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &VerifyArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(
        Exit::Failed,
        "`signet breakglass verify` is not built yet",
    ))
}
