//! `signet revocations ls`: every revocation that is in the list.

use clap::Args;
use serde_json::Value;

use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::Failure;
use crate::vault::{VaultError, Verb};

/// Flags of `signet revocations ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
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
pub fn run(args: &LsArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let vault = args.connect.vault(environment)?;
    let data = match vault.send(Verb::List, &format!("{}/revocations", args.mount_point), None) {
        Ok(mut envelope) => envelope.get_mut("data").map(Value::take).unwrap_or_default(),
        // Vault's answer for an empty list.
        Err(VaultError::Refused(refusal)) if refusal.status == 404 && refusal.errors.is_empty() => Value::Null,
        Err(error) => return Err(error.into()),
    };
    match (&args.connect.field, format) {
        (Some(field), _) => output::field(&data, field)?,
        (None, Format::Table) => print(&data)?,
        (None, format) => output::document(&data, format)?,
    }
    Ok(0)
}

fn print(data: &Value) -> Result<(), Failure> {
    let ids = data
        .get("keys")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    if ids.is_empty() {
        return output::text("nothing is revoked\n");
    }
    let rows: Vec<Vec<String>> = ids.iter().map(|id| row(data, id)).collect();
    output::table(&["Id", "What", "Certificates", "By", "At", "Until", "Why"], &rows)
}

fn row(data: &Value, id: &Value) -> Vec<String> {
    let id = output::plain(id);
    let entry = data.get("key_info").and_then(|info| info.get(&id));
    let cell = |name: &str| {
        entry
            .and_then(|entry| entry.get(name))
            .map(output::plain)
            .unwrap_or_default()
    };
    let cells = ["selector", "certificates", "by", "at", "until", "reason"].map(cell);
    std::iter::once(id).chain(cells).collect()
}
