//! `signet host scan`: looks for keys and traces that an image must not carry. Exit 1 when there is one.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::config::Environment;
use crate::host::layout::Layout;
use crate::host::scan::{Options, scan};
use crate::output::{self, Format};
use crate::report::{Exit, Failure};

/// Flags of `signet host scan`.
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// The image's root folder
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
    /// Path inside the image that may have what it has, with everything below; can be repeated
    #[arg(long)]
    pub allow: Vec<PathBuf>,
    /// Look into other file systems too
    #[arg(long)]
    pub cross: bool,
    /// Bill of trust that the image must agree with (`signet host bake -bill=…`)
    #[arg(long)]
    pub bill: Option<PathBuf>,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when the image cannot be read; what was found is no failure, and ends in exit code 1.
pub fn run(args: &ScanArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let options = Options {
        allow: args.allow.clone(),
        cross: args.cross,
        bill: args.bill.as_ref().map(bill).transpose()?,
    };
    let scan = scan(&Layout::under(&args.root), &options).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    match format {
        Format::Table if scan.found.is_empty() => output::text(&format!("{} files, nothing found\n", scan.files))?,
        Format::Table => {
            let rows: Vec<Vec<String>> = scan
                .found
                .iter()
                .map(|found| {
                    vec![
                        found.kind.to_owned(),
                        found.path.display().to_string(),
                        found.text.clone(),
                    ]
                })
                .collect();
            output::table(&["Kind", "Path", "What"], &rows)?;
        }
        format => output::document(&json!(scan), format)?,
    }
    if !scan.unread.is_empty() {
        let names: Vec<String> = scan
            .unread
            .iter()
            .take(5)
            .map(|path| path.display().to_string())
            .collect();
        let text = format!(
            "{} paths could not be read, such as {}",
            scan.unread.len(),
            names.join(", ")
        );
        return Err(Failure::new(Exit::Failed, text).hint("run it as root: what is not read is not known to be clean"));
    }
    Ok(if scan.found.is_empty() { 0 } else { Exit::Failed.code() })
}

fn bill(path: &PathBuf) -> Result<Value, Failure> {
    let broken =
        |why: String| Failure::usage(format!("the bill of trust `{}` cannot be read", path.display())).cause(why);
    let text = std::fs::read(path).map_err(|error| broken(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))
}
