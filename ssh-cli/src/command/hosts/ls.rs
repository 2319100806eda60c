//! `signet hosts ls`: which hosts there are, the laggards first.

use clap::Args;
use serde_json::{Value, json};

use super::data;
use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::Failure;
use crate::vault::{Vault, VaultError, Verb};

/// Flags of `signet hosts ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Only hosts that have not reported lately
    #[arg(long)]
    pub stale: bool,
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
    let mut hosts = list(&args.connect.vault(environment)?)?;
    if args.stale {
        hosts.retain(|host| host.get("stale").and_then(Value::as_bool) == Some(true));
    }
    match (&args.connect.field, format) {
        (Some(field), _) => {
            for host in &hosts {
                output::field(host, field)?;
            }
        }
        (None, Format::Table) => print(&hosts, args.stale)?,
        (None, format) => output::document(&json!({ "hosts": hosts }), format)?,
    }
    Ok(0)
}

/// Each host with its name, in the server's order.
fn list(vault: &Vault) -> Result<Vec<Value>, VaultError> {
    let mut data = match vault.send(Verb::List, "sys/signet/hosts", None) {
        Ok(envelope) => data(envelope),
        // The answer for an empty list.
        Err(VaultError::Refused(refusal)) if refusal.status == 404 && refusal.errors.is_empty() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let names = data.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
    let host = |name: Value| {
        let info = data.get_mut("key_info").and_then(|info| info.get_mut(name.as_str()?));
        let mut host = info.map_or_else(|| json!({}), Value::take);
        if let Some(fields) = host.as_object_mut() {
            fields.insert("host".to_owned(), name);
        }
        host
    };
    Ok(names.into_iter().map(host).collect())
}

fn print(hosts: &[Value], stale: bool) -> Result<(), Failure> {
    if hosts.is_empty() {
        return output::text(if stale {
            "no host is stale\n"
        } else {
            "no host has enrolled\n"
        });
    }
    let head = [
        "Host",
        "Tags",
        "State",
        "Bundle",
        "Last report",
        "Problems",
        "sshd",
        "Certificate ends",
    ];
    output::table(&head, &hosts.iter().map(row).collect::<Vec<_>>())
}

fn row(host: &Value) -> Vec<String> {
    let cell = |name: &str| match host.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(value) => output::plain(value),
    };
    vec![
        cell("host"),
        cell("tags"),
        state(host).to_owned(),
        bundle(host),
        cell("last_report"),
        cell("problems_count"),
        cell("sshd_version"),
        cell("host_certificate_ends"),
    ]
}

/// One word: whether somebody should look at it.
fn state(host: &Value) -> &'static str {
    let version = |name: &str| host.get(name).and_then(Value::as_u64);
    if host.get("stale").and_then(Value::as_bool) == Some(true) {
        "stale"
    } else if version("bundle_version") < version("current_bundle_version") {
        "behind"
    } else {
        "fresh"
    }
}

/// `7`, or `5 of 7` for one that is behind.
fn bundle(host: &Value) -> String {
    let version = |name: &str| host.get(name).and_then(Value::as_u64);
    match (version("bundle_version"), version("current_bundle_version")) {
        (None, _) => "-".to_owned(),
        (Some(has), Some(current)) if has < current => format!("{has} of {current}"),
        (Some(has), _) => has.to_string(),
    }
}
