//! `signet operator restore`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{cell, share, vault};
use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{self, Exit, Failure};
use crate::vault::{Vault, Verb};

/// The longest header there is (`ca-server/src/backup/archive.rs`).
const HEADER_BYTES_MAX: u64 = (4 << 20) - 64;
/// How long the authority gets to start anew.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// Flags of `signet operator restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Also where the authority has data, which is kept aside
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub force: Option<bool>,
    /// A file with a key share, of a backup under a shamir seal; may be repeated. Asked on the terminal when left out
    #[arg(long, value_name = "FILE")]
    pub share_file: Vec<PathBuf>,
    /// The backup
    pub file: PathBuf,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &RestoreArgs, environment: &Environment) -> Result<u8, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("`{}` cannot be read", args.file.display())).cause(error.to_string())
    };
    let front = front(&args.file).map_err(unreadable)?;
    let vault = vault(&args.connect, environment)?;
    let there = vault.send(Verb::Get, "sys/init", None)?;
    if there.get("initialized").and_then(Value::as_bool) != Some(false) && args.force != Some(true) {
        return Err(Failure::usage("the authority has data, which the backup would replace")
            .hint("give -force if that is meant; what is there is kept aside on the server"));
    }
    let shares = shares(args, shares_needed(&front).unwrap_or(0))?;
    // Gigabytes are sent when it is known that they would be taken.
    vault.check_restore(front, &shares)?;
    let backup = File::open(&args.file).map_err(unreadable)?;
    let answer = vault.restore(backup, &shares)?;
    let done = answer.get("data").unwrap_or(&Value::Null);
    match (&args.connect.field, args.connect.format(environment)?) {
        (Some(field), _) => output::field(done, field)?,
        (None, Format::Table) => output::text(&cell(done, "report"))?,
        (None, format) => output::document(done, format)?,
    }
    report::remark(&comes_back(&vault));
    Ok(0)
}

/// The two lines in front of a backup, or as much of something else.
fn front(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut front = Vec::new();
    std::io::Read::by_ref(&mut reader)
        .take(64)
        .read_until(b'\n', &mut front)?;
    if front.ends_with(b"\n") {
        reader.take(HEADER_BYTES_MAX).read_until(b'\n', &mut front)?;
    }
    Ok(front)
}

/// How many key shares open the seal that a backup is under; `None` for a seal that opens by itself, or what is no backup.
fn shares_needed(front: &[u8]) -> Option<usize> {
    let header = front.split(|byte| *byte == b'\n').nth(1)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    let seal: Value = serde_json::from_slice(&STANDARD.decode(header.get("seal")?.as_str()?).ok()?).ok()?;
    let t = seal.pointer("/shares/t")?.as_u64()?;
    (seal.get("kind")?.as_str()? == "shamir").then_some(usize::try_from(t.min(255)).ok()?)
}

fn shares(args: &RestoreArgs, needed: usize) -> Result<Vec<Zeroizing<String>>, Failure> {
    let mut shares = Vec::new();
    for path in &args.share_file {
        let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
            Failure::new(Exit::Failed, format!("`{}` cannot be read", path.display())).cause(error.to_string())
        })?;
        shares.push(Zeroizing::new(text.trim().to_owned()));
    }
    while shares.len() < needed {
        let prompt = format!("Key share {} of {needed} (will be hidden): ", shares.len() + 1);
        shares.push(share(None, &args.connect, &prompt)?);
    }
    shares.truncate(needed);
    Ok(shares)
}

/// Waits until the authority has started anew, and says how it came up.
fn comes_back(vault: &Vault) -> String {
    let until = Instant::now() + BACK_WITHIN;
    let mut last = "The authority has not come back yet: look into its log.".to_owned();
    while Instant::now() < until {
        // While it starts anew nobody answers.
        if let Ok(status) = vault.send(Verb::Get, "sys/seal-status", None) {
            if status.get("sealed").and_then(Value::as_bool) == Some(false) {
                return "The authority serves from the restored data.".to_owned();
            }
            let reason = cell(&status, "seal_reason");
            if !reason.contains("being restored") {
                last = format!("The authority has started on the restored data and is sealed: {reason}");
                if reason.contains("shares") {
                    return last;
                }
            }
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    last
}
