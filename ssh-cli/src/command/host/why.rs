//! `signet host why`: whether sshd here would accept a certificate, and which line decides. Exit 3 when it would not.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::clock;
use crate::config::Environment;
use crate::host::layout::Layout;
use crate::host::sshd::unit_options;
use crate::host::why::{State, Verdict, why};
use crate::output::{self, Format};
use crate::report::{Exit, Failure};

/// Flags of `signet host why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Account to log in to; without it, every account that lists principals
    #[arg(long = "as")]
    pub account: Option<String>,
    /// Address that the login comes from
    #[arg(long)]
    pub from: Option<IpAddr>,
    /// The host's root folder, for a mounted image
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
    /// Option that sshd's unit gives it with -o, where it is not found; can be repeated
    #[arg(long)]
    pub sshd_option: Vec<String>,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
    /// Certificate file, or - for stdin
    #[arg(default_value = "-")]
    pub certificate: PathBuf,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when there is no answer.
pub fn run(args: &WhyArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let layout = Layout::under(&args.root);
    let mut options = unit_options(&layout);
    options.extend(args.sshd_option.iter().cloned());
    let line = read(&args.certificate)?;
    let account = args.account.as_deref();
    let verdicts = why(&layout, &options, &line, account, args.from, clock::now())
        .map_err(|error| Failure::from_error(Exit::Failed, &error).hint("run it as root, on the host in question"))?;
    match format {
        Format::Table => output::text(&text(&verdicts))?,
        format => output::document(&json!({ "verdicts": verdicts }), format)?,
    }
    let is_accepted = verdicts.iter().any(|verdict| verdict.accepted);
    Ok(if is_accepted { 0 } else { Exit::Refused.code() })
}

fn text(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let word = if verdict.accepted {
            "would accept"
        } else {
            "would refuse"
        };
        text.extend(["sshd ", word, " it as `", &verdict.account, "`\n"]);
        for link in &verdict.links {
            let mark = match link.state {
                State::Holds => "✓",
                State::Breaks => "✗",
                State::Unknown => "?",
            };
            let place = link.place.as_ref().map(|place| format!(" ({place})"));
            let line = format!("{}{}", link.text, place.unwrap_or_default());
            text.extend(["  ", mark, " ", &signet_core::inspect::escape(&line), "\n"]);
        }
    }
    text
}

fn read(path: &Path) -> Result<String, Failure> {
    let read = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| Failure::usage(format!("`{}` cannot be read", path.display())).cause(error.to_string()))
}
