//! `signet breakglass`: the way in when everything else is down; needs no authority.

pub mod drill;
pub mod issue;
pub mod new;
pub mod rotate;
pub mod ssh;
pub mod verify;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use signet_core::breakglass::{BreakglassError, Document, Door, Line};
use signet_core::principal::Principal;
use signet_core::subject_key::SubjectKey;
use ssh_key::PrivateKey;

use crate::breakglass::key_file;
use crate::config::Environment;
use crate::report::{Exit, Failure};

/// The verbs of `signet breakglass`.
#[derive(Debug, Subcommand)]
pub enum BreakglassCommand {
    /// Make the offline CA and the sealed key, with pages to print
    New(new::NewArgs),
    /// Issue a short certificate from the offline CA
    Issue(issue::IssueArgs),
    /// Prove on a host that break-glass works, by the real door
    Drill(drill::DrillArgs),
    /// Log in with the sealed key or a certificate's key, which stays in memory
    Ssh(ssh::SshArgs),
    /// Replace the break-glass keys, signed by the old ones
    Rotate(rotate::RotateArgs),
    /// Check keys, shares, pages and documents
    Verify(verify::VerifyArgs),
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(verb: &BreakglassCommand, environment: &Environment) -> Result<u8, Failure> {
    match verb {
        BreakglassCommand::New(args) => new::run(args, environment),
        BreakglassCommand::Issue(args) => issue::run(args, environment),
        BreakglassCommand::Drill(args) => drill::run(args, environment),
        BreakglassCommand::Ssh(args) => ssh::run(args, environment),
        BreakglassCommand::Rotate(args) => rotate::run(args, environment),
        BreakglassCommand::Verify(args) => verify::run(args, environment),
    }
}

/// What [`line_rows`] fills.
const LINE_HEAD: &[&str] = &["Door", "Fingerprint", "Options", "Comment"];

/// A document's lines as a table.
fn line_rows(document: &Document) -> Vec<Vec<String>> {
    let row = |line: &Line| {
        let door = match line.door() {
            Door::SealedKey => "A, sealed key",
            Door::OfflineCa => "B, offline CA",
        };
        vec![
            door.to_owned(),
            line.key().fingerprint(),
            line.options(),
            line.comment().to_owned(),
        ]
    };
    document.lines().iter().map(row).collect()
}

/// A list such as `breakglass,bg-db1`.
fn principals(text: &str) -> Result<Vec<Principal>, Failure> {
    let parse = |name: &str| {
        Principal::parse(name).map_err(|error| {
            Failure::usage(format!("`{name}` cannot be a principal"))
                .cause(error.to_string())
                .hint("write names with commas between them, such as -principals=breakglass,bg-db1")
        })
    };
    text.split(',').map(parse).collect()
}

/// The same path with something behind its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The folder that a file lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// The ssh to run: the flag, the environment's, or what `PATH` finds.
fn ssh_executable(flag: Option<&str>, environment: &Environment) -> String {
    let named = flag
        .map(str::to_owned)
        .or_else(|| environment.setting("SSH_EXECUTABLE"));
    named.unwrap_or_else(|| "ssh".to_owned())
}

fn is_security_key(key: &PrivateKey) -> bool {
    matches!(
        key.public_key().algorithm(),
        ssh_key::Algorithm::SkEd25519 | ssh_key::Algorithm::SkEcdsaSha2NistP256
    )
}

/// The public half of a private key file, which stands in it unencrypted: a key that came back from paper has no `.pub`.
fn public_of(path: &Path) -> Result<SubjectKey, Failure> {
    key_file::public(&key_file::read(path)?)
}

fn document_failure(error: &BreakglassError, path: &Path) -> Failure {
    let failure = Failure::from_error(Exit::Failed, error).cause(format!("in `{}`", path.display()));
    match error {
        BreakglassError::Unsigned | BreakglassError::Foreign | BreakglassError::Verify(_) => {
            failure.hint("have it signed with `signet breakglass rotate -old=…` by a key that hosts hold")
        }
        BreakglassError::NotADocument
        | BreakglassError::TooLong
        | BreakglassError::NoKey
        | BreakglassError::TooManyLines
        | BreakglassError::Line { .. }
        | BreakglassError::Twice(_)
        | BreakglassError::Signature(_) => {
            failure.hint("give the `breakglass.keys` that `signet breakglass new` or `rotate` wrote, unchanged")
        }
    }
}
