//! The archive's format. Two lines in the clear: what it is, and a JSON header with the seal's row and the keyring, which are
//! public or encrypted already. Then an age file for a key of its own, which lies in the header under the keyring. Then a
//! line with the SHA-256 of all before, by which anybody can tell a whole archive from a damaged one.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use signet_core::ledger::{ChainHash, Head};
use signet_core::serial::NodeId;
use signet_core::time::UnixTime;

use crate::custody::{Custody, CustodyError, SealRow};
use crate::keyring::{Keyring, KeyringError};
use crate::random::RandomFailed;
use crate::seal::SealKind;
use crate::store::{Change, Receipt, Store, StoreError, Table};

const MAGIC: &str = "signet backup 1\n";
const FAMILY: &str = "signet backup ";
const END: &str = "\nsignet backup end ";
/// `END`, 64 hex digits, and the line's end.
const TRAILER_BYTES: u64 = 84;
/// A keyring grows by some hundred bytes a term.
const HEADER_BYTES_MAX: u64 = 4 << 20;
/// What is bound into the archive's own key: no other sealed value can stand in for it.
const IDENTITY_PLACE: &str = "backup/identity";
const CHUNK: usize = 1 << 16;

/// What stands in front, in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The authority's name.
    pub name: String,
    /// The node that wrote it.
    pub node: u16,
    /// When it was taken.
    pub time: UnixTimeText,
    /// The newest record in it.
    pub position: u64,
    /// That record's hash.
    pub hash: String,
    /// The seal's row, base64.
    seal: String,
    /// The keyring, under the root key, base64.
    keyring: String,
    /// The archive's own key, under the keyring, base64.
    identity: String,
}

/// A time as RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTimeText(String);

impl UnixTimeText {
    /// The time, where it is one.
    #[must_use]
    pub fn moment(&self) -> Option<UnixTime> {
        UnixTime::parse_rfc3339(&self.0).ok()
    }
}

impl fmt::Display for UnixTimeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // From a file that anybody may have written.
        for character in self.0.chars().filter(char::is_ascii_graphic) {
            write!(f, "{character}")?;
        }
        Ok(())
    }
}

/// The first line within the encryption.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// SHA-256 of the header's line: a header that was put before another archive does not open it.
    header: String,
    files: Vec<Packed>,
}

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Packed {
    name: String,
    bytes: u64,
    sha256: String,
}

/// What is about to be written as an archive.
pub struct Contents {
    header: String,
    recipient: age::x25519::Recipient,
    files: Vec<(Packed, PathBuf)>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contents({:?})", self.files)
    }
}

