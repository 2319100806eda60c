//! Files of the ceremony: ours alone, durable, and never in place of another.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::report::{Exit, Failure};
use crate::secret_file::{self, SecretFileError, TOO_OPEN_HINT};

/// No file of the ceremony is longer.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Makes a folder that only this user can enter; one that is there must be empty and ours alone.
///
/// # Errors
/// [`Failure`], before anything was written.
pub fn new_folder(path: &Path) -> Result<(), Failure> {
    let fail = |error: &std::io::Error| unusable(path, error);
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(fail(&error)),
        Err(_) => {}
    }
    let seen = std::fs::symlink_metadata(path).map_err(|error| fail(&error))?;
    let shown = path.display();
    if !seen.is_dir() || seen.uid() != rustix::process::geteuid().as_raw() || seen.mode() & 0o077 != 0 {
        return Err(
            Failure::new(Exit::Refused, format!("`{shown}` is no folder of yours alone"))
                .hint("name a new folder, or `chmod 700` it"),
        );
    }
    if std::fs::read_dir(path).map_err(|error| fail(&error))?.next().is_some() {
        return Err(Failure::new(
            Exit::Refused,
            format!("`{shown}` is not empty, and nothing is ever overwritten"),
        )
        .hint("name a new folder"));
    }
    Ok(())
}

/// Writes a file that was not there, and has it on the disk before it returns.
///
/// # Errors
/// [`Failure`]; an existing file is left as it is.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        sync_folder(path)
    };
    write().map_err(|error| unusable(path, &error))
}

/// Adds a line to a log of ours, and has it on the disk before it returns.
///
/// # Errors
/// [`Failure`]
pub fn append_line(path: &Path, line: &str) -> Result<(), Failure> {
    let write = || {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_all()?;
        sync_folder(path)
    };
    write().map_err(|error| {
        unusable(path, &error).hint("without a record there is no certificate; make room, or name another -log")
    })
}

/// Writes a file in place of another, by rename.
///
/// # Errors
/// [`Failure`]
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    drop(std::fs::remove_file(fresh));
    write_new(fresh, bytes, 0o644)?;
    let rename = || {
        std::fs::rename(fresh, path)?;
        sync_folder(path)
    };
    rename().map_err(|error| unusable(path, &error))
}

/// Reads a file, wiped when dropped.
///
/// # Errors
/// [`Failure`] when it is missing, empty, too long or not text.
pub fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let read = || {
        let mut text = Zeroizing::new(String::new());
        let file = File::open(path)?;
        std::io::Read::read_to_string(&mut std::io::Read::take(file, FILE_BYTES_MAX), &mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error: std::io::Error| unreadable(path, &error))?;
    not_empty(path, text)
}

/// Reads a file that holds a secret.
///
/// # Errors
/// As [`read`], and when others may read it too.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = secret_file::read(path, FILE_BYTES_MAX).map_err(|error| match error {
        SecretFileError::Io(error) => unreadable(path, &error),
        SecretFileError::TooOpen { .. } => {
            Failure::new(Exit::Refused, format!("`{}` can be read by others", path.display())).hint(TOO_OPEN_HINT)
        }
    })?;
    not_empty(path, text)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("`{}` cannot be read", path.display()))
        .cause(error.to_string())
        .hint("check the path")
}

fn not_empty(path: &Path, text: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    if text.trim().is_empty() {
        return Err(Failure::new(Exit::Failed, format!("`{}` is empty", path.display())).hint("check the path"));
    }
    Ok(text)
}

fn sync_folder(of: &Path) -> std::io::Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    let hint = if error.kind() == std::io::ErrorKind::AlreadyExists {
        "nothing is ever overwritten; name another, or move it away"
    } else {
        "check the path, its owner, and that the disk has room"
    };
    Failure::new(Exit::Failed, format!("`{}` cannot be written", path.display()))
        .cause(error.to_string())
        .hint(hint)
}
