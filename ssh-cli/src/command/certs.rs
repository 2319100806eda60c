//! `signet certs`: certificates that live.

pub mod export;
pub mod ls;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::value;
use crate::config::Environment;
use crate::report::Failure;
use crate::vault::{Vault, Verb};

/// Certificates in one answer; some 600 bytes each.
const PAGE: usize = 2000;

/// The verbs of `signet certs`.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// List live certificates by person, role or host
    Ls(ls::LsArgs),
    /// Write live certificates as JSON or CSV
    Export(export::ExportArgs),
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(verb: &CertsCommand, environment: &Environment) -> Result<u8, Failure> {
    match verb {
        CertsCommand::Ls(args) => ls::run(args, environment),
        CertsCommand::Export(args) => export::run(args, environment),
    }
}

/// Which certificates are meant.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// Mount of the SSH engine
    #[arg(long, default_value = "ssh", value_parser = value::mount)]
    pub mount_point: String,
    /// Issued to this person
    #[arg(long)]
    pub person: Option<String>,
    /// Issued by this role
    #[arg(long)]
    pub role: Option<String>,
    /// With this principal
    #[arg(long)]
    pub principal: Option<String>,
    /// Host certificates for this name
    #[arg(long, conflicts_with = "principal")]
    pub host: Option<String>,
    /// user or host
    #[arg(long = "type", value_name = "user|host", value_parser = kind)]
    pub cert_type: Option<String>,
    /// Also those that have ended
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub all: bool,
}

fn kind(text: &str) -> Result<String, String> {
    match text {
        "user" | "host" => Ok(text.to_owned()),
        _ => Err("there are: user, host".to_owned()),
    }
}

/// Asks page by page, the newest first, until there are `most`. The second value is whether there are more.
fn fetch(vault: &Vault, which: &WhichArgs, most: usize) -> Result<(Vec<Value>, bool), Failure> {
    if which.host.is_some() && which.cert_type.as_deref() == Some("user") {
        return Err(Failure::usage("-host and -type=user exclude each other").hint("use -principal=NAME"));
    }
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = PAGE.min(most.saturating_sub(found.len()));
        let path = path(which, page, before);
        let mut envelope = vault.send(Verb::Get, &path, None)?;
        let certificates = envelope.pointer_mut("/data/certificates").map(Value::take);
        if let Some(Value::Array(mut more)) = certificates {
            found.append(&mut more);
        }
        let next = envelope.pointer("/data/next").and_then(Value::as_u64);
        let Some(next) = next else {
            return Ok((found, false));
        };
        // A server that does not move on would keep us for ever.
        if found.len() >= most || before.is_some_and(|before| next >= before) {
            return Ok((found, true));
        }
        before = Some(next);
    }
}

fn path(which: &WhichArgs, limit: usize, before: Option<u64>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let host = which.host.as_ref().map(|_| "host".to_owned());
    for (name, value) in [
        ("person", which.person.clone()),
        ("role", which.role.clone()),
        ("principal", which.principal.clone().or_else(|| which.host.clone())),
        ("cert_type", which.cert_type.clone().or(host)),
        ("live", which.all.then(|| "false".to_owned())),
        ("limit", Some(limit.to_string())),
        ("before", before.map(|before| before.to_string())),
    ] {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    format!("{}/certificates?{}", which.mount_point, query.finish())
}
