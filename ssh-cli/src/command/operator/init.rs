//! `signet operator init`.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::{texts, vault};
use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::Failure;
use crate::vault::Verb;

/// Flags of `signet operator init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// How many key shares to make (shamir)
    #[arg(long, short = 'n', default_value_t = 5)]
    pub key_shares: u8,
    /// How many of them unseal
    #[arg(long, short = 't', default_value_t = 3)]
    pub key_threshold: u8,
    /// How many recovery keys to make (all other seals)
    #[arg(long, default_value_t = 5)]
    pub recovery_shares: u8,
    /// How many of them are needed
    #[arg(long, default_value_t = 3)]
    pub recovery_threshold: u8,
    /// age recipients, comma-separated, one for each key share in order: each share is printed encrypted to its holder
    #[arg(long, value_delimiter = ',')]
    pub age_keys: Vec<String>,
    /// age recipients for the recovery keys
    #[arg(long, value_delimiter = ',')]
    pub recovery_age_keys: Vec<String>,
    /// age recipient of the root token
    #[arg(long)]
    pub root_token_age_key: Option<String>,
    /// Only tell whether it is initialised: exit code 0 yes, 2 no
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub status: Option<bool>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &InitArgs, environment: &Environment) -> Result<u8, Failure> {
    let vault = vault(&args.connect, environment)?;
    if args.status == Some(true) {
        let answer = vault.send(Verb::Get, "sys/init", None)?;
        let done = answer.get("initialized").and_then(Value::as_bool) == Some(true);
        output::text(if done {
            "Vault is initialized\n"
        } else {
            "Vault is not initialized\n"
        })?;
        return Ok(if done { 0 } else { 2 });
    }
    let seal = vault.send(Verb::Get, "sys/seal-status", None)?;
    let kind = seal.get("type").and_then(Value::as_str).unwrap_or("shamir");
    let recovers = seal
        .get("recovery_seal")
        .and_then(Value::as_bool)
        .unwrap_or(kind != "shamir");
    let mut body = if recovers {
        json!({"recovery_shares": args.recovery_shares, "recovery_threshold": args.recovery_threshold})
    } else {
        json!({"secret_shares": args.key_shares, "secret_threshold": args.key_threshold})
    };
    if let Some(body) = body.as_object_mut() {
        for (name, keys) in [
            ("age_keys", &args.age_keys),
            ("recovery_age_keys", &args.recovery_age_keys),
        ] {
            if !keys.is_empty() {
                body.insert(name.to_owned(), json!(keys));
            }
        }
        if let Some(key) = &args.root_token_age_key {
            body.insert("root_token_age_key".to_owned(), json!(key));
        }
    }
    let answer = vault.send(Verb::Put, "sys/init", Some(&body))?;
    match (&args.connect.field, args.connect.format(environment)?) {
        (Some(field), _) => output::field(&answer, field)?,
        (None, Format::Table) => output::text(&for_people(args, &answer, recovers))?,
        (None, format) => output::document(&answer, format)?,
    }
    Ok(0)
}

/// Vault's lines, which scripts read.
fn for_people(args: &InitArgs, answer: &Value, recovers: bool) -> String {
    let (name, field) = if recovers {
        ("Recovery Key", "recovery_keys_base64")
    } else {
        ("Unseal Key", "keys_base64")
    };
    let mut text = String::new();
    for (index, key) in texts(answer, field).into_iter().enumerate() {
        let _infallible = writeln!(text, "{name} {}: {key}", index + 1);
    }
    let token = answer.get("root_token").and_then(Value::as_str).unwrap_or_default();
    let _infallible = write!(text, "\nInitial Root Token: {token}\n\n");
    let _infallible = if recovers {
        writeln!(
            text,
            "The authority is initialised and unseals itself. {} of the {} recovery keys are needed to make a root token\n\
             or to move to another seal; they do not unseal.",
            args.recovery_threshold, args.recovery_shares
        )
    } else {
        writeln!(
            text,
            "The authority is initialised with {} key shares, {} of which unseal it after each restart: `signet operator\n\
             unseal`. Give each to its holder and keep no two together; nobody can print them again.",
            args.key_shares, args.key_threshold
        )
    };
    text.push_str(
        "Revoke the root token when a login works: `signet logout` with it, or POST auth/token/revoke-self.\n",
    );
    text
}
