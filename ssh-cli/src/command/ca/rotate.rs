//! `signet ca rotate`: one step of a rotation. The server knows where it stands and refuses what could fail a login, so
//! that the verb can be given again after whatever happened.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

use super::{answer, import};
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
    /// stage: file of a private key to take (OpenSSH or PEM, encrypted or not); a .pub beside it must belong to it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_type", "key_bits", "key_holder"])]
    pub import: Option<PathBuf>,
    /// stage: file with the passphrase of -import, mode 0600, or - for stdin; asked on the terminal when left out
    #[arg(long, value_name = "FILE", requires = "import")]
    pub passphrase_file: Option<PathBuf>,
    /// stage: the new key is on this token or in this AWS account, a [[key_holder]] of the server
    #[arg(long, value_name = "NAME")]
    pub key_holder: Option<String>,
    /// stage: label of the key on the token; made there if it is absent and the holder may
    #[arg(long, requires = "key_holder", conflicts_with = "key_id")]
    pub key_label: Option<String>,
    /// stage: id, ARN or alias of the key in AWS KMS
    #[arg(long, requires = "key_holder")]
    pub key_id: Option<String>,
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

impl RotateArgs {
    fn says_which_key(&self) -> bool {
        let texts = [
            &self.name,
            &self.key_type,
            &self.key_holder,
            &self.key_label,
            &self.key_id,
        ];
        self.import.is_some() || self.key_bits.is_some() || texts.iter().any(|text| text.is_some())
    }
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
    if step != "stage" && args.says_which_key() {
        let text = format!("-name, -key-…, and -import are for the step stage, and this one is {step}");
        return Err(Failure::usage(text).hint("`signet ca status` shows where the rotation stands"));
    }
    // Before anybody agrees to anything: a file that cannot be imported ends it here.
    let fields = fields(args, &step)?;
    if !args.yes && !agreed(&step, args)? {
        return Err(Failure::new(
            Exit::Failed,
            "nothing was changed: the answer was not `yes`",
        ));
    }
    // The step that was looked at, by its name: if somebody else has done it meanwhile, the server refuses.
    let mut envelope = vault.send(Verb::Put, &path, Some(&Value::Object(fields)))?;
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
        ("key_holder", args.key_holder.clone()),
        ("key_label", args.key_label.clone()),
        ("key_id", args.key_id.clone()),
    ] {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value.into());
        }
    }
    if args.force {
        fields.insert("force".to_owned(), true.into());
    }
    if let Some(file) = &args.import {
        let pair = import::read(file, args.passphrase_file.as_deref())?;
        fields.insert("private_key".to_owned(), pair.private.as_str().into());
        fields.insert("public_key".to_owned(), pair.public.into());
    }
    Ok(fields)
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
