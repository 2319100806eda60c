//! `signet breakglass rotate`: Replace the break-glass keys, signed by the old ones.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet breakglass rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &RotateArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(
        Exit::Failed,
        "`signet breakglass rotate` is not built yet",
    ))
}
