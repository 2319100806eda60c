//! `signet breakglass drill`: proves on a host that break-glass works, by the real door, and that other keys do not.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use ssh_key::PrivateKey;

use crate::agent::runtime_dir::{PrivateFolder, RuntimeDir};
use crate::breakglass::probe::{Identity, Seen, Target, knock};
use crate::breakglass::unlock::UnlockArgs;
use crate::breakglass::{files, key_file};
use crate::clock;
use crate::config::Environment;
use crate::destination::Destination;
use crate::output::{self, Format};
use crate::report::{Exit, Failure};

/// Flags of `signet breakglass drill`.
#[derive(Debug, Args)]
#[command(
    override_usage = "signet breakglass drill -host=[user@]HOST [-certificate=FILE -identity=FILE] [-key=FILE] [-old-key=FILE] [FLAGS]",
    after_help = "Logs in with the stock ssh and none of your configuration. Exit 1 when any door is not as it should be. The \
                  sealed key is decrypted in memory only."
)]
pub struct DrillArgs {
    /// Host, or user@host; the user is breakglass when left out
    #[arg(long)]
    pub host: String,
    /// Port
    #[arg(long, short = 'p', default_value_t = 22)]
    pub port: u16,
    /// Door A: the sealed key, which must be let in
    #[arg(long)]
    pub key: Option<PathBuf>,
    /// Door B: a certificate of the offline CA, which must be let in
    #[arg(long, requires = "identity")]
    pub certificate: Option<PathBuf>,
    /// The certificate's private key; without the certificate it must be refused
    #[arg(long, requires = "certificate")]
    pub identity: Option<PathBuf>,
    /// A sealed key that was replaced, which must be refused
    #[arg(long)]
    pub old_key: Option<PathBuf>,
    /// File with the old key's passphrase, mode 0600
    #[arg(long, requires = "old_key", conflicts_with = "old_share_file")]
    pub old_passphrase_file: Option<PathBuf>,
    /// File with a share of the old key; repeat it until enough are there
    #[arg(long, requires = "old_key")]
    pub old_share_file: Vec<PathBuf>,
    /// New file for the report, JSON
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// known_hosts file for ssh
    #[arg(long)]
    pub known_hosts: Option<PathBuf>,
    /// yes or accept-new
    #[arg(long, default_value = "yes", value_parser = ["yes", "accept-new"])]
    pub strict_host_key_checking: String,
    /// Option for ssh, such as ProxyJump=bastion; can be repeated
    #[arg(long)]
    pub ssh_option: Vec<String>,
    /// Seconds that ssh may take to connect
    #[arg(long, default_value_t = 15)]
    pub connect_timeout: u16,
    /// The ssh to run [env: SIGNET_SSH_EXECUTABLE, VAULT_SSH_EXECUTABLE] [default: ssh]
    #[arg(long)]
    pub ssh_executable: Option<String>,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
    /// How the sealed key is opened.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// One knock at the door.
struct Check {
    door: &'static str,
    what: String,
    expected: Seen,
    identity: Identity,
}

/// How it went.
struct Row {
    door: &'static str,
    what: String,
    expected: Seen,
    seen: Seen,
    took: Duration,
}

impl Row {
    fn is_right(&self) -> bool {
        self.seen == self.expected
    }

