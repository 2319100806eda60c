//! `signet-ca store`: what is done to a data folder while no server runs on it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use signet_core::ledger::Event;

use crate::authority::prepare_data;
use crate::backup::archive::Archive;
use crate::backup::restore::{self, Outcome, Site, Staged};
use crate::backup::{STORE, swap};
use crate::clock::Clock;
use crate::config::Config;
use crate::custody::{Custody, CustodyError, SealRow};
use crate::keyring::Keyring;
use crate::ledger::FILE;
use crate::mounts::Mounts;
use crate::seal::shamir::{Share, ShareSeal, ShareSet};
use crate::signer::KeySources;
use crate::store::Store as Tables;
use crate::store::readonly::ReadOnlyStore;
use crate::store_check::{self, Finding, Rows};
use crate::{command, hardening, secret_file, terminal};

/// Looks after a data folder.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Checks the databases, the chain, every sealed value, and whether all of it is of one time; exit code 1 when something is wrong
    Check(Check),
    /// Puts a backup in the place of what the data folder holds, which is kept aside
    Restore(Restore),
    /// Makes a data folder safe that came back by other means: a snapshot of the disk, a copy
    Restored(Restored),
}

/// The server that it is about, and how its seal opens.
#[derive(Debug, Args)]
struct Place {
    /// The configuration file
    #[arg(long, default_value = "signet.toml")]
    config: PathBuf,
    /// A file (0600) with a key share, for a shamir seal; may be repeated. Without enough of them they are asked for
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
}

/// Checks a data folder.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    place: Place,
    /// Leaves out what the seal has to be opened for
    #[arg(long)]
    sealed: bool,
}

/// Restores a backup.
#[derive(Debug, Args)]
pub struct Restore {
    #[command(flatten)]
    place: Place,
    /// The backup
    file: PathBuf,
}

/// Makes a folder safe.
#[derive(Debug, Args)]
pub struct Restored {
    #[command(flatten)]
    place: Place,
}

impl Store {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        // Keys of the seal come into this memory as into a server's.
        hardening::lock_and_report();
        match self {
            Self::Check(verb) => verb.run(),
            Self::Restore(verb) => verb.run(),
            Self::Restored(verb) => verb.run(),
        }
    }
}

impl Check {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Some(config) = self.place.config() else {
            return Ok(ExitCode::FAILURE);
        };
        let mut findings = Vec::new();
        if swap::is_decided(&config.data) {
            findings.push(Finding {
                what: "a restore is decided and not finished".to_owned(),
                next: "start the server, which finishes it",
            });
        }
        findings.extend(store_check::files(&config));
        if !self.sealed {
            findings.extend(self.behind_the_seal(&config).unwrap_or_else(|error| {
                vec![Finding {
                    what: command::chain(error.as_ref()),
                    next: "mend that first; `--sealed` leaves out what the seal has to be opened for",
                }]
            }));
        }
        let mut out = std::io::stdout().lock();
        for Finding { what, next } in &findings {
            writeln!(out, "{what}\n  next: {next}")?;
        }
        if findings.is_empty() {
            writeln!(out, "{}: sound", config.data.display())?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(out, "{}: {} finding(s)", config.data.display(), findings.len())?;
        Ok(ExitCode::FAILURE)
    }

    fn behind_the_seal(&self, config: &Config) -> anyhow::Result<Vec<Finding>> {
        let store: Arc<dyn Tables> = Arc::new(ReadOnlyStore::open(&config.data.join(STORE))?);
        let times = store_check::times(store.as_ref(), &config.data.join(FILE))?;
        let row = match Custody::new(Arc::clone(&store)).row() {
            Err(CustodyError::Uninitialised) => return Ok(times.into_iter().collect()),
            row => row?,
        };
        let keyring = Arc::new(self.place.open(config, &row, store)?);
        let Rows { unsound, left_over } = store_check::rows(&keyring)?;
        let mut findings = [unsound, left_over].concat();
        findings.extend(times);
        match Mounts::open(keyring, &KeySources::of(config)) {
            Ok(mounts) => {
                let mounts = mounts.list();
                let issuers = mounts.iter().flat_map(|mount| mount.issuers());
                let keys: BTreeSet<String> = issuers.map(|issuer| issuer.fingerprint()).collect();
                findings.extend(store_check::agreement(&keys, &config.data.join(FILE))?);
            }
            Err(error) => findings.push(Finding {
                what: command::chain(&error),
                next: "restore the newest backup that is sound",
            }),
        }
        Ok(findings)
    }
}

