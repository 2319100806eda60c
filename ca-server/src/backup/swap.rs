//! Puts restored files in the place of those in the data folder. What is decided lies in a file first; from then on whoever is
//! killed finishes at the next start, before then nothing has happened. The old files are kept aside.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{STORE, take};
use crate::ledger::FILE;

/// No name that somebody would give a folder: what is in it and not decided is dropped.
const STAGING: &str = ".signet-restore";
const READY: &str = "ready";
/// How the names begin that old files get.
const ASIDE: &str = "before-restore-";
/// The files of a data folder that are put back.
pub(super) const FILES: [&str; 2] = [STORE, FILE];
/// What SQLite keeps beside each.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The folder within the data folder that the old files go to.
    pub aside: String,
    /// Sinks that cannot go on, and what they are called from now on.
    pub sinks: Vec<(PathBuf, PathBuf)>,
}

/// An empty folder to make the new files in. What an earlier restore left there is finished or dropped.
///
/// # Errors
/// The disk's.
pub fn begin(data: &Path) -> io::Result<PathBuf> {
    finish(data)?;
    let staging = data.join(STAGING);
    DirBuilder::new().mode(0o700).create(&staging)?;
    Ok(staging)
}

/// Makes a folder within `data` for the old files, a new one each time: what an earlier restore put aside stays. Its name.
///
/// # Errors
/// The disk's.
pub(super) fn new_aside(data: &Path, stamp: &str) -> io::Result<String> {
    let plain = format!("{ASIDE}{stamp}");
    let numbered = (2_u32..).map(|number| format!("{plain}-{number}"));
    for name in std::iter::once(plain.clone()).chain(numbered) {
        match DirBuilder::new().mode(0o700).create(data.join(&name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| name),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// What a sink is called when it has been moved away: a name beside it that is free, and where a file can be made.
///
/// # Errors
/// When none can: decided all the same, the server would not start on it.
pub(super) fn away(sink: &Path, stamp: &str) -> io::Result<PathBuf> {
    let beside = |suffix: &str| {
        let mut name = sink.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{ASIDE}{stamp}{suffix}"));
        sink.with_file_name(name)
    };
    let numbered = (2_u32..).map(|number| format!("-{number}"));
    for suffix in std::iter::once(String::new()).chain(numbered) {
        let path = beside(&suffix);
        match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(_) => return fs::remove_file(&path).map(|()| path),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Decides: the files in the staging folder are whole. [`finish`] puts them in place, now or at the next start.
///
/// # Errors
/// The disk's; nothing is decided then.
pub fn decide(data: &Path, order: &Order) -> io::Result<()> {
    let staging = data.join(STAGING);
    for name in FILES {
        File::open(staging.join(name))?.sync_all()?;
    }
    let (draft, ready) = (staging.join("draft"), staging.join(READY));
    let mut file = File::create(&draft)?;
    // A struct of texts always has a JSON form.
    file.write_all(&serde_json::to_vec(order).unwrap_or_default())?;
    file.sync_all()?;
    sync(&staging)?;
    fs::rename(&draft, &ready)?;
    sync(&staging)?;
    sync(data)
}

/// Whether `file` lies in a folder of our work within `data`, which it would go with before it is restored.
#[must_use]
pub fn is_in_our_work(data: &Path, file: &Path) -> bool {
    // What is not there is in nobody's way.
    let (Ok(data), Ok(file)) = (data.canonicalize(), file.canonicalize()) else {
        return false;
    };
    let inside = file.strip_prefix(data).ok();
    let first = inside.and_then(|inside| inside.components().next());
    first.is_some_and(|first| first.as_os_str() == STAGING || take::is_passing(first.as_os_str()))
}

/// Whether a restore is decided and not finished.
#[must_use]
pub fn is_decided(data: &Path) -> bool {
    data.join(STAGING).join(READY).exists()
}

/// Finishes what was decided; drops what was not. Where the old files are, if there was something to do.
///
/// # Errors
/// The disk's; it goes on at the next call.
pub fn finish(data: &Path) -> io::Result<Option<PathBuf>> {
    finish_in_steps(data, || Ok(()))
}

/// As [`finish`], asking before each step that cannot be seen half done.
pub(super) fn finish_in_steps(data: &Path, mut step: impl FnMut() -> io::Result<()>) -> io::Result<Option<PathBuf>> {
    let staging = data.join(STAGING);
    let order = match fs::read(staging.join(READY)) {
        Ok(json) => serde_json::from_slice::<Order>(&json).map_err(io::Error::other)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            remove_if_there(&staging)?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let aside = data.join(&order.aside);
    match DirBuilder::new().mode(0o700).create(&aside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    for name in FILES {
        let new = staging.join(name);
        // INVARIANT: as long as the new file lies here, what lies in the data folder is the old one with its log, whole or in
        // part. Both go before the new one comes: an old log beside a new file would be played into it.
        if !new.exists() {
            continue;
        }
        for ending in BESIDE {
            let old = format!("{name}{ending}");
            if data.join(&old).exists() {
                step()?;
                fs::rename(data.join(&old), aside.join(&old))?;
            }
        }
        sync(data)?;
        step()?;
        fs::rename(&new, data.join(name))?;
        sync(data)?;
    }
    for (from, to) in &order.sinks {
        if from.exists() && !to.exists() {
            step()?;
            // The data is in place, and waiting would not make that folder writable: the server itself says what it
            // thinks of the sink.
            if let Err(error) = fs::rename(from, to) {
                tracing::warn!(%error, sink = %from.display(), "a sink that cannot go on cannot be moved away: move it yourself");
            }
        }
    }
    sync(&aside)?;
    step()?;
    fs::remove_file(staging.join(READY))?;
    sync(&staging)?;
    step()?;
    remove_if_there(&staging)?;
    sync(data)?;
    Ok(Some(aside))
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
