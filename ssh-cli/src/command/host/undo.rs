//! `signet host undo`: takes back what `bake` did.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet host undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &UndoArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet host undo` is not built yet"))
}
