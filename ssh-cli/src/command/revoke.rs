//! `signet revoke`: certificates that must end now. Shows what it will hit before it does it.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use signet_core::subject_key::SubjectKey;

use crate::agent::obtain::warnings;
use crate::cli::connect::ConnectArgs;
use crate::cli::value::{self, Moment};
use crate::clock;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{self, Exit, Failure};
use crate::terminal;
use crate::vault::{Vault, Verb};

/// Flags of `signet revoke`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every flag that is given narrows: all must fit. -key-id, -public-key and -fingerprint alone, and -issuer, reach \
                  certificates that are issued later too; everything else reaches those that live now. Hosts refuse them once \
                  they have fetched the list."
)]
pub struct RevokeArgs {
    /// Serial as sshd logs it, or in hexadecimal with 0x; can be repeated
    #[arg(long, value_delimiter = ',')]
    pub serial: Vec<String>,
    /// Key ID, exactly
    #[arg(long)]
    pub key_id: Option<String>,
    /// File of the subject key (.pub), or - for stdin
    #[arg(long)]
    pub public_key: Option<PathBuf>,
    /// Fingerprint of the subject key, SHA256:...
    #[arg(long, conflicts_with = "public_key")]
    pub fingerprint: Option<String>,
    /// Issued to this person
    #[arg(long)]
    pub person: Option<String>,
    /// Issued by this role
    #[arg(long)]
    pub role: Option<String>,
    /// Fingerprint of a CA key: everything that it signed and will sign
    #[arg(long)]
    pub issuer: Option<String>,
    /// Issued at this time or later: 2026-11-22T03:00:00Z, or 2h for two hours ago
    #[arg(long, value_parser = value::moment)]
    pub since: Option<Moment>,
    /// Issued before this time
    #[arg(long, value_parser = value::moment)]
    pub until: Option<Moment>,
    /// Why; stays in the ledger
    #[arg(long)]
    pub reason: Option<String>,
    /// Do not ask
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub yes: bool,
    /// Show what it would hit, and change nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = value::truth, value_name = "true|false")]
    pub dry_run: bool,
    /// Mount of the SSH engine
    #[arg(long, default_value = "ssh", value_parser = value::mount)]
    pub mount_point: String,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &RevokeArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let mut fields = selection(args)?;
    let reason = args.reason.as_deref().map(str::trim).unwrap_or_default();
    if reason.is_empty() && !args.dry_run {
        return Err(Failure::usage("-reason is missing")
            .hint("say why, for those who read the ledger: -reason=\"laptop lost\""));
    }
    if !args.yes && !args.dry_run && !args.connect.is_interactive() {
        return Err(unasked());
    }
    let vault = args.connect.vault(environment)?;
    let path = format!("{}/revoke", args.mount_point);
    fields.insert("reason".to_owned(), reason.into());
    fields.insert("dry_run".to_owned(), true.into());
    let shown = send(&vault, &path, &fields)?;
    let hits = hits(&shown);
    // With another format stdout holds the one document of the answer.
    if format == Format::Table && args.connect.field.is_none() {
        show(&hits, total(&shown))?;
    }
    for warning in warnings(&shown) {
        report::remark(&format!("warning: {warning}"));
    }
    if args.dry_run {
        return answer(args, &shown, format, "nothing was changed: this was a dry run\n");
    }
    if hits.is_empty() && !args.reaches_later_ones() {
        return answer(args, &shown, format, "nothing was revoked\n");
    }
    if !args.yes && !agreed(total(&shown))? {
        return Err(Failure::new(
            Exit::Failed,
            "nothing was revoked: the answer was not `yes`",
        ));
    }
    fields.remove("dry_run");
    let done = send(&vault, &path, &fields)?;
    let version = done.pointer("/data/krl_version").map(output::plain).unwrap_or_default();
    let text = format!(
        "revoked {}; the list has version {version}, hosts refuse them when they have fetched it\n",
        counted(total(&done))
    );
    answer(args, &done, format, &text)
}

impl RevokeArgs {
    /// Whether it means more than the certificates that the ledger has.
    fn reaches_later_ones(&self) -> bool {
        let alone = self.person.is_none() && self.role.is_none() && self.since.is_none() && self.until.is_none();
        alone
            && (!self.serial.is_empty()
                || self.key_id.is_some()
                || self.public_key.is_some()
                || self.fingerprint.is_some()
                || self.issuer.is_some())
    }
}

