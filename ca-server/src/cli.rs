//! The command line of `signet-ca`.

use clap::{Parser, Subcommand};

use crate::command;

/// The SSH certificate authority.
#[derive(Debug, Parser)]
#[command(name = "signet-ca", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the authority
    Serve(command::serve::Serve),
    /// Checks configuration and policies without starting
    Check(command::check::Check),
    /// Runs a throw-away authority on this machine, ready to try
    Dev(command::dev::Dev),
    /// Reads the ledger: verify, search, tail, export
    #[command(subcommand)]
    Audit(command::audit::Audit),
    /// Works on policy files: lint, test, explain, diff
    #[command(subcommand)]
    Policy(command::policy::PolicyCommand),
    /// Looks after the data folder while no server runs on it: check, restore, restored
    #[command(subcommand)]
    Store(command::store::Store),
}
