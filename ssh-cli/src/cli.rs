//! The command line: the tree of verbs. Each verb's flags and work stand in its own file under `command/`.

pub mod connect;
pub mod value;

use clap::{Parser, Subcommand};

use crate::command;

/// SSH certificates that live for minutes, and the ssh that uses them.
#[derive(Debug, Parser)]
#[command(
    name = "signet",
    bin_name = "signet",
    version,
    args_override_self = true,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Flags take one dash or two, `-flag=value` or `-flag value`. Settings are read from SIGNET_ADDR, SIGNET_TOKEN \
                  and so on, falling back to VAULT_ADDR, VAULT_TOKEN and so on. Requests go through SIGNET_PROXY_ADDR, else through \
                  https_proxy unless no_proxy names the host, as with curl."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Log in to a host with a fresh certificate: signet ssh -role=my-role user@host
    Ssh(Box<command::ssh::SshArgs>),
    /// Hold keys and certificates in memory for `signet ssh` (started on demand)
    Agent(command::agent::AgentArgs),
    /// Log in to the authority and keep the token
    Login(Box<command::login::LoginArgs>),
    /// Revoke the token and forget it
    Logout(command::logout::LogoutArgs),
    /// Show who the authority takes you for
    Whoami(command::whoami::WhoamiArgs),
    /// List the roles you may use
    Roles(command::roles::RolesArgs),
    /// Have a public key signed: signet sign -role=my-role key.pub
    Sign(Box<command::sign::SignArgs>),
    /// Show a certificate in plain words, with what is odd about it
    Inspect(command::inspect::InspectArgs),
    /// Revoke certificates: signet revoke -serial=7 (shows first what it will hit)
    Revoke(Box<command::revoke::RevokeArgs>),
    /// Show what is revoked, and take a revocation back
    #[command(subcommand)]
    Revocations(command::revocations::RevocationsCommand),
    /// Show the certificates that live: who, where, until when
    #[command(subcommand)]
    Certs(command::certs::CertsCommand),
    /// The CA keys of a mount: where their rotation stands, and its next step
    #[command(subcommand)]
    Ca(Box<command::ca::CaCommand>),
    /// Make ssh believe hosts by certificate: writes the authority's @cert-authority line
    Trust(command::trust::TrustArgs),
    /// Show enrolled hosts and what they reported; make one-time tokens
    #[command(subcommand)]
    Hosts(command::hosts::HostsCommand),
    /// Compare what hosts accepted with what was issued
    #[command(subcommand)]
    Audit(command::audit::AuditCommand),
    /// Care for the authority's seal: init, status, unseal, seal, rekey, rotate, generate-root, migrate
    #[command(subcommand)]
    Operator(Box<command::operator::OperatorCommand>),
    /// On a host: bake, check, why, enroll, sync, undo
    #[command(subcommand)]
    Host(Box<command::host::HostCommand>),
    /// Break-glass keys: new, issue, drill, rotate, verify (needs no authority)
    #[command(subcommand)]
    Breakglass(Box<command::breakglass::BreakglassCommand>),
    /// Print completions for a shell
    Completions(command::completions::CompletionsArgs),
    /// Print a manual page, or write them all to a folder
    Man(command::man::ManArgs),
}
