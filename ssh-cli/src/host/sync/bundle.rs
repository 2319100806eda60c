//! The trust bundle: the one in force, the one that a cut-short run was putting in force, and the newest that is on offer.
//!
//! A new bundle is first staged beside the state, whole and verified. So a run that ends half-way is finished forwards by the
//! next one; falling back to the held bundle would give revoked certificates another day.

use std::path::PathBuf;

use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;
use signet_core::trust_bundle::{BundleError, TrustBundle, VerifiedBundle};

use super::super::apply::{ApplyError, Breakglass, apply_bundle};
use super::super::bundle_source::{BundleSource, Fetch};
use super::super::files::{self, FileError, PUBLIC};
use super::super::layout::Layout;
use super::super::state::HeldTag;
use super::{Sync, sentence};

const NOT_TAKEN_OVER: &str = "the break-glass keys in the trust bundle are not taken over";
const UNUSABLE: &str = "the trust bundle in place cannot be used";

/// A verified bundle with its text.
#[derive(Debug, Clone)]
pub struct Held {
    /// The text, as signed.
    pub text: String,
    /// What it says.
    pub verified: VerifiedBundle,
}

impl Held {
    /// What it says.
    #[must_use]
    pub const fn bundle(&self) -> &TrustBundle {
        self.verified.bundle()
    }

    /// Its version, or 0 where it is of another mount: those count for themselves.
    #[must_use]
    pub fn newest_of(&self, mount: &str) -> u64 {
        let bundle = self.bundle();
        if bundle.mount == mount { bundle.version } else { 0 }
    }
}

/// The keys that a bundle may be signed with, as this host was told. Lines that are no keys count as none.
///
/// # Errors
/// [`FileError`].
pub fn pinned_keys(layout: &Layout) -> Result<Vec<SubjectKey>, FileError> {
    let text = files::read_text(&layout.bundle_keys())?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| SubjectKey::parse(line).ok()).collect())
}

/// Verifies a bundle that is on offer.
///
/// # Errors
/// [`BundleError`]; `Foreign` also where its signer is not among the keys that it leaves the host with, for then the host
/// could not read it again. One that names no key leaves the host with those that it has.
pub fn open_new(
    text: String,
    pinned: &[SubjectKey],
    mount: &str,
    now: UnixTime,
    newest: u64,
) -> Result<Held, BundleError> {
    let verified = VerifiedBundle::open(&text, pinned, mount, now, newest)?;
    if !verified.bundle_keys().is_empty() {
        VerifiedBundle::open_held(&text, verified.bundle_keys())?;
    }
    Ok(Held { text, verified })
}

/// How far putting in force went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Force {
    /// All of it.
    Done,
    /// A file could not be written.
    Unfinished,
    /// Nothing was written: sshd could not live with it.
    Unfit,
}

