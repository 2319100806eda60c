//! The one way to read a small file that holds a secret: it is wiped when dropped, and refused when others can read it too.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

/// What group and others may not have.
const NOT_OURS: u32 = 0o077;

/// Why a secret is not to be had from its file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Others may read it.
    #[error("it has mode {mode:04o}; others can read it")]
    TooOpen {
        /// Its mode.
        mode: u32,
    },
}

/// What to do about [`SecretFileError::TooOpen`].
pub const TOO_OPEN_HINT: &str = "`chmod 600` it, and think about who has read it already";

/// Reads at most `bytes_max`; a longer file is an error, as half a secret is none.
///
/// # Errors
/// [`SecretFileError`]
pub fn read(path: &Path, bytes_max: u64) -> Result<Zeroizing<String>, SecretFileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mode = metadata.mode() & 0o7777;
    // A pipe of the shell's (`<(…)`) is nobody's to open.
    if metadata.is_file() && mode & NOT_OURS != 0 {
        return Err(SecretFileError::TooOpen { mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(bytes_max.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > bytes_max) {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_that_others_can_read_or_that_is_too_long_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hvs.x\n").unwrap();
        for (mode, is_read) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o666, false),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path, 100).is_ok(), is_read, "{mode:o}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read(&path, 6).is_ok());
        assert!(read(&path, 5).is_err());
        let absent = read(&folder.path().join("absent"), 5);
        assert!(matches!(absent, Err(SecretFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound));
    }
}
