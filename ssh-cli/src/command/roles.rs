//! `signet roles`: the roles the caller may use.

use clap::Args;
use serde_json::{Value, json};

use super::whoami::is_absent;
use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::Failure;
use crate::vault::{Vault, VaultError, Verb};

/// Flags of `signet roles`.
#[derive(Debug, Args)]
pub struct RolesArgs {
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
pub fn run(args: &RolesArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let roles = list(&args.connect.vault(environment)?, &args.mount_point)?;
    match (&args.connect.field, format) {
        (Some(field), _) => {
            for role in &roles {
                output::field(role, field)?;
            }
        }
        (None, Format::Table) => print(&roles)?,
        (None, format) => output::document(&json!({ "roles": roles }), format)?,
    }
    Ok(0)
}

/// Our own path says what each role allows; Vault's LIST has the names only.
fn list(vault: &Vault, mount: &str) -> Result<Vec<Value>, VaultError> {
    match vault.send(Verb::Get, &format!("sys/signet/roles?mount={mount}"), None) {
        Ok(envelope) => return Ok(array(&envelope, "/data/roles")),
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(error),
    }
    match vault.send(Verb::List, &format!("{mount}/roles"), None) {
        Ok(envelope) => {
            let names = array(&envelope, "/data/keys");
            Ok(names
                .into_iter()
                .map(|name| json!({ "mount": mount, "name": name }))
                .collect())
        }
        // Vault's answer for an empty list.
        Err(VaultError::Refused(refusal)) if refusal.status == 404 && refusal.errors.is_empty() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn array(envelope: &Value, pointer: &str) -> Vec<Value> {
    envelope
        .pointer(pointer)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

fn print(roles: &[Value]) -> Result<(), Failure> {
    if roles.is_empty() {
        return output::text("there is no role that you may use\n");
    }
    let cell = |role: &Value, name: &str| role.get(name).map(output::plain).unwrap_or_default();
    let columns = ["name", "principals", "default_principals", "ttl", "max_ttl"];
    let rows: Vec<Vec<String>> = roles
        .iter()
        .map(|role| columns.iter().map(|name| cell(role, name)).collect())
        .collect();
    output::table(&["Role", "Principals", "Default", "TTL", "Max TTL"], &rows)
}