impl Sync<'_> {
    fn staged(&self) -> PathBuf {
        self.layout.state_folder().join("incoming-bundle")
    }

    /// Puts in force what should be: the newer of the held and the staged bundle. Files that differ from it, by whatever
    /// hand, are written anew.
    pub(super) fn repair(&mut self) -> Option<Held> {
        let pinned = pinned_keys(self.layout).unwrap_or_else(|error| {
            self.outcome.problem(sentence(&error));
            Vec::new()
        });
        let mount = self.settings.mount.clone();
        let staged = self
            .open_file(&self.staged(), &pinned, false)
            .filter(|staged| staged.bundle().mount == mount);
        let held = self.open_file(&self.layout.bundle(), &pinned, true);
        if let Some(staged) = staged
            && held
                .as_ref()
                .is_none_or(|held| held.newest_of(&mount) <= staged.bundle().version)
            && self.put_in_force(&staged) != Force::Unfit
        {
            return Some(staged);
        }
        if let Some(held) = &held {
            self.put_in_force(held);
        }
        held
    }

    fn open_file(&mut self, path: &std::path::Path, pinned: &[SubjectKey], is_expected: bool) -> Option<Held> {
        let text = match files::read_text(path) {
            Ok(text) => text?,
            Err(error) => {
                self.outcome.problem(sentence(&error));
                return None;
            }
        };
        match VerifiedBundle::open_held(&text, pinned) {
            Ok(verified) => Some(Held { text, verified }),
            Err(error) => {
                if is_expected {
                    self.outcome.problem(format!("{UNUSABLE}: {}", sentence(&error)));
                }
                None
            }
        }
    }

    /// Writes the files that a bundle stands for, the bundle last. A failure is a problem; the next run goes on.
    fn put_in_force(&mut self, held: &Held) -> Force {
        let applied = apply_bundle(self.files, self.layout, &held.verified, &held.text, &self.settings.tags);
        match applied {
            Ok(applied) => {
                let changed = applied.changed.iter().map(|path| path.display().to_string());
                self.outcome.changed.extend(changed);
                // What an earlier bundle of this run brought is over.
                self.outcome
                    .problems
                    .retain(|problem| !problem.starts_with(NOT_TAKEN_OVER) && !problem.starts_with(UNUSABLE));
                match applied.breakglass {
                    Breakglass::Absent | Breakglass::Same | Breakglass::Replaced => {}
                    Breakglass::Refused(why) => self.outcome.problem(format!("{NOT_TAKEN_OVER}: {why}")),
                }
                self.unstage();
                Force::Done
            }
            Err(error) => {
                let version = held.bundle().version;
                let (force, what) = match error {
                    ApplyError::File(_) => (Force::Unfinished, "is not wholly in force"),
                    _ => (Force::Unfit, "is not put in force"),
                };
                self.outcome
                    .problem(format!("trust bundle {version} {what}: {}", sentence(&error)));
                if force == Force::Unfit {
                    self.unstage();
                }
                force
            }
        }
    }

    fn unstage(&mut self) {
        if let Err(error) = self.files.remove(&self.staged()) {
            self.outcome.problem(sentence(&error));
        }
    }

    /// Fetches the newest bundle and puts it in force, if it is right.
    pub(super) fn follow(&mut self, held: &mut Option<Held>) {
        let Some(source) = BundleSource::of(&self.settings) else {
            self.outcome
                .problem("host.toml names neither an address nor a bundle_url: nothing is followed");
            return;
        };
        let of_authority = self
            .settings
            .address
            .as_ref()
            .is_none_or(|address| source.is_at(address));
        let is_file = matches!(source, BundleSource::File(_));
        if !is_file && !self.may_ask() {
            let until = UnixTime::from_secs(self.state.not_before);
            self.outcome.not_reached = Some(format!(
                "after {} failures it is left alone until {until}",
                self.state.failures
            ));
            return;
        }
        let endpoint = self
            .endpoint
            .clone()
            .unwrap_or_else(|| crate::endpoint::Endpoint::plain(&source.shown()));
        let tag = self.state.etag.clone().filter(|tag| {
            let version = held.as_ref().map(|held| held.bundle().version);
            tag.source == source.shown() && version == Some(tag.version)
        });
        match source.fetch(&endpoint, tag.as_ref().map(|tag| tag.etag.as_str())) {
            Ok(Fetch::Unchanged) => self.state.reached(),
            Ok(Fetch::Text { text, etag }) => {
                if !is_file {
                    self.state.reached();
                }
                self.take(text, etag, &source, held);
            }
            // A bundle server that is away is no reason to leave the authority alone.
            Err(error) if error.is_passing() && of_authority => {
                self.not_reached(sentence(&error), error.retry_after_secs());
            }
            Err(error) => self
                .outcome
                .problem(format!("no trust bundle can be fetched: {}", sentence(&error))),
        }
    }

    fn take(&mut self, text: String, etag: Option<String>, source: &BundleSource, held: &mut Option<Held>) {
        let is_same = held.as_ref().is_some_and(|held| held.text == text);
        let mount = self.settings.mount.clone();
        let of_held = held.as_ref().map_or(0, |held| held.newest_of(&mount));
        let newest = self.state.newest_of(&mount).max(of_held);
        if !is_same {
            let pinned = pinned_keys(self.layout).unwrap_or_default();
            let new = match open_new(text, &pinned, &mount, self.now, newest) {
                Ok(new) => new,
                Err(error) => {
                    self.outcome.problem(format!(
                        "the trust bundle of `{}` is refused: {}",
                        source.shown(),
                        sentence(&error)
                    ));
                    return;
                }
            };
            if let Err(error) = self.files.put(&self.staged(), new.text.as_bytes(), PUBLIC) {
                self.outcome.problem(sentence(&error));
                return;
            }
            match self.put_in_force(&new) {
                // What was in force is in force still.
                Force::Unfit => return,
                // The disk is full: the staged bundle is what the next run finishes.
                Force::Unfinished => {
                    *held = Some(new);
                    return;
                }
                Force::Done => {}
            }
            self.state.newest_version = new.bundle().version;
            self.state.newest_mount = mount;
            *held = Some(new);
        }
        self.state.etag = etag.zip(held.as_ref()).map(|(etag, held)| HeldTag {
            etag,
            version: held.bundle().version,
            source: source.shown(),
        });
        self.save();
    }
}
