//! `signet revocations`: what is revoked, and taking a revocation back.

pub mod ls;
pub mod rm;

use clap::Subcommand;

use crate::config::Environment;
use crate::report::Failure;

/// The verbs of `signet revocations`.
#[derive(Debug, Subcommand)]
pub enum RevocationsCommand {
    /// List what is revoked: by whom, why, until when
    Ls(ls::LsArgs),
    /// Take one revocation back; what it hit is accepted again once hosts have fetched the list
    Rm(rm::RmArgs),
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(verb: &RevocationsCommand, environment: &Environment) -> Result<u8, Failure> {
    match verb {
        RevocationsCommand::Ls(args) => ls::run(args, environment),
        RevocationsCommand::Rm(args) => rm::run(args, environment),
    }
}
