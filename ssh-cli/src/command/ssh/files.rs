//! `-public-key-path`: Vault's way. The person's own key is signed, the certificate stands in a private file while ssh runs.

use std::path::PathBuf;

use secrecy::SecretString;
use serde_json::Value;

use super::request::{self, SshOptions};
use super::{SshArgs, known_hosts, remark_all};
use crate::agent::control::CertificateRequest;
use crate::agent::obtain::{SignFields, sign, signed_key, warnings};
use crate::agent::runtime_dir::{RuntimeDir, write_private};
use crate::config::Environment;
use crate::destination::{Destination, check_principals};
use crate::output::{self, Format};
use crate::public_key_file;
use crate::report::{Exit, Failure};
use crate::ssh_command::SshCommand;
use crate::vault::Vault;

/// Looked for in this order, under `~/.ssh`.
const DEFAULTS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// The person's own key.
pub(super) struct KeyPair {
    public_line: String,
    private: PathBuf,
}

impl KeyPair {
    /// The pair that the flags name; `None` when they name none.
    pub(super) fn read(args: &SshArgs, environment: &Environment) -> Result<Option<Self>, Failure> {
        let (public, private) = match (&args.public_key_path, &args.private_key_path) {
            (None, None) => return Ok(None),
            (Some(public), Some(private)) => (environment.expand(public), environment.expand(private)),
            (Some(public), None) => {
                let private = public.strip_suffix(".pub").ok_or_else(|| {
                    Failure::usage("the private half of -public-key-path is not known").hint("add -private-key-path")
                })?;
                (environment.expand(public), environment.expand(private))
            }
            (None, Some(private)) => (
                environment.expand(&format!("{private}.pub")),
                environment.expand(private),
            ),
        };
        Ok(Some(Self {
            public_line: public_key_file::read(&public)?,
            private,
        }))
    }
}

pub(super) fn run(
    pair: &KeyPair,
    request: &CertificateRequest,
    options: &SshOptions,
    token: SecretString,
    dir: &RuntimeDir,
    destination: &Destination,
) -> Result<u8, Failure> {
    let folder = dir.private_folder()?;
    let vault = Vault::new(request.endpoint.clone(), Some(token))?;
    let fields = SignFields {
        cert_type: "user",
        principals: Some(&request.principals),
        or_default_user: request.or_default_user,
        ttl_secs: request.ttl_secs,
        extensions: &request.extensions,
    };
    let envelope = sign(&vault, &request.mount, &request.role, &pair.public_line, fields)?;
    let certificate = folder.join("cert.pub");
    write_private(&certificate, signed_key(&envelope)?).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let known_hosts = known_hosts(&vault, request, folder.join("known_hosts"))?;
    remark_all(&warnings(&envelope));
    drop(vault);
    let mut command = SshCommand::new(&options.ssh);
    command.identity_files(&pair.private, &certificate);
    options.apply(&mut command, known_hosts.as_deref());
    command.destination(destination);
    Ok(command.run()?)
}

/// `-no-exec`: prints what the authority answered. A key in memory would be of no use afterwards, so it must be a file.
pub(super) fn print_certificate(args: &SshArgs, environment: &Environment, format: Format) -> Result<u8, Failure> {
    let public_line = match KeyPair::read(args, environment)? {
        Some(pair) => pair.public_line,
        None => public_key_file::read(&default_key(environment)?)?,
    };
    let principals = principals(args, environment)?;
    let fields = SignFields {
        cert_type: "user",
        principals: principals.as_deref(),
        or_default_user: args.valid_principals.is_none(),
        ttl_secs: args.ttl,
        extensions: &args.extension.iter().cloned().collect(),
    };
    let role = request::role(args)?;
    let vault = args.connect.vault(environment)?;
    let envelope = sign(&vault, &args.mount_point, role, &public_line, fields)?;
    remark_all(&warnings(&envelope));
    let data = envelope.get("data").unwrap_or(&Value::Null);
    match (&args.connect.field, format) {
        (Some(field), _) => output::field(data, field)?,
        (None, Format::Table) => output::pairs(data)?,
        (None, format) => output::document(&envelope, format)?,
    }
    Ok(0)
}

/// Without a host there may still be principals asked for; without either the role's default applies.
fn principals(args: &SshArgs, environment: &Environment) -> Result<Option<String>, Failure> {
    let list = match (&args.valid_principals, args.words.is_empty()) {
        (Some(list), _) => Some(list.clone()),
        (None, true) => None,
        (None, false) => {
            let options = SshOptions::read(args, environment)?;
            let destination = Destination::parse(&args.words)?;
            destination
                .user
                .clone()
                .or_else(|| crate::ssh_config::user(&options.ssh, &destination, environment.home()))
        }
    };
    if let Some(list) = &list {
        check_principals(list)?;
    }
    Ok(list)
}

fn default_key(environment: &Environment) -> Result<PathBuf, Failure> {
    let folder = environment.home().map(|home| home.join(".ssh"));
    let found = folder
        .into_iter()
        .flat_map(|folder| DEFAULTS.map(|name| folder.join(format!("{name}.pub"))))
        .find(|path| path.exists());
    found.ok_or_else(|| Failure::usage("there is no SSH public key to sign").hint("add -public-key-path"))
}
