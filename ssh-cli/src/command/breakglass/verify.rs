//! `signet breakglass verify`: checks keys, shares, pages and documents. It writes nothing, and what it cannot read fails.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use signet_core::breakglass::Document;
use signet_core::subject_key::SubjectKey;
use ssh_key::{Cipher, Kdf, PrivateKey};

use crate::breakglass::share::Share;
use crate::breakglass::{files, key_file, page, unlock};
use crate::config::Environment;
use crate::output::{self, Format};
use crate::report::{Exit, Failure};

/// Flags of `signet breakglass verify`.
#[derive(Debug, Args)]
#[command(
    override_usage = "signet breakglass verify [-held=DOCUMENT] <FILE>…",
    after_help = "Takes private keys, public keys, documents, shares and pages, told apart by what is in them. When enough \
                  shares of a set and an encrypted key are among them, the key is opened in memory. Exit 1 when anything is wrong."
)]
pub struct VerifyArgs {
    /// The document that hosts hold: the others must then be signed by one of its keys
    #[arg(long)]
    pub held: Option<PathBuf>,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
    /// What to check
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// One file or one set of shares, and what is to be said of it.
struct Finding {
    name: String,
    kind: &'static str,
    right: bool,
    says: String,
}

impl Finding {
    fn right(name: String, kind: &'static str, says: impl Into<String>) -> Self {
        Self {
            name,
            kind,
            right: true,
            says: says.into(),
        }
    }

