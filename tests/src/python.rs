//! Python with the packages that `cargo xtask test` provides.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::workdir::is_root;

/// The environment's `bin` folder.
///
/// # Panics
/// It was not provided, with the command that does.
pub fn bin() -> PathBuf {
    let folder = if is_root() {
        PathBuf::from("/var/cache/signet-tests/python")
    } else {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        cache.or_else(home).unwrap_or_default().join("signet-tests/python")
    };
    let bin = folder.join("bin");
    assert!(
        bin.join("python3").is_file(),
        "`{}` is missing; type: cargo xtask test (it installs hvac, moto and PyKMIP there)",
        bin.display()
    );
    bin
}

/// Runs a script with arguments to its end.
pub fn run(script: &str, arguments: &[&str]) -> Output {
    Command::new(bin().join("python3"))
        .args(["-W", "error::UserWarning", "-c", script])
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("python3 starts")
}
