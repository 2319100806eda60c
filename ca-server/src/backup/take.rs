//! Taking a backup while the server serves: two snapshots of one moment, copied aside, then written out encrypted. Blocking;
//! call it off the request threads.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use signet_core::ledger::Head;

use super::STORE;
use super::archive::{ArchiveError, Contents};
use crate::authority::Authority;
use crate::ledger::{FILE, Reader};
use crate::random;
use crate::store::StoreError;
use crate::store::copy;
use crate::store::readonly::ReadOnlyStore;

/// How the folders begin that copies lie in until they are sent.
const SCRATCH: &str = ".signet-backup-";

/// How files begin that are sent to be restored.
pub(crate) const UPLOAD: &str = ".signet-upload-";

/// A backup that is ready to be written out. Its copies are removed with it.
#[derive(Debug)]
pub struct Taken {
    contents: Contents,
    head: Head,
    _scratch: Scratch,
}

impl Taken {
    /// Copies store and ledger of a serving authority as they are now.
    ///
    /// # Errors
    /// [`TakeError`]
    pub fn of(authority: &Authority) -> Result<Self, TakeError> {
        let data = &authority.config.data;
        let scratch = Scratch::new(data)?;
        let (store, ledger) = (scratch.0.join(STORE), scratch.0.join(FILE));
        copy::pair((&data.join(STORE), &store), (&data.join(FILE), &ledger)).map_err(TakeError::Copy)?;
        let head = Reader::open(&ledger)
            .and_then(|reader| reader.head())
            .map_err(TakeError::Copy)?;
        // The copy's own rows stand in the header: a rotation of the keyring in between would not fit them.
        let opened = authority
            .keyring
            .of_copy(Arc::new(ReadOnlyStore::open(&store)?))
            .map_err(ArchiveError::from)?;
        let contents = Contents::new(
            &authority.config.name,
            authority.config.node.0,
            authority.clock.now(),
            head,
            &opened,
            &[&store, &ledger],
        )?;
        Ok(Self {
            contents,
            head,
            _scratch: scratch,
        })
    }

    /// The newest record in it.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Writes the archive out.
    ///
    /// # Errors
    /// When a copy cannot be read or `out` not be written.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        self.contents.write(out)
    }
}

/// Removes copies that a killed server left behind, and nothing else: whoever looks after the folder has copies there too.
///
/// # Errors
/// When the folder cannot be read or a copy not be removed.
pub(crate) fn tidy(data: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if is_named(&name, SCRATCH) && kind.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else if is_named(&name, UPLOAD) && kind.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether this is a name that we make up for copies or for what is sent, all of which goes at the next start.
pub(super) fn is_passing(name: &OsStr) -> bool {
    is_named(name, SCRATCH) || is_named(name, UPLOAD)
}

/// Whether `name` is `prefix` with a UUID behind it, spelled as we spell it.
fn is_named(name: &OsStr, prefix: &str) -> bool {
    let rest = name.to_str().and_then(|name| name.strip_prefix(prefix));
    rest.is_some_and(|rest| uuid::Uuid::try_parse(rest).is_ok_and(|uuid| uuid.to_string() == rest))
}

/// A folder that is removed with the value.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new(data: &Path) -> io::Result<Self> {
        let path = data.join(format!("{SCRATCH}{}", random::uuid()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the copies of a backup stay until the next start");
        }
    }
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// A database cannot be copied.
    #[error("the store and the ledger cannot be copied")]
    Copy(#[source] rusqlite::Error),
    /// The folder for the copies.
    #[error("the copies cannot be made in the data folder")]
    Scratch(#[from] io::Error),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The copy of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
