//! `signet ssh`: a certificate for this login, then the user's own ssh.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

mod files;
mod request;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::agent::client::ask;
use crate::agent::control::{Answer, CertificateRequest, Handle, Question};
use crate::agent::obtain::{ObtainError, obtain, write_known_hosts};
use crate::agent::runtime_dir::RuntimeDir;
use crate::agent::socket::AgentSocket;
use crate::cli::connect::{ConnectArgs, required_token};
use crate::cli::value;
use crate::clock::Clock;
use crate::config::Environment;
use crate::destination::Destination;
use crate::report::{self, Exit, Failure};
use crate::ssh_command::SshCommand;
use crate::vault::Vault;

/// Flags of `signet ssh`; all of `vault ssh`'s in CA mode are there.
#[derive(Debug, Args)]
#[command(
    override_usage = "signet ssh -role=<ROLE> [FLAGS] [user@]host [ssh options] [command…]\n       signet ssh -role=<ROLE> [FLAGS] -- [ssh options] [user@]host [command…]",
    after_help = "The first bare word is the host; everything behind it goes to ssh untouched. Options for ssh in front of the \
                  host need `--` first. Without a user the certificate is for the one that ssh's configuration names, else \
                  for you. The exit code is ssh's own."
)]
pub struct SshArgs {
    /// Role to ask
    #[arg(long, value_parser = value::role)]
    pub role: Option<String>,
    /// Mount of the SSH engine
    #[arg(long, default_value = "ssh", value_parser = value::mount)]
    pub mount_point: String,
    /// Lifetime to ask for, such as 10m; the role's own when left out
    #[arg(long, value_parser = value::ttl)]
    pub ttl: Option<u64>,
    /// Extension to ask for, name or name=value; can be repeated; the role's own when left out
    #[arg(long, value_parser = value::extension)]
    pub extension: Vec<(String, String)>,
    /// Principals to ask for, separated by commas; the login's user when left out
    #[arg(long)]
    pub valid_principals: Option<String>,
    /// Keep everything in this one process and leave nothing behind
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub no_agent: bool,
    /// Only print the certificate for -public-key-path
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub no_exec: bool,
    /// Have this key signed instead of one made in memory
    #[arg(long)]
    pub public_key_path: Option<String>,
    /// The private half of it; the same path without .pub when left out
    #[arg(long)]
    pub private_key_path: Option<String>,
    /// yes, no, ask, off or accept-new; your ssh configuration decides when left out [env: SIGNET_SSH_STRICT_HOST_KEY_CHECKING, VAULT_SSH_STRICT_HOST_KEY_CHECKING]
    #[arg(long)]
    pub strict_host_key_checking: Option<String>,
    /// known_hosts file for ssh [env: SIGNET_SSH_USER_KNOWN_HOSTS_FILE, VAULT_SSH_USER_KNOWN_HOSTS_FILE]
    #[arg(long)]
    pub user_known_hosts_file: Option<String>,
    /// Mount whose CA signs host keys; only hosts with its certificates are then believed [env: SIGNET_SSH_HOST_KEY_MOUNT_POINT, VAULT_SSH_HOST_KEY_MOUNT_POINT]
    #[arg(long)]
    pub host_key_mount_point: Option<String>,
    /// Hosts for which that CA is believed, patterns separated by commas [env: SIGNET_SSH_HOST_KEY_HOSTNAMES, VAULT_SSH_HOST_KEY_HOSTNAMES] [default: *]
    #[arg(long)]
    pub host_key_hostnames: Option<String>,
    /// The ssh to run [env: SIGNET_SSH_EXECUTABLE, VAULT_SSH_EXECUTABLE] [default: ssh]
    #[arg(long)]
    pub ssh_executable: Option<String>,
    /// ca; the other modes of Vault are not spoken
    #[arg(long)]
    pub mode: Option<String>,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Host, options and command for ssh
    #[arg(last = true, value_name = "[user@]host", hide = true)]
    pub words: Vec<OsString>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] before ssh has run; afterwards the exit code is ssh's.
pub fn run(args: &SshArgs, environment: &Environment) -> Result<u8, Failure> {
    request::check_mode(args)?;
    let format = args.connect.format(environment)?;
    if args.no_exec {
        return files::print_certificate(args, environment, format);
    }
    if args.connect.field.is_some() {
        return Err(
            Failure::usage("-field prints a field of the certificate, but ssh is to be run").hint("add -no-exec"),
        );
    }
    let destination = Destination::parse(&args.words)?;
    let options = request::SshOptions::read(args, environment)?;
    let request = request::certificate(args, environment, &destination, &options)?;
    let token = required_token(environment)?;
    let dir = RuntimeDir::open(environment.runtime_dir())?;
    if let Some(pair) = files::KeyPair::read(args, environment)? {
        return files::run(&pair, &request, &options, token, &dir, &destination);
    }
    if args.no_agent {
        return run_alone(&request, &options, token, &dir, &destination);
    }
    match ask(
        &dir,
        environment,
        &Question::Certificate(Box::new(request)),
        Some(&token),
    )? {
        Answer::Certificate(handle) => {
            remark_all(&handle.warnings);
            let command = with_agent(&options, &handle, &destination);
            Err(command.exec().into())
        }
        Answer::Failed(failure) => Err(failure),
        Answer::Held(_) => Err(Failure::new(Exit::Failed, "the agent answered another question")),
    }
}

fn with_agent(options: &request::SshOptions, handle: &Handle, destination: &Destination) -> SshCommand {
    let mut command = SshCommand::new(&options.ssh);
    command.identity_agent(&handle.socket);
    options.apply(&mut command, handle.known_hosts.as_deref());
    command.destination(destination);
    command
}

/// The whole of it in one process: the key is in memory, a thread serves it while ssh runs.
fn run_alone(
    request: &CertificateRequest,
    options: &request::SshOptions,
    token: secrecy::SecretString,
    dir: &RuntimeDir,
    destination: &Destination,
) -> Result<u8, Failure> {
    let folder = dir.private_folder()?;
    let vault = Vault::new(request.endpoint.clone(), Some(token))?;
    let (identity, warnings) = obtain(&vault, request, &Clock::system())?;
    let known_hosts = known_hosts(&vault, request, folder.join("known_hosts"))?;
    let bound = AgentSocket::bind(folder.join("agent.sock"), Clock::system());
    let socket = bound.map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    socket.put(std::sync::Arc::new(identity));
    drop(vault);
    remark_all(&warnings);
    let handle = Handle {
        socket: socket.path().to_owned(),
        known_hosts,
        warnings: Vec::new(),
    };
    Ok(with_agent(options, &handle, destination).run()?)
}

fn known_hosts(vault: &Vault, request: &CertificateRequest, path: PathBuf) -> Result<Option<PathBuf>, ObtainError> {
    let Some(hosts) = &request.host_keys else {
        return Ok(None);
    };
    write_known_hosts(vault, hosts, &path)?;
    Ok(Some(path))
}

fn remark_all(warnings: &[String]) {
    for warning in warnings {
        report::remark(&format!("warning: {warning}"));
    }
}