impl Restore {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Some(config) = self.place.config() else {
            return Ok(ExitCode::FAILURE);
        };
        let shown = || format!("`{}` cannot be restored", self.file.display());
        anyhow::ensure!(
            !swap::is_in_our_work(&config.data, &self.file),
            "`{}` lies where a restore does its own work, and would be removed by it: move the backup elsewhere first",
            self.file.display()
        );
        let mut archive = Archive::open(&self.file).with_context(shown)?;
        must_own(&config.data)?;
        let _lock = prepare_data(&config.data)?;
        let row = archive.header().seal().with_context(shown)?;
        let keyring = self
            .place
            .open(&config, &row, archive.header().rows()?)
            .with_context(shown)?;
        let clock = Clock::system();
        let site = Site::of(&config, &clock);
        let (staged, keyring) = Staged::unpack(&site, &mut archive, &keyring).with_context(shown)?;
        let outcome = staged.decide(&site, &keyring, by("signet-ca store restore"))?;
        put_in_place(&config, &outcome)
    }
}

impl Restored {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Some(config) = self.place.config() else {
            return Ok(ExitCode::FAILURE);
        };
        must_own(&config.data)?;
        let _lock = prepare_data(&config.data)?;
        let clock = Clock::system();
        let site = Site::of(&config, &clock);
        let staged = Staged::copy(&site)?;
        let row = Custody::new(Arc::clone(staged.store())).row()?;
        let keyring = self.place.open(&config, &row, Arc::clone(staged.store()))?;
        let outcome = staged.decide(&site, &keyring, by("signet-ca store restored"))?;
        put_in_place(&config, &outcome)
    }
}

/// What another user makes, the server could not read.
fn must_own(data: &Path) -> anyhow::Result<()> {
    let Ok(metadata) = std::fs::metadata(data) else {
        return Ok(());
    };
    let (owner, we) = (metadata.uid(), rustix::process::geteuid().as_raw());
    anyhow::ensure!(
        owner == we,
        "the data folder `{}` belongs to user {owner}, whom the server runs as: run this as that user (`sudo -u '#{owner}' …`)",
        data.display()
    );
    Ok(())
}

fn by(command: &'static str) -> impl FnOnce(Event) -> Event {
    move |event| event.text("by", command)
}

fn put_in_place(config: &Config, outcome: &Outcome) -> anyhow::Result<ExitCode> {
    swap::finish(&config.data)
        .context("the restore is decided and not finished: start the server, which finishes it")?;
    std::io::stdout().lock().write_all(outcome.in_words().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl Place {
    /// What `signet.toml` says; mistakes are printed.
    fn config(&self) -> Option<Config> {
        Config::from_file(&self.config)
            .inspect_err(|mistakes| command::print_mistakes(mistakes))
            .ok()
    }

    /// Opens the keyring of `store`, which lies under the seal of `row`.
    fn open(&self, config: &Config, row: &SealRow, store: Arc<dyn Tables>) -> anyhow::Result<Keyring> {
        restore::open(&config.seal, row, &Custody::new(store), |set| {
            Ok(ShareSeal::from_shares(&self.shares(set)?)?)
        })
    }

    /// As many shares as are needed: from files first, then as they are typed.
    fn shares(&self, set: ShareSet) -> anyhow::Result<Vec<Share>> {
        let mut shares: Vec<Share> = Vec::new();
        for path in &self.share_file {
            let text = secret_file::read(path)?;
            let shown = || format!("`{}`", path.display());
            take_in(&mut shares, set, text.trim()).with_context(shown)?;
        }
        while shares.len() < usize::from(set.t) {
            let prompt = format!("Key share {} of {} (will be hidden)", shares.len() + 1, set.t);
            let text = terminal::ask(&prompt)
                .context("there is no terminal to ask for key shares on: give each as --share-file")?;
            if let Err(error) = take_in(&mut shares, set, &text) {
                writeln!(std::io::stderr(), "{error}")?;
            }
        }
        shares.truncate(usize::from(set.t));
        Ok(shares)
    }
}

fn take_in(shares: &mut Vec<Share>, set: ShareSet, text: &str) -> anyhow::Result<()> {
    let share = Share::parse(text)?;
    set.admit(&share)?;
    anyhow::ensure!(
        shares.iter().all(|other| other.index() != share.index()),
        "this key share was given already"
    );
    shares.push(share);
    Ok(())
}