impl Contents {
    /// Prepares an archive of `files`, of the store that `keyring` opens, under whatever seal its row names.
    ///
    /// # Errors
    /// [`ArchiveError`]
    pub fn new(
        name: &str,
        node: u16,
        time: UnixTime,
        head: Head,
        keyring: &Keyring,
        files: &[&Path],
    ) -> Result<Self, ArchiveError> {
        let identity = age::x25519::Identity::generate();
        let row = |key: &str| -> Result<String, ArchiveError> {
            let rows = keyring.store().scan(Table::Settings)?;
            let found = rows.iter().find(|(name, _)| name == key);
            found
                .map(|(_, value)| STANDARD.encode(value))
                .ok_or(ArchiveError::Custody(CustodyError::Uninitialised))
        };
        let sealed = keyring.seal_outside(IDENTITY_PLACE, identity.to_string().expose_secret().as_bytes());
        let header = Header {
            name: name.to_owned(),
            node,
            time: UnixTimeText(time.to_string()),
            position: head.position,
            hash: head.hash.to_string(),
            seal: row(SEAL)?,
            keyring: row(KEYRING)?,
            identity: STANDARD.encode(sealed.map_err(KeyringError::from)?),
        };
        Ok(Self {
            // A struct of texts and numbers always has a JSON form.
            header: serde_json::to_string(&header).unwrap_or_default() + "\n",
            recipient: identity.to_public(),
            files: files.iter().map(|path| pack(path)).collect::<io::Result<_>>()?,
        })
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// When a file cannot be read or `out` not be written.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut out = Hashing::new(out);
        out.write_all(MAGIC.as_bytes())?;
        out.write_all(self.header.as_bytes())?;
        // SECURITY: age does not say who encrypted. Here it is whoever knows the archive's own key, since the recipient is
        // made from that, and stands nowhere.
        let recipients = std::iter::once(&self.recipient).map(|recipient| -> &dyn age::Recipient { recipient });
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        let mut inner = encryptor.wrap_output(&mut out)?;
        let manifest = Manifest {
            header: hex_of(&[self.header.as_bytes()]),
            files: self.files.iter().map(|(packed, _)| packed.clone()).collect(),
        };
        inner.write_all((serde_json::to_string(&manifest).unwrap_or_default() + "\n").as_bytes())?;
        for (packed, path) in &self.files {
            let copied = io::copy(&mut File::open(path)?.take(packed.bytes), &mut inner)?;
            if copied != packed.bytes {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
        inner.finish()?;
        let (mut out, hash) = out.finish();
        out.write_all(format!("{END}{hash}\n").as_bytes())?;
        out.flush()
    }
}

/// The rows of [`Table::Settings`] that open a store.
const SEAL: &str = "seal";
const KEYRING: &str = "keyring";

fn pack(path: &Path) -> io::Result<(Packed, PathBuf)> {
    let mut hashing = Hashing::new(io::sink());
    let bytes = io::copy(&mut File::open(path)?, &mut hashing)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sha256 = hashing.finish().1;
    Ok((Packed { name, bytes, sha256 }, path.to_owned()))
}

/// An archive whose bytes are whole. Whether they are what a server of ours wrote is known when it is unpacked.
#[derive(Debug)]
pub struct Archive {
    file: File,
    header: Header,
    header_hash: String,
    begin: u64,
    end: u64,
}

impl Archive {
    /// Opens a file and reads it once from end to end. Nothing secret is used yet.
    ///
    /// # Errors
    /// [`ArchiveError::NotABackup`], [`ArchiveError::Newer`], [`ArchiveError::Truncated`], [`ArchiveError::Altered`].
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(CHUNK, file);
        let (line, header) = read_header(&mut reader)?;
        let begin = reader.stream_position()?;
        let end = length.checked_sub(TRAILER_BYTES).filter(|end| *end >= begin);
        let end = end.ok_or(ArchiveError::Truncated)?;
        reader.seek(SeekFrom::Start(0))?;
        let mut hashing = Hashing::new(io::sink());
        io::copy(&mut Read::by_ref(&mut reader).take(end), &mut hashing)?;
        let hash = hashing.finish().1;
        let mut trailer = String::new();
        reader
            .take(TRAILER_BYTES)
            .read_to_string(&mut trailer)
            .map_err(|_| ArchiveError::Truncated)?;
        let noted = trailer.strip_prefix(END).and_then(|rest| rest.strip_suffix('\n'));
        if noted.ok_or(ArchiveError::Truncated)? != hash {
            return Err(ArchiveError::Altered);
        }
        Ok(Self {
            file: File::open(path)?,
            header,
            header_hash: hex_of(&[line.as_bytes()]),
            begin,
            end,
        })
    }

    /// What it says of itself.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Decrypts the files into the folder `into`, each made new and on the disk when this returns.
    ///
    /// # Errors
    /// [`ArchiveError::DoesNotOpen`] when anything in it is not as it was written.
    pub fn unpack(&mut self, keyring: &Keyring, into: &Path, names: &[&str]) -> Result<(), ArchiveError> {
        let identity = self.header.identity(keyring)?;
        self.file.seek(SeekFrom::Start(self.begin))?;
        let payload = Read::by_ref(&mut self.file).take(self.end - self.begin);
        let decryptor = age::Decryptor::new(BufReader::with_capacity(CHUNK, payload)).map_err(does_not_open)?;
        let identities = std::iter::once(&identity).map(|identity| -> &dyn age::Identity { identity });
        let mut inner = BufReader::with_capacity(CHUNK, decryptor.decrypt(identities).map_err(does_not_open)?);
        let mut line = String::new();
        let limited = Read::by_ref(&mut inner).take(HEADER_BYTES_MAX).read_line(&mut line);
        limited.map_err(does_not_open)?;
        let manifest: Manifest = serde_json::from_str(&line).map_err(does_not_open)?;
        let found: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
        if manifest.header != self.header_hash || found != names {
            return Err(ArchiveError::DoesNotOpen);
        }
        for packed in &manifest.files {
            let out = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(into.join(&packed.name))?;
            let mut out = Hashing::new(out);
            pour(&mut Read::by_ref(&mut inner).take(packed.bytes), &mut out)?;
            let (out, hash) = out.finish();
            out.sync_all()?;
            if hash != packed.sha256 {
                return Err(ArchiveError::DoesNotOpen);
            }
        }
        // The last chunk is marked as such: only who reads to the end knows that nothing was cut off.
        match inner.read(&mut [0; 1]) {
            Ok(0) => Ok(()),
            Ok(_) | Err(_) => Err(ArchiveError::DoesNotOpen),
        }
    }
}

/// Copies, telling an archive that does not open from a disk that is full.
fn pour(from: &mut impl Read, to: &mut impl Write) -> Result<(), ArchiveError> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = from.read(&mut chunk).map_err(does_not_open)?;
        match chunk.get(..count) {
            None | Some([]) => return Ok(()),
            Some(bytes) => to.write_all(bytes)?,
        }
    }
}

