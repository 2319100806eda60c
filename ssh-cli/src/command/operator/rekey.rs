//! `signet operator rekey`.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{cell, progress, share, show, texts, vault};
use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::Failure;
use crate::vault::{Vault, Verb};

/// Which shares are made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The key shares of a shamir seal
    Barrier,
    /// The recovery keys of another
    Recovery,
}

impl Target {
    const fn path(self) -> &'static str {
        match self {
            Self::Barrier => "sys/rekey",
            Self::Recovery => "sys/rekey-recovery-key",
        }
    }
}

/// Flags of `signet operator rekey`.
#[derive(Debug, Args)]
pub struct RekeyArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Start (needs a token, or a key share as the last word)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub init: Option<bool>,
    /// Give it up
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub cancel: Option<bool>,
    /// Show how it stands
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub status: Option<bool>,
    /// With -init: the new shares count when their holders have given them once [default: true]. Without: give a new share
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub verify: Option<bool>,
    /// Which shares
    #[arg(long, value_enum, default_value = "barrier")]
    pub target: Target,
    /// How many new shares
    #[arg(long, short = 'n', default_value_t = 5)]
    pub key_shares: u8,
    /// How many of them are needed
    #[arg(long, short = 't', default_value_t = 3)]
    pub key_threshold: u8,
    /// The nonce that -init printed; the one in progress when left out
    #[arg(long)]
    pub nonce: Option<String>,
    /// age recipients, comma-separated, one for each new share in order
    #[arg(long, value_delimiter = ',')]
    pub age_keys: Vec<String>,
    /// The key share, or - to read it from stdin; asked on the terminal when left out
    pub key: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &RekeyArgs, environment: &Environment) -> Result<u8, Failure> {
    let vault = vault(&args.connect, environment)?;
    let init = format!("{}/init", args.target.path());
    let given = |wanted: Option<bool>| wanted == Some(true);
    if given(args.init) {
        let answer = vault.send(Verb::Put, &init, Some(&start_body(args)?))?;
        return if answer.get("keys").is_some() {
            done(args, environment, &answer)
        } else {
            stands(args, environment, &answer)
        };
    }
    if given(args.cancel) {
        let body = match &args.key {
            Some(key) => json!({"nonce": args.nonce, "key": *share(Some(key), &args.connect, "")?}),
            None => json!({"nonce": args.nonce}),
        };
        vault.send(Verb::Delete, &init, Some(&body))?;
        output::text("Success! Canceled rekeying (if it was started)\n")?;
        return Ok(0);
    }
    if given(args.status) {
        return stands(args, environment, &vault.send(Verb::Get, &init, None)?);
    }
    if given(args.verify) {
        return verify(args, &vault, environment);
    }
    let nonce = nonce(args, &vault, &init)?;
    let key = share(
        args.key.as_deref(),
        &args.connect,
        "Key share in force (will be hidden): ",
    )?;
    let body = json!({"key": key.as_str(), "nonce": nonce});
    let answer = vault.send(Verb::Put, &format!("{}/update", args.target.path()), Some(&body))?;
    if answer.get("complete").and_then(Value::as_bool) == Some(true) {
        done(args, environment, &answer)
    } else {
        stands(args, environment, &answer)
    }
}

fn start_body(args: &RekeyArgs) -> Result<Value, Failure> {
    let mut body = json!({
        "secret_shares": args.key_shares,
        "secret_threshold": args.key_threshold,
        // Nobody should find out after the fact that a share was copied wrongly.
        "require_verification": args.verify.unwrap_or(true),
    });
    if let Some(body) = body.as_object_mut() {
        if !args.age_keys.is_empty() {
            body.insert("age_keys".to_owned(), json!(args.age_keys));
        }
        if let Some(key) = &args.key {
            let key = share(Some(key), &args.connect, "")?;
            body.insert("key".to_owned(), json!(key.as_str()));
        }
    }
    Ok(body)
}

fn nonce(args: &RekeyArgs, vault: &Vault, path: &str) -> Result<String, Failure> {
    match &args.nonce {
        Some(nonce) => Ok(nonce.clone()),
        None => Ok(cell(&vault.send(Verb::Get, path, None)?, "nonce")),
    }
}

fn verify(args: &RekeyArgs, vault: &Vault, environment: &Environment) -> Result<u8, Failure> {
    let path = format!("{}/verify", args.target.path());
    let nonce = nonce(args, vault, &path)?;
    let key = share(args.key.as_deref(), &args.connect, "New key share (will be hidden): ")?;
    let answer = vault.send(Verb::Put, &path, Some(&json!({"key": key.as_str(), "nonce": nonce})))?;
    if answer.get("complete").and_then(Value::as_bool) == Some(true) {
        output::text("Success! Rekey verification complete. The new shares are in force, the old ones are void.\n")?;
        return Ok(0);
    }
    let rows = [
        ("Nonce", cell(&answer, "nonce")),
        ("Verification Progress", progress(&answer, "t")),
    ];
    show(&args.connect, environment, &answer, &rows)?;
    Ok(0)
}

fn stands(args: &RekeyArgs, environment: &Environment, answer: &Value) -> Result<u8, Failure> {
    let rows = [
        ("Nonce", cell(answer, "nonce")),
        ("Started", cell(answer, "started")),
        ("Rekey Progress", progress(answer, "required")),
        ("New Shares", cell(answer, "n")),
        ("New Threshold", cell(answer, "t")),
        ("Verification Required", cell(answer, "verification_required")),
        ("Verification Nonce", cell(answer, "verification_nonce")),
    ];
    show(&args.connect, environment, answer, &rows)?;
    Ok(0)
}

fn done(args: &RekeyArgs, environment: &Environment, answer: &Value) -> Result<u8, Failure> {
    match (&args.connect.field, args.connect.format(environment)?) {
        (Some(field), _) => output::field(answer, field)?,
        (None, Format::Table) => {
            let mut text = String::new();
            for (index, key) in texts(answer, "keys_base64").into_iter().enumerate() {
                let _infallible = writeln!(text, "Key {}: {key}", index + 1);
            }
            let _infallible = writeln!(text, "\nOperation nonce: {}", cell(answer, "nonce"));
            let nonce = cell(answer, "verification_nonce");
            let _infallible = if nonce.is_empty() {
                writeln!(
                    text,
                    "The new shares are in force, the old ones are void. Nobody can print them again."
                )
            } else {
                writeln!(
                    text,
                    "Verification nonce: {nonce}\nThe old shares stay in force until enough holders of new ones have given \
                     theirs:\n`signet operator rekey -verify`"
                )
            };
            output::text(&text)?;
        }
        (None, format) => output::document(answer, format)?,
    }
    Ok(0)
}
