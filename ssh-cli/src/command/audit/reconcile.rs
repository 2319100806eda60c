//! `signet audit reconcile`: Find logins by certificates that were never issued.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet audit reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ReconcileArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet audit reconcile` is not built yet"))
}
