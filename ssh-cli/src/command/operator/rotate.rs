//! `signet operator rotate`.

use clap::Args;

use super::{cell, show};
use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::report::Failure;
use crate::vault::Verb;

/// Flags of `signet operator rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &RotateArgs, environment: &Environment) -> Result<u8, Failure> {
    let vault = args.connect.vault(environment)?;
    vault.send(Verb::Put, "sys/rotate", None)?;
    let answer = vault.send(Verb::Get, "sys/key-status", None)?;
    let data = answer.get("data").unwrap_or(&answer);
    let rows = [
        ("Key Term", cell(data, "term")),
        ("Install Time", cell(data, "install_time")),
    ];
    show(&args.connect, environment, data, &rows)?;
    Ok(0)
}
