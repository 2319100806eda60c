//! `signet breakglass new`: makes the offline CA and the sealed key, with pages to print.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

mod pages;
mod show;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use signet_core::breakglass::{Document, Line};
use signet_core::source_address::SourceAddresses;
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;

use crate::breakglass::files;
use crate::breakglass::key_file::{self, KeyType, ROUNDS_MAX, ROUNDS_MIN};
use crate::breakglass::passphrase::Passphrase;
use crate::breakglass::share::{self, Share};
use crate::breakglass::{day, unlock};
use crate::clock;
use crate::config::Environment;
use crate::output::Format;
use crate::report::{Exit, Failure};
use crate::terminal;

/// Opening a key should cost whoever guesses about this much, and nobody else's patience.
const UNLOCK_TIME: Duration = Duration::from_secs(1);

/// Flags of `signet breakglass new`.
#[derive(Debug, Args)]
#[command(
    override_usage = "signet breakglass new -out=<FOLDER> [FLAGS]",
    after_help = "Run it on a machine without a network. Everything is new: nothing is ever overwritten. Without -shares each \
                  passphrase is on one page; with them it is written nowhere, and any -threshold of the pages give it back."
)]
pub struct NewArgs {
    /// New folder for the keys and the document
    #[arg(long)]
    pub out: PathBuf,
    /// Kind of both keys
    #[arg(long, value_enum, default_value = "ed25519")]
    pub r#type: KeyType,
    /// Kind of the offline CA key, when it differs
    #[arg(long, value_enum)]
    pub ca_type: Option<KeyType>,
    /// Split each passphrase into this many shares
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=i64::from(share::SHARES_MAX)))]
    pub shares: Option<u8>,
    /// So many shares open a key; more than half of them when left out
    #[arg(long, requires = "shares", value_parser = clap::value_parser!(u8).range(2..=i64::from(share::SHARES_MAX)))]
    pub threshold: Option<u8>,
    /// Choose the passphrases on the terminal instead of having them made
    #[arg(long)]
    pub ask: bool,
    /// Rounds of key derivation; when left out, as many as take a second here
    #[arg(long, value_parser = clap::value_parser!(u32).range(i64::from(ROUNDS_MIN)..=i64::from(ROUNDS_MAX)))]
    pub kdf_rounds: Option<u32>,
    /// Principals that certificates of the offline CA need one of
    #[arg(long, default_value = "breakglass")]
    pub principals: String,
    /// Last day of both keys on hosts, such as 2027-12-31 (in the host's own time zone)
    #[arg(long)]
    pub expires: Option<String>,
    /// Networks from which both keys open, such as 10.0.0.0/8
    #[arg(long)]
    pub from: Option<String>,
    /// Want the PIN at each use (for keys of -type=…-sk)
    #[arg(long)]
    pub verify_required: bool,
    /// New folder for the pages, such as a RAM disk or a stick of its own; OUT/pages when left out
    #[arg(long)]
    pub pages: Option<PathBuf>,
    /// Print the secrets on stdout and write no pages
    #[arg(long, conflicts_with = "pages")]
    pub print_shares: bool,
    /// table, json or yaml [env: SIGNET_FORMAT, VAULT_FORMAT]
    #[arg(long)]
    pub format: Option<String>,
}

/// One of the two keys, as it was made.
struct Made {
    role: Role,
    path: PathBuf,
    public: SubjectKey,
    secret: Secret,
    unlock_secs: Option<f64>,
}

/// What opens a key.
enum Secret {
    Passphrase(Passphrase),
    Shares(Vec<Share>),
    /// ssh-keygen asked for it, or a person chose it.
    Known,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    OfflineCa,
    SealedKey,
}

