//! `signet inspect`: certificates in plain words. Exit 1 when one is none or carries a wrong signature.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use signet_core::inspect::{Inspection, SignatureState, inspect};

use crate::clock;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{Exit, Failure};

/// Flags of `signet inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
    /// Certificate file, or - for stdin
    #[arg(default_value = "-")]
    pub file: PathBuf,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] for the first line that is no certificate, after those before it were shown.
pub fn run(args: &InspectArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let text = read(&args.file)?;
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let lines = if text.contains("PRIVATE KEY-----") || lines.is_empty() {
        vec![text.as_str()]
    } else {
        lines
    };
    let mut code = 0;
    for line in lines {
        let seen = inspect(line, clock::now())?;
        show(&seen, format)?;
        if seen.signature == SignatureState::Wrong {
            code = Exit::Failed.code();
        }
    }
    Ok(code)
}

fn show(seen: &Inspection, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => output::text(&seen.to_string()),
        format => output::document(&json!(seen), format),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let read = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| {
        Failure::new(Exit::Failed, format!("`{}` cannot be read", path.display())).cause(error.to_string())
    })
}
