//! `signet ca rotate`: one step of a rotation. The server knows where it stands and refuses what could fail a login, so
//! that the verb can be given again after whatever happened.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};
use signet_core::subject_key::SubjectKey;
use zeroize::Zeroizing;

use super::answer;
use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{self, Exit, Failure};
use crate::terminal;
use crate::vault::{Vault, Verb};

/// Flags of `signet ca rotate`.
#[derive(Debug, Args)]
#[command(
    after_help = "stage makes the next key, publish has hosts trust it beside the old one, promote lets it sign, retire ends the \
                  old one's signing, remove forgets it. Without -step the one is done that comes next. The server refuses a step \
                  that could fail a login and says why; give the verb again when that has passed."
)]
pub struct RotateArgs {
    /// stage, publish, promote, retire or remove
    #[arg(long, value_parser = step)]
    pub step: Option<String>,
    /// The issuer that is meant, by id or name, where there are several
    #[arg(long)]
    pub issuer: Option<String>,
    /// stage: name of the new issuer
    #[arg(long)]
    pub name: Option<String>,
    /// stage: ed25519, ec, rsa; as the present key when left out
    #[arg(long)]
    pub key_type: Option<String>,
    /// stage: bits of the key, where its type has several
    #[arg(long)]
    pub key_bits: Option<u64>,
    /// stage: file of a private key (unencrypted OpenSSH or PEM) to take; its public half lies beside it as .pub
    #[arg(long, conflicts_with_all = ["key_type", "key_bits"])]
    pub import: Option<PathBuf>,
    /// Do it though it is not safe: logins can fail. It is recorded what spoke against it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub force: bool,
    /// Do not ask
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub yes: bool,
    /// Mount of the SSH engine
    #[arg(long, default_value = "ssh", value_parser = value::mount)]
    pub mount_point: String,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

const STEPS: &[&str] = &["stage", "publish", "promote", "retire", "remove"];

fn step(text: &str) -> Result<String, String> {
    if STEPS.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("there are: {}", STEPS.join(", ")))
    }
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &RotateArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    if !args.yes && !args.connect.is_interactive() {
        return Err(unasked());
    }
    let vault = args.connect.vault(environment)?;
    let path = format!("{}/rotate", args.mount_point);
    let step = match &args.step {
        Some(step) => step.clone(),
        None => due(&vault, &path)?,
    };
    if step != "stage" && (args.name.is_some() || args.key_type.is_some() || args.import.is_some()) {
        let text = format!("-name, -key-type and -import are for the step stage, and this one is {step}");
        return Err(Failure::usage(text).hint("`signet ca status` shows where the rotation stands"));
    }
    if !args.yes && !agreed(&step, args)? {
        return Err(Failure::new(
            Exit::Failed,
            "nothing was changed: the answer was not `yes`",
        ));
    }
    // The step that was looked at, by its name: if somebody else has done it meanwhile, the server refuses.
    let mut envelope = vault.send(Verb::Put, &path, Some(&Value::Object(fields(args, &step)?)))?;
    let data = envelope.get_mut("data").map(Value::take).unwrap_or_default();
    if format == Format::Table && args.connect.field.is_none() {
        output::text(&format!("done: {step}\n"))?;
    }
    answer(&args.connect, &data, format)?;
    if args.force {
        report::remark("note: the step was forced; look after hosts that do not let people in");
    }
    Ok(0)
}

/// The step that comes next.
fn due(vault: &Vault, path: &str) -> Result<String, Failure> {
    let envelope = vault.send(Verb::Get, path, None)?;
    let step = envelope.pointer("/data/next/step").and_then(Value::as_str);
    // An answer is not asked about, nor sent back, unless it is a word that we know.
    step.filter(|step| STEPS.contains(step))
        .map(str::to_owned)
        .ok_or_else(|| {
            Failure::new(Exit::Refused, "the mount has no CA key that could be rotated")
                .hint("make one: POST config/ca, or ca_key_type in signet.toml")
        })
}

fn fields(args: &RotateArgs, step: &str) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    fields.insert("step".to_owned(), step.into());
    for (name, value) in [
        ("issuer", args.issuer.clone()),
        ("issuer_name", args.name.clone()),
        ("key_type", args.key_type.clone()),
        ("key_bits", args.key_bits.map(|bits| bits.to_string())),
    ] {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value.into());
        }
    }
    if args.force {
        fields.insert("force".to_owned(), true.into());
    }
    if let Some(file) = &args.import {
        fields.insert("private_key".to_owned(), read(file)?.as_str().into());
        let public = public_half(file);
        let text = read(&public)?;
        SubjectKey::parse(&text).map_err(|error| {
            Failure::new(Exit::Usage, format!("`{}` is not a public key", public.display())).cause(error.to_string())
        })?;
        fields.insert("public_key".to_owned(), text.as_str().into());
    }
    Ok(fields)
}

fn public_half(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

fn read(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(Exit::Usage, format!("`{}` cannot be read", file.display())).cause(error.to_string())
    })?;
    Ok(Zeroizing::new(text))
}

fn agreed(step: &str, args: &RotateArgs) -> Result<bool, Failure> {
    let what = match step {
        "stage" => "Make the next CA key",
        "publish" => "Have hosts trust the next CA key",
        "promote" => "Let the next CA key sign",
        "retire" => "End the old CA key's signing",
        _ => "Forget the old CA key",
    };
    let force = if args.force { ", safe or not" } else { "" };
    let prompt = format!("{what} of `{}`{force}? Type yes: ", args.mount_point);
    let typed = terminal::ask_line(&prompt).map_err(|_| unasked())?;
    Ok(typed.eq_ignore_ascii_case("yes"))
}

fn unasked() -> Failure {
    Failure::usage("there is nobody to ask whether to go on").hint("look with `signet ca status`, then use -yes")
}