    fn json(&self) -> Value {
        let detail = match &self.seen {
            Seen::Unclear(said) => Some(said),
            Seen::LetIn | Seen::Refused => None,
        };
        json!({
            "door": self.door, "key": self.what, "expected": self.expected.word(), "seen": self.seen.word(),
            "ok": self.is_right(), "millis": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX), "ssh_said": detail,
        })
    }
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when the drill cannot begin. A door that is not as it should be is exit 1 with a whole report.
pub fn run(args: &DrillArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let target = target(args, environment)?;
    if let Some(path) = args.report.as_ref().filter(|path| path.exists()) {
        return Err(Failure::usage(format!("`{}` is there already", path.display()))
            .hint("nothing is ever overwritten; name a new file for the report"));
    }
    let folder = RuntimeDir::open(environment.runtime_dir())?.private_folder()?;
    let started = clock::now();
    let mut rows = Vec::new();
    for check in checks(args)? {
        rows.push(run_check(check, &target, &folder)?);
    }
    let passed = rows.iter().all(Row::is_right);
    let report = json!({
        "drill": "signet-breakglass-drill-v1",
        "host": target.destination,
        "port": target.port,
        "started": started.to_string(),
        "finished": clock::now().to_string(),
        "passed": passed,
        "checks": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    if let Some(path) = &args.report {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        files::write_new(path, format!("{text}\n").as_bytes(), 0o644)?;
    }
    show(&rows, &report, format)?;
    Ok(if passed { 0 } else { Exit::Failed.code() })
}

fn target(args: &DrillArgs, environment: &Environment) -> Result<Target, Failure> {
    if args.key.is_none() && args.certificate.is_none() {
        return Err(Failure::usage("there is no door to try").hint(
            "give -key=FILE for the sealed key, -certificate=FILE and -identity=FILE for the offline CA, or both",
        ));
    }
    let destination = Destination::parse(&["--".into(), args.host.clone().into()])?;
    if destination.target.contains("://") || destination.host != args.host.rsplit('@').next().unwrap_or_default() {
        return Err(Failure::usage(format!("`{}` is no host", args.host)).hint("write HOST or user@HOST, and -p=PORT"));
    }
    let user = destination
        .user
        .as_deref()
        .unwrap_or(crate::host::layout::BREAKGLASS_ACCOUNT);
    for option in &args.ssh_option {
        check_option(option)?;
    }
    Ok(Target {
        ssh: super::ssh_executable(args.ssh_executable.as_deref(), environment),
        destination: format!("{user}@{}", destination.host),
        port: args.port,
        options: args.ssh_option.clone(),
        known_hosts: args.known_hosts.clone(),
        strict_host_key_checking: args.strict_host_key_checking.clone(),
        connect_timeout_secs: args.connect_timeout,
    })
}

/// Other keys than the ones on trial would make the drill say nothing.
fn check_option(option: &str) -> Result<(), Failure> {
    let name = option
        .split(['=', ' ', '\t'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let brings_keys = [
        "identityfile",
        "certificatefile",
        "identityagent",
        "pkcs11provider",
        "securitykeyprovider",
        "include",
    ];
    if name.is_empty() || brings_keys.contains(&name.as_str()) {
        return Err(Failure::usage(format!("`-ssh-option={option}` is not taken here"))
            .hint("the keys on trial are the only ones; options are for the way there, such as ProxyJump=bastion"));
    }
    Ok(())
}

fn checks(args: &DrillArgs) -> Result<Vec<Check>, Failure> {
    let mut checks = Vec::new();
    if let (Some(certificate), Some(identity)) = (&args.certificate, &args.identity) {
        let unlock = UnlockArgs::default();
        checks.push(Check {
            door: "B",
            what: "certificate of the offline CA".to_owned(),
            expected: Seen::LetIn,
            identity: identity_of(unlock.open(identity)?, identity, Some(certificate)),
        });
        checks.push(Check {
            door: "B",
            what: "the same key without its certificate".to_owned(),
            expected: Seen::Refused,
            identity: identity_of(unlock.open(identity)?, identity, None),
        });
    }
    if let Some(path) = &args.key {
        checks.push(Check {
            door: "A",
            what: "sealed key".to_owned(),
            expected: Seen::LetIn,
            identity: identity_of(args.unlock.open(path)?, path, None),
        });
    }
    if let Some(path) = &args.old_key {
        let unlock = UnlockArgs {
            passphrase_file: args.old_passphrase_file.clone(),
            share_file: args.old_share_file.clone(),
            ask_shares: false,
        };
        checks.push(Check {
            door: "A",
            what: "sealed key that was replaced".to_owned(),
            expected: Seen::Refused,
            identity: identity_of(unlock.open(path)?, path, None),
        });
    }
    checks.push(Check {
        door: "none",
        what: "key of a stranger, made now".to_owned(),
        expected: Seen::Refused,
        identity: Identity::Memory(Box::new(key_file::generate(false, "drill")?), None),
    });
    // Those that must be let in come first: refused keys may earn this address a penalty from sshd (OpenSSH 9.8).
    checks.sort_by_key(|check| check.expected != Seen::LetIn);
    Ok(checks)
}

fn identity_of(key: PrivateKey, path: &Path, certificate: Option<&PathBuf>) -> Identity {
    let certificate = certificate.cloned();
    if super::is_security_key(&key) {
        Identity::Token(path.to_owned(), certificate)
    } else {
        Identity::Memory(Box::new(key), certificate)
    }
}

fn run_check(check: Check, target: &Target, folder: &PrivateFolder) -> Result<Row, Failure> {
    let (seen, took) = knock(target, check.identity, folder)?;
    Ok(Row {
        door: check.door,
        what: check.what,
        expected: check.expected,
        seen,
        took,
    })
}

fn show(rows: &[Row], report: &Value, format: Format) -> Result<(), Failure> {
    if format != Format::Table {
        return output::document(report, format);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let seen = match &row.seen {
                Seen::Unclear(said) => format!("unclear: {said}"),
                clear => clear.word().to_owned(),
            };
            let right = if row.is_right() { "ok" } else { "NOT AS IT SHOULD BE" };
            let took = format!("{:.2} s", row.took.as_secs_f64());
            vec![
                row.door.to_owned(),
                row.what.clone(),
                row.expected.word().to_owned(),
                seen,
                took,
                right.to_owned(),
            ]
        })
        .collect();
    output::table(&["Door", "Key", "Expected", "Seen", "Took", "Result"], &cells)
}
