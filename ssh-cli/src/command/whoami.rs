//! `signet whoami`: who the authority takes the caller for.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::Failure;
use crate::vault::{Vault, VaultError, Verb};

/// Flags of `signet whoami`.
#[derive(Debug, Args)]
pub struct WhoamiArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &WhoamiArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let data = look(&args.connect.vault(environment)?)?;
    match (&args.connect.field, format) {
        (Some(field), _) => output::field(&data, field)?,
        (None, Format::Table) => output::pairs(&data)?,
        (None, format) => output::document(&data, format)?,
    }
    Ok(0)
}

/// Our own path first; a Vault or OpenBao has not got it and knows tokens only.
fn look(vault: &Vault) -> Result<Value, VaultError> {
    match vault.send(Verb::Get, "sys/signet/whoami", None) {
        Ok(mut envelope) => return Ok(envelope.get_mut("data").map(Value::take).unwrap_or_default()),
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(error),
    }
    let envelope = vault.send(Verb::Get, "auth/token/lookup-self", None)?;
    let field = |name: &str| envelope.pointer(&format!("/data/{name}")).cloned().unwrap_or_default();
    Ok(json!({
        "display_name": field("display_name"),
        "method": field("path"),
        "policies": field("policies"),
        "expires": field("expire_time"),
        "metadata": field("meta"),
    }))
}

/// True when a server does not know the path. Vault answers 403 for paths under `sys/` that no policy of the caller names,
/// with the same words as for an invalid token on old versions, so the fall-back decides there.
#[must_use]
pub fn is_absent(error: &VaultError) -> bool {
    match error {
        VaultError::Refused(refusal) => {
            refusal.status == 404
                || refusal.status == 405
                || (refusal.status == 403 && refusal.code.is_none() && !refusal.wants_login())
        }
        _ => false,
    }
}
