//! Putting data back to an older state, and what a server may then serve from: an archive unpacked or a folder that came back
//! by other means, its ledger mended from whatever newer copy is at hand, made safe, recorded, and swapped into place.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use signet_core::ledger::{Event, EventKind, Head};
use signet_core::serial::NodeId;
use signet_core::time::UnixTime;

use super::aftermath::{self, Aftermath, AftermathError};
use super::archive::{Archive, ArchiveError};
use super::swap::{self, FILES, Order};
use super::{STORE, archive};
use crate::clock::Clock;
use crate::command::chain;
use crate::config::{Config, SealConfig, SealSettings};
use crate::custody::{Custody, CustodyError, SealRow};
use crate::keyring::{Keyring, KeyringError};
use crate::ledger::bond::{self, BondError};
use crate::ledger::mend::{self, MendError, Mending, Source};
use crate::ledger::{FILE, LedgerOpenError, Reader};
use crate::revocations::Losses;
use crate::seal::shamir::{ShareSeal, ShareSet};
use crate::seal::{self, SealError, SealKind};
use crate::store::copy;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::store_check;

/// Records that are shown one by one.
const SHOWN: usize = 200;

/// The server whose data is put back.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Its data folder, which this process has locked and no server writes.
    pub data: &'a Path,
    /// Its number.
    pub node: NodeId,
    /// The files that follow its ledger.
    pub sinks: &'a [PathBuf],
    /// The time.
    pub clock: &'a Clock,
}

impl<'a> Site<'a> {
    /// The site that `config` describes.
    #[must_use]
    pub fn of(config: &'a Config, clock: &'a Clock) -> Self {
        Self {
            data: &config.data,
            node: config.node,
            sinks: &config.sinks,
            clock,
        }
    }
}

/// Files that are to take the place of those in the data folder, checked, and not in place yet.
#[derive(Debug)]
pub struct Staged {
    folder: PathBuf,
    store: Arc<dyn Store>,
    /// The newest record that the data has of its own.
    base: Head,
    /// When the backup was taken, if it was one.
    taken: Option<String>,
}

/// What was restored, and what is left to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The newest record that the data had.
    pub position: u64,
    /// When the backup was taken, if it was one.
    pub taken: Option<String>,
    /// Records after that, brought back from newer copies and sinks.
    pub recovered: u64,
    /// What was dropped.
    pub aftermath: Aftermath,
    /// Revocations that are recorded and that the store has not got; they are made again when the server opens.
    pub revocations: usize,
    /// Other changes that are recorded and that the store has not got: how many of each kind.
    pub missing: BTreeMap<String, u64>,
    /// The first of them, a line each.
    pub shown: Vec<String>,
    /// Copies and sinks that could not be read, or not to their end.
    pub unreadable: Vec<String>,
    /// Sinks that could not go on, as they are called now.
    pub sinks: Vec<PathBuf>,
    /// The folder that the old files go to.
    pub aside: PathBuf,
}

impl Staged {
    /// Unpacks an archive that `keyring` opens.
    ///
    /// # Errors
    /// [`RestoreError`]; the data folder is as before.
    pub fn unpack(site: &Site<'_>, archive: &mut Archive, keyring: &Keyring) -> Result<(Self, Keyring), RestoreError> {
        let header = archive.header().clone();
        header.is_of(site.node)?;
        let folder = swap::begin(site.data)?;
        archive.unpack(keyring, &folder, &FILES)?;
        let taken = header.time.moment().ok_or(ArchiveError::DoesNotOpen)?;
        is_past(site.clock, "backup", taken)?;
        let staged = Self::checked(site, folder, Some(header.time.to_string()))?;
        if staged.base != header.head()? {
            return Err(ArchiveError::DoesNotOpen.into());
        }
        let keyring = keyring.of_copy(Arc::clone(&staged.store)).map_err(ArchiveError::from)?;
        let rows = store_check::rows(&keyring)?;
        for finding in &rows.left_over {
            tracing::warn!("{}; {}", finding.what, finding.next);
        }
        if let Some(finding) = rows.unsound.into_iter().next() {
            return Err(RestoreError::Unsound { what: finding.what });
        }
        Ok((staged, keyring))
    }

    /// Copies what lies in the data folder, which came back by other means than a backup.
    ///
    /// # Errors
    /// [`RestoreError`]; the data folder is as before.
    pub fn copy(site: &Site<'_>) -> Result<Self, RestoreError> {
        let folder = swap::begin(site.data)?;
        let (from, to) = (|name: &str| site.data.join(name), |name: &str| folder.join(name));
        copy::pair((&from(STORE), &to(STORE)), (&from(FILE), &to(FILE)))?;
        Self::checked(site, folder, None)
    }

