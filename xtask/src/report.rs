//! The one place where xtask writes to the terminal.

use std::time::Instant;

/// Prints a line to standard output.
#[expect(clippy::print_stdout, reason = "this module is the home of xtask's output")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Prints why a chore failed to standard error.
#[expect(clippy::print_stderr, reason = "this module is the home of xtask's output")]
pub(crate) fn failure(reason: &str) {
    eprintln!("error: {reason}");
}

/// Runs one step of a chore under a headline and says how long it took.
///
/// # Errors
/// The step's own.
pub(crate) fn step(name: &str, work: impl FnOnce() -> crate::Chore) -> crate::Chore {
    line(&format!("\n==> {name}"));
    let started = Instant::now();
    let outcome = work();
    line(&format!("<== {name}: {:.1} s", started.elapsed().as_secs_f64()));
    outcome
}
