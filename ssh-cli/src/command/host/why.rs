//! `signet host why`: would sshd accept a certificate, and which line decides.

use clap::Args;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// Flags of `signet host why`.
#[derive(Debug, Args)]
pub struct WhyArgs {}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &WhyArgs, environment: &Environment) -> Result<u8, Failure> {
    let _unfinished = (args, environment);
    Err(Failure::new(Exit::Failed, "`signet host why` is not built yet"))
}
