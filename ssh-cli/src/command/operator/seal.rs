//! `signet operator seal`.

use clap::Args;

use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output;
use crate::report::Failure;
use crate::vault::Verb;

/// Flags of `signet operator seal`.
#[derive(Debug, Args)]
pub struct SealArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &SealArgs, environment: &Environment) -> Result<u8, Failure> {
    args.connect.vault(environment)?.send(Verb::Put, "sys/seal", None)?;
    output::text("Success! Vault is sealed.\n")?;
    Ok(0)
}
