//! `signet breakglass ssh`: logs in with a sealed key that is decrypted in memory only; the one way in when its passphrase
//! exists in shares alone.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::agent::runtime_dir::RuntimeDir;
use crate::breakglass::memory_agent::MemoryAgent;
use crate::breakglass::unlock::UnlockArgs;
use crate::config::Environment;
use crate::destination::Destination;
use crate::report::{Exit, Failure};
use crate::ssh_command::SshCommand;

/// Flags of `signet breakglass ssh`.
#[derive(Debug, Args)]
#[command(
    override_usage = "signet breakglass ssh -key=<FILE> [FLAGS] [user@]host [ssh options] [command…]",
    after_help = "The first bare word is the host; everything behind it goes to ssh untouched. The exit code is ssh's own."
)]
pub struct SshArgs {
    /// The sealed key, or the key of a certificate of `signet breakglass issue`
    #[arg(long)]
    pub key: PathBuf,
    /// The certificate
    #[arg(long)]
    pub certificate: Option<PathBuf>,
    /// The ssh to run [env: SIGNET_SSH_EXECUTABLE, VAULT_SSH_EXECUTABLE] [default: ssh]
    #[arg(long)]
    pub ssh_executable: Option<String>,
    /// How the key is opened.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// Host, options and command for ssh
    #[arg(last = true, value_name = "[user@]host", hide = true)]
    pub words: Vec<OsString>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] before ssh has run; afterwards the exit code is ssh's.
pub fn run(args: &SshArgs, environment: &Environment) -> Result<u8, Failure> {
    let destination = Destination::parse(&args.words)?;
    let key = args.unlock.open(&args.key)?;
    let folder = RuntimeDir::open(environment.runtime_dir())?.private_folder()?;
    let io = |error: std::io::Error| Failure::from_error(Exit::Failed, &error);
    let mut command = SshCommand::new(&super::ssh_executable(args.ssh_executable.as_deref(), environment));
    let agent = if super::is_security_key(&key) {
        // ssh itself must talk to the token, and reads the handle from its file.
        command.option("IdentitiesOnly", "yes").identity_file(&args.key);
        None
    } else {
        let agent = MemoryAgent::serve(folder.join("agent.sock"), key).map_err(io)?;
        command.identity_agent(agent.path());
        Some(agent)
    };
    if let Some(certificate) = &args.certificate {
        let copy = folder.join("key-cert.pub");
        std::fs::copy(certificate, &copy).map_err(io)?;
        command.option("CertificateFile", &copy.display().to_string());
    }
    command.destination(&destination);
    let code = command.run()?;
    drop(agent);
    Ok(code)
}
