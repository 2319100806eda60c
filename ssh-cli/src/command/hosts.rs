//! `signet hosts`: enrolled hosts, as the authority knows them.

pub mod forget;
pub mod ls;
pub mod show;
pub mod token;

use clap::Subcommand;

use crate::config::Environment;
use crate::report::Failure;

/// The verbs of `signet hosts`.
#[derive(Debug, Subcommand)]
pub enum HostsCommand {
    /// List enrolled hosts, the laggards first
    Ls(ls::LsArgs),
    /// Show one host and what it last reported
    Show(show::ShowArgs),
    /// Make a one-time token for one host to enrol with
    Token(token::TokenArgs),
    /// Forget a host, so that it can enrol anew
    Forget(forget::ForgetArgs),
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(verb: &HostsCommand, environment: &Environment) -> Result<u8, Failure> {
    match verb {
        HostsCommand::Ls(args) => ls::run(args, environment),
        HostsCommand::Show(args) => show::run(args, environment),
        HostsCommand::Token(args) => token::run(args, environment),
        HostsCommand::Forget(args) => forget::run(args, environment),
    }
}
