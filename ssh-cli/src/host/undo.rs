//! Takes back what bake did: our lines leave sshd's configuration first, then the files that they named, then the account.

use std::path::{Path, PathBuf};

use super::accounts;
use super::backup::{BackupError, ORIGINAL, Snapshot};
use super::bake::{BakeError, remove_account};
use super::configure::{self, ConfigureError};
use super::files::{FileError, Files};
use super::layout::{BREAKGLASS_ACCOUNT, Layout};
use super::sshd::{Reload, Sshd, SshdError, unit_options};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// There was nothing to take back.
    Nothing,
    /// Files changed.
    Done {
        /// Which.
        changed: Vec<PathBuf>,
        /// How sshd was told.
        reload: Reload,
    },
}

/// It cannot be taken back.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// Only root may.
    #[error("only root can undo what bake did")]
    NotRoot,
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The configuration cannot be changed.
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    /// sshd refuses what was put back.
    #[error("sshd refuses the configuration that was put back")]
    Sshd(#[from] SshdError),
    /// The account cannot be removed.
    #[error(transparent)]
    Account(#[from] BakeError),
    /// There is no such backup.
    #[error("there is no backup in `{}`", .0.display())]
    NoBackup(PathBuf),
}

/// Takes back what bake did; a second run finds nothing to do. With `backup` the host goes back to that state exactly.
///
/// # Errors
/// [`UndoError`]
pub fn undo(files: &Files, layout: &Layout, backup: Option<&Path>, sshd_pid: Option<u32>) -> Result<Undone, UndoError> {
    if !rustix::process::geteuid().is_root() {
        return Err(UndoError::NotRoot);
    }
    let options = unit_options(layout);
    if let Some(folder) = backup {
        let before = Snapshot::load(folder)?.ok_or_else(|| UndoError::NoBackup(folder.to_owned()))?;
        let changed = before.restore(files, layout, false)?;
        let sshd = Sshd::find(layout, &options)?;
        sshd.test()?;
        let reload = sshd.reload(sshd_pid)?;
        return Ok(Undone::Done { changed, reload });
    }
    let Some(before) = Snapshot::load(&layout.backup().join(ORIGINAL))? else {
        return Ok(Undone::Nothing);
    };
    // Not the old main file: what others changed in it since is theirs.
    let mut changed = configure::unconfigure(files, layout, &options)?;
    changed.extend(before.restore(files, layout, true)?);
    let sshd = Sshd::find(layout, &options)?;
    sshd.test()?;
    if !before.account_existed() && accounts::find(layout, BREAKGLASS_ACCOUNT).is_some() {
        remove_account(layout)?;
    }
    // Last, for without it a second run would find nothing to do.
    std::fs::remove_dir_all(layout.backup()).map_err(FileError::of("removed", &layout.backup()))?;
    for folder in [layout.principals(), layout.folder()] {
        // Not empty: it holds files of others.
        drop(std::fs::remove_dir(folder));
    }
    let reload = sshd.reload(sshd_pid)?;
    Ok(Undone::Done { changed, reload })
}
