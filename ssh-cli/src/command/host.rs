//! `signet host`: what runs on a host, as root.

pub mod bake;
pub mod check;
pub mod enroll;
pub mod scan;
pub mod sync;
pub mod undo;
pub mod why;

use clap::{Args, Subcommand};

use crate::config::Environment;
use crate::report::Failure;

/// The verbs of `signet host`.
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Make this machine trust the authority (idempotent; what an image build runs)
    Bake(Box<bake::BakeArgs>),
    /// Show what this host trusts, who may enter as whom, and what is wrong
    Check(check::CheckArgs),
    /// Say whether sshd here would accept a certificate, and which line decides
    Why(why::WhyArgs),
    /// Get this host a name and a host certificate
    Enroll(enroll::EnrollArgs),
    /// Fetch the trust bundle, renew the host certificate, report
    Sync(sync::SyncArgs),
    /// Look for keys and traces that an image must not carry
    Scan(scan::ScanArgs),
    /// Take back what bake did
    Undo(undo::UndoArgs),
}

/// Flags of the verbs that write what sshd reads.
#[derive(Debug, Args)]
pub struct Writing {
    /// Process of an sshd that is to read its configuration again, where systemd does not run
    #[arg(long)]
    pub sshd_pid: Option<u32>,
    /// For tests: end as by a power cut after so many steps of writing
    #[arg(long, hide = true)]
    pub stop_after: Option<u32>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(verb: &HostCommand, environment: &Environment) -> Result<u8, Failure> {
    match verb {
        HostCommand::Bake(args) => bake::run(args, environment),
        HostCommand::Check(args) => check::run(args, environment),
        HostCommand::Why(args) => why::run(args, environment),
        HostCommand::Enroll(args) => enroll::run(args, environment),
        HostCommand::Sync(args) => sync::run(args, environment),
        HostCommand::Scan(args) => scan::run(args, environment),
        HostCommand::Undo(args) => undo::run(args, environment),
    }
}
