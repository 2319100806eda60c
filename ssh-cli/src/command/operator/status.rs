//! `signet operator status`.

use clap::Args;
use serde_json::Value;

use super::{cell, progress, show, vault};
use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::report::{self, Exit, Failure};
use crate::vault::Verb;

/// Flags of `signet operator status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb. The exit code is Vault's: 0 unsealed, 1 an error of any kind, 2 sealed.
#[must_use]
pub fn run(args: &StatusArgs, environment: &Environment) -> u8 {
    match look(args, environment) {
        Ok(sealed) => u8::from(sealed) * 2,
        Err(failure) => report::fail(&Failure {
            exit: Exit::Failed,
            ..failure
        }),
    }
}

fn look(args: &StatusArgs, environment: &Environment) -> Result<bool, Failure> {
    let answer = vault(&args.connect, environment)?.send(Verb::Get, "sys/seal-status", None)?;
    show(&args.connect, environment, &answer, &rows(&answer))?;
    Ok(is_sealed(&answer))
}

/// Whether a seal status says so.
pub(super) fn is_sealed(answer: &Value) -> bool {
    answer.get("sealed").and_then(Value::as_bool) != Some(false)
}

/// Vault's rows.
pub(super) fn rows(answer: &Value) -> Vec<(&'static str, String)> {
    let is = |field: &str| answer.get(field).and_then(Value::as_bool) == Some(true);
    let shares = if is("recovery_seal") {
        "Total Recovery Shares"
    } else {
        "Total Shares"
    };
    let mut rows = vec![
        ("Seal Type", cell(answer, "type")),
        ("Initialized", cell(answer, "initialized")),
        ("Sealed", cell(answer, "sealed")),
        (shares, cell(answer, "n")),
        ("Threshold", cell(answer, "t")),
    ];
    if is_sealed(answer) {
        rows.push(("Unseal Progress", progress(answer, "t")));
        rows.push(("Unseal Nonce", cell(answer, "nonce")));
    }
    if is("migration") {
        rows.push(("Seal Migration in Progress", "true".to_owned()));
    }
    if answer.get("seal_reason").is_some() {
        rows.push(("Reason", cell(answer, "seal_reason")));
    }
    rows.push(("Version", cell(answer, "version")));
    rows.push(("Storage Type", cell(answer, "storage_type")));
    rows
}
