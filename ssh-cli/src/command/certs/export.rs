//! `signet certs export`: live certificates for other programs, as JSON or CSV.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use signet_core::inspect::escape;

use super::ls::state;
use super::{WhichArgs, fetch};
use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output;
use crate::replace::replace;
use crate::report::{Exit, Failure};

/// Names certificates and people: for the one who asked.
const MODE: u32 = 0o600;

const COLUMNS: [&str; 12] = [
    "serial",
    "key_id",
    "person",
    "role",
    "mount",
    "cert_type",
    "principals",
    "valid_after",
    "valid_before",
    "state",
    "fingerprint",
    "address",
];

/// Flags of `signet certs export`.
#[derive(Debug, Args)]
#[command(mut_arg("format", |arg| arg.help("json or csv [default: json]")))]
pub struct ExportArgs {
    /// Which ones.
    #[command(flatten)]
    pub which: WhichArgs,
    /// File to write; without it, to stdout
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ExportArgs, environment: &Environment) -> Result<u8, Failure> {
    // The environment's format is one for tables; here it would be a surprise.
    let csv = match args.connect.format.as_deref().unwrap_or("json") {
        "json" => false,
        "csv" => true,
        other => return Err(Failure::usage(format!("`{other}` is not a format here")).hint("there are: json, csv")),
    };
    if args.connect.field.is_some() {
        return Err(Failure::usage("-field selects nothing of an export").hint("use `signet certs ls -field=NAME`"));
    }
    let (certificates, _) = fetch(&args.connect.vault(environment)?, &args.which, usize::MAX)?;
    let text = if csv {
        as_csv(&certificates)
    } else {
        let document = json!({ "certificates": certificates });
        format!("{}\n", serde_json::to_string_pretty(&document).unwrap_or_default())
    };
    match &args.out {
        None => output::text(&text)?,
        Some(path) => replace(path, text.as_bytes(), MODE).map_err(|error| {
            Failure::new(Exit::Failed, format!("`{}` cannot be written", path.display())).cause(error.to_string())
        })?,
    }
    Ok(0)
}

/// A head, and one line a certificate.
fn as_csv(certificates: &[Value]) -> String {
    let line = |cells: Vec<String>| cells.join(",") + "\n";
    let head = line(COLUMNS.iter().map(|name| (*name).to_owned()).collect());
    let rows = certificates.iter().map(|certificate| {
        let cells = COLUMNS.iter().map(|name| match *name {
            "state" => state(certificate).to_owned(),
            name => cell(certificate.get(name)),
        });
        line(cells.collect())
    });
    std::iter::once(head).chain(rows).collect()
}

/// RFC 4180, with nothing in it that ends a line, and nothing that a spreadsheet would compute.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        Some(Value::Array(list)) => list.iter().map(output::plain).collect::<Vec<_>>().join(" "),
        Some(Value::Null) | None => String::new(),
        Some(other) => output::plain(other),
    };
    let mut text = escape(&text);
    // SECURITY: a key ID `=HYPERLINK(…)` is a formula to Excel and LibreOffice; an apostrophe makes it text.
    if text.trim_start().starts_with(['=', '+', '-', '@', '|', '%']) {
        text.insert(0, '\'');
    }
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_ends_a_line() {
        for (value, want) in [
            (json!("plain"), "\"plain\""),
            (json!("a,b\"c"), "\"a,b\"\"c\""),
            (json!("=cmd|' /C calc'!A0"), "\"'=cmd|' /C calc'!A0\""),
            (json!("+1"), "\"'+1\""),
            (json!("-1"), "\"'-1\""),
            (json!("@SUM(A1)"), "\"'@SUM(A1)\""),
            (json!(" =1"), "\"' =1\""),
            (json!(["a", "b"]), "\"a b\""),
            (json!(["=a", "b"]), "\"'=a b\""),
            (json!(null), "\"\""),
            (json!(7), "\"7\""),
        ] {
            assert_eq!(cell(Some(&value)), want);
        }
        for hostile in ["a\nb", "a\rb", "\t=1", "a\u{2028}b", "\u{1b}[0m"] {
            let cell = cell(Some(&json!(hostile)));
            assert!(!cell.contains(['\n', '\r', '\t', '\u{1b}']), "{cell:?}");
            assert!(!cell.starts_with("\"="), "{cell:?}");
        }
    }
}
