//! `cargo xtask bench`: builds what ships and hands over to the load generator, which prints the table.

use crate::machine::{COMPILERS, OPENSSH, TOKENS, provide};
use crate::process::{self, command, finish, target};
use crate::python::PYTHON;

/// Builds the release binaries and measures them.
///
/// # Errors
/// A bad flag, a build that fails, or a run that could not be made. A missed budget is printed, not an error: it depends
/// on the machine.
pub(crate) fn run(arguments: &[&str]) -> crate::Chore {
    let (program, flags, arguments): (_, &[&str], _) = match arguments.split_first() {
        Some((&"fleet", rest)) => ("signet-fleet", &["--hosts", "--seconds"], rest),
        Some((&"signers", rest)) => ("signet-signers", &["--quick"], rest),
        _ => ("signet-bench", &["--quick"], arguments),
    };
    let is_known = |word: &str| flags.contains(&word) || word.parse::<u32>().is_ok();
    if let Some(unknown) = arguments.iter().find(|word| !is_known(word)) {
        return Err(format!(
            "unknown flag `{unknown}`; known: `[signers] [--quick]`, or `fleet [--hosts N] [--seconds N]`"
        ));
    }
    provide(&[COMPILERS, OPENSSH])?;
    if program == "signet-signers" {
        provide(&[TOKENS, PYTHON])?;
        crate::python::provide()?;
    }
    let bins = ["--bin", "signet", "--bin", "signet-ca", "--bin", program];
    process::run(&[&["cargo", "build", "--release", "--workspace"], bins.as_slice()].concat())?;
    let program = target("release").join(program).display().to_string();
    let line: Vec<&str> = std::iter::once(program.as_str())
        .chain(arguments.iter().copied())
        .collect();
    finish(&line, &mut command(&line))
}