/// The fields that select, as the server reads them.
fn selection(args: &RevokeArgs) -> Result<Map<String, Value>, Failure> {
    let now = clock::now();
    let time = |moment: Option<Moment>| moment.map(|moment| moment.from(now).to_string());
    let public_key = args.public_key.as_deref().map(key_line).transpose()?;
    let mut fields = Map::new();
    for (name, value) in [
        ("key_id", args.key_id.clone()),
        ("public_key", public_key),
        ("fingerprint", args.fingerprint.clone()),
        ("person", args.person.clone()),
        ("role", args.role.clone()),
        ("issuer", args.issuer.clone()),
        ("issued_since", time(args.since)),
        ("issued_until", time(args.until)),
    ] {
        match value {
            // An empty field selects nothing on the server, and so everything: `-person=$NOBODY` must not do that.
            Some(value) if value.trim().is_empty() => {
                return Err(Failure::usage(format!("-{} is empty", name.replace('_', "-"))).hint("leave the flag out"));
            }
            Some(value) => drop(fields.insert(name.to_owned(), value.into())),
            None => {}
        }
    }
    if args.serial.iter().any(|serial| serial.trim().is_empty()) {
        return Err(Failure::usage("-serial is empty").hint("leave the flag out"));
    }
    if !args.serial.is_empty() {
        fields.insert("serial".to_owned(), json!(args.serial));
    }
    if fields.is_empty() {
        return Err(Failure::usage("nothing says what to revoke").hint(
            "give one or more of -serial, -key-id, -public-key, -fingerprint, -person, -role, -since, -until, or -issuer",
        ));
    }
    Ok(fields)
}

/// The key of a `.pub` file, written anew: no comment and no private key goes over the wire.
fn key_line(path: &Path) -> Result<String, Failure> {
    let read = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = read.map_err(|error| {
        Failure::new(Exit::Usage, format!("`{}` cannot be read", path.display())).cause(error.to_string())
    })?;
    let key = SubjectKey::parse(&text).map_err(|error| {
        Failure::new(Exit::Usage, format!("`{}` is not a public key", path.display()))
            .cause(error.to_string())
            .hint("give the .pub file, or -fingerprint")
    })?;
    Ok(key.line())
}

fn send(vault: &Vault, path: &str, fields: &Map<String, Value>) -> Result<Value, Failure> {
    Ok(vault.send(Verb::Put, path, Some(&Value::Object(fields.clone())))?)
}

fn hits(envelope: &Value) -> Vec<Value> {
    let hits = envelope.pointer("/data/hits").and_then(Value::as_array);
    hits.cloned().unwrap_or_default()
}

fn total(envelope: &Value) -> u64 {
    let total = envelope.pointer("/data/hits_total").and_then(Value::as_u64);
    total.unwrap_or_else(|| u64::try_from(hits(envelope).len()).unwrap_or(u64::MAX))
}

fn show(hits: &[Value], total: u64) -> Result<(), Failure> {
    if hits.is_empty() {
        return output::text("no live certificate fits\n");
    }
    let rows: Vec<Vec<String>> = hits.iter().map(row).collect();
    output::table(
        &[
            "Serial",
            "Person",
            "Role",
            "Principals",
            "Issued",
            "Valid until",
            "Key ID",
        ],
        &rows,
    )?;
    match total.saturating_sub(u64::try_from(rows.len()).unwrap_or(u64::MAX)) {
        0 => Ok(()),
        more => output::text(&format!("and {more} more\n")),
    }
}

fn row(hit: &Value) -> Vec<String> {
    let names = [
        "serial",
        "person",
        "role",
        "principals",
        "time",
        "valid_before",
        "key_id",
    ];
    names
        .iter()
        .map(|name| hit.get(*name).map(output::plain).unwrap_or_default())
        .collect()
}

fn answer(args: &RevokeArgs, envelope: &Value, format: Format, text: &str) -> Result<u8, Failure> {
    let data = envelope.get("data").cloned().unwrap_or_default();
    match (&args.connect.field, format) {
        (Some(field), _) => output::field(&data, field)?,
        (None, Format::Table) => output::text(text)?,
        (None, format) => output::document(&data, format)?,
    }
    Ok(0)
}

fn agreed(total: u64) -> Result<bool, Failure> {
    let prompt = format!("Revoke {}? Type yes: ", counted(total));
    let typed = terminal::ask_line(&prompt).map_err(|_| unasked())?;
    Ok(typed.eq_ignore_ascii_case("yes"))
}

fn unasked() -> Failure {
    Failure::usage("there is nobody to ask whether to revoke").hint("look with -dry-run, then use -yes")
}

fn counted(total: u64) -> String {
    match total {
        0 => "what was given".to_owned(),
        1 => "1 certificate".to_owned(),
        more => format!("{more} certificates"),
    }
}
