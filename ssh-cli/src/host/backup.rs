//! What a host had before we touched it: kept in memory to put back when a step fails, and on disk for `undo`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use signet_core::time::UnixTime;

use super::config_text;
use super::files::{self, FileError, Files, PRIVATE};
use super::layout::Layout;

/// What bake found the first time.
pub const ORIGINAL: &str = "original";
/// What the last bake with a timer of safety found.
pub const LAST: &str = "last";

const MANIFEST: &str = "manifest.json";
const MODE_BITS: u32 = 0o7777;

/// The files as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    made: u64,
    account_existed: bool,
    /// By path inside the root; only files that were there.
    files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

/// A backup folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The list of files is damaged.
    #[error("the backup in `{}` is damaged", folder.display())]
    Damaged {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// Seconds since 1970.
    made: u64,
    /// Whether there was a break-glass account already.
    account_existed: bool,
    files: Vec<Saved>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    path: PathBuf,
    mode: u32,
    copy: String,
}

impl Snapshot {
    /// Takes down what is there now.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn take(layout: &Layout, now: UnixTime, account_existed: bool) -> Result<Self, FileError> {
        let mut held = BTreeMap::new();
        for inside in touched(layout) {
            let path = config_text::outside(layout, &inside);
            let Some(bytes) = files::read(&path)? else { continue };
            let mode = std::fs::metadata(&path).map_or(PRIVATE, |found| found.permissions().mode() & MODE_BITS);
            held.insert(inside, (mode, bytes));
        }
        Ok(Self {
            made: now.secs(),
            account_existed,
            files: held,
        })
    }

    /// Whether the break-glass account was there.
    #[must_use]
    pub const fn account_existed(&self) -> bool {
        self.account_existed
    }

    /// Puts everything back, sshd's configuration first so that it never names a file that is gone; what was not there is
    /// removed. With `keep_main` the main configuration file stays as it is, but for the line end that bake gave it.
    ///
    /// # Errors
    /// The first [`FileError`], after everything was tried.
    pub fn restore(&self, files: &Files, layout: &Layout, keep_main: bool) -> Result<Vec<PathBuf>, FileError> {
        let main = Layout::default().sshd_config();
        let mut paths = touched(layout);
        paths.extend(self.files.keys().cloned());
        paths.sort_by_key(|path| !path.to_string_lossy().contains("sshd_config"));
        paths.dedup();
        let mut changed = Vec::new();
        let mut first_error = None;
        for inside in paths {
            let path = config_text::outside(layout, &inside);
            let result = match self.files.get(&inside) {
                // Its blocks are gone already; a last line that had no end before them has one now.
                Some((mode, bytes)) if keep_main && inside == main => match files::read(&path) {
                    Ok(Some(now)) if now.strip_suffix(b"\n") == Some(bytes.as_slice()) => {
                        files.put(&path, bytes, *mode)
                    }
                    Ok(_) => Ok(false),
                    Err(error) => Err(error),
                },
                Some((mode, bytes)) => path
                    .parent()
                    .map_or(Ok(()), |folder| files.folder_if_missing(folder))
                    .and_then(|()| files.put(&path, bytes, *mode)),
                // A host without the main file was never baked.
                None if inside == main => Ok(false),
                None => files.remove(&path),
            };
            match result {
                Ok(true) => changed.push(path),
                Ok(false) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(changed), Err)
    }

    /// Writes it to a folder; the list goes last, and without a list there is no backup.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn save(&self, writer: &Files, folder: &Path) -> Result<(), FileError> {
        writer.folder(folder, 0o700)?;
        writer.remove(&folder.join(MANIFEST))?;
        let mut saved = Vec::new();
        for (index, (path, (mode, bytes))) in self.files.iter().enumerate() {
            let copy = format!("{index}.copy");
            writer.put(&folder.join(&copy), bytes, PRIVATE)?;
            saved.push(Saved {
                path: path.clone(),
                mode: *mode,
                copy,
            });
        }
        let manifest = Manifest {
            made: self.made,
            account_existed: self.account_existed,
            files: saved,
        };
        let text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
        writer.put(&folder.join(MANIFEST), text.as_bytes(), PRIVATE)?;
        Ok(())
    }

    /// Reads it back; `None` when there is no backup.
    ///
    /// # Errors
    /// [`BackupError`]
    pub fn load(folder: &Path) -> Result<Option<Self>, BackupError> {
        let Some(text) = files::read(&folder.join(MANIFEST))? else {
            return Ok(None);
        };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|source| BackupError::Damaged {
            folder: folder.to_owned(),
            source,
        })?;
        let mut held = BTreeMap::new();
        for saved in manifest.files {
            let copy = folder.join(&saved.copy);
            let bytes = std::fs::read(&copy).map_err(FileError::of("read", &copy))?;
            held.insert(saved.path, (saved.mode, bytes));
        }
        Ok(Some(Self {
            made: manifest.made,
            account_existed: manifest.account_existed,
            files: held,
        }))
    }
}

/// Every file that bake writes, as paths inside the root; of the principals those that are there.
fn touched(layout: &Layout) -> Vec<PathBuf> {
    let inside = Layout::default();
    let mut paths = vec![
        inside.drop_in(),
        inside.sshd_config(),
        inside.user_ca_keys(),
        inside.host_ca_keys(),
        inside.krl(),
        inside.breakglass_keys(),
        inside.breakglass_krl(),
        inside.bundle(),
        inside.bundle_keys(),
        inside.settings(),
    ];
    for path in config_text::glob(&layout.principals(), "*") {
        paths.push(inside.principals().join(path.file_name().unwrap_or_default()));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_comes_back_and_what_was_not_goes() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let files = Files::new(&layout, None);
        files.folder(&layout.principals(), 0o755).unwrap();
        files.put(&layout.sshd_config(), b"Port 22\n", 0o600).unwrap();
        files.put(&layout.principals_of("a"), b"x\n", 0o644).unwrap();
        let now = UnixTime::from_secs(5);
        let before = Snapshot::take(&layout, now, false).unwrap();
        let folder = layout.backup().join(ORIGINAL);
        before.save(&files, &folder).unwrap();
        files.put(&layout.sshd_config(), b"Port 23\n", 0o644).unwrap();
        files.put(&layout.krl(), b"k", 0o644).unwrap();
        files.put(&layout.principals_of("b"), b"y\n", 0o644).unwrap();
        files.remove(&layout.principals_of("a")).unwrap();
        let loaded = Snapshot::load(&folder).unwrap().unwrap();
        assert_eq!(loaded, before);
        loaded.restore(&files, &layout, false).unwrap();
        assert_eq!(Snapshot::take(&layout, now, false).unwrap(), before);
        assert!(Snapshot::load(&layout.backup().join(LAST)).unwrap().is_none());
    }
}