impl Role {
    const fn file(self) -> &'static str {
        match self {
            Self::OfflineCa => "breakglass_ca",
            Self::SealedKey => "breakglass_key",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::OfflineCa => "offline CA",
            Self::SealedKey => "sealed key",
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`]
pub fn run(args: &NewArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let now = clock::now();
    if args.print_shares && format != Format::Table {
        return Err(Failure::usage("-print-shares prints for people only").hint("leave -format out"));
    }
    let plan = Plan::read(args, now)?;
    files::new_folder(&args.out)?;
    let pages = args.pages.clone().unwrap_or_else(|| args.out.join("pages"));
    if !args.print_shares {
        files::new_folder(&pages)?;
    }
    let ca = plan.make(Role::OfflineCa, &args.out).inspect_err(|_| {
        // Nothing is in them yet; a second try, with the token plugged in, may use the same names.
        drop(std::fs::remove_dir(&pages));
        drop(std::fs::remove_dir(&args.out));
    })?;
    let key = plan.make(Role::SealedKey, &args.out)?;
    let document = plan.document(&ca, &key)?;
    let document_path = args.out.join("breakglass.keys");
    files::write_new(&document_path, document.as_bytes(), 0o644)?;
    let mut written = Vec::new();
    for made in [&ca, &key] {
        if args.print_shares {
            show::secret(made)?;
        } else {
            written.extend(pages::write(made, &pages, now)?);
        }
    }
    show::result(&plan, &[ca, key], &document_path, &written, format)?;
    Ok(0)
}

struct Plan<'a> {
    args: &'a NewArgs,
    now: UnixTime,
    rounds: u32,
    split: Option<(u8, u8)>,
    principals: Vec<signet_core::principal::Principal>,
    expiry_time: Option<String>,
}

impl<'a> Plan<'a> {
    fn read(args: &'a NewArgs, now: UnixTime) -> Result<Self, Failure> {
        let types = [args.r#type, args.ca_type.unwrap_or(args.r#type)];
        let in_token = types.iter().any(|kind| kind.is_security_key());
        if in_token && args.shares.is_some() {
            return Err(Failure::usage(
                "the passphrase of a key in a token is ssh-keygen's to ask, and cannot be split",
            )
            .hint("keep two tokens in two safes, or use -type=ed25519 with -shares"));
        }
        if args.verify_required && !args.r#type.is_security_key() {
            return Err(Failure::usage("-verify-required does nothing for a key in a file")
                .hint("use -type=ed25519-sk, or leave it out"));
        }
        let split = args
            .shares
            .map(|count| (args.threshold.unwrap_or(count / 2 + 1), count));
        if let Some((threshold, count)) = split
            && threshold > count
        {
            return Err(share::ShareError::Numbers { threshold, count }.into());
        }
        if let Some(from) = &args.from {
            SourceAddresses::parse(from)
                .map_err(|error| Failure::from_error(Exit::Usage, &error).hint("such as -from=10.0.0.0/8,192.0.2.7"))?;
        }
        Ok(Self {
            args,
            now,
            rounds: args.kdf_rounds.unwrap_or_else(|| key_file::rounds_for(UNLOCK_TIME)),
            split,
            principals: super::principals(&args.principals)?,
            expiry_time: args.expires.as_deref().map(|text| last_day(text, now)).transpose()?,
        })
    }

    fn kind(&self, role: Role) -> KeyType {
        match role {
            Role::OfflineCa => self.args.ca_type.unwrap_or(self.args.r#type),
            Role::SealedKey => self.args.r#type,
        }
    }

    fn make(&self, role: Role, folder: &Path) -> Result<Made, Failure> {
        let path = folder.join(role.file());
        let comment = format!("{}-{}", role.file().replace('_', "-"), day(self.now));
        let kind = self.kind(role);
        if kind.is_security_key() {
            let public = key_file::make_in_token(kind, &path, &comment, self.rounds, self.args.verify_required)?;
            return Ok(Made {
                role,
                path,
                public,
                secret: Secret::Known,
                unlock_secs: None,
            });
        }
        let passphrase = if self.args.ask {
            ask_twice(role)?
        } else {
            Passphrase::generate().map_err(|error| Failure::from_error(Exit::Failed, &error))?
        };
        let key = key_file::generate(kind == KeyType::Ecdsa, &comment)?;
        let public = key_file::public(&key)?;
        files::write_new(&path, key_file::seal(&key, &passphrase, self.rounds)?.as_bytes(), 0o600)?;
        drop(key);
        let line = format!("{} {comment}\n", public.line());
        files::write_new(&super::beside(&path, ".pub"), line.as_bytes(), 0o644)?;
        let secret = match self.split {
            Some((threshold, count)) => Secret::Shares(share::split(&passphrase.to_secret(), threshold, count)?),
            None if self.args.ask => Secret::Known,
            None => Secret::Passphrase(passphrase.clone()),
        };
        let unlock_secs = Some(prove(&path, &public, &secret, &passphrase)?);
        Ok(Made {
            role,
            path,
            public,
            secret,
            unlock_secs,
        })
    }

    fn document(&self, ca: &Made, key: &Made) -> Result<String, Failure> {
        let wrong = |error: signet_core::breakglass::LineError| Failure::from_error(Exit::Usage, &error);
        let ca_line = Line::offline_ca(ca.public.clone(), self.principals.clone()).map_err(wrong)?;
        let mut lines = Vec::new();
        for (line, made) in [(ca_line, ca), (Line::sealed_key(key.public.clone()), key)] {
            let mut line = line
                .with_comment(&format!("{} {}", made.role.file(), day(self.now)))
                .map_err(wrong)?;
            if let Some(from) = &self.args.from {
                line = line.with_from(from).map_err(wrong)?;
            }
            if let Some(time) = &self.expiry_time {
                line = line.with_expiry_time(time).map_err(wrong)?;
            }
            // On the CA line it would bind the certified keys, which need not live in a token.
            if self.args.verify_required && made.role == Role::SealedKey {
                line = line.with_verify_required().map_err(wrong)?;
            }
            lines.push(line);
        }
        let document = Document::new(lines).and_then(|document| document.to_text());
        document.map_err(|error| Failure::from_error(Exit::Failed, &error))
    }
}

/// Proves that what will be kept opens what was written, from the files and the printed text; gives the seconds it took.
fn prove(path: &Path, public: &SubjectKey, secret: &Secret, passphrase: &Passphrase) -> Result<f64, Failure> {
    let passphrase = match secret {
        Secret::Shares(shares) => {
            let printed = shares.iter().rev().map(|share| Share::parse(&share.text()));
            let need = shares.first().map_or(0, |share| usize::from(share.threshold()));
            let read = printed.take(need).collect::<Result<Vec<_>, _>>()?;
            unlock::combine(&read)?
        }
        Secret::Passphrase(kept) => Passphrase::typed(kept.expose()),
        Secret::Known => passphrase.clone(),
    };
    let sealed = key_file::read(path)?;
    let started = Instant::now();
    let opened = key_file::open(&sealed, path, &passphrase)?;
    let took = started.elapsed().as_secs_f64();
    if key_file::public(&opened)? != *public {
        return Err(
            Failure::new(Exit::Failed, format!("`{}` does not read back", path.display()))
                .hint("begin again with a new folder, on another disk"),
        );
    }
    Ok(took)
}

fn ask_twice(role: Role) -> Result<Passphrase, Failure> {
    let ask = |prompt: &str| {
        terminal::ask_secret(&format!("{prompt} for the {}: ", role.words())).map_err(|error| {
            Failure::usage("there is no terminal to ask on")
                .cause(error.to_string())
                .hint("leave -ask out to have passphrases made")
        })
    };
    let first = ask("New passphrase")?;
    let passphrase = Passphrase::chosen(&first)
        .map_err(|error| Failure::from_error(Exit::Usage, &error).hint("six or more random words do well"))?;
    if *ask("Once more, the passphrase")? != *first {
        return Err(Failure::usage("the two passphrases differ").hint("begin again with a new folder"));
    }
    Ok(passphrase)
}

/// `2027-12-31` as sshd reads it; a day that is over would lock everybody out.
fn last_day(text: &str, now: UnixTime) -> Result<String, Failure> {
    let wrong = || Failure::usage(format!("`{text}` is no day to come")).hint("write it like -expires=2027-12-31");
    let midnight = UnixTime::parse_rfc3339(&format!("{text}T00:00:00Z")).map_err(|_| wrong())?;
    if midnight <= now {
        return Err(wrong());
    }
    // sshd ends a plain day at its beginning; the last day is meant to count.
    Ok(format!("{}235959", text.replace('-', "")))
}