impl Header {
    /// Reads the two lines in front.
    ///
    /// # Errors
    /// [`ArchiveError::NotABackup`], [`ArchiveError::Newer`], [`ArchiveError::Truncated`], [`ArchiveError::Altered`].
    pub fn read(reader: &mut impl BufRead) -> Result<Self, ArchiveError> {
        read_header(reader).map(|(_, header)| header)
    }

    /// Whether it is of this node: another's serials would repeat.
    ///
    /// # Errors
    /// [`ArchiveError::OtherNode`]
    pub fn is_of(&self, node: NodeId) -> Result<(), ArchiveError> {
        if self.node == node.0 {
            return Ok(());
        }
        Err(ArchiveError::OtherNode {
            found: NodeId(self.node),
            configured: node,
        })
    }

    /// The seal that the archive is under.
    ///
    /// # Errors
    /// [`CustodyError::RowBroken`]
    pub fn seal(&self) -> Result<SealRow, ArchiveError> {
        Ok(Custody::new(self.rows()?).row()?)
    }

    /// The two rows, as a store that nothing can be written into.
    ///
    /// # Errors
    /// [`ArchiveError::Altered`]
    pub fn rows(&self) -> Result<Arc<dyn Store>, ArchiveError> {
        let decoded = |text: &str| STANDARD.decode(text).map_err(|_| ArchiveError::Altered);
        Ok(Arc::new(Rows(vec![
            (KEYRING.to_owned(), decoded(&self.keyring)?),
            (SEAL.to_owned(), decoded(&self.seal)?),
        ])))
    }

    /// The newest record in it.
    ///
    /// # Errors
    /// [`ArchiveError::Altered`]
    pub fn head(&self) -> Result<Head, ArchiveError> {
        let hash = ChainHash::parse(&self.hash).ok_or(ArchiveError::Altered)?;
        let position = self.position;
        Ok(Head { position, hash })
    }

    fn identity(&self, keyring: &Keyring) -> Result<age::x25519::Identity, ArchiveError> {
        let sealed = STANDARD.decode(&self.identity).map_err(|_| ArchiveError::Altered)?;
        let text = keyring.unseal_outside(IDENTITY_PLACE, &sealed).map_err(does_not_open)?;
        let text = std::str::from_utf8(&text).map_err(does_not_open)?;
        age::x25519::Identity::from_str(text).map_err(|_| ArchiveError::DoesNotOpen)
    }
}

