//! Starting other programs from the work tree's root, in the words of their own command lines.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the work tree.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The folder of a profile's binaries (`debug`, `release`).
pub(crate) fn target(profile: &str) -> PathBuf {
    environment("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), PathBuf::from)
        .join(profile)
}

/// One variable of the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of xtask that reads the environment"
)]
pub(crate) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// A command to be run from the root of the work tree, without standard input.
pub(crate) fn command(line: &[&str]) -> Command {
    let (program, arguments) = line.split_first().unwrap_or((&"false", &[]));
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
///
/// # Errors
/// It could not be started, or did not exit with 0.
pub(crate) fn run(line: &[&str]) -> crate::Chore {
    finish(line, &mut command(line))
}

/// Runs a prepared command to its end; `line` names it in the error.
///
/// # Errors
/// As [`run`].
pub(crate) fn finish(line: &[&str], command: &mut Command) -> crate::Chore {
    let words = line.join(" ");
    let status = command
        .status()
        .map_err(|error| format!("cannot start `{words}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{words}` failed ({status})"))
    }
}

/// Whether a program ends well, saying nothing; a missing program is a no.
pub(crate) fn succeeds(line: &[&str]) -> bool {
    command(line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What a program prints on standard output, trimmed; empty if it fails.
pub(crate) fn output(line: &[&str]) -> String {
    let printed = command(line).stderr(Stdio::null()).output();
    printed
        .map(|printed| String::from_utf8_lossy(&printed.stdout).trim().to_owned())
        .unwrap_or_default()
}