    fn wrong(name: String, kind: &'static str, says: impl Into<String>) -> Self {
        Self {
            right: false,
            ..Self::right(name, kind, says)
        }
    }
}

/// What the files hold together.
#[derive(Default)]
struct Collected {
    shares: Vec<Share>,
    keys: Vec<(PathBuf, PrivateKey)>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when `-held` cannot be used. A file that is wrong is exit 1 with a line of its own.
pub fn run(args: &VerifyArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let held = args.held.as_deref().map(held_keys).transpose()?;
    let mut collected = Collected::default();
    let mut findings = Vec::new();
    for path in &args.files {
        let name = path.display().to_string();
        findings.push(match check(path, held.as_deref(), &mut collected) {
            Ok((kind, says)) => Finding::right(name, kind, says),
            Err(failure) => Finding::wrong(name, "?", one_line(&failure)),
        });
    }
    findings.extend(sets(&collected));
    show(&findings, format)?;
    let right = findings.iter().all(|finding| finding.right);
    Ok(if right { 0 } else { Exit::Failed.code() })
}

fn held_keys(path: &Path) -> Result<Vec<SubjectKey>, Failure> {
    let document = Document::parse(&files::read(path)?).map_err(|error| super::document_failure(&error, path))?;
    Ok(document.lines().iter().map(|line| line.key().clone()).collect())
}

fn check(
    path: &Path,
    held: Option<&[SubjectKey]>,
    collected: &mut Collected,
) -> Result<(&'static str, String), Failure> {
    let text = files::read(path)?;
    if text.starts_with("signet-breakglass") {
        return check_document(path, &text, held).map(|says| ("document", says));
    }
    if text.contains("-----BEGIN") && text.contains("PRIVATE KEY-----") && !text.trim_start().starts_with("<svg") {
        let key = key_file::read(path)?;
        let says = check_key(path, &key)?;
        collected.keys.push((path.to_owned(), key));
        return Ok(("private key", says));
    }
    let on_page = page::secret_of(&text);
    if on_page.is_none() && text.trim_start().starts_with("<svg") {
        return check_key_page(&text).map(|says| ("page", says));
    }
    let code = on_page.as_deref().map_or(text.trim(), String::as_str);
    if code.to_ascii_uppercase().starts_with(crate::breakglass::share::PREFIX) {
        let share = unlock::read_share(path)?;
        let says = format!("share {} of {}, set {}", share.index(), share.count(), share.set());
        collected.shares.push(share);
        return Ok((if on_page.is_some() { "page" } else { "share" }, says));
    }
    if on_page.is_some() {
        let passphrase = crate::breakglass::passphrase::Passphrase::typed(code);
        return if passphrase.is_generated() {
            Ok(("page", "a passphrase whose checksum fits".to_owned()))
        } else {
            Err(Failure::new(Exit::Failed, "the passphrase's checksum does not fit"))
        };
    }
    let key = SubjectKey::parse(text.trim())
        .map_err(|_| Failure::new(Exit::Failed, "it is no key, document, share or page of break-glass"))?;
    Ok(("public key", key.fingerprint()))
}

fn check_document(path: &Path, text: &str, held: Option<&[SubjectKey]>) -> Result<String, Failure> {
    let fail = |error| super::document_failure(&error, path);
    let document = Document::parse(text).map_err(fail)?;
    let lines: Vec<String> = document.lines().iter().map(|line| line.key().fingerprint()).collect();
    let lines = format!("{} keys ({})", lines.len(), lines.join(", "));
    if let Some(held) = held {
        let signer = document.accept(held).map_err(fail)?;
        return Ok(format!("{lines}, signed by {}, which hosts hold", signer.fingerprint()));
    }
    let blobs = document.unverified_signers();
    if blobs.is_empty() {
        return Ok(format!("{lines}, not signed: a first document, for images"));
    }
    // Only that the signature fits the key it names; whether hosts hold that key is for -held to tell.
    let blobs = blobs.iter().map(|blob| SubjectKey::from_blob(blob.to_vec()));
    let named = blobs
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    for key in &named {
        document.accept(std::slice::from_ref(key)).map_err(fail)?;
    }
    let fingerprints: Vec<String> = named.iter().map(SubjectKey::fingerprint).collect();
    Ok(format!(
        "{lines}, signed by {} (say -held to see whether hosts hold it)",
        fingerprints.join(", ")
    ))
}

fn check_key(path: &Path, key: &PrivateKey) -> Result<String, Failure> {
    let public = key_file::public(key)?;
    let pair = super::beside(path, ".pub");
    if pair.exists() {
        let line = crate::public_key_file::read(&pair)?;
        if SubjectKey::parse(&line).ok().as_ref() != Some(&public) {
            return Err(Failure::new(
                Exit::Failed,
                format!("`{}` is another key's", pair.display()),
            ));
        }
    }
    let fingerprint = public.fingerprint();
    match key.kdf() {
        Kdf::Bcrypt { rounds, .. } if key.cipher() != Cipher::None => Ok(format!(
            "{fingerprint}, encrypted ({}, {rounds} rounds){}",
            key.cipher(),
            if pair.exists() { ", its public half fits" } else { "" }
        )),
        _ if super::is_security_key(key) => Ok(format!("{fingerprint}, in a token")),
        _ => Err(Failure::new(
            Exit::Failed,
            format!("{fingerprint} is not encrypted: whoever finds the file is in"),
        )),
    }
}

/// The page of an encrypted key: what is printed must be a key.
fn check_key_page(svg: &str) -> Result<String, Failure> {
    let text = page::file_of(svg).ok_or_else(|| Failure::new(Exit::Failed, "it is no page of break-glass"))?;
    let key = PrivateKey::from_openssh(text.as_bytes())
        .map_err(|error| Failure::new(Exit::Failed, "the key on the page cannot be read").cause(error.to_string()))?;
    Ok(format!("{}, encrypted", key_file::public(&key)?.fingerprint()))
}

/// Each set of shares: enough of them open the key they belong to.
fn sets(collected: &Collected) -> Vec<Finding> {
    let mut names: Vec<String> = collected.shares.iter().map(Share::set).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|set| {
            let shares: Vec<Share> = collected
                .shares
                .iter()
                .filter(|share| share.set() == set)
                .cloned()
                .collect();
            let (right, says) = check_set(&shares, &collected.keys);
            Finding {
                name: format!("set {set}"),
                kind: "shares",
                right,
                says,
            }
        })
        .collect()
}

fn check_set(shares: &[Share], keys: &[(PathBuf, PrivateKey)]) -> (bool, String) {
    let need = shares.first().map_or(0, |share| usize::from(share.threshold()));
    if shares.len() < need {
        return (
            true,
            format!(
                "{} of the {need} that it takes are here, so nothing was opened",
                shares.len()
            ),
        );
    }
    let passphrase = match unlock::combine(shares) {
        Ok(passphrase) => passphrase,
        Err(error) => return (false, one_line(&error.into())),
    };
    if keys.is_empty() {
        return (
            true,
            "they fit together; give the encrypted key too, to see whether they open it".to_owned(),
        );
    }
    let opened = keys
        .iter()
        .find(|(path, key)| key_file::open(key, path, &passphrase).is_ok());
    match opened {
        Some((path, _)) => (true, format!("they open `{}`", path.display())),
        None => (false, "they open none of the keys here".to_owned()),
    }
}

fn one_line(failure: &Failure) -> String {
    let causes = failure.causes.iter().filter(|cause| !cause.starts_with("in `"));
    std::iter::once(&failure.what)
        .chain(causes)
        .cloned()
        .collect::<Vec<_>>()
        .join(": ")
}

fn show(findings: &[Finding], format: Format) -> Result<(), Failure> {
    if format != Format::Table {
        let list: Vec<_> = findings
            .iter()
            .map(|one| json!({ "file": one.name, "is": one.kind, "ok": one.right, "says": one.says }))
            .collect();
        return output::document(&json!(list), format);
    }
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|one| {
            let right = if one.right { "ok" } else { "WRONG" };
            vec![
                one.name.clone(),
                one.kind.to_owned(),
                right.to_owned(),
                one.says.clone(),
            ]
        })
        .collect();
    output::table(&["File", "Is", "Result", "Says"], &rows)
}
