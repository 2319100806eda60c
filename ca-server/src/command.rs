//! The verbs of `signet-ca`, one file each, and the one place that prints.

pub mod audit;
pub mod check;
pub mod dev;
pub mod policy;
pub mod serve;
pub mod store;

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;

use signet_core::mistake::Mistake;

use crate::authority::OpenError;
use crate::cli::{Cli, Command};
use crate::dev::DevError;

/// Does what the command line asks; errors are printed.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Serve(verb) => verb.run(),
        Command::Check(verb) => verb.run(),
        Command::Dev(verb) => verb.run(),
        Command::Audit(verb) => verb.run(),
        Command::Policy(verb) => verb.run(),
        Command::Store(verb) => verb.run(),
    };
    result.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

/// Prints mistakes in files, one a line.
pub fn print_mistakes(mistakes: &[Mistake]) {
    let mut text = String::new();
    for mistake in mistakes {
        // Writing into a String cannot fail.
        let _infallible = writeln!(text, "{mistake}");
    }
    to_stderr(&text);
}

/// An error and its causes on one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _infallible = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

fn complain(error: &anyhow::Error) {
    let mistakes = match (error.downcast_ref::<OpenError>(), error.downcast_ref::<DevError>()) {
        (Some(OpenError::Policies(mistakes)), _) | (_, Some(DevError::Policies(mistakes))) => mistakes.as_slice(),
        _ => &[],
    };
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        let _infallible = writeln!(text, "cause: {cause}");
    }
    to_stderr(&text);
    print_mistakes(mistakes);
}

fn to_stderr(text: &str) {
    // With standard error gone there is nobody left to tell.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}
