//! `signet host bake`: makes this machine trust the authority.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::{Value, json};
use signet_core::subject_key::SubjectKey;
use signet_core::time::parse_duration;
use signet_core::trust_bundle::BundleError;

use crate::clock;
use crate::command::host::Writing;
use crate::config::Environment;
use crate::host::backup::LAST;
use crate::host::bake::{BakeError, Baked, Order, Source, bake};
use crate::host::bill::bill;
use crate::host::files::{self, FileError, Files};
use crate::host::image;
use crate::host::layout::Layout;
use crate::host::proof::Outcome;
use crate::host::settings::{self, HostSettings, LogSource};
use crate::host::sshd::Reload;
use crate::host::units::{PROGRAM, install_units, start_units};
use crate::output::{self, Format};
use crate::report::{self, Exit, Failure};

const SAFETY_UNIT: &str = "signet-safety";

/// Flags of `signet host bake`.
#[derive(Debug, Args)]
pub struct BakeArgs {
    /// Trust bundle of the authority: who signs, what is revoked, who opens what
    #[arg(long)]
    pub bundle: Option<PathBuf>,
    /// Public key that the bundle must be signed with: its line, or a file of lines; can be repeated
    #[arg(long)]
    pub bundle_key: Vec<String>,
    /// File of CA public keys, for a host without an authority
    #[arg(long, conflicts_with = "bundle")]
    pub ca_keys: Option<PathBuf>,
    /// With -ca-keys: ACCOUNT=PRINCIPAL,PRINCIPAL opens that account; can be repeated
    #[arg(long)]
    pub principals: Vec<String>,
    /// Break-glass keys: authorized_keys lines, or the document of `signet breakglass new`
    #[arg(long)]
    pub breakglass: Option<PathBuf>,
    /// Tags of this host, with commas: they choose the rules that hold here
    #[arg(long)]
    pub tags: Option<String>,
    /// Address of the authority, for `signet host enroll` and `sync`
    #[arg(long)]
    pub address: Option<String>,
    /// PEM file of the roots to believe for the authority's TLS
    #[arg(long)]
    pub ca_cert: Option<PathBuf>,
    /// Mount whose trust bundle this host follows
    #[arg(long)]
    pub mount_point: Option<String>,
    /// Where the bundle is fetched instead: http(s)://… or the path of a file
    #[arg(long)]
    pub bundle_url: Option<String>,
    /// Where sshd logs: `journal`, or a file such as /var/log/auth.log
    #[arg(long)]
    pub log: Option<String>,
    /// The most that `signet host sync` waits before it asks, so that a fleet does not ask at once
    #[arg(long)]
    pub jitter: Option<String>,
    /// The host's root folder, for a mounted image
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
    /// Option that sshd's unit gives it with -o, where it is not found; can be repeated
    #[arg(long)]
    pub sshd_option: Vec<String>,
    /// How it writes.
    #[command(flatten)]
    pub writing: Writing,
    /// Networks that PerSourcePenalties spares, such as a bastion's (OpenSSH 9.8 and newer)
    #[arg(long)]
    pub penalty_exempt: Option<String>,
    /// Prove on loopback, before it counts, that the right logins work and no others
    #[arg(long)]
    pub proof: bool,
    /// Clean this machine for an image: host keys, authorized_keys, histories, cloud-init state
    #[arg(long)]
    pub image: bool,
    /// Write the bill of trust (JSON) to this file
    #[arg(long)]
    pub bill: Option<PathBuf>,
    /// Undo everything after this time unless `signet host bake -confirm` is run (needs systemd)
    #[arg(long)]
    pub safety: Option<String>,
    /// Keep what `bake -safety` did
    #[arg(long)]
    pub confirm: bool,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`]; the host is then as it was.
pub fn run(args: &BakeArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    if args.confirm {
        return confirm();
    }
    let layout = Layout::under(&args.root);
    let files = Files::new(&layout, args.writing.stop_after);
    let order = order(args, &layout)?;
    let safety = args.safety.as_deref().map(safety_secs).transpose()?;
    let now = clock::now();
    if let Some(secs) = safety {
        start_safety(&layout, secs)?;
    }
    let mut baked = match bake(&files, &layout, &order, now) {
        Ok(baked) => baked,
        Err(error) => {
            if safety.is_some() {
                stop_safety();
            }
            return Err(failure(&error));
        }
    };
    baked.changed.extend(follow(&layout, &files, args.image)?);
    // The bill before the cleaning: it asks sshd, and sshd wants host keys.
    let bill = bill(&layout, &baked, now).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    if let Some(path) = &args.bill {
        let text = serde_json::to_string_pretty(&bill).unwrap_or_default();
        std::fs::write(path, text + "\n")
            .map_err(FileError::of("written", path))
            .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    }
    let cleaned = args.image.then(|| image::clean(&layout));
    let mut answer = answer(&layout, &baked);
    if let (Some(cleaned), Value::Object(map)) = (&cleaned, &mut answer) {
        map.insert("removed".to_owned(), json!(cleaned.removed));
    }
    for remark in &baked.remarks {
        report::remark(&format!("warning: {remark}"));
    }
    match format {
        Format::Table => output::pairs(&answer)?,
        format => output::document(&json!({ "baked": answer, "bill": bill }), format)?,
    }
    if safety.is_some() {
        report::remark(
            "log in through a second connection now, then run `signet host bake -confirm`; else it is undone",
        );
    }
    match cleaned {
        Some(cleaned) if !cleaned.failed.is_empty() => Err(Failure::new(
            Exit::Failed,
            format!("not everything could be cleaned: {}", cleaned.failed.join("; ")),
        )
        .hint("`signet host scan` says what an image must not carry")),
        _ => Ok(0),
    }
}

/// The units that keep the host in step, where its settings name somebody to follow.
fn follow(layout: &Layout, files: &Files, image: bool) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::from_error(Exit::Failed, error).hint("sshd is in order; bake again for the systemd units")
    };
    let settings = HostSettings::read(layout)
        .map_err(|error| failed(&error))?
        .unwrap_or_default();
    if settings.address.is_none() && settings.bundle_url.is_none() {
        return Ok(Vec::new());
    }
    let changed = install_units(layout, files, Path::new(PROGRAM)).map_err(|error| failed(&error))?;
    let started = if image {
        Ok(())
    } else {
        start_units(layout, settings.address.is_some())
    };
    if let Err(why) = started {
        report::remark(&format!("warning: the systemd units do not run: {why}"));
    }
    Ok(changed)
}

/// A path as the host itself sees it.
pub(super) fn inside(layout: &Layout, path: &Path) -> String {
    let path = path.strip_prefix(layout.root()).unwrap_or(path);
    Path::new("/").join(path).display().to_string()
}

fn answer(layout: &Layout, baked: &Baked) -> Value {
    let changed: Vec<String> = baked.changed.iter().map(|path| inside(layout, path)).collect();
    let passed = baked
        .proof
        .iter()
        .filter(|check| check.outcome == Outcome::Passed)
        .count();
    let skipped: Vec<&str> = baked
        .proof
        .iter()
        .filter(|check| matches!(check.outcome, Outcome::Skipped(_)))
        .map(|check| check.name.as_str())
        .collect();
    let reload = match &baked.reload {
        Reload::Told(how) => how.clone(),
        Reload::NothingToTell(why) => format!("not needed: {why}"),
    };
    json!({
        "changed": if changed.is_empty() { json!("nothing") } else { json!(changed) },
        "proof": if baked.proof.is_empty() {
            "not asked for".to_owned()
        } else if skipped.is_empty() {
            format!("{passed} checks passed")
        } else {
            format!("{passed} checks passed, not checked: {}", skipped.join("; "))
        },
        "sshd": baked.sshd_version.text,
        "reload": reload,
    })
}

fn order(args: &BakeArgs, layout: &Layout) -> Result<Order, Failure> {
    let source = match (&args.bundle, &args.ca_keys) {
        (Some(path), _) => Source::Bundle(read("the trust bundle", path)?),
        (None, Some(path)) => Source::CaKeys {
            text: read("the file of CA keys", path)?,
            principals: principals(&args.principals)?,
        },
        (None, None) => Source::Held,
    };
    if !args.principals.is_empty() && !matches!(source, Source::CaKeys { .. }) {
        return Err(Failure::usage("-principals goes with -ca-keys only")
            .hint("with a bundle the authority's hosts.toml says who opens what"));
    }
    Ok(Order {
        source,
        bundle_keys: bundle_keys(&args.bundle_key)?,
        breakglass: args
            .breakglass
            .as_ref()
            .map(|path| read("the break-glass file", path))
            .transpose()?,
        settings: settings(args, layout)?,
        sshd_options: args.sshd_option.clone(),
        penalty_exempt: args.penalty_exempt.as_deref().map(exempt).transpose()?,
        prove: args.proof,
        keep_last: args.safety.is_some(),
        sshd_pid: args.writing.sshd_pid,
    })
}

/// What the host has, with what the flags change.
fn settings(args: &BakeArgs, layout: &Layout) -> Result<HostSettings, Failure> {
    let held = HostSettings::read(layout).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let mut settings = held.unwrap_or_default();
    if let Some(tags) = &args.tags {
        let tags: BTreeSet<String> = words(tags);
        if let Some(tag) = tags.iter().find(|tag| !settings::is_word(tag)) {
            return Err(
                Failure::usage(format!("`{tag}` cannot be a tag")).hint("letters, digits, `.`, `_`, `-` and `:`")
            );
        }
        settings.tags = tags;
    }
    if let Some(address) = &args.address {
        settings.address = Some(crate::endpoint::canonical_address(address)?);
    }
    if let Some(path) = &args.ca_cert {
        settings.ca_cert = Some(path.clone());
    }
    if let Some(mount) = &args.mount_point {
        mount.trim_matches('/').clone_into(&mut settings.mount);
    }
    if let Some(url) = &args.bundle_url {
        settings.bundle_url = Some(url.clone());
    }
    if let Some(log) = &args.log {
        settings.log = LogSource::parse(log).ok_or_else(|| {
            Failure::usage(format!("-log is `{log}`")).hint("write `journal`, or the full path of a file")
        })?;
    }
    if let Some(jitter) = &args.jitter {
        settings.jitter_secs = parse_duration(jitter).map_err(|error| Failure::usage(error.to_string()))?;
    }
    Ok(settings)
}

fn principals(flags: &[String]) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let mut accounts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for flag in flags {
        let (account, names) = flag.split_once('=').ok_or_else(|| {
            Failure::usage(format!("-principals is `{flag}`")).hint("write ACCOUNT=PRINCIPAL,PRINCIPAL")
        })?;
        accounts
            .entry(account.trim().to_owned())
            .or_default()
            .extend(words(names));
    }
    Ok(accounts)
}

fn bundle_keys(flags: &[String]) -> Result<Vec<SubjectKey>, Failure> {
    let mut keys = Vec::new();
    for flag in flags {
        let text = if flag.contains(' ') {
            flag.clone()
        } else {
            read("the bundle key", Path::new(flag))?
        };
        for line in text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let key = SubjectKey::parse(line)
                .map_err(|error| Failure::usage(format!("the bundle key cannot be used: {error}")))?;
            keys.push(key);
        }
    }
    Ok(keys)
}

/// A list of networks, and nothing that would end the line in sshd's configuration.
fn exempt(text: &str) -> Result<String, Failure> {
    signet_core::source_address::SourceAddresses::parse(text)
        .map(|list| list.to_string())
        .map_err(|error| Failure::usage(format!("-penalty-exempt: {error}")))
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn read(what: &str, path: &Path) -> Result<String, Failure> {
    let text = files::read_text(path).map_err(|error| Failure::from_error(Exit::Usage, &error))?;
    text.ok_or_else(|| Failure::usage(format!("{what} `{}` is not there", path.display())))
}

fn failure(error: &BakeError) -> Failure {
    let with = |exit| Failure::from_error(exit, error);
    match error {
        BakeError::NotRoot => with(Exit::Usage).hint("use sudo"),
        BakeError::Sshd(_) | BakeError::Configure(crate::host::configure::ConfigureError::Broken(_)) => {
            with(Exit::Failed).hint("`sshd -t` must pass first")
        }
        BakeError::Reload(_) => with(Exit::Failed).hint("`systemctl status ssh`; is -sshd-pid right?"),
        BakeError::Bundle(BundleError::OtherMount { .. }) => {
            with(Exit::Refused).hint("-mount-point says which mount this host follows")
        }
        BakeError::Bundle(_) => with(Exit::Refused).hint("fetch it anew from the authority; is -bundle-key right?"),
        BakeError::NoBundleKey => with(Exit::Usage).hint("give -bundle-key: `GET <mount>/trust-bundle/public_key`"),
        BakeError::NothingHeld => with(Exit::Usage).hint("give -bundle and -bundle-key, or -ca-keys"),
        BakeError::CaKeys { .. } => with(Exit::Refused).hint("one bare public key a line, without options"),
        BakeError::Breakglass(_) | BakeError::Document(_) | BakeError::NoBreakglassKey => {
            with(Exit::Refused).hint("`signet breakglass new` writes such a file")
        }
        BakeError::Configure(crate::host::configure::ConfigureError::Wins { .. }) => {
            with(Exit::Refused).hint("remove that line, or give sshd's unit options with -sshd-option, then bake again")
        }
        BakeError::Configure(_) => with(Exit::Refused).hint("mend that line, then bake again"),
        BakeError::Disproved(_) | BakeError::Proof(_) => with(Exit::Failed)
            .hint("`signet host check` and `signet host why` say more once it is baked without -proof"),
        BakeError::Account(_) => {
            with(Exit::Failed).hint("make the account yourself: useradd -m -s /bin/bash breakglass")
        }
        BakeError::Apply(_) | BakeError::File(_) | BakeError::Settings(_) => {
            with(Exit::Failed).hint("mend that, then bake again: it goes on where it stopped")
        }
        BakeError::NotRestored { .. } => with(Exit::Failed).hint("`signet host undo`, before anybody logs out"),
    }
}

fn safety_secs(text: &str) -> Result<u64, Failure> {
    const LEAST: u64 = 30;
    let secs = parse_duration(text).map_err(|error| Failure::usage(error.to_string()))?;
    if secs < LEAST {
        return Err(Failure::usage("-safety is too short to log in again").hint("write -safety=5m"));
    }
    Ok(secs)
}

/// A timer that undoes this bake, unless it is stopped.
fn start_safety(layout: &Layout, secs: u64) -> Result<(), Failure> {
    let refused = |why: String| {
        Failure::new(Exit::Failed, "the timer of -safety cannot be set; nothing was changed")
            .cause(why)
            .hint("-safety needs systemd on a running host; leave it out elsewhere")
    };
    if layout.root() != Path::new("/") {
        return Err(refused("this is an image, not a running host".to_owned()));
    }
    let program = std::env::current_exe().map_err(|error| refused(error.to_string()))?;
    stop_safety();
    let output = Command::new("systemd-run")
        .arg(format!("--unit={SAFETY_UNIT}"))
        .arg(format!("--on-active={secs}"))
        .arg("--timer-property=AccuracySec=1s")
        .arg(program)
        .args(["host", "undo"])
        .arg(format!("-backup={}", layout.backup().join(LAST).display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| refused(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

fn stop_safety() -> bool {
    let output = Command::new("systemctl")
        .args(["stop", &format!("{SAFETY_UNIT}.timer")])
        .stdin(Stdio::null())
        .output();
    output.is_ok_and(|output| output.status.success())
}

fn confirm() -> Result<u8, Failure> {
    if stop_safety() {
        report::remark("the timer is stopped: what was baked stays");
        return Ok(0);
    }
    Err(Failure::new(Exit::Failed, "no timer of `bake -safety` runs here")
        .hint("`signet host check` says what is in force"))
}
