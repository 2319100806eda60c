//! `signet hosts token`: a one-time token, which one host enrols with.

use clap::Args;
use serde_json::json;

use super::{data, host_name};
use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::Failure;
use crate::vault::Verb;

/// Flags of `signet hosts token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Name that the host gets; hosts.toml has to allow it
    #[arg(long, value_parser = host_name)]
    pub host: String,
    /// Tags that the host gets, with commas between
    #[arg(long, value_delimiter = ',')]
    pub tags: Vec<String>,
    /// How long the token can be used, at most 24h [default: 15m]
    #[arg(long, value_parser = value::ttl)]
    pub ttl: Option<u64>,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &TokenArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let mut body = json!({"host": args.host, "tags": args.tags});
    if let (Some(ttl), Some(fields)) = (args.ttl, body.as_object_mut()) {
        fields.insert("ttl".to_owned(), ttl.into());
    }
    let vault = args.connect.vault(environment)?;
    let made = data(vault.send(Verb::Put, "sys/signet/host-tokens", Some(&body))?);
    match (&args.connect.field, format) {
        (Some(field), _) => output::field(&made, field)?,
        (None, Format::Table) => output::pairs(&made)?,
        (None, format) => output::document(&made, format)?,
    }
    Ok(0)
}
