//! `signet man`: manual pages from the same tree as the help.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};

use crate::cli::Cli;
use crate::output;
use crate::report::{Exit, Failure};

/// Flags of `signet man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder to write a page for each verb to
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// The verb; the main page when left out
    pub verb: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ManArgs) -> Result<u8, Failure> {
    let mut root = Cli::command();
    root.build();
    if let Some(folder) = &args.out {
        write(folder, "signet.1", &root)?;
        for verb in root.get_subcommands() {
            write(folder, &format!("signet-{}.1", verb.get_name()), verb)?;
        }
        return Ok(0);
    }
    let verb = match &args.verb {
        None => &root,
        Some(name) => root.find_subcommand(name).ok_or_else(|| {
            Failure::usage(format!("`{name}` is not a command of `signet`")).hint("see `signet -help`")
        })?,
    };
    output::bytes(&render(verb)?).map(|()| 0)
}

fn render(verb: &Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let written = clap_mangen::Man::new(verb.clone()).render(&mut page);
    written.map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    Ok(page)
}

fn write(folder: &Path, name: &str, verb: &Command) -> Result<(), Failure> {
    let path = folder.join(name);
    let page = render(verb)?;
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, page));
    written.map_err(|error| {
        Failure::new(Exit::Failed, format!("`{}` cannot be written", path.display())).cause(error.to_string())
    })
}
