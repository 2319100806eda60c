//! `signet hosts show`: one host, and what it last reported.

use clap::Args;

use super::{data, host_name, not_enrolled};
use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::Failure;
use crate::vault::Verb;

/// Flags of `signet hosts show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
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
pub fn run(args: &ShowArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let vault = args.connect.vault(environment)?;
    let envelope = vault
        .send(Verb::Get, &format!("sys/signet/hosts/{}", args.host), None)
        .map_err(|error| not_enrolled(&args.host, error))?;
    let mut shown = data(envelope);
    match (&args.connect.field, format) {
        (Some(field), _) => output::field(&shown, field)?,
        (None, Format::Table) => {
            // Its fields are rows of their own: a nested document is no line for people.
            let report = shown.get_mut("report").map(serde_json::Value::take).unwrap_or_default();
            if let (Some(fields), Some(report)) = (shown.as_object_mut(), report.as_object()) {
                fields.remove("report");
                for (name, value) in report
                    .iter()
                    .filter(|(name, _)| !matches!(name.as_str(), "host" | "logins"))
                {
                    fields.insert(format!("report.{name}"), value.clone());
                }
            }
            output::pairs(&shown)?;
        }
        (None, format) => output::document(&shown, format)?,
    }
    Ok(0)
}
