//! How a sealed key is opened: its passphrase from the terminal or a file, or k shares, typed or from files.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

use std::path::{Path, PathBuf};

use clap::Args;
use ssh_key::PrivateKey;

use super::passphrase::Passphrase;
use super::share::{self, Share, ShareError};
use super::{files, key_file, page};
use crate::report::{Exit, Failure, remark};
use crate::terminal;

/// Where the passphrase comes from; asked on the terminal when nothing is said.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Opening the key")]
pub struct UnlockArgs {
    /// File with the passphrase, mode 0600
    #[arg(long, conflicts_with_all = ["share_file", "ask_shares"])]
    pub passphrase_file: Option<PathBuf>,
    /// File with a share or a share's page, mode 0600; repeat it until enough are there
    #[arg(long)]
    pub share_file: Vec<PathBuf>,
    /// Ask for the shares on the terminal, one after the other (beside those from files)
    #[arg(long)]
    pub ask_shares: bool,
}

impl UnlockArgs {
    /// Reads and opens a private key. One that is not encrypted is taken as it is.
    ///
    /// # Errors
    /// [`Failure`]
    pub fn open(&self, path: &Path) -> Result<PrivateKey, Failure> {
        let key = key_file::read(path)?;
        if !key.is_encrypted() {
            return Ok(key);
        }
        let passphrase = self.passphrase(path)?;
        Ok(key_file::open(&key, path, &passphrase)?)
    }

    fn passphrase(&self, path: &Path) -> Result<Passphrase, Failure> {
        if let Some(file) = &self.passphrase_file {
            let text = files::read_secret(file)?;
            return Ok(Passphrase::typed(text.trim_end_matches(['\n', '\r'])));
        }
        if self.ask_shares || !self.share_file.is_empty() {
            return self.put_together();
        }
        let asked = terminal::ask_secret(&format!("Passphrase of {}: ", path.display()));
        asked.map(|text| Passphrase::typed(&text)).map_err(|error| {
            Failure::usage(format!(
                "there is no terminal to ask for the passphrase of `{}`",
                path.display()
            ))
            .cause(error.to_string())
            .hint("use -passphrase-file or -share-file")
        })
    }

    fn put_together(&self) -> Result<Passphrase, Failure> {
        let mut shares = Vec::new();
        for file in &self.share_file {
            shares.push(read_share(file)?);
        }
        if self.ask_shares {
            ask(&mut shares)?;
        }
        Ok(combine(&shares)?)
    }
}

/// The passphrase that the shares give; whether it is the right one, the key tells.
///
/// # Errors
/// [`ShareError`]
pub fn combine(shares: &[Share]) -> Result<Passphrase, ShareError> {
    let secret = share::combine(shares)?;
    Passphrase::from_secret(&secret).map_err(|_| ShareError::Combine)
}

/// Reads a file with a share, or a page with one.
///
/// # Errors
/// [`Failure`]
pub fn read_share(path: &Path) -> Result<Share, Failure> {
    let text = files::read_secret(path)?;
    let share = match page::secret_of(&text) {
        Some(text) => Share::parse(&text),
        None => Share::parse(&text),
    };
    share.map_err(|error| Failure::from(error).cause(format!("in `{}`", path.display())))
}

fn ask(shares: &mut Vec<Share>) -> Result<(), Failure> {
    loop {
        let need = shares.first().map(|share| usize::from(share.threshold()));
        if need.is_some_and(|need| shares.len() >= need) {
            return Ok(());
        }
        let of = need.map_or_else(String::new, |need| format!(" of {need}"));
        let text = terminal::ask_secret(&format!("Share {}{of}: ", shares.len() + 1)).map_err(|error| {
            Failure::usage("there is no terminal to ask for shares")
                .cause(error.to_string())
                .hint("use -share-file")
        })?;
        if text.trim().is_empty() {
            return Err(Failure::new(Exit::Failed, "no share was typed").hint("begin again"));
        }
        // Five people stand around; a slip of the fingers must not send them all back to the start.
        match Share::parse(&text) {
            Ok(share) => {
                shares.push(share);
                if let Err(error @ (ShareError::Twice(_) | ShareError::OtherSet(..))) = share::combine(shares) {
                    remark(&format!("{error}; type another"));
                    drop(shares.pop());
                }
            }
            Err(error) => remark(&format!("{}; type it again", one_line(error))),
        }
    }
}

/// What is wrong, with the group that is.
fn one_line(error: ShareError) -> String {
    let failure = Failure::from(error);
    std::iter::once(failure.what)
        .chain(failure.causes)
        .collect::<Vec<_>>()
        .join(": ")
}

impl From<ShareError> for Failure {
    fn from(error: ShareError) -> Self {
        let failure = Self::from_error(Exit::Failed, &error);
        match error {
            ShareError::Numbers { .. } => failure.hint("such as -shares=5 -threshold=3"),
            ShareError::NotAShare => failure.hint("a share begins with SGS1-"),
            ShareError::Mistyped(_) | ShareError::Checksum => failure.hint("compare it with the page, group by group"),
            ShareError::Version(_) => failure.hint("use the signet that made it, or a newer one"),
            ShareError::OtherSet(..) => {
                failure.hint("the offline CA and the sealed key have shares of their own; the page names the set")
            }
            ShareError::Twice(_) => failure.hint("each share counts once"),
            ShareError::TooFew { .. } => failure.hint("ask the next custodian"),
            ShareError::Combine => failure.hint("one of the shares is not what was printed, or of another key"),
        }
    }
}
