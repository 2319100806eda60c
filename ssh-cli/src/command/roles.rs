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
    let rows: Vec<Vec<String>> = roles.iter().map(row).collect();
    output::table(
        &["Role", "Certificates", "Principals", "Default", "TTL", "Max TTL"],
        &rows,
    )
}

fn row(role: &Value) -> Vec<String> {
    let cell = |name: &str| role.get(name).map(output::plain).unwrap_or_default();
    vec![
        cell("name"),
        kinds(role).join(", "),
        principals(role),
        cell("default_principals"),
        lifetime(role.get("ttl")),
        lifetime(role.get("max_ttl")),
    ]
}

/// The kinds of certificates; of a server that says nothing about it, none.
fn kinds(role: &Value) -> Vec<&'static str> {
    let issues = |name: &str| role.get(name).and_then(Value::as_bool) == Some(true);
    [("user_certificates", "user"), ("host_certificates", "host")]
        .into_iter()
        .filter_map(|(name, kind)| issues(name).then_some(kind))
        .collect()
}

/// Login names, and for a host role the names a host may have.
fn principals(role: &Value) -> String {
    let hosts = kinds(role).contains(&"host");
    let lists = ["principals", "domains"]
        .into_iter()
        .filter(|name| *name == "principals" || hosts);
    let cells = lists.filter_map(|name| role.get(name).map(output::plain));
    cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Seconds in words; a role without a lifetime of its own has the mount's.
fn lifetime(secs: Option<&Value>) -> String {
    match secs {
        None => String::new(),
        Some(Value::Null) => "the mount's".to_owned(),
        Some(secs) => secs.as_u64().map_or_else(|| output::plain(secs), in_words),
    }
}

/// `1h30m`: as it is written in a role, a flag and on Vault's wire.
fn in_words(secs: u64) -> String {
    let parts = [(secs / 3600, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
    let words: String = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .flat_map(|(count, unit)| [count.to_string(), unit.to_owned()])
        .collect();
    if words.is_empty() { "0s".to_owned() } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_read_back_as_they_are_shown() {
        for (secs, words) in [
            (0, "0s"),
            (90, "1m30s"),
            (1800, "30m"),
            (5400, "1h30m"),
            (86_400, "24h"),
            (3601, "1h1s"),
        ] {
            assert_eq!(in_words(secs), words);
            assert_eq!(signet_core::time::parse_duration(words), Ok(secs));
        }
        assert_eq!(lifetime(Some(&Value::Null)), "the mount's");
        assert_eq!(lifetime(None), "", "a plain Vault says nothing");
    }

    #[test]
    fn a_host_role_shows_what_a_host_may_be_called() {
        let role = json!({"name": "hosts", "principals": [], "default_principals": [], "domains": ["x.test", "*.x.test"],
            "user_certificates": false, "host_certificates": true, "ttl": 86_400, "max_ttl": null});
        let want = ["hosts", "host", "x.test, *.x.test", "", "24h", "the mount's"];
        assert_eq!(row(&role), want);
        let role = json!({"name": "my-role", "principals": ["*"], "default_principals": ["ubuntu"], "domains": [],
            "user_certificates": true, "host_certificates": false, "ttl": 1800, "max_ttl": 3600});
        assert_eq!(row(&role), ["my-role", "user", "*", "ubuntu", "30m", "1h"]);
    }
}
