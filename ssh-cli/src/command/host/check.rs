//! `signet host check`: what this host trusts, who may enter as whom, and what is wrong. Exit 1 when something is.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use signet_core::time::UnixTime;

use crate::clock;
use crate::config::Environment;
use crate::host::findings::{Examination, Severity, Trusts, examine};
use crate::host::layout::Layout;
use crate::output::{self, Format};
use crate::report::{Exit, Failure};

/// Flags of `signet host check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The host's root folder, for a mounted image
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`]; problems of the host are no failure, and end in exit code 1.
pub fn run(args: &CheckArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let examination = examine(&Layout::under(&args.root), clock::now());
    match format {
        Format::Table => show(&examination)?,
        format => output::document(&json!(examination), format)?,
    }
    let has_problem = examination.findings.iter().any(|f| f.severity == Severity::Problem);
    Ok(if has_problem { Exit::Failed.code() } else { 0 })
}

fn show(examination: &Examination) -> Result<(), Failure> {
    output::pairs(&trusts(&examination.trusts))?;
    let accounts = examination.trusts.accounts.iter();
    let rows: Vec<Vec<String>> = accounts
        .map(|(account, principals)| vec![account.clone(), principals.join(", ")])
        .collect();
    if !rows.is_empty() {
        output::text("\n")?;
        output::table(&["Account", "Opened by"], &rows)?;
    }
    let word = |severity| match severity {
        Severity::Problem => "PROBLEM",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let rows: Vec<Vec<String>> = examination
        .findings
        .iter()
        .map(|f| {
            vec![
                word(f.severity).to_owned(),
                f.about.to_owned(),
                f.text.clone(),
                f.next.clone(),
            ]
        })
        .collect();
    output::text("\n")?;
    if rows.is_empty() {
        return output::text("nothing is wrong\n");
    }
    output::table(&["Finding", "About", "What", "Next step"], &rows)
}

fn trusts(trusts: &Trusts) -> serde_json::Value {
    let time = |secs: Option<u64>| secs.map(|secs| UnixTime::from_secs(secs).to_string());
    json!({
        "host": trusts.host,
        "authority": trusts.address,
        "tags": trusts.tags,
        "sshd": trusts.sshd_version,
        "user_ca_keys": trusts.user_ca_keys,
        "krl_version": trusts.krl_version,
        "bundle_version": trusts.bundle_version,
        "bundle_valid_until": time(trusts.bundle_valid_until),
        "breakglass_keys": trusts.breakglass_keys,
        "host_names": trusts.host_names,
        "host_certificate_ends": time(trusts.host_certificate_ends),
    })
}
