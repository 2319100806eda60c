//! The project's chores: `cargo xtask demo | test | bench | fuzz`. Standard library only, so that it is there in a second;
//! it starts other programs and leaves the work to them.

mod bench;
mod demo;
mod fuzz;
mod machine;
mod process;
mod python;
mod report;
mod suite;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo                one login by certificate on a real sshd, from nothing, and its ledger record
  test                everything CI checks: format, lints, licences, build, fuzz targets, tests
  fuzz [--seconds N] [TARGET…]
                      runs the fuzz targets (60 s each unless told otherwise)
  bench [--quick]     builds the release binaries and prints what a certificate and a login cost";

/// Why a chore stopped. The text is complete: what failed and, where there is one, the command that helps.
type Chore = Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.split_first() {
        Some((&"demo", [])) => demo::run(),
        Some((&"test", [])) => suite::run(),
        Some((&"fuzz", rest)) => fuzz::run(rest),
        Some((&"bench", rest)) => bench::run(rest),
        _ => {
            report::line(USAGE);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            report::failure(&reason);
            ExitCode::FAILURE
        }
    }
}
