//! `signet sign`: a public key file becomes a certificate.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::agent::obtain::{SignFields, sign, signed_key, warnings};
use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::public_key_file;
use crate::report::{Exit, Failure, remark};

/// Flags of `signet sign`.
#[derive(Debug, Args)]
#[command(override_usage = "signet sign -role=<ROLE> [FLAGS] <KEY.pub>")]
pub struct SignArgs {
    /// Role to ask
    #[arg(long, value_parser = value::role)]
    pub role: String,
    /// Mount of the SSH engine
    #[arg(long, default_value = "ssh", value_parser = value::mount)]
    pub mount_point: String,
    /// user or host
    #[arg(long, default_value = "user", value_parser = ["user", "host"])]
    pub cert_type: String,
    /// Principals to ask for, separated by commas; the role's default when left out
    #[arg(long)]
    pub valid_principals: Option<String>,
    /// Lifetime to ask for, such as 10m
    #[arg(long, value_parser = value::ttl)]
    pub ttl: Option<u64>,
    /// Extension to ask for, name or name=value; can be repeated
    #[arg(long, value_parser = value::extension)]
    pub extension: Vec<(String, String)>,
    /// Write the certificate to this file instead of stdout
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Public key file, or - for stdin
    pub key: PathBuf,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &SignArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let line = public_key_file::read(&args.key)?;
    let fields = SignFields {
        cert_type: &args.cert_type,
        principals: args.valid_principals.as_deref(),
        or_default_user: false,
        ttl_secs: args.ttl,
        extensions: &args.extension.iter().cloned().collect(),
    };
    let vault = args.connect.vault(environment)?;
    let envelope = sign(&vault, &args.mount_point, &args.role, &line, fields)?;
    for warning in warnings(&envelope) {
        remark(&format!("warning: {warning}"));
    }
    let certificate = signed_key(&envelope)?;
    if let Some(path) = &args.out {
        write(path, certificate)?;
    }
    let data = envelope.get("data").unwrap_or(&Value::Null);
    match (&args.connect.field, format) {
        (Some(field), _) => output::field(data, field)?,
        (None, Format::Table) if args.out.is_some() => {}
        // Parsed by what reads it next, so never with anything around it; checked, so that it moves no cursor.
        (None, Format::Table) => output::text(&format!("{}\n", signet_core::inspect::escape(certificate.trim_end())))?,
        (None, format) => output::document(&envelope, format)?,
    }
    Ok(0)
}

/// A certificate is public; the file still appears whole or not at all.
fn write(path: &Path, certificate: &str) -> Result<(), Failure> {
    let fresh = path.with_extension("new");
    let written =
        std::fs::write(&fresh, format!("{}\n", certificate.trim_end())).and_then(|()| std::fs::rename(&fresh, path));
    written.map_err(|error| {
        Failure::new(Exit::Failed, format!("`{}` cannot be written", path.display())).cause(error.to_string())
    })
}
