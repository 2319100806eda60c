//! `signet ca status`: the CA keys of a mount, and what comes next.

use clap::Args;
use serde_json::Value;

use super::answer;
use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::report::Failure;
use crate::vault::Verb;

/// Flags of `signet ca status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Mount of the SSH engine
    #[arg(long, default_value = "ssh", value_parser = value::mount)]
    pub mount_point: String,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &StatusArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let vault = args.connect.vault(environment)?;
    let mut envelope = vault.send(Verb::Get, &format!("{}/rotate", args.mount_point), None)?;
    let data = envelope.get_mut("data").map(Value::take).unwrap_or_default();
    answer(&args.connect, &data, format)?;
    Ok(0)
}
