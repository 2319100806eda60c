//! `signet login`: a token, kept in a file of mode 0600.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::PathBuf;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use signet_core::time::UnixTime;

use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::clock;
use crate::config::Environment;
use crate::login::{Login, jwt, ssh_key};
use crate::output::{self, Format};
use crate::report::{Failure, remark};
use crate::vault::{Vault, Verb};

const METHODS: [&str; 3] = ["ssh-key", "jwt", "token"];
const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Flags of `signet login`.
#[derive(Debug, Args)]
#[command(override_usage = "signet login [-method=ssh-key|jwt|token] [FLAGS] [TOKEN]")]
pub struct LoginArgs {
    /// ssh-key, jwt or token
    #[arg(long, default_value = "ssh-key")]
    pub method: String,
    /// Where the method is mounted on the authority; the method's name when left out
    #[arg(long, value_parser = value::mount)]
    pub path: Option<String>,
    /// Private key file, or the .pub of a key in the ssh-agent (method ssh-key)
    #[arg(long)]
    pub key: Option<PathBuf>,
    /// Role of the login (method jwt)
    #[arg(long)]
    pub role: Option<String>,
    /// The JWT itself; -jwt-file and SIGNET_JWT keep it out of the list of processes
    #[arg(long)]
    pub jwt: Option<String>,
    /// File that holds the JWT
    #[arg(long)]
    pub jwt_file: Option<PathBuf>,
    /// Audience to ask of GitHub Actions' token service
    #[arg(long)]
    pub audience: Option<String>,
    /// Print the token and keep it nowhere
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub no_store: bool,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// The token, or - to read it from stdin (method token)
    pub token: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &LoginArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    if !METHODS.contains(&args.method.as_str()) {
        return Err(Failure::usage(format!("`{}` is not a login method here", args.method))
            .hint(format!("there are: {}", METHODS.join(", "))));
    }
    let endpoint = args.connect.endpoint(environment)?;
    let mount = args.path.clone().unwrap_or_else(|| args.method.clone());
    let login = match args.method.as_str() {
        "jwt" => {
            let role = args
                .role
                .as_deref()
                .ok_or_else(|| Failure::usage("no role is given").hint("add -role=…"))?;
            jwt::login(
                &Vault::new(endpoint, None)?,
                &mount,
                role,
                jwt_sources(args, environment),
            )?
        }
        "token" => {
            let token = given_token(args, environment)?;
            let envelope =
                Vault::new(endpoint, Some(token.clone()))?.send(Verb::Get, "auth/token/lookup-self", None)?;
            Login {
                token,
                auth: from_lookup(envelope.get("data").unwrap_or(&Value::Null)),
            }
        }
        _ => ssh_key::login(&Vault::new(endpoint, None)?, &mount, &key_sources(args, environment))?,
    };
    finish(args, environment, &login, format)?;
    Ok(0)
}

fn finish(args: &LoginArgs, environment: &Environment, login: &Login, format: Format) -> Result<(), Failure> {
    let stored = if args.no_store {
        None
    } else {
        Some(environment.store_token(&login.token)?)
    };
    if stored.is_some()
        && let Some(name) = environment.token_variable()
    {
        remark(&format!(
            "warning: {name} is set and wins over the token that was just stored; unset it"
        ));
    }
    let mut shown = summary(&login.auth);
    if let Some(map) = shown.as_object_mut() {
        // A token is shown only to who asked for it.
        if args.no_store || args.connect.field.as_deref() == Some("token") {
            map.insert("token".to_owned(), json!(login.token.expose_secret()));
        }
        if let Some(path) = &stored {
            map.insert("token_file".to_owned(), json!(path.display().to_string()));
        }
    }
    match (&args.connect.field, format) {
        (Some(field), _) => output::field(&shown, field),
        (None, Format::Table) => output::pairs(&shown),
        (None, format) => output::document(&shown, format),
    }
}

/// What a person wants to know about their login.
fn summary(auth: &Value) -> Value {
    let text = |name: &str| auth.get(name).cloned().unwrap_or_default();
    let secs = auth
        .get("lease_duration")
        .and_then(Value::as_u64)
        .filter(|secs| *secs > 0);
    let expires: Option<UnixTime> = secs.map(|secs| clock::now().plus(secs));
    json!({
        "display_name": auth.get("display_name").or_else(|| auth.pointer("/metadata/person")).cloned().unwrap_or_default(),
        "policies": text("policies"),
        "expires": expires.map_or_else(|| "never".to_owned(), |time| time.to_string()),
        "renewable": text("renewable"),
    })
}

fn from_lookup(data: &Value) -> Value {
    let field = |name: &str| data.get(name).cloned().unwrap_or_default();
    json!({
        "display_name": field("display_name"),
        "policies": field("policies"),
        "lease_duration": field("ttl"),
        "renewable": field("renewable"),
    })
}

fn key_sources(args: &LoginArgs, environment: &Environment) -> ssh_key::Sources {
    let folder = environment.home().map(|home| home.join(".ssh"));
    ssh_key::Sources {
        key: args
            .key
            .as_ref()
            .map(|path| environment.expand(&path.to_string_lossy())),
        agent: environment.plain("SSH_AUTH_SOCK"),
        defaults: folder
            .into_iter()
            .flat_map(|folder| DEFAULT_KEYS.map(|name| folder.join(name)))
            .collect(),
        interactive: args.connect.is_interactive(),
    }
}

fn jwt_sources(args: &LoginArgs, environment: &Environment) -> jwt::Sources {
    let url = environment.plain("ACTIONS_ID_TOKEN_REQUEST_URL");
    let token = environment.plain("ACTIONS_ID_TOKEN_REQUEST_TOKEN");
    jwt::Sources {
        text: args
            .jwt
            .clone()
            .or_else(|| environment.plain("SIGNET_JWT"))
            .map(SecretString::from),
        file: args.jwt_file.clone(),
        github: url.zip(token.map(SecretString::from)),
        audience: args.audience.clone(),
    }
}

fn given_token(args: &LoginArgs, environment: &Environment) -> Result<SecretString, Failure> {
    let none = || Failure::usage("no token is given").hint("write it behind the flags, or - to read it from stdin");
    let text = match args.token.as_deref() {
        Some("-") => {
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .map_err(|error| Failure::usage("stdin cannot be read").cause(error.to_string()))?;
            line
        }
        Some(token) => token.to_owned(),
        None => match environment.setting("TOKEN") {
            Some(token) => token,
            None if args.connect.is_interactive() => crate::terminal::ask_secret("Token (will be hidden): ")
                .map_err(|_| none())?
                .to_string(),
            None => return Err(none()),
        },
    };
    if text.trim().is_empty() {
        Err(none())
    } else {
        Ok(SecretString::from(text.trim().to_owned()))
    }
}
