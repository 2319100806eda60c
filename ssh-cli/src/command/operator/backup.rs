//! `signet operator backup`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output;
use crate::report::{Exit, Failure};
use crate::vault::backup::End;

/// Flags of `signet operator backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Replace the file if it is there
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub force: Option<bool>,
    /// The file to write
    pub file: PathBuf,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`]; the file is then as it was.
pub fn run(args: &BackupArgs, environment: &Environment) -> Result<u8, Failure> {
    if args.force != Some(true) && fs::symlink_metadata(&args.file).is_ok() {
        return Err(Failure::usage(format!("`{}` is there already", args.file.display()))
            .hint("choose another name, or give -force"));
    }
    let vault = args.connect.vault(environment)?;
    let draft = Draft::beside(&args.file).map_err(|error| unwritable(&args.file, &error))?;
    let mut out = BufWriter::new(&draft.file);
    let end = vault.backup(&mut out)?;
    let flushed = out.flush();
    drop(out);
    let bytes = match end {
        End::Whole { bytes } => bytes,
        End::Unwritable(error) => return Err(unwritable(&args.file, &error)),
        End::CutOff => {
            return Err(
                Failure::new(Exit::Later, "the backup ended too early and was thrown away").hint(
                    "try again; if it happens each time, look into the authority's log and at proxies in between",
                ),
            );
        }
    };
    flushed
        .and_then(|()| draft.become_file(&args.file))
        .map_err(|error| unwritable(&args.file, &error))?;
    output::text(&format!(
        "Success! {bytes} bytes in {}. It opens under the seal of today: keep that seal's key, and old key shares, as long as\n\
         this file, and never beside it.\n",
        args.file.display()
    ))?;
    Ok(0)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("`{}` cannot be written", path.display())).cause(error.to_string())
}

/// The file under another name, until it is whole.
struct Draft {
    file: File,
    path: PathBuf,
}

impl Draft {
    fn beside(target: &Path) -> io::Result<Self> {
        let mut name = target
            .file_name()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?
            .to_owned();
        name.push(format!(".signet-{}", std::process::id()));
        let path = target.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self { file, path })
    }

    fn become_file(&self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already when it became the file.
        drop(fs::remove_file(&self.path));
    }
}
