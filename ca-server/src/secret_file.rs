//! Files that hold secrets: the one way to read them, to make them, and to see at the start that nobody else can read them.
//! Whoever reads one says what it is for ([`SecretFileError::of`]).

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::environment;

/// A longer one is something else; more than this is never read.
const BYTES_MAX: u64 = 8000;
/// What group and others may not have.
const NOT_OURS: u32 = 0o077;

/// Reads a small file that only the server's user may be able to read.
///
/// # Errors
/// [`SecretFileError`]: absent, a link, too long, readable by others, or somebody else's.
pub fn read(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let fail = |source| SecretFileError::read(path, source);
    let file = open_options().read(true).open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    check_mode(path, metadata.mode())?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        let path = path.to_owned();
        return Err(SecretFileError::Owner { path, owner });
    }
    text_of(path, file)
}

/// Reads what systemd put into `$CREDENTIALS_DIRECTORY`. It guards the folder itself, sometimes by an ACL under a file of
/// root's, so owner and mode are its matter.
///
/// # Errors
/// [`SecretFileError`]: not started with that credential.
pub fn credential(name: &str) -> Result<Zeroizing<String>, SecretFileError> {
    let folder = environment("CREDENTIALS_DIRECTORY");
    let folder = folder.ok_or_else(|| SecretFileError::NoCredentials { name: name.to_owned() })?;
    let path = Path::new(&folder).join(name);
    match File::open(&path) {
        Ok(file) => text_of(&path, file),
        // Never `Missing`: systemd made the folder before it started the server, and nothing comes into it later.
        Err(source) => Err(SecretFileError::Credential { path, source }),
    }
}

fn text_of(path: &Path, file: File) -> Result<Zeroizing<String>, SecretFileError> {
    // As long as it can get, so that it never moves and leaves a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * 8000));
    file.take(BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|source| SecretFileError::read(path, source))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > BYTES_MAX) {
        return Err(SecretFileError::read(path, io::Error::other("it is too long")));
    }
    Ok(text)
}

/// Writes a file of mode 0600 that was not there, and makes it and its name durable.
///
/// # Errors
/// The system's, also when the file is there.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open_options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes an empty file of mode 0600 where there is none, for a library that would make it by its own lights.
///
/// # Errors
/// The system's.
pub fn make_private(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    made.map(drop)
}

/// Sees that nobody but the owner can read a file that is read elsewhere; a link is followed.
///
/// # Errors
/// [`SecretFileError::TooOpen`], or that it cannot be looked at.
pub fn assert_private(path: &Path) -> Result<(), SecretFileError> {
    let metadata = std::fs::metadata(path).map_err(|source| SecretFileError::read(path, source))?;
    check_mode(path, metadata.mode())
}

/// Sees that nobody but the owner can read any file in a folder: the store, the ledger, and whatever SQLite keeps beside
/// them. `but_for` are those that others are meant to read.
///
/// # Errors
/// As [`assert_private`], for the first such file by name.
pub fn assert_all_private(folder: &Path, but_for: &[PathBuf]) -> Result<(), SecretFileError> {
    let fail = |source| SecretFileError::read(folder, source);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_type().map_err(fail)?.is_dir() {
            files.push(entry.path());
        }
    }
    files.retain(|file| !but_for.contains(file));
    files.sort_unstable();
    files.iter().try_for_each(|file| match assert_private(file) {
        // SQLite removes its log when the last connection closes.
        Err(SecretFileError::Missing { .. }) => Ok(()),
        looked => looked,
    })
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // A link could lead to a file whose name others may replace.
    options.custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0));
    options
}

fn check_mode(path: &Path, mode: u32) -> Result<(), SecretFileError> {
    let mode = mode & 0o7777;
    if mode & NOT_OURS == 0 {
        return Ok(());
    }
    let path = path.to_owned();
    Err(SecretFileError::TooOpen { path, mode })
}

/// Why a secret is not to be had from its file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file is not there.
    #[error("`{}` is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("`{}` has mode {mode:04o}; others can read it (run `chmod 600` on it, and consider known what it holds)", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Somebody else owns it.
    #[error("`{}` belongs to user {owner}, not to the server's user", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The owner's user id.
        owner: u32,
    },
    /// It cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// systemd brought no such credential.
    #[error("the credential `{}` cannot be read", path.display())]
    Credential {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// systemd was not told to bring one.
    #[error(
        "there is no $CREDENTIALS_DIRECTORY: the unit needs `LoadCredential={name}:/path` or `LoadCredentialEncrypted=`"
    )]
    NoCredentials {
        /// The credential.
        name: String,
    },
}

impl SecretFileError {
    fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Read { path, source },
        }
    }

    /// The whole in one clause, of a file that is called `what` (`the PIN file`).
    #[must_use]
    pub fn of(&self, what: &str) -> String {
        let text = crate::command::chain(self);
        match self {
            Self::Credential { .. } | Self::NoCredentials { .. } => text,
            Self::Missing { .. } | Self::TooOpen { .. } | Self::Owner { .. } | Self::Read { .. } => {
                format!("{what} {text}")
            }
        }
    }
}
