//! `signet certs ls`: who holds which certificate, and until when.

use clap::Args;
use serde_json::{Value, json};

use super::{WhichArgs, fetch};
use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{self, Failure};

/// Flags of `signet certs ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Which ones.
    #[command(flatten)]
    pub which: WhichArgs,
    /// The most that are shown, the newest first
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &LsArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let most = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (certificates, more) = fetch(&args.connect.vault(environment)?, &args.which, most)?;
    match (&args.connect.field, format) {
        (Some(field), _) => {
            for certificate in &certificates {
                output::field(certificate, field)?;
            }
        }
        (None, Format::Table) if certificates.is_empty() => output::text("there is no such certificate\n")?,
        (None, Format::Table) => print(&certificates)?,
        (None, format) => output::document(&json!({ "certificates": certificates }), format)?,
    }
    if more {
        report::remark(&format!(
            "there are more than these {}: narrow it with -person, -role or -principal, or raise -limit",
            certificates.len()
        ));
    }
    Ok(0)
}

fn print(certificates: &[Value]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = certificates.iter().map(row).collect();
    output::table(
        &[
            "Serial",
            "Person",
            "Role",
            "Type",
            "Principals",
            "Valid until",
            "State",
            "Key ID",
        ],
        &rows,
    )
}

fn row(certificate: &Value) -> Vec<String> {
    let cell = |name: &str| certificate.get(name).map(output::plain).unwrap_or_default();
    vec![
        cell("serial"),
        cell("person"),
        cell("role"),
        cell("cert_type"),
        cell("principals"),
        cell("valid_before"),
        state(certificate).to_owned(),
        cell("key_id"),
    ]
}

/// One word for whether hosts take it. A revoked certificate that has ended is first of all revoked.
pub(super) fn state(certificate: &Value) -> &'static str {
    let is = |name: &str| certificate.get(name).and_then(Value::as_bool);
    match (is("revoked"), is("live")) {
        (Some(true), _) => "revoked",
        (_, Some(false)) => "ended",
        _ => "live",
    }
}
