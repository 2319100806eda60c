//! `signet operator`: the seal of an authority, with Vault's flags and words.

pub mod backup;
pub mod generate_root;
pub mod init;
pub mod rekey;
pub mod restore;
pub mod rotate;
pub mod seal;
pub mod status;
pub mod unseal;

use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::Failure;
use crate::terminal;
use crate::vault::Vault;

/// The verbs of `signet operator`.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Initialise an authority: prints its key shares or recovery keys, and a root token, once
    Init(Box<init::InitArgs>),
    /// Show the seal; exit code 0 unsealed, 2 sealed, 1 error
    Status(status::StatusArgs),
    /// Give a key share, asked on the terminal
    Unseal(unseal::UnsealArgs),
    /// Seal the authority: it forgets its keys
    Seal(seal::SealArgs),
    /// Make new key shares or recovery keys: -init, then every holder gives theirs
    Rekey(Box<rekey::RekeyArgs>),
    /// Begin a new term of the key that encrypts the store
    Rotate(rotate::RotateArgs),
    /// Make a root token from key shares: -init, then every holder gives theirs
    GenerateRoot(Box<generate_root::GenerateRootArgs>),
    /// Give a key share towards moving to the seal that is configured now
    Migrate(unseal::UnsealArgs),
    /// Take a backup of the authority while it serves, encrypted under its seal
    Backup(backup::BackupArgs),
    /// Put a backup in the place of what the authority has
    Restore(restore::RestoreArgs),
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(verb: &OperatorCommand, environment: &Environment) -> Result<u8, Failure> {
    match verb {
        OperatorCommand::Init(args) => init::run(args, environment),
        OperatorCommand::Status(args) => Ok(status::run(args, environment)),
        OperatorCommand::Unseal(args) => unseal::run(args, false, environment),
        OperatorCommand::Seal(args) => seal::run(args, environment),
        OperatorCommand::Rekey(args) => rekey::run(args, environment),
        OperatorCommand::Rotate(args) => rotate::run(args, environment),
        OperatorCommand::GenerateRoot(args) => generate_root::run(args, environment),
        OperatorCommand::Migrate(args) => unseal::run(args, true, environment),
        OperatorCommand::Backup(args) => backup::run(args, environment),
        OperatorCommand::Restore(args) => restore::run(args, environment),
    }
}

/// A connection with the token, if there is one: shares are an authority of their own.
fn vault(connect: &ConnectArgs, environment: &Environment) -> Result<Vault, Failure> {
    Ok(Vault::new(connect.endpoint(environment)?, environment.token()?)?)
}

/// A share: as typed, from stdin with `-`, or asked for without showing it.
fn share(given: Option<&str>, connect: &ConnectArgs, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let read = |error: std::io::Error| Failure::usage(format!("the key share cannot be read: {error}"));
    let text = match given {
        Some("-") => {
            let mut text = Zeroizing::new(String::with_capacity(4096));
            std::io::stdin().take(4000).read_to_string(&mut text).map_err(read)?;
            text
        }
        Some(given) => {
            crate::report::remark("warning: a key share on the command line is seen by everybody on this machine");
            Zeroizing::new(given.to_owned())
        }
        None if !connect.is_interactive() || !std::io::stderr().is_terminal() => {
            return Err(Failure::usage("there is no terminal to ask for the key share on")
                .hint("give `-` and write the share to stdin"));
        }
        None => terminal::ask_secret(prompt).map_err(read)?,
    };
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Prints an answer: one field, a document, or these rows.
fn show(
    connect: &ConnectArgs,
    environment: &Environment,
    answer: &Value,
    rows: &[(&str, String)],
) -> Result<(), Failure> {
    match (&connect.field, connect.format(environment)?) {
        (Some(field), _) => output::field(answer, field),
        (None, Format::Table) => {
            let rows: Vec<Vec<String>> = rows
                .iter()
                .map(|(name, value)| vec![(*name).to_owned(), value.clone()])
                .collect();
            output::table(&["Key", "Value"], &rows)
        }
        (None, format) => output::document(answer, format),
    }
}

/// A field of an answer as one cell.
fn cell(answer: &Value, field: &str) -> String {
    output::plain(answer.get(field).unwrap_or(&Value::Null))
}

/// The texts of a list.
fn texts<'a>(answer: &'a Value, field: &str) -> Vec<&'a str> {
    let list = answer.get(field).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Vault's `1/3`.
fn progress(answer: &Value, needed: &str) -> String {
    format!("{}/{}", cell(answer, "progress"), cell(answer, needed))
}
