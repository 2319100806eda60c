//! `signet host undo`: takes back what bake did.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::command::host::Writing;
use crate::config::Environment;
use crate::host::files::Files;
use crate::host::layout::Layout;
use crate::host::sshd::Reload;
use crate::host::undo::{Undone, undo};
use crate::host::units::{remove_units, stop_units};
use crate::output::{self, Format};
use crate::report::{Exit, Failure};

/// Flags of `signet host undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The host's root folder, for a mounted image
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
    /// Go back to this backup (etc/ssh/signet/backup/last), instead of taking everything out
    #[arg(long)]
    pub backup: Option<PathBuf>,
    /// How it writes.
    #[command(flatten)]
    pub writing: Writing,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`]
pub fn run(args: &UndoArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let layout = Layout::under(&args.root);
    let files = Files::new(&layout, args.writing.stop_after);
    let undone = undo(&files, &layout, args.backup.as_deref(), args.writing.sshd_pid).map_err(|error| {
        Failure::from_error(Exit::Failed, &error).hint("mend that, then undo again: it goes on where it stopped")
    })?;
    let answer = match undone {
        Undone::Nothing => json!({ "undone": "nothing: there is no backup here" }),
        Undone::Done { mut changed, reload } => {
            // An older state by -backup may well be one that follows the authority.
            if args.backup.is_none() {
                stop_units(&layout);
                let removed = remove_units(&layout, &files);
                changed.extend(removed.map_err(|error| Failure::from_error(Exit::Failed, &error))?);
            }
            json!({
            "undone": changed.iter().map(|path| super::bake::inside(&layout, path)).collect::<Vec<_>>(),
            "reload": match reload {
                Reload::Told(how) => how,
                Reload::NothingToTell(why) => format!("not needed: {why}"),
            },
            })
        }
    };
    match format {
        Format::Table => output::pairs(&answer)?,
        format => output::document(&answer, format)?,
    }
    Ok(0)
}
