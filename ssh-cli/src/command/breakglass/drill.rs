//! `signet breakglass drill`: Prove on a host that break-glass works, by the real door.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet breakglass drill`.
#[derive(Debug, Args)]
pub struct DrillArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &DrillArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet breakglass drill` is not built yet"))
}
