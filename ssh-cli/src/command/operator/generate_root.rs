//! `signet operator generate-root`.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{cell, progress, share, show, vault};
use crate::cli::connect::ConnectArgs;
use crate::cli::value;
use crate::config::Environment;
use crate::output;
use crate::report::Failure;
use crate::terminal;
use crate::vault::Verb;

const ATTEMPT: &str = "sys/generate-root/attempt";

/// Flags of `signet operator generate-root`.
#[derive(Debug, Args)]
pub struct GenerateRootArgs {
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Start (needs a token, or a key share as the last word); prints the one-time password, once
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub init: Option<bool>,
    /// Give it up
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub cancel: Option<bool>,
    /// Show how it stands
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = value::truth, value_name = "true|false")]
    pub status: Option<bool>,
    /// The encoded token to read, with -otp; - reads it from stdin
    #[arg(long, value_name = "TOKEN")]
    pub decode: Option<String>,
    /// The one-time password: for -decode (asked on the terminal when left out), or one of your own for -init
    #[arg(long)]
    pub otp: Option<String>,
    /// The nonce that -init printed; the one in progress when left out
    #[arg(long)]
    pub nonce: Option<String>,
    /// age recipient to encrypt the token to, in the place of a one-time password
    #[arg(long)]
    pub age_key: Option<String>,
    /// The key share, or - to read it from stdin; asked on the terminal when left out
    pub key: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &GenerateRootArgs, environment: &Environment) -> Result<u8, Failure> {
    if let Some(encoded) = &args.decode {
        return decode(args, encoded);
    }
    let vault = vault(&args.connect, environment)?;
    let given = |wanted: Option<bool>| wanted == Some(true);
    let mut body = json!({});
    if let (Some(key), Some(body), true) = (&args.key, body.as_object_mut(), given(args.init) || given(args.cancel)) {
        let key = share(Some(key), &args.connect, "")?;
        body.insert("key".to_owned(), json!(key.as_str()));
    }
    let mut put = |name: &str, value: &Option<String>| {
        if let (Some(value), Some(body)) = (value, body.as_object_mut()) {
            body.insert(name.to_owned(), json!(value));
        }
    };
    if given(args.cancel) {
        put("nonce", &args.nonce);
        vault.send(Verb::Delete, ATTEMPT, Some(&body))?;
        output::text("Success! Root token generation canceled (if it was started)\n")?;
        return Ok(0);
    }
    let answer = if given(args.init) {
        put("otp", &args.otp);
        put("age_key", &args.age_key);
        vault.send(Verb::Put, ATTEMPT, Some(&body))?
    } else if given(args.status) {
        vault.send(Verb::Get, ATTEMPT, None)?
    } else {
        let nonce = match &args.nonce {
            Some(nonce) => nonce.clone(),
            None => cell(&vault.send(Verb::Get, ATTEMPT, None)?, "nonce"),
        };
        let key = share(args.key.as_deref(), &args.connect, "Unseal Key (will be hidden): ")?;
        let body = json!({"key": key.as_str(), "nonce": nonce});
        vault.send(Verb::Put, "sys/generate-root/update", Some(&body))?
    };
    show(&args.connect, environment, &answer, &rows(&answer))?;
    Ok(0)
}

fn rows(answer: &Value) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("Nonce", cell(answer, "nonce")),
        ("Started", cell(answer, "started")),
        ("Progress", progress(answer, "required")),
        ("Complete", cell(answer, "complete")),
    ];
    for (name, field) in [("OTP", "otp"), ("Encoded Token", "encoded_token")] {
        let value = cell(answer, field);
        if !value.is_empty() {
            rows.push((name, value));
        }
    }
    rows
}

fn decode(args: &GenerateRootArgs, encoded: &str) -> Result<u8, Failure> {
    let encoded = if encoded == "-" {
        share(Some("-"), &args.connect, "")?
    } else {
        Zeroizing::new(encoded.to_owned())
    };
    let otp = otp(args)?;
    // Vault leaves the padding out, people and tools put it on.
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let veiled = Zeroizing::new(
        GeneralPurpose::new(&STANDARD, config)
            .decode(encoded.trim())
            .map_err(|_| Failure::usage("the encoded token is not base64"))?,
    );
    if veiled.len() != otp.len() {
        return Err(Failure::usage(
            "the one-time password is not the one of this token: their lengths differ",
        ));
    }
    let token: Vec<u8> = veiled.iter().zip(otp.bytes()).map(|(one, other)| one ^ other).collect();
    let token =
        String::from_utf8(token).map_err(|_| Failure::usage("the one-time password is not the one of this token"))?;
    output::text(&format!("{token}\n"))?;
    Ok(0)
}

/// With the encoded token it gives the root token, so it may be kept off the command line.
fn otp(args: &GenerateRootArgs) -> Result<Zeroizing<String>, Failure> {
    if let Some(otp) = &args.otp {
        return Ok(Zeroizing::new(otp.clone()));
    }
    let none = || Failure::usage("-decode needs the one-time password that -init printed").hint("give -otp");
    if !args.connect.is_interactive() {
        return Err(none());
    }
    terminal::ask_secret("One-time password (will be hidden): ").map_err(|_| none())
}
