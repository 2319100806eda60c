//! `cargo xtask bench`: builds what ships and hands over to the load generator, which prints the table.

use crate::machine::{COMPILERS, OPENSSH, provide};
use crate::process::{self, command, finish, target};

/// Builds the release binaries and measures them.
///
/// # Errors
/// A bad flag, a build that fails, or a run that could not be made. A missed budget is printed, not an error: it depends
/// on the machine.
pub(crate) fn run(arguments: &[&str]) -> crate::Chore {
    if let Some(unknown) = arguments.iter().find(|word| **word != "--quick") {
        return Err(format!("unknown flag `{unknown}`; known: --quick"));
    }
    provide(&[COMPILERS, OPENSSH])?;
    let bins = ["--bin", "signet", "--bin", "signet-ca", "--bin", "signet-bench"];
    process::run(&[&["cargo", "build", "--release", "--workspace"], bins.as_slice()].concat())?;
    let program = target("release").join("signet-bench").display().to_string();
    let line: Vec<&str> = std::iter::once(program.as_str())
        .chain(arguments.iter().copied())
        .collect();
    finish(&line, &mut command(&line))
}
