//! `signet breakglass issue`: a short certificate from the offline CA. It is written down before it is handed out.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

mod read_back;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::{Value, json};
use signet_core::breakglass::{Document, Door};
use signet_core::key_id::KeyId;
use signet_core::principal::Principal;
use signet_core::serial::{NodeId, Serial};
use signet_core::source_address::SourceAddresses;
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;
use ssh_key::{Certificate, LineEnding, PrivateKey};

use crate::agent::runtime_dir::{PrivateFolder, RuntimeDir};
use crate::breakglass::memory_agent::MemoryAgent;
use crate::breakglass::unlock::UnlockArgs;
use crate::breakglass::{files, key_file, stamp};
use crate::cli::value;
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{Exit, Failure, remark};
use crate::{clock, public_key_file};

/// Long enough for an incident's first shift; more is another certificate, and another line in the log.
const TTL_SECS_MAX: u64 = 4 * 3600;
const TTL_SECS_MIN: u64 = 60;
/// Hosts whose clocks are behind.
const BACKDATE_SECS: u64 = 300;
/// The node number that no authority uses: serials of the offline CA are told apart by it.
const OFFLINE_NODE: NodeId = NodeId(u16::MAX);

/// Flags of `signet breakglass issue`.
#[derive(Debug, Args)]
#[command(
    override_usage = "signet breakglass issue -ca=<FILE> -who=<NAME> -reason=<TEXT> [FLAGS]",
    after_help = "Needs no network and no authority. Every certificate is first written down in issued.jsonl beside the CA."
)]
pub struct IssueArgs {
    /// The offline CA's private key
    #[arg(long)]
    pub ca: PathBuf,
    /// Who gets it; stands in the hosts' logs
    #[arg(long)]
    pub who: String,
    /// Why; stands in issued.jsonl
    #[arg(long)]
    pub reason: String,
    /// Principals; `breakglass` when neither this nor -host is given
    #[arg(long)]
    pub principals: Option<String>,
    /// Only for this host: the principal bg-HOST, which the host's CA line must list
    #[arg(long)]
    pub host: Option<String>,
    /// Networks it may be used from, such as 192.0.2.7
    #[arg(long)]
    pub source_address: Option<String>,
    /// Lifetime, at most 4h
    #[arg(long, default_value = "1h", value_parser = value::ttl)]
    pub ttl: u64,
    /// Public key to certify; when left out, a key pair is made
    #[arg(long)]
    pub key: Option<PathBuf>,
    /// Folder for the certificate (and the key pair); beside -key, else the current one
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// The log; issued.jsonl beside the CA when left out
    #[arg(long)]
    pub log: Option<PathBuf>,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
    /// How the CA key is opened.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// What the certificate will say, before the CA key is opened.
struct Plan {
    key_id: KeyId,
    serial: Serial,
    principals: Vec<Principal>,
    source: Option<SourceAddresses>,
    ttl_secs: u64,
    now: UnixTime,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`]; then there is no certificate.
pub fn run(args: &IssueArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let plan = Plan::read(args)?;
    let ca_public = super::public_of(&args.ca)?;
    check_document(&args.ca, &ca_public, &plan.principals)?;
    let subject = Subject::read(args, &plan)?;
    let folder = RuntimeDir::open(environment.runtime_dir())?.private_folder()?;
    // 1. Sign, where nobody can see it yet.
    let line = sign(args, &plan, &subject.public, &ca_public, &folder)?;
    // 2. Read it back: ssh-keygen was told what to do, the certificate says what it did.
    let certificate = read_back::check(&line, &plan, &subject.public, &ca_public)?;
    // 3. Write it down durably. 4. Hand it out.
    let record = record(args, &plan, &certificate, &subject.public, &ca_public);
    let log = args
        .log
        .clone()
        .unwrap_or_else(|| super::folder_of(&args.ca).join("issued.jsonl"));
    files::append_line(&log, &record.to_string())?;
    let path = subject.hand_out(&line)?;
    show(&record, &subject, &path, format)?;
    Ok(0)
}

impl Plan {
    fn read(args: &IssueArgs) -> Result<Self, Failure> {
        let now = clock::now();
        if !(TTL_SECS_MIN..=TTL_SECS_MAX).contains(&args.ttl) {
            return Err(
                Failure::new(Exit::Refused, "a break-glass certificate lives from 1m to 4h")
                    .hint("issue another one when it ends"),
            );
        }
        if args.reason.trim().is_empty() {
            return Err(Failure::usage("a reason is needed").hint("such as -reason=\"INC-4711, login provider down\""));
        }
        let who = Principal::parse(&args.who).map_err(|error| {
            Failure::usage(format!("`{}` cannot stand in a key ID", args.who))
                .cause(error.to_string())
                .hint("write a plain name, such as -who=ada")
        })?;
        let key_id = KeyId::parse(&format!("breakglass/{who}/{}", stamp(now)))
            .map_err(|error| Failure::usage("the key ID cannot be made").cause(error.to_string()))?;
        Ok(Self {
            key_id,
            serial: serial(now)?,
            principals: principals(args)?,
            source: args.source_address.as_deref().map(source).transpose()?,
            ttl_secs: args.ttl,
            now,
        })
    }
}

fn principals(args: &IssueArgs) -> Result<Vec<Principal>, Failure> {
    let mut principals = match (&args.principals, &args.host) {
        (Some(list), _) => super::principals(list)?,
        (None, Some(_)) => Vec::new(),
        (None, None) => super::principals("breakglass")?,
    };
    if let Some(host) = &args.host {
        principals.extend(super::principals(&format!("bg-{host}"))?);
    }
    principals.sort();
    principals.dedup();
    Ok(principals)
}

fn source(text: &str) -> Result<SourceAddresses, Failure> {
    SourceAddresses::parse(text)
        .map_err(|error| Failure::from_error(Exit::Usage, &error).hint("such as -source-address=192.0.2.7,10.0.0.0/8"))
}

/// Seconds above 16 random bits: two stations that issue in one second do not collide, and later ones are larger.
fn serial(now: UnixTime) -> Result<Serial, Failure> {
    let seed = crate::random::seed().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let [a, b, ..] = *seed;
    let seconds = now.secs() & u64::from(u32::MAX);
    let number = (seconds << 16 | u64::from(u16::from_be_bytes([a, b]))).max(1);
    Serial::new(OFFLINE_NODE, number).ok_or_else(|| Failure::new(Exit::Failed, "the serial cannot be made"))
}

/// A certificate that no host takes is worse than none on the day: the document beside the CA tells.
fn check_document(ca: &Path, ca_public: &SubjectKey, wanted: &[Principal]) -> Result<(), Failure> {
    let path = super::folder_of(ca).join("breakglass.keys");
    if !path.exists() {
        return Ok(());
    }
    let document = Document::parse(&files::read(&path)?).map_err(|error| super::document_failure(&error, &path))?;
    let line = document
        .lines()
        .iter()
        .find(|line| line.door() == Door::OfflineCa && line.key() == ca_public);
    let shown = path.display();
    let Some(line) = line else {
        remark(&format!(
            "warning: `{shown}` does not name this CA; hosts with that document will refuse the certificate"
        ));
        return Ok(());
    };
    if wanted.iter().any(|principal| line.principals().contains(principal)) {
        return Ok(());
    }
    let names: Vec<&str> = line.principals().iter().map(Principal::as_str).collect();
    Err(Failure::new(Exit::Refused, "no host would take this certificate")
        .cause(format!("`{shown}` lists {} for this CA", names.join(", ")))
        .hint("use one of those as -principals, or move the document away if hosts have another"))
}

/// What is certified, and where the certificate goes.
struct Subject {
    public: SubjectKey,
    made: Option<PrivateKey>,
    /// The private key's path, or the path of a public key without `.pub`.
    path: PathBuf,
}

impl Subject {
    fn read(args: &IssueArgs, plan: &Plan) -> Result<Self, Failure> {
        let Some(file) = &args.key else {
            let key = key_file::generate(false, plan.key_id.as_str())?;
            let name = format!("bg-{}-{}", args.who, stamp(plan.now));
            let folder = args.out.clone().unwrap_or_else(|| PathBuf::from("."));
            return Ok(Self {
                public: key_file::public(&key)?,
                made: Some(key),
                path: folder.join(name),
            });
        };
        let line = public_key_file::read(file)?;
        let public = SubjectKey::parse(&line).map_err(|error| Failure::from_error(Exit::Usage, &error))?;
        let stem = file.with_extension("");
        let path = match &args.out {
            Some(folder) => folder.join(stem.file_name().unwrap_or_default()),
            None => stem,
        };
        Ok(Self {
            public,
            made: None,
            path,
        })
    }

    fn hand_out(&self, line: &str) -> Result<PathBuf, Failure> {
        if let Some(key) = &self.made {
            let text = key
                .to_openssh(LineEnding::LF)
                .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            // Not encrypted: it is worth nothing when the certificate has ended.
            files::write_new(&self.path, text.as_bytes(), 0o600)?;
            files::write_new(
                &super::beside(&self.path, ".pub"),
                format!("{}\n", self.public.line()).as_bytes(),
                0o644,
            )?;
        }
        let path = super::beside(&self.path, "-cert.pub");
        files::write_new(&path, line.as_bytes(), 0o644)?;
        Ok(path)
    }
}

/// Has ssh-keygen sign; the CA key is served from memory, or asked from its token.
fn sign(
    args: &IssueArgs,
    plan: &Plan,
    subject: &SubjectKey,
    ca_public: &SubjectKey,
    folder: &PrivateFolder,
) -> Result<String, Failure> {
    let io = |error: std::io::Error| Failure::from_error(Exit::Failed, &error);
    let ca = args.unlock_ca(ca_public)?;
    let (ca_file, subject_file) = (folder.join("ca.pub"), folder.join("key.pub"));
    std::fs::write(&ca_file, format!("{}\n", ca_public.line())).map_err(io)?;
    std::fs::write(&subject_file, format!("{}\n", subject.line())).map_err(io)?;
    let mut command = Command::new("ssh-keygen");
    let agent = if let Some(key) = ca {
        let agent = MemoryAgent::serve(folder.join("agent.sock"), key).map_err(io)?;
        command.env("SSH_AUTH_SOCK", agent.path());
        command.arg("-q").arg("-U").arg("-s").arg(&ca_file);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        Some(agent)
    } else {
        command
            .arg("-q")
            .arg("-s")
            .arg(&args.ca)
            .stdout(Stdio::from(std::io::stderr()));
        None
    };
    let names: Vec<&str> = plan.principals.iter().map(Principal::as_str).collect();
    command.args([
        "-I",
        plan.key_id.as_str(),
        "-n",
        &names.join(","),
        "-z",
        &plan.serial.to_string(),
    ]);
    command.args([
        "-V",
        &format!("-{BACKDATE_SECS}s:+{}s", plan.ttl_secs),
        "-O",
        "clear",
        "-O",
        "permit-pty",
    ]);
    if let Some(source) = &plan.source {
        command.args(["-O", &format!("source-address={source}")]);
    }
    let output = command
        .arg(&subject_file)
        .output()
        .map_err(|error| key_file::keygen_missing(&error))?;
    drop(agent);
    if !output.status.success() {
        return Err(Failure::new(Exit::Failed, "ssh-keygen did not sign")
            .cause(String::from_utf8_lossy(&output.stderr).trim().to_owned())
            .hint("see what it says; with a token, touch it when it blinks"));
    }
    std::fs::read_to_string(folder.join("key-cert.pub")).map_err(io)
}

impl IssueArgs {
    /// The CA key, opened; `None` when it lives in a token.
    fn unlock_ca(&self, ca_public: &SubjectKey) -> Result<Option<PrivateKey>, Failure> {
        if ca_public.kind().is_security_key() {
            return Ok(None);
        }
        self.unlock.open(&self.ca).map(Some)
    }
}

fn record(args: &IssueArgs, plan: &Plan, certificate: &Certificate, subject: &SubjectKey, ca: &SubjectKey) -> Value {
    let names: Vec<&str> = plan.principals.iter().map(Principal::as_str).collect();
    let time = |secs| UnixTime::from_secs(secs).to_string();
    json!({
        "time": plan.now.to_string(),
        "serial": plan.serial.to_string(),
        "key_id": plan.key_id.as_str(),
        "who": args.who,
        "reason": args.reason,
        "principals": names,
        "source_address": plan.source.as_ref().map(ToString::to_string),
        "valid_after": time(certificate.valid_after()),
        "valid_before": time(certificate.valid_before()),
        "key": subject.fingerprint(),
        "ca": ca.fingerprint(),
    })
}

fn show(record: &Value, subject: &Subject, certificate: &Path, format: Format) -> Result<(), Failure> {
    let private = subject.path.display();
    let command = format!(
        "ssh -i {private} -o CertificateFile={} breakglass@HOST",
        certificate.display()
    );
    let mut value = record.clone();
    if let Some(map) = value.as_object_mut() {
        map.insert("certificate".to_owned(), certificate.display().to_string().into());
        map.insert("command".to_owned(), command.clone().into());
    }
    match format {
        Format::Table => {
            output::pairs(&value)?;
            output::text(&format!("\nUse it with\n  {command}\n"))
        }
        format => output::document(&value, format),
    }
}
