//! `signet breakglass`: the way in when everything else is down; needs no authority.

pub mod drill;
pub mod issue;
pub mod new;
pub mod rotate;
pub mod verify;

use clap::Subcommand;

use crate::config::Environment;
use crate::report::Failure;

/// The verbs of `signet breakglass`.
#[derive(Debug, Subcommand)]
pub enum BreakglassCommand {
    /// Make the offline CA and the sealed key, with pages to print
    New(new::NewArgs),
    /// Issue a short certificate from the offline CA
    Issue(issue::IssueArgs),
    /// Prove on a host that break-glass works, by the real door
    Drill(drill::DrillArgs),
    /// Replace the break-glass keys, signed by the old ones
    Rotate(rotate::RotateArgs),
    /// Check keys, shares and documents without opening anything
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
        BreakglassCommand::Rotate(args) => rotate::run(args, environment),
        BreakglassCommand::Verify(args) => verify::run(args, environment),
    }
}
