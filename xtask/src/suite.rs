//! `cargo xtask test`: what CI runs and what a developer runs, the same thing.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::host_binary;
use crate::machine::{COMPILERS, NAMESPACES, OPENSSH, TOKENS, has_cargo_command, provide};
use crate::process::{command, run as run_command};
use crate::python::PYTHON;
use crate::report::{line, step};
use crate::trees::{Trees, is_root};

/// Seconds that each fuzz target gets here; `cargo xtask fuzz` gives more.
const FUZZ_SECONDS: u32 = 5;

/// Runs every check, cheapest first, and stops at the first that fails.
///
/// # Errors
/// The check that failed.
pub(crate) fn run() -> crate::Chore {
    step("programs", || {
        let of_root: &[_] = if is_root() { NAMESPACES } else { &[] };
        provide(&[COMPILERS, OPENSSH, TOKENS, PYTHON, of_root])
    })?;
    step("Python packages", crate::python::provide)?;
    let trees = Trees::begin();
    step("format", || run_command(&["cargo", "fmt", "--all", "--check"]))?;
    step("licences, sources and banned crates", deny)?;
    step("host binary", || host_binary::build(false).map(drop))?;
    step("build", || {
        run_command(&["cargo", "build", "--workspace", "--all-targets"])
    })?;
    step("lints", || {
        run_command(&[
            "cargo",
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ])
    })?;
    step("fuzz targets", || crate::fuzz::fuzz(FUZZ_SECONDS, &[]))?;
    step("trees", || trees.wait())?;
    step("tests", tests)
}

fn deny() -> crate::Chore {
    if has_cargo_command("deny") {
        return run_command(&["cargo", "deny", "check", "bans", "licenses", "sources"]);
    }
    line("not checked: cargo-deny is not installed here (cargo install --locked cargo-deny)");
    Ok(())
}

/// Runs the tests and ends with their sum on a line of its own, since cargo prints one result for each of many binaries.
fn tests() -> crate::Chore {
    let words = ["cargo", "test", "--workspace", "--no-fail-fast"];
    let mut child = command(&words)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start `cargo test`: {error}"))?;
    let (mut passed, mut failed) = (0, 0);
    if let Some(output) = child.stdout.take() {
        for text in BufReader::new(output).lines().map_while(Result::ok) {
            line(&text);
            let (more_passed, more_failed) = result_line(&text);
            passed += more_passed;
            failed += more_failed;
        }
    }
    let status = child
        .wait()
        .map_err(|error| format!("`cargo test` was lost: {error}"))?;
    line(&format!("\n{passed} passed, {failed} failed"));
    if status.success() {
        Ok(())
    } else {
        Err(format!("`cargo test` failed ({status})"))
    }
}

/// The counts in `test result: ok. 12 passed; 0 failed; …`.
fn result_line(text: &str) -> (u32, u32) {
    let Some(rest) = text.strip_prefix("test result: ") else {
        return (0, 0);
    };
    let count = |word: &str| {
        let before = rest.split(word).next()?;
        before.rsplit([' ', ';']).find(|part| !part.is_empty())?.parse().ok()
    };
    (count(" passed").unwrap_or(0), count(" failed").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::result_line;

    #[test]
    fn the_counts_of_a_result_line_are_read() {
        let text = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(result_line(text), (12, 3));
        assert_eq!(result_line("running 12 tests"), (0, 0));
    }
}
