//! `signet logout`: the token is revoked, the file removed, the agent told to forget what came with it.

use clap::Args;

use crate::agent::client::ask_running;
use crate::agent::control::Question;
use crate::agent::runtime_dir::RuntimeDir;
use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output;
use crate::report::{Failure, remark};
use crate::vault::{Vault, VaultError, Verb};

/// Flags of `signet logout`.
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb. The token is forgotten here even when the authority cannot be told.
///
/// # Errors
/// [`Failure`], also when the token may still be valid at the authority.
pub fn run(args: &LogoutArgs, environment: &Environment) -> Result<u8, Failure> {
    let endpoint = args.connect.endpoint(environment)?;
    let Some(token) = environment.token()? else {
        output::text("you are not logged in\n")?;
        return Ok(0);
    };
    if let Ok(dir) = RuntimeDir::open(environment.runtime_dir()) {
        // No agent, nothing to forget.
        drop(ask_running(&dir, &Question::Forget, Some(&token)));
    }
    let revoked = Vault::new(endpoint, Some(token))?.send(Verb::Put, "auth/token/revoke-self", None);
    let removed = environment.remove_token()?;
    if let Some(name) = environment.token_variable() {
        remark(&format!("warning: {name} is still set"));
    } else if !removed {
        remark("warning: the token came from ~/.vault-token, which is Vault's own and was left there");
    }
    match revoked {
        Ok(_) => output::text("logged out: the token is revoked\n")?,
        // An invalid token is as good as a revoked one.
        Err(VaultError::Refused(refusal)) if matches!(refusal.status, 401 | 403) => {
            output::text("logged out: the token was no longer valid\n")?;
        }
        Err(error) => {
            return Err(Failure::from(error)
                .hint("the token is forgotten here, but the authority was not told; it ends with its lifetime"));
        }
    }
    Ok(0)
}
