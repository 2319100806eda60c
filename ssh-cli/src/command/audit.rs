//! `signet audit`: what happened, compared.

pub mod reconcile;

use clap::Subcommand;

use crate::config::Environment;
use crate::report::Failure;

/// The verbs of `signet audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Find logins by certificates that were never issued
    Reconcile(reconcile::ReconcileArgs),
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(verb: &AuditCommand, environment: &Environment) -> Result<u8, Failure> {
    match verb {
        AuditCommand::Reconcile(args) => reconcile::run(args, environment),
    }
}
