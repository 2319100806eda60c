//! `signet ca`: the CA keys of a mount, and changing them without failing a login.

mod import;
pub mod rotate;
pub mod status;

use std::fmt::Write as _;

use clap::Subcommand;
use serde_json::Value;
use signet_core::inspect::escape;

use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::Failure;

/// The verbs of `signet ca`.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Show the CA keys, the next step of their rotation, and what is in its way
    Status(Box<status::StatusArgs>),
    /// Do the next step of a rotation: stage, publish, promote, retire, remove
    Rotate(Box<rotate::RotateArgs>),
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(verb: &CaCommand, environment: &Environment) -> Result<u8, Failure> {
    match verb {
        CaCommand::Status(args) => status::run(args, environment),
        CaCommand::Rotate(args) => rotate::run(args, environment),
    }
}

/// Prints where the rotation stands.
fn answer(connect: &ConnectArgs, data: &Value, format: Format) -> Result<(), Failure> {
    match (&connect.field, format) {
        (Some(field), _) => output::field(data, field),
        (None, Format::Table) => show(data),
        (None, format) => output::document(data, format),
    }
}

fn show(data: &Value) -> Result<(), Failure> {
    let issuers = data
        .get("issuers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if issuers.is_empty() {
        return output::text("the mount has no CA key\n");
    }
    let head = ["State", "Fingerprint", "Name", "Since", "Trusted until", "Id"];
    let names = [
        "state",
        "ca_fingerprint",
        "issuer_name",
        "since",
        "trusted_until",
        "issuer_id",
    ];
    let row = |issuer: &Value| names.iter().map(|name| cell(issuer, name)).collect();
    output::table(&head, &issuers.iter().map(row).collect::<Vec<Vec<String>>>())?;
    output::text(&next(data))
}

/// The next step in a few lines.
fn next(data: &Value) -> String {
    let Some(next) = data.get("next").filter(|next| next.is_object()) else {
        return "there is nothing to rotate\n".to_owned();
    };
    let (step, issuer) = (cell(next, "step"), cell(next, "ca_fingerprint"));
    let mut text = match step.as_str() {
        "stage" => "\nno rotation is under way; `signet ca rotate -step=stage` begins one\n".to_owned(),
        step => format!("\nnext step: {step} {issuer}\n"),
    };
    if next.get("safe").and_then(Value::as_bool) == Some(false) {
        for (label, name) in [("not safe now", "reason"), ("safe from", "safe_at"), ("hint", "hint")] {
            if next.get(name).is_some_and(Value::is_string) {
                // Writing into a String cannot fail.
                let _infallible = writeln!(text, "{label}: {}", cell(next, name));
            }
        }
        let laggards = next.get("laggards").and_then(Value::as_array);
        for host in laggards.into_iter().flatten() {
            let _infallible = writeln!(text, "  waiting for {}", escape(&output::plain(host)));
        }
    } else if step != "stage" {
        text.push_str("it is safe now: `signet ca rotate` does it\n");
    }
    text
}

/// A value of the server's, safe to show.
fn cell(of: &Value, name: &str) -> String {
    match of.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(value) => escape(&output::plain(value)),
    }
}