    fn checked(site: &Site<'_>, folder: PathBuf, taken: Option<String>) -> Result<Self, RestoreError> {
        for name in FILES {
            if let Some(fault) = copy::faults(&folder.join(name))?.into_iter().next() {
                let what = format!("`{name}` is damaged: {fault}");
                return Err(RestoreError::Unsound { what });
            }
        }
        let reader = Reader::open(&folder.join(FILE))?;
        let base = reader.head()?;
        newest_is_past(site.clock, &reader, base)?;
        let store = Arc::new(SqliteStore::open(&folder.join(STORE))?);
        Ok(Self {
            folder,
            store,
            base,
            taken,
        })
    }

    /// Its store, to open a keyring with.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Mends the ledger, makes the store safe, records it, and decides: from here on the data folder is restored, at the next
    /// start at the latest. Nobody may write the old files meanwhile.
    ///
    /// # Errors
    /// [`RestoreError`]; the data folder is as before.
    pub fn decide(
        self,
        site: &Site<'_>,
        keyring: &Keyring,
        by: impl FnOnce(Event) -> Event,
    ) -> Result<Outcome, RestoreError> {
        let now = site.clock.now();
        let ledger = self.folder.join(FILE);
        let mut mending = Mending::open(&ledger, site.node)?;
        let mut unreadable = Vec::new();
        let old = Source::Database(site.data.join(FILE));
        for source in std::iter::once(old).chain(site.sinks.iter().cloned().map(Source::Sink)) {
            // What cannot be read may be why somebody restores.
            match mending.take_from(&source) {
                Ok(_) => {}
                Err(error @ MendError::Source { .. }) => unreadable.push(chain(&error)),
                Err(error) => return Err(error.into()),
            }
        }
        newest_is_past(site.clock, &Reader::open(&ledger)?, mending.head())?;
        let recovered = mending.head().position.saturating_sub(self.base.position);
        let aftermath = aftermath::make_safe(keyring, now)?;
        let Missing { kinds, shown, revoked } = Missing::read(&ledger, self.base.position)?;
        let revoked = revoked.not_in(keyring.store().as_ref())?;
        let noted = revoked.noted(keyring).map_err(KeyringError::from);
        let noted = noted.map_err(ArchiveError::from)?;
        keyring.store().apply(vec![noted]).wait()?;
        let stamp: String = now.to_string().chars().filter(|character| *character != ':').collect();
        let mut sinks = Vec::new();
        for sink in site.sinks {
            // One that cannot be read is named above, and by the next start.
            if matches!(mend::goes_on(&ledger, sink), Ok(false)) {
                let away = swap::away(sink, &stamp).map_err(|source| RestoreError::Sink {
                    path: sink.clone(),
                    source,
                })?;
                sinks.push((sink.clone(), away));
            }
        }
        let event = Event::new(EventKind::Restore, site.clock.now_millis())
            .text("from", if self.taken.is_some() { "backup" } else { "data-folder" })
            .optional("backup_time", self.taken.as_deref())
            .number("restored_position", self.base.position)
            .number("recovered", recovered)
            .number("tokens", number(aftermath.tokens))
            .number("host_tokens", number(aftermath.host_tokens))
            .number("revocations", number(revoked.count()))
            .list("missing", kinds.keys().map(String::as_str));
        mending.record(by(event))?;
        drop(mending);
        bond::join(self.store.as_ref(), &ledger)?;
        for name in FILES {
            copy::settle(&self.folder.join(name))?;
        }
        let aside = swap::new_aside(site.data, &stamp)?;
        let outcome = Outcome {
            position: self.base.position,
            taken: self.taken,
            recovered,
            aftermath,
            revocations: revoked.count(),
            missing: kinds,
            shown,
            unreadable,
            sinks: sinks.iter().map(|(_, to)| to.clone()).collect(),
            aside: site.data.join(&aside),
        };
        swap::decide(site.data, &Order { aside, sinks })?;
        Ok(outcome)
    }
}

