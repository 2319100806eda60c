//! `signet revocations rm`: a revocation that was a mistake.

use clap::Args;
use serde_json::json;

use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{Exit, Failure};
use crate::vault::{VaultError, Verb};

/// Flags of `signet revocations rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Mount of the SSH engine
    #[arg(long, default_value = "ssh", value_parser = value::mount)]
    pub mount_point: String,
    /// Id of the revocation, as `signet revocations ls` has it
    #[arg(value_parser = id)]
    pub id: String,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// An id, which becomes one segment of a path.
fn id(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !text.is_empty() && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("an id has letters, digits and dashes; `signet revocations ls` lists them".to_owned())
    }
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &RmArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let vault = args.connect.vault(environment)?;
    let path = format!("{}/revocations/{}", args.mount_point, args.id);
    match vault.send(Verb::Delete, &path, None) {
        Ok(_) => {}
        Err(VaultError::Refused(refusal)) if refusal.status == 404 => {
            return Err(
                Failure::new(Exit::Refused, format!("there is no revocation `{}`", args.id))
                    .hint("`signet revocations ls` lists what there is"),
            );
        }
        Err(error) => return Err(error.into()),
    }
    match format {
        Format::Table => output::text(&format!(
            "{} is taken back; hosts accept what it hit once they have fetched the list\n",
            args.id
        ))?,
        format => output::document(&json!({"id": args.id, "removed": true}), format)?,
    }
    Ok(0)
}