fn read_header(reader: &mut impl BufRead) -> Result<(String, Header), ArchiveError> {
    let mut line = |limit: u64| -> Result<String, ArchiveError> {
        let mut bytes = Vec::new();
        Read::by_ref(reader).take(limit).read_until(b'\n', &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| ArchiveError::Altered)
    };
    let magic = line(64).map_err(|error| match error {
        ArchiveError::Altered => ArchiveError::NotABackup,
        other => other,
    })?;
    if magic != MAGIC {
        let version = magic.strip_prefix(FAMILY).map(str::trim);
        let newer = version.filter(|version| version.parse::<u32>().is_ok_and(|version| version > 1));
        return Err(match newer {
            Some(version) => ArchiveError::Newer {
                version: version.to_owned(),
            },
            None if MAGIC.starts_with(&magic) => ArchiveError::Truncated,
            None => ArchiveError::NotABackup,
        });
    }
    let line = line(HEADER_BYTES_MAX)?;
    if !line.ends_with('\n') {
        return Err(ArchiveError::Truncated);
    }
    let header = serde_json::from_str(&line).map_err(|_| ArchiveError::Altered)?;
    Ok((line, header))
}

fn does_not_open<E>(_: E) -> ArchiveError {
    ArchiveError::DoesNotOpen
}

fn hex_of(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    HEXLOWER.encode(context.finish().as_ref())
}

/// Hashes what passes.
struct Hashing<W> {
    inner: W,
    context: Context,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        let context = Context::new(&SHA256);
        Self { inner, context }
    }

    fn finish(self) -> (W, String) {
        (self.inner, HEXLOWER.encode(self.context.finish().as_ref()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.context.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A few rows of [`Table::Settings`].
#[derive(Debug)]
struct Rows(Vec<(String, Vec<u8>)>);

impl Store for Rows {
    fn apply(&self, _: Vec<Change>) -> Receipt {
        let (done, receipt) = Receipt::new();
        drop(done.send(Err(StoreError::Gone)));
        receipt
    }

    fn scan(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(if table == Table::Settings {
            self.0.clone()
        } else {
            Vec::new()
        })
    }
}

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It does not begin like one.
    #[error("this is no backup of signet")]
    NotABackup,
    /// A newer program wrote it.
    #[error(
        "the backup has format {version}, this program knows format 1: use the program that wrote it, or a newer one"
    )]
    Newer {
        /// The format's number.
        version: String,
    },
    /// Its end is missing.
    #[error("the backup is cut off: its end is missing; use another copy")]
    Truncated,
    /// Its bytes are not those that were written.
    #[error("the backup is damaged: its bytes do not give the SHA-256 at its end; use another copy")]
    Altered,
    /// The seal opened, and what is inside is not what was written. Which part it is, is told to nobody.
    #[error("the backup does not open: somebody altered it, or put parts of several together; use another copy")]
    DoesNotOpen,
    /// Another node's.
    #[error("the backup is of node {found}, `signet.toml` says node {configured}: serials would repeat")]
    OtherNode {
        /// The backup's.
        found: NodeId,
        /// Ours.
        configured: NodeId,
    },
    /// It is under a seal that the configuration does not describe.
    #[error(
        "the data is under a {} seal, [seal] says {}, and no server would start on it: put `type = \"{}\"` into [seal] of \
         `signet.toml`, or describe that seal in [seal.previous] to migrate",
        found.as_str(), configured.as_str(), found.as_str()
    )]
    OtherSeal {
        /// The backup's.
        found: SealKind,
        /// The configured one.
        configured: SealKind,
    },
    /// The file.
    #[error("the backup cannot be read or written")]
    File(#[from] io::Error),
    /// The seal.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
}