impl Outcome {
    /// For whoever did it: what there is now, and what is left to do.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut text = String::new();
        let mut line = |words: String| {
            text.push_str(&words);
            text.push('\n');
        };
        line(match &self.taken {
            Some(time) => format!("Restored the backup of {time}, which ends at record {}.", self.position),
            None => format!(
                "Made the data folder safe, whose ledger ended at record {}.",
                self.position
            ),
        });
        line(format!(
            "{} later record(s) came back from newer copies of the ledger; no serial is given twice.",
            self.recovered
        ));
        let Aftermath {
            tokens,
            host_tokens,
            rekey,
        } = self.aftermath;
        line(format!(
            "Dropped: {tokens} token(s), {host_tokens} one-time token(s) of hosts. Everybody logs in anew."
        ));
        if rekey {
            line("Given up: a rekey that waited for its proof.".to_owned());
        }
        if self.revocations > 0 {
            line(format!(
                "{} revocation(s) are only in the ledger: they are made again when the server opens, before it serves.",
                self.revocations
            ));
        }
        for source in &self.unreadable {
            line(format!(
                "Not read to its end, so later records may be missing: {source}"
            ));
        }
        for sink in &self.sinks {
            line(format!(
                "Moved away, as the ledger cannot go on in it: {}",
                sink.display()
            ));
        }
        line(format!(
            "The files of before lie in {}; remove them when all is well.",
            self.aside.display()
        ));
        if self.missing.is_empty() {
            line(match self.recovered {
                0 => {
                    "Nothing is known of what happened after that record. If a sink is kept elsewhere, look there for \
                      revocations (`signet-ca audit search --event revoke FILE`) and repeat them."
                        .to_owned()
                }
                _ => "None of the other records changed the store.".to_owned(),
            });
            return text;
        }
        line("Recorded, and not in the store any more; do again what still matters:".to_owned());
        self.shown.iter().for_each(|record| line(format!("  {record}")));
        let all: u64 = self.missing.values().sum();
        let left = all.saturating_sub(number(self.shown.len()));
        if left > 0 {
            line(format!("  and {left} more"));
        }
        line(
            "Their records say all of it: `signet-ca audit search --event role-write --format json DATA`, and so on."
                .to_owned(),
        );
        text
    }
}

/// Whether the clock is past the newest record of a ledger.
fn newest_is_past(clock: &Clock, reader: &Reader, head: Head) -> Result<(), RestoreError> {
    let newest = reader.after(head.position.saturating_sub(1), 1)?;
    let record: Value = newest
        .first()
        .and_then(|(_, line)| serde_json::from_str(line).ok())
        .unwrap_or_default();
    let time = record.get("time").and_then(Value::as_str).unwrap_or_default();
    UnixTime::parse_rfc3339(time).map_or(Ok(()), |then| is_past(clock, "newest record", then))
}

