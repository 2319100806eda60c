//! Writes the files that sshd reads: whole or not at all, and nothing when nothing changes. A power cut leaves the old file
//! or the new one; a full disk leaves the old one.

use std::cell::Cell;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::layout::Layout;

/// Files that anybody may read, as sshd's trust files are.
pub const PUBLIC: u32 = 0o644;
/// Files of root alone.
pub const PRIVATE: u32 = 0o600;
/// Folders above files that sshd reads: its `StrictModes` allows nobody but root to write there.
pub const FOLDER: u32 = 0o755;

const MODE_BITS: u32 = 0o7777;

/// A file of the host cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be {verb}", path.display())]
pub struct FileError {
    /// What was tried: read, written, removed.
    pub verb: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

impl FileError {
    /// For `map_err`.
    pub fn of(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { verb, path, source }
    }
}

/// Writes and removes files, and counts the steps.
#[derive(Debug)]
pub struct Files {
    stop_after: Option<u32>,
    steps: Cell<u32>,
    relabel: bool,
}

impl Files {
    /// Writes on the host with this layout. With `stop_after` the process ends by SIGABRT after so many steps, as by a power
    /// cut: each file that changes takes two (its bytes are beside it; it is in place), a removal one.
    #[must_use]
    pub fn new(layout: &Layout, stop_after: Option<u32>) -> Self {
        // SELinux gives a renamed file the label of its temporary self; sshd may then not read it.
        let relabel = layout.root() == Path::new("/") && Path::new("/sys/fs/selinux/enforce").exists();
        Self {
            stop_after,
            steps: Cell::new(0),
            relabel,
        }
    }

    /// Puts `bytes` at `path` with this mode, owned by whoever runs us (root on a host). Answers whether anything changed.
    ///
    /// # Errors
    /// [`FileError`]; what was there is then still there.
    pub fn put(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<bool, FileError> {
        if is_as_wanted(path, bytes, mode) {
            return Ok(false);
        }
        let fresh = beside(path);
        self.put_by_rename(path, &fresh, bytes, mode).map_err(|source| {
            drop(std::fs::remove_file(&fresh));
            FileError::of("written", path)(source)
        })?;
        Ok(true)
    }

    fn put_by_rename(&self, path: &Path, fresh: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
        // One that a power cut left; `create_new` follows no link that somebody put in its place.
        remove_if_there(fresh)?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE)
            .open(fresh)?;
        file.write_all(bytes)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        self.step();
        std::fs::rename(fresh, path)?;
        sync_folder(path)?;
        self.label(path);
        self.step();
        Ok(())
    }

    /// Makes a folder with those above it; one that is there gets this mode.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn folder(&self, path: &Path, mode: u32) -> Result<(), FileError> {
        let make = || -> std::io::Result<()> {
            if !path.is_dir() {
                std::fs::DirBuilder::new().recursive(true).mode(FOLDER).create(path)?;
                self.label(path);
            }
            let found = std::fs::metadata(path)?;
            if found.mode() & MODE_BITS != mode {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
            }
            Ok(())
        };
        make().map_err(FileError::of("made", path))
    }

    /// Makes a folder where there is none; one that is there keeps its mode.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn folder_if_missing(&self, path: &Path) -> Result<(), FileError> {
        if path.is_dir() {
            Ok(())
        } else {
            self.folder(path, FOLDER)
        }
    }

    /// Removes a file; answers whether there was one.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn remove(&self, path: &Path) -> Result<bool, FileError> {
        let removed = remove_if_there(path).map_err(FileError::of("removed", path))?;
        if removed {
            sync_folder(path).map_err(FileError::of("removed", path))?;
            self.step();
        }
        Ok(removed)
    }

    /// How many steps there were.
    #[must_use]
    pub const fn steps(&self) -> u32 {
        self.steps.get()
    }

    fn step(&self) {
        self.steps.set(self.steps.get().saturating_add(1));
        if self.stop_after == Some(self.steps.get()) {
            std::process::abort();
        }
    }

    fn label(&self, path: &Path) {
        if self.relabel {
            let restorecon = Command::new("restorecon")
                .arg("-F")
                .arg(path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            // A host with SELinux and without the tool shows in `sshd -T` and in the proof, which decide.
            drop(restorecon);
        }
    }
}

/// The bytes of a file; `None` when there is none.
///
/// # Errors
/// [`FileError`]
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::of("read", path)(source)),
    }
}

/// The text of a file, bytes that are no UTF-8 replaced; `None` when there is none.
///
/// # Errors
/// [`FileError`]
pub fn read_text(path: &Path) -> Result<Option<String>, FileError> {
    Ok(read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn is_as_wanted(path: &Path, bytes: &[u8], mode: u32) -> bool {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return false;
    };
    found.is_file()
        && found.mode() & MODE_BITS == mode
        && found.uid() == rustix::process::geteuid().as_raw()
        && std::fs::read(path).is_ok_and(|held| held == bytes)
}

/// `.name.new` in the same folder: no glob of sshd's configuration takes it up.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn remove_if_there(path: &Path) -> std::io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A rename is on disk only when its folder is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once_and_mended_when_its_mode_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(&Layout::under(folder.path()), None);
        let path = folder.path().join("x");
        assert!(files.put(&path, b"1", PUBLIC).unwrap());
        assert!(!files.put(&path, b"1", PUBLIC).unwrap(), "nothing to do");
        assert_eq!(files.steps(), 2);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(files.put(&path, b"1", PUBLIC).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        assert!(files.remove(&path).unwrap());
        assert!(!files.remove(&path).unwrap());
    }

    #[test]
    fn a_link_is_replaced_and_what_it_points_to_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(&Layout::under(folder.path()), None);
        let (victim, path) = (folder.path().join("victim"), folder.path().join("x"));
        std::fs::write(&victim, "keep").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join(".x.new")).unwrap();
        assert!(files.put(&path, b"1", PUBLIC).unwrap());
        assert_eq!(std::fs::read(&victim).unwrap(), b"keep");
        assert_eq!(std::fs::read(&path).unwrap(), b"1");
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(&Layout::under(folder.path()), None);
        let path = folder.path().join("x");
        files.put(&path, b"old", PUBLIC).unwrap();
        std::fs::create_dir(folder.path().join(".x.new")).unwrap();
        assert!(files.put(&path, b"new", PUBLIC).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
}
