//! A folder of its own for each test, in a place that sshd's `StrictModes` accepts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder that is gone with the value. It does not lie under `/tmp`: sshd refuses trust files below a folder that
/// everybody may write to.
#[derive(Debug)]
pub struct Workdir(TempDir);

impl Workdir {
    /// Makes the folder.
    #[expect(clippy::new_without_default, reason = "making a folder is an effect, not a default")]
    pub fn new() -> Self {
        let base = if is_root() {
            PathBuf::from("/var/lib/signet-tests")
        } else {
            PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/signet-tests")
        };
        std::fs::create_dir_all(&base).expect("the folder of all tests");
        Self(
            tempfile::Builder::new()
                .prefix("t")
                .tempdir_in(base)
                .expect("the test's folder"),
        )
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file below the folder, making the folders between, and gives its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        write(&path, text);
        path
    }

    /// Makes a folder below this one, readable by its owner alone.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).expect("a folder of the test");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("mode 0700");
        path
    }
}

/// Writes a file by rename, so that a program that reads it meanwhile sees the old text or the new one.
pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("the file's folder");
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text).expect("the file's text");
    std::fs::rename(fresh, path).expect("the file's name");
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the copy's folder");
    for entry in std::fs::read_dir(from).expect("the folder to copy") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copied file");
        }
    }
}

/// Whether the tests run as root. An ordinary user can run all of them: sshd then serves that user alone.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The login name of whoever runs the tests: the account they log in to.
pub fn login_name() -> String {
    let printed = std::process::Command::new("id").arg("-un").output().expect("`id -un`");
    String::from_utf8(printed.stdout).expect("a name").trim().to_owned()
}