fn is_past(clock: &Clock, what: &'static str, then: UnixTime) -> Result<(), RestoreError> {
    let now = clock.now();
    if now < then {
        return Err(RestoreError::Clock { now, what, then });
    }
    Ok(())
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Changes of the store that the ledger tells of: they happened, and the store is older than they are.
#[derive(Debug, Default)]
struct Missing {
    kinds: BTreeMap<String, u64>,
    shown: Vec<String>,
    revoked: Losses,
}

impl Missing {
    /// Reads the records behind `base`, and all that are about revocations: one that was recorded just before a backup may not
    /// be in its store, and a store may be older than the ledger beside it.
    fn read(ledger: &Path, base: u64) -> rusqlite::Result<Self> {
        let reader = Reader::open(ledger)?;
        let (mut position, mut missing) = (0, Self::default());
        loop {
            let records = reader.after(position, 1024)?;
            let Some((last, _)) = records.last() else {
                return Ok(missing);
            };
            position = *last;
            for (position, line) in &records {
                let (revokes, newer) = (Losses::concerns(line), *position > base);
                if !revokes && !newer {
                    continue;
                }
                let record = serde_json::from_str(line).unwrap_or_default();
                if revokes {
                    missing.revoked.read(&record);
                }
                if newer {
                    missing.note(&record);
                }
            }
        }
    }

    fn note(&mut self, record: &Value) {
        const KINDS: &[EventKind] = &[
            EventKind::RoleWrite,
            EventKind::RoleDelete,
            EventKind::MountCreate,
            EventKind::MountTune,
            EventKind::MountDelete,
            EventKind::CaCreate,
            EventKind::CaDelete,
            EventKind::CaStage,
            EventKind::CaPublish,
            EventKind::CaPromote,
            EventKind::CaRetire,
            EventKind::CaRemove,
            EventKind::CaRename,
            EventKind::HostEnroll,
            EventKind::HostForget,
            EventKind::SealMigrate,
            EventKind::Rotate,
            EventKind::Rekey,
        ];
        let kind = record.get("event").and_then(Value::as_str).unwrap_or_default();
        if KINDS.iter().any(|known| known.as_str() == kind) {
            *self.kinds.entry(kind.to_owned()).or_default() += 1;
            if self.shown.len() < SHOWN {
                self.shown.push(in_words(record));
            }
        }
    }
}

/// A record on one line, without what only machines read.
fn in_words(record: &Value) -> String {
    const LEFT_OUT: &[&str] = &[
        "prev",
        "hash",
        "node",
        "time",
        "event",
        "position",
        "request_id",
        "accessor",
        "groups",
        "display_name",
        "method",
        "address",
        "definition",
    ];
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut line = format!("{} {}", text("time"), text("event"));
    for (name, value) in record.as_object().into_iter().flatten() {
        if !LEFT_OUT.contains(&name.as_str()) {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _infallible = write!(line, " {name}={}", shown.escape_debug());
        }
    }
    line
}

/// Opens the keyring of a store that lies under the seal of `row`: by the configured seal, or by the one
/// that `shares` makes of shares of the split that is named to it.
///
/// # Errors
/// [`ArchiveError::OtherSeal`] before anything is asked for, else the seal's.
pub fn open<E: From<ArchiveError>>(
    seals: &SealConfig,
    row: &SealRow,
    custody: &Custody,
    shares: impl FnOnce(ShareSet) -> Result<ShareSeal, E>,
) -> Result<Keyring, E> {
    let custody_error = |error: CustodyError| E::from(ArchiveError::from(error));
    assert_described(seals, row)?;
    if row.kind().map_err(custody_error)? != SealKind::Shamir {
        return open_configured(seals, row, custody).map_err(custody_error);
    }
    let set = row.shares().ok_or(custody_error(CustodyError::RowBroken))?;
    custody.open(row, &shares(set)?).map_err(custody_error)
}

/// Whether `[seal]` or `[seal.previous]` is of the kind that `row` is of: under another one, a server would never start.
///
/// # Errors
/// [`ArchiveError::OtherSeal`]
pub(super) fn assert_described(seals: &SealConfig, row: &SealRow) -> Result<(), ArchiveError> {
    let (found, configured) = (row.kind()?, seals.current.kind());
    let previous = seals.previous.as_ref().map(SealSettings::kind);
    if found == configured || Some(found) == previous {
        return Ok(());
    }
    Err(ArchiveError::OtherSeal { found, configured })
}

/// Opens with whichever of the configured seals is of the row's kind: a backup may be of before a migration.
///
/// # Errors
/// [`CustodyError`], the seal's where it is of the right kind.
fn open_configured(seals: &SealConfig, row: &SealRow, custody: &Custody) -> Result<Keyring, CustodyError> {
    let kind = row.kind()?;
    let mut refused = CustodyError::OtherSeal {
        found: kind,
        configured: seals.current.kind(),
    };
    for settings in [Some(&seals.current), seals.previous.as_ref()].into_iter().flatten() {
        let Some(seal) = seal::automatic(settings)?.filter(|seal| seal.kind() == kind) else {
            continue;
        };
        match custody.open(row, seal.as_ref()) {
            Err(CustodyError::Seal(error @ SealError::WrongKey { .. })) => refused = error.into(),
            opened => return opened,
        }
    }
    Err(refused)
}

/// Why nothing was restored. The data folder is as before.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// What was restored does not hold together.
    #[error("what was restored is not sound: {what}")]
    Unsound {
        /// What is wrong.
        what: String,
    },
    /// A sink that the ledger cannot go on in has to be moved away, and cannot be.
    #[error(
        "the audit sink `{}` holds records that do not go on from this ledger, and cannot be moved away: make its folder \
         writable for the server's user, or move it yourself", path.display()
    )]
    Sink {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Numbers go on from the clock where the ledger of before is lost: one that is behind would give them twice.
    #[error(
        "this machine's clock says {now}, and the {what} is of {then}: set the clock first, or serials would repeat"
    )]
    Clock {
        /// The clock's time.
        now: UnixTime,
        /// What is of later.
        what: &'static str,
        /// Its time.
        then: UnixTime,
    },
    /// The archive.
    #[error(transparent)]
    Archive(#[from] archive::ArchiveError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerOpenError),
    /// Mending the ledger.
    #[error(transparent)]
    Mend(#[from] MendError),
    /// Joining store and ledger.
    #[error(transparent)]
    Bond(#[from] BondError),
    /// Making the store safe.
    #[error(transparent)]
    Aftermath(#[from] AftermathError),
    /// A database.
    #[error("a database cannot be read or written")]
    Database(#[from] rusqlite::Error),
    /// The disk.
    #[error("the data folder cannot be read or written")]
    Disk(#[from] io::Error),
}
