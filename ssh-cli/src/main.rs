//! The `signet` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(signet_cli::run(std::env::args_os()))
}
