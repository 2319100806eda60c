//! `signet audit reconcile`: logins that hosts accepted by certificates that were never issued. Each of them is an alarm:
//! somebody has a CA key.

use clap::Args;
use serde_json::Value;

use crate::cli::connect::ConnectArgs;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{self, Exit, Failure};
use crate::vault::Verb;

/// Flags of `signet audit reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// How far back: a time such as 2026-11-26T00:00:00Z, or how long ago, such as 7d [default: 30d]
    #[arg(long, value_parser = since)]
    pub since: Option<String>,
    /// Which authority, and how to print.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs the verb: 3 when there are alarms.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ReconcileArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = args.connect.format(environment)?;
    let query = args
        .since
        .as_ref()
        .map(|since| format!("?since={since}"))
        .unwrap_or_default();
    let vault = args.connect.vault(environment)?;
    let mut envelope = vault.send(Verb::Get, &format!("sys/signet/reconcile{query}"), None)?;
    let found = envelope.get_mut("data").map(Value::take).unwrap_or_default();
    // SECURITY: an answer without a list of alarms must not pass for one without alarms.
    let alarms = found.get("alarms").and_then(Value::as_array).ok_or_else(|| {
        Failure::new(Exit::Failed, "the answer holds no list of alarms")
            .hint("check -address: is it a signet authority?")
    })?;
    match (&args.connect.field, format) {
        (Some(field), _) => output::field(&found, field)?,
        (None, Format::Table) => print(&found, alarms)?,
        (None, format) => output::document(&found, format)?,
    }
    if alarms.is_empty() {
        return Ok(0);
    }
    report::remark(&format!(
        "alarm: {} login(s) by certificates that were never issued: treat the CA key as stolen",
        alarms.len()
    ));
    Ok(Exit::Refused.code())
}

fn print(found: &Value, alarms: &[Value]) -> Result<(), Failure> {
    let number = |name: &str| found.get(name).map(output::plain).unwrap_or_default();
    if alarms.is_empty() {
        let (checked, since) = (number("checked"), number("since"));
        return output::text(&format!(
            "{checked} logins since {since}, each by a certificate that was issued\n"
        ));
    }
    let row = |alarm: &Value| {
        ["time", "host", "account", "address", "serial", "key_id", "reason"]
            .map(|name| alarm.get(name).map(output::plain).unwrap_or_default())
            .to_vec()
    };
    let head = ["Reported", "Host", "Account", "From", "Serial", "Key ID", "Reason"];
    output::table(&head, &alarms.iter().map(row).collect::<Vec<_>>())
}

/// What goes into a query as it is.
fn since(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
    (!text.is_empty() && text.chars().all(plain))
        .then(|| text.to_owned())
        .ok_or_else(|| "write a time like 2026-11-26T00:00:00Z, or how long ago, like 7d".to_owned())
}
