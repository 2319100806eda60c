//! `signet hosts forget`: the authority forgets a host's key, names and report.

use clap::Args;
use serde_json::{Value, json};

use super::{host_name, not_enrolled};
use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{self, Failure};
use crate::vault::Verb;

/// Flags of `signet hosts forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// Name of the host, as `signet hosts ls` has it
    #[arg(value_parser = host_name)]
    pub host: String,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ForgetArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let vault = args.connect.vault(environment)?;
    let envelope = vault
        .send(Verb::Delete, &format!("sys/signet/hosts/{}", args.host), None)
        .map_err(|error| not_enrolled(&args.host, error))?;
    match format {
        Format::Table => output::text(&format!("{} is forgotten and can enrol anew\n", args.host))?,
        format => output::document(&json!({"host": args.host, "forgotten": true}), format)?,
    }
    for warning in envelope.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        report::remark(&format!("note: {}", output::plain(warning)));
    }
    Ok(0)
}
