//! `signet operator unseal` and `signet operator migrate`.

use clap::Args;
use serde_json::json;

use super::status::rows;
use super::{share, show, vault};
use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::report::Failure;
use crate::vault::Verb;

/// Flags of `signet operator unseal` and of `migrate`.
#[derive(Debug, Args)]
pub struct UnsealArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Throw the shares away that were given from here
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub reset: Option<bool>,
    /// The share is for moving to another seal, as `migrate` says it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub migrate: Option<bool>,
    /// The key share, or - to read it from stdin; asked on the terminal when left out
    pub key: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &UnsealArgs, migrate: bool, environment: &Environment) -> Result<u8, Failure> {
    let vault = vault(&args.connect, environment)?;
    let body = if args.reset == Some(true) {
        json!({"reset": true})
    } else {
        let key = share(args.key.as_deref(), &args.connect, "Unseal Key (will be hidden): ")?;
        json!({"key": key.as_str(), "migrate": migrate || args.migrate == Some(true)})
    };
    let answer = vault.send(Verb::Put, "sys/unseal", Some(&body))?;
    show(&args.connect, environment, &answer, &rows(&answer))?;
    Ok(0)
}
