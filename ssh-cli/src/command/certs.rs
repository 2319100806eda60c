//! `signet certs`: certificates that live.

pub mod export;
pub mod ls;

use clap::Subcommand;

use crate::config::Environment;
use crate::report::Failure;

/// The verbs of `signet certs`.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// List live certificates by person, role or host
    Ls(ls::LsArgs),
    /// Write live certificates as JSON or CSV
    Export(export::ExportArgs),
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(verb: &CertsCommand, environment: &Environment) -> Result<u8, Failure> {
    match verb {
        CertsCommand::Ls(args) => ls::run(args, environment),
        CertsCommand::Export(args) => export::run(args, environment),
    }
}
