//! `signet hosts`: enrolled hosts, as the authority knows them.

pub mod forget;
pub mod ls;
pub mod show;
pub mod token;

use clap::Subcommand;
use serde_json::Value;

use crate::config::Environment;
use crate::report::Failure;
use crate::vault::VaultError;

/// The verbs of `signet hosts`.
#[derive(Debug, Subcommand)]
pub enum HostsCommand {
    /// List enrolled hosts, the laggards first
    Ls(ls::LsArgs),
    /// Show one host and what it last reported
    Show(show::ShowArgs),
    /// Make a one-time token for one host to enrol with
    Token(token::TokenArgs),
    /// Forget a host, so that it can enrol anew
    Forget(forget::ForgetArgs),
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(verb: &HostsCommand, environment: &Environment) -> Result<u8, Failure> {
    match verb {
        HostsCommand::Ls(args) => ls::run(args, environment),
        HostsCommand::Show(args) => show::run(args, environment),
        HostsCommand::Token(args) => token::run(args, environment),
        HostsCommand::Forget(args) => forget::run(args, environment),
    }
}

/// A host's name, which becomes one segment of a path.
fn host_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    let fits = !text.is_empty() && text.chars().all(plain) && text.starts_with(|c: char| c != '.' && c != '-');
    fits.then(|| text.to_ascii_lowercase())
        .ok_or_else(|| "write the name of a host like db-1.internal.example.com".to_owned())
}

/// Says which host is not there, where the server says only that nothing is.
fn not_enrolled(host: &str, error: VaultError) -> Failure {
    match &error {
        VaultError::Refused(refusal) if refusal.status == 404 => {
            Failure::new(crate::report::Exit::Failed, format!("no host has enrolled as `{host}`"))
                .hint("`signet hosts ls` lists the hosts; each is called by its first name")
        }
        _ => error.into(),
    }
}

/// The answer's `data`.
fn data(mut envelope: Value) -> Value {
    envelope.get_mut("data").map(Value::take).unwrap_or_default()
}
