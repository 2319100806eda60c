//! The project's chores: `cargo xtask demo | test | bench | fuzz | trees | host-binary`. Standard library only, so that it is there in a second;
//! it starts other programs and leaves the work to them.

mod bench;
mod demo;
mod fuzz;
mod host_binary;
mod machine;
mod process;
mod python;
mod report;
mod suite;
mod trees;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo                one login by certificate on a real sshd, from nothing, and its ledger record
  test                everything CI checks: format, lints, licences, build, fuzz targets, tests
  fuzz [--seconds N] [TARGET…]
                      runs the fuzz targets (60 s each unless told otherwise)
  bench [--quick]     builds the release binaries and prints what a certificate and a login cost
  bench fleet [--hosts N] [--seconds N]
                      … what 500 hosts that sync cost, and what comes in after an outage
  trees               the Debian trees that hosts of the tests are made of (root; `test` makes them too)
  host-binary [--debug]
                      builds the client for hosts, linked statically, and prints its path";

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
        Some((&"trees", [])) => machine::provide(&[machine::NAMESPACES]).and_then(|()| trees::run()),
        Some((&"host-binary", rest)) => host_binary::run(rest),
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
