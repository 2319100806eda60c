//! `cargo xtask demo`: one login by certificate on a real sshd, from nothing.

use crate::machine::{COMPILERS, OPENSSH, provide};
use crate::process::{self, command, finish, target};

/// Installs what is missing, builds the two programs and the demo, and runs it.
///
/// # Errors
/// A step failed; the demo itself says at which assertion.
pub(crate) fn run() -> crate::Chore {
    provide(&[COMPILERS, OPENSSH])?;
    process::run(&[
        "cargo",
        "build",
        "--workspace",
        "--bin",
        "signet",
        "--bin",
        "signet-ca",
        "--bin",
        "signet-demo",
    ])?;
    let program = target("debug").join("signet-demo");
    let line = [program.to_str().ok_or("the target folder's name is not UTF-8")?];
    finish(&line, &mut command(&line))
}
