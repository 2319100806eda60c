//! `signet breakglass rotate`: a new document, signed by a key that hosts hold, so that they take it from anybody's hands.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::json;
use signet_core::breakglass::{self, Document, Line, NAMESPACE};
use signet_core::sshsig::SshSignature;
use signet_core::subject_key::SubjectKey;
use ssh_key::{HashAlg, LineEnding};

use crate::agent::runtime_dir::RuntimeDir;
use crate::breakglass::unlock::UnlockArgs;
use crate::breakglass::{files, key_file};
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{Exit, Failure};

/// Flags of `signet breakglass rotate`.
#[derive(Debug, Args)]
#[command(
    override_usage = "signet breakglass rotate -old=<FILE> -new=<FOLDER or DOCUMENT> -out=<DOCUMENT> [FLAGS]",
    after_help = "First make the new keys with `signet breakglass new`. With -keep-old images of both cycles open; make a \
                  document without the old keys, signed by a new one, when every host has reported this one."
)]
pub struct RotateArgs {
    /// Private key that hosts hold the public half of: the old sealed key or the old offline CA
    #[arg(long)]
    pub old: PathBuf,
    /// The document that hosts hold; breakglass.keys beside -old when left out
    #[arg(long)]
    pub held: Option<PathBuf>,
    /// Folder of `signet breakglass new`, or a document
    #[arg(long)]
    pub new: PathBuf,
    /// Where the signed document goes, such as policies/breakglass.keys
    #[arg(long)]
    pub out: PathBuf,
    /// Keep the old keys beside the new ones for one cycle
    #[arg(long)]
    pub keep_old: bool,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
    /// How the old key is opened.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`]; then nothing was written.
pub fn run(args: &RotateArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let held_path = args
        .held
        .clone()
        .unwrap_or_else(|| super::folder_of(&args.old).join("breakglass.keys"));
    let held = read(&held_path)?;
    let new_path = if args.new.is_dir() {
        args.new.join("breakglass.keys")
    } else {
        args.new.clone()
    };
    let mut document = assemble(&read(&new_path)?, &held, args.keep_old)?;
    if document.keys_file() == held.keys_file() {
        return Err(
            Failure::new(Exit::Refused, "the new document is the one that hosts hold")
                .hint("make new keys first with `signet breakglass new`"),
        );
    }
    check_out(&args.out, &held_path)?;
    let signer = super::public_of(&args.old)?;
    let held_keys: Vec<SubjectKey> = held.lines().iter().map(|line| line.key().clone()).collect();
    if !held_keys.contains(&signer) {
        return Err(
            Failure::new(Exit::Refused, format!("hosts do not hold `{}`", args.old.display()))
                .cause(format!(
                    "`{}` does not list {}",
                    held_path.display(),
                    signer.fingerprint()
                ))
                .hint("use the sealed key or the offline CA of that document"),
        );
    }
    let signature = sign(args, &signer, &document, environment)?;
    let fail = |error| super::document_failure(&error, &args.out);
    document.add_signature(signature, &signer).map_err(fail)?;
    let text = document.to_text().map_err(fail)?;
    // What a host will do with it, done here first.
    breakglass::accept(&text, &held_keys).map_err(fail)?;
    files::replace(&args.out, text.as_bytes())?;
    show(&document, &signer, &args.out, format)?;
    Ok(0)
}

fn read(path: &Path) -> Result<Document, Failure> {
    Document::parse(&files::read(path)?).map_err(|error| super::document_failure(&error, path))
}

/// New lines first, then, for one cycle, the old ones.
fn assemble(new: &Document, held: &Document, keep_old: bool) -> Result<Document, Failure> {
    let mut lines: Vec<Line> = new.lines().to_vec();
    let known: Vec<SubjectKey> = lines.iter().map(|line| line.key().clone()).collect();
    if keep_old {
        lines.extend(held.lines().iter().filter(|line| !known.contains(line.key())).cloned());
    }
    Document::new(lines).map_err(|error| Failure::from_error(Exit::Failed, &error))
}

/// The held document may be replaced, since its text is inside the new one's history; anything else is not ours to overwrite.
fn check_out(out: &Path, held: &Path) -> Result<(), Failure> {
    if !out.exists() {
        return Ok(());
    }
    let there = files::read(out)?;
    if *there == *files::read(held)? {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Refused,
        format!("`{}` is there already and is not the held document", out.display()),
    )
    .hint("say with -held which document hosts hold, or name a new file"))
}

fn sign(
    args: &RotateArgs,
    signer: &SubjectKey,
    document: &Document,
    environment: &Environment,
) -> Result<SshSignature, Failure> {
    let text = document.signed_text();
    let armor = if signer.kind().is_security_key() {
        sign_in_token(&args.old, &text, environment)?
    } else {
        let key = args.unlock.open(&args.old)?;
        key.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes())
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .map_err(|error| Failure::from_error(Exit::Failed, &error))?
    };
    SshSignature::from_armor(&armor).map_err(|error| Failure::from_error(Exit::Failed, &error))
}

/// ssh-keygen talks to the token, and asks for touch and PIN.
fn sign_in_token(key: &Path, text: &str, environment: &Environment) -> Result<String, Failure> {
    let io = |error: std::io::Error| Failure::from_error(Exit::Failed, &error);
    let folder = RuntimeDir::open(environment.runtime_dir())?.private_folder()?;
    let file = folder.join("document");
    std::fs::write(&file, text).map_err(io)?;
    let status = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"])
        .arg(key)
        .arg(&file)
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .map_err(|error| key_file::keygen_missing(&error))?;
    if !status.success() {
        return Err(Failure::new(Exit::Failed, "ssh-keygen did not sign")
            .hint("plug the token in, and touch it when it blinks"));
    }
    std::fs::read_to_string(folder.join("document.sig")).map_err(io)
}

fn show(document: &Document, signer: &SubjectKey, out: &Path, format: Format) -> Result<(), Failure> {
    let lines = super::line_rows(document);
    if format != Format::Table {
        let value = json!({
            "document": out.display().to_string(), "signed_by": signer.fingerprint(),
            "lines": lines.iter().map(|row| json!(row)).collect::<Vec<_>>(),
        });
        return output::document(&value, format);
    }
    output::table(super::LINE_HEAD, &lines)?;
    output::text(&format!(
        "\nSigned by {}\nWritten to {}\n",
        signer.fingerprint(),
        out.display()
    ))
}
