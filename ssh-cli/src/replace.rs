//! Replacing a file of a person's as a whole: whoever reads it sees the old text or the new one, never half of either.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Writes `text` over the file, which keeps its mode; a new one gets `mode`. A link is followed, so that it stays one.
///
/// # Errors
/// The system's; the file is then as it was.
pub fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let target = match path.canonicalize() {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => path.to_owned(),
        Err(error) => return Err(error),
    };
    let mode = match std::fs::metadata(&target) {
        Ok(metadata) => metadata.permissions().mode() & 0o7777,
        Err(_) => mode,
    };
    let temporary = beside(&target)?;
    let written = write(&temporary, text, mode).and_then(|()| std::fs::rename(&temporary, &target));
    if written.is_err() {
        drop(std::fs::remove_file(&temporary));
    }
    written
}

/// A name in the same folder, since a rename works within one file system only.
fn beside(target: &Path) -> io::Result<PathBuf> {
    let mut name = target
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?
        .to_owned();
    name.push(format!(".signet-{}", std::process::id()));
    Ok(target.with_file_name(name))
}

fn write(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    // Left over by a process of ours that was killed; nobody else's name looks like this.
    drop(std::fs::remove_file(path));
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        replace(&file, b"one", 0o640).unwrap();
        assert_eq!(mode(&file), 0o640);
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace(&link, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert!(link.is_symlink());
        assert_eq!(mode(&file), 0o644);
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing is left over"
        );
    }

    #[test]
    fn what_cannot_be_written_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace(&folder.path().join("no/file"), b"x", 0o600).is_err());
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        assert!(replace(&folder.path().join("link"), b"x", 0o600).is_err());
    }
}
