//! Sinks: files of JSON lines that follow the ledger. A sink reads what it writes from the ledger's own file, so a slow or
//! failing one loses nothing, holds nobody up, and catches up by itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use data_encoding::HEXLOWER;
use signet_core::ledger::Head;

use super::LedgerOpenError;
use super::reader::Reader;

const CHUNK: u32 = 512;
/// How long a failing sink rests before it tries again.
const REST: Duration = Duration::from_secs(1);
/// How long a sink may catch up when the server stops; the rest follows at the next start.
const LAST_WORDS: u32 = 20;
/// How much of a file's end is read to find its last record; more where a record is longer, as those of large roles are.
const TAIL_BYTES: u64 = 1 << 16;

/// How far the ledger is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    position: u64,
    /// Grows with each order to the sinks.
    orders: u64,
}

impl Progress {
    pub(super) fn advance(&self, position: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).position = position;
        self.moved.notify_all();
    }

    /// Wakes the sinks, as there is an order for them.
    fn nudge(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).orders += 1;
        self.moved.notify_all();
    }

    fn orders(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).orders
    }

    /// Waits until the ledger is past `position` or there are more orders than `seen`, but not for ever.
    fn wait(&self, position: u64, seen: u64, longest: Duration) {
        let guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut State| state.position <= position && state.orders == seen;
        drop(self.moved.wait_timeout_while(guard, longest, idle));
    }
}

/// All sinks of a ledger.
#[derive(Debug)]
pub(super) struct Sinks {
    progress: Arc<Progress>,
    orders: Arc<Orders>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Orders {
    /// Grows with each wish that files be opened again.
    generation: AtomicU64,
    closed: AtomicBool,
}

impl Sinks {
    /// Starts a thread a sink. A file that cannot be opened now is a mistake of whoever configured it; later it is not.
    pub(super) fn start(ledger: &Path, paths: &[PathBuf], newest: Head) -> Result<Self, LedgerOpenError> {
        let (progress, orders) = (Arc::new(Progress::default()), Arc::new(Orders::default()));
        let mut threads = Vec::new();
        for path in paths {
            let reader = Reader::open(ledger).map_err(|source| LedgerOpenError::Database {
                path: ledger.to_owned(),
                source,
            })?;
            let memory = memory_file(ledger, path);
            let fail = |source| LedgerOpenError::Sink {
                path: path.clone(),
                source,
            };
            let (file, place) = open(path, &memory).map_err(fail)?;
            assert_mode(&file).map_err(fail)?;
            // SECURITY: what the ledger has lost must not be written over by other records of the same positions.
            let holds = |head: Head| {
                holds(&reader, head).map_err(|source| LedgerOpenError::Database {
                    path: ledger.to_owned(),
                    source,
                })
            };
            if let Place::Written(last) = &place
                && !holds(*last)?
            {
                return Err(LedgerOpenError::RolledBack {
                    path: path.clone(),
                    theirs: last.position,
                    ours: newest.position,
                });
            }
            // A place that was only remembered may be of before the ledger was put back.
            let position = place.position().min(newest.position);
            let sink = Sink {
                path: path.clone(),
                memory,
                reader,
                file: Some(file),
                position,
                generation: 0,
                failing: false,
            };
            let (progress, orders) = (Arc::clone(&progress), Arc::clone(&orders));
            let thread = thread::Builder::new()
                .name("sink".to_owned())
                .spawn(move || sink.follow(&progress, &orders))
                .map_err(LedgerOpenError::Thread)?;
            threads.push(thread);
        }
        Ok(Self {
            progress,
            orders,
            threads: Mutex::new(threads),
        })
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    pub(super) fn reopen(&self) {
        self.orders.generation.fetch_add(1, Ordering::SeqCst);
        self.progress.nudge();
    }

    pub(super) fn close(&self) {
        self.orders.closed.store(true, Ordering::SeqCst);
        self.progress.nudge();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                tracing::error!("an audit sink had crashed; it follows again from the next start");
            }
        }
    }
}

struct Sink {
    path: PathBuf,
    /// Where the position is kept for the day the file was rotated away.
    memory: PathBuf,
    reader: Reader,
    file: Option<File>,
    position: u64,
    generation: u64,
    failing: bool,
}

impl Sink {
    fn follow(mut self, progress: &Progress, orders: &Orders) {
        let mut tries_left = LAST_WORDS;
        loop {
            let seen = progress.orders();
            let closed = orders.closed.load(Ordering::SeqCst);
            self.obey(orders);
            match self.copy_chunk() {
                Ok(0) if closed => break,
                Ok(0) => {
                    self.recovered();
                    progress.wait(self.position, seen, REST);
                }
                Ok(_) => self.recovered(),
                Err(_) if closed && tries_left == 0 => break,
                Err(error) => {
                    tries_left = if closed {
                        tries_left.saturating_sub(1)
                    } else {
                        LAST_WORDS
                    };
                    self.failed(&error);
                    thread::sleep(if closed { REST / 10 } else { REST });
                }
            }
        }
        self.remember();
    }

    fn obey(&mut self, orders: &Orders) {
        let generation = orders.generation.load(Ordering::SeqCst);
        if generation != self.generation {
            self.generation = generation;
            self.remember();
            self.file = None;
        }
    }

    /// Copies some records; how many.
    fn copy_chunk(&mut self) -> io::Result<usize> {
        let mut file = self.opened()?;
        let records = self.reader.after(self.position, CHUNK).map_err(io::Error::other)?;
        let mut text = String::with_capacity(records.iter().map(|(_, record)| record.len() + 1).sum());
        for (_, record) in &records {
            text.push_str(record);
            text.push('\n');
        }
        file.write_all(text.as_bytes())?;
        self.file = Some(file);
        self.position = records.last().map_or(self.position, |(last, _)| *last);
        Ok(records.len())
    }

    /// The file; after a failure opened anew, which cuts a half line off and finds the place again.
    fn opened(&mut self) -> io::Result<File> {
        if let Some(file) = self.file.take() {
            return Ok(file);
        }
        let (file, place) = open(&self.path, &self.memory)?;
        self.position = self.position.max(place.position());
        Ok(file)
    }

    fn failed(&mut self, error: &io::Error) {
        if !self.failing {
            tracing::error!(sink = %self.path.display(), %error, "an audit sink fails; it will catch up from the ledger");
        }
        self.failing = true;
        self.file = None;
        self.remember();
    }

    fn recovered(&mut self) {
        if self.failing {
            tracing::info!(sink = %self.path.display(), position = self.position, "the audit sink has caught up");
        }
        self.failing = false;
    }

    fn remember(&self) {
        // A lost position costs repeated lines in the sink, never missing ones.
        let write = || {
            crate::secret_file::make_private(&self.memory)?;
            std::fs::write(&self.memory, self.position.to_string())
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "the place of an audit sink cannot be kept");
        }
    }
}

/// Sees that not everybody reads who logged in where, and that nobody but the server writes it. A group may read: log
/// shippers run as others. At the start only: a running server follows whatever file it is given.
fn assert_mode(file: &File) -> io::Result<()> {
    const OTHERS_OR_GROUP_WRITES: u32 = 0o027;
    let metadata = file.metadata()?;
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_file() || mode & OTHERS_OR_GROUP_WRITES == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "it has mode {mode:04o}; run `chmod 600` on it, or `chmod 640` where a group is to read it"
    )))
}

/// How far a sink has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Its file's last record.
    Written(Head),
    /// Its file tells nothing, as it is new or no file; the position that was kept for that.
    Remembered(u64),
}

impl Place {
    pub(super) const fn position(self) -> u64 {
        match self {
            Self::Written(head) => head.position,
            Self::Remembered(position) => position,
        }
    }
}

/// Whether the ledger has exactly this record.
pub(super) fn holds(reader: &Reader, head: Head) -> rusqlite::Result<bool> {
    if head == Head::EMPTY {
        return Ok(true);
    }
    let found = reader.after(head.position.saturating_sub(1), 1)?;
    Ok(found.first().and_then(|(_, line)| Head::of_line(line)) == Some(head))
}

/// The last record that a sink's file holds; `None` where it holds none or is no file. Reads only.
pub(super) fn last_record(path: &Path) -> io::Result<Option<Head>> {
    let mut file = match File::open(path) {
        Ok(file) if file.metadata()?.is_file() => file,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (_, tail) = last_lines(&mut file)?;
    Ok(last_head(&tail))
}

fn last_head(lines: &[u8]) -> Option<Head> {
    let whole = lines.iter().rposition(|byte| *byte == b'\n')?;
    let last = lines
        .get(..whole)?
        .split(|byte| *byte == b'\n')
        .rfind(|line| !line.is_empty());
    Head::of_line(std::str::from_utf8(last?).ok()?)
}

/// Opens a sink's file for appending, cuts a half line at its end off, and tells the place of its last record.
fn open(path: &Path, memory: &Path) -> io::Result<(File, Place)> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Ok((file, Place::Remembered(remembered(memory))));
    }
    let (start, tail) = last_lines(&mut file)?;
    let whole = tail
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |index| index + 1);
    if whole < tail.len() {
        file.set_len(start + u64::try_from(whole).unwrap_or(0))?;
    }
    let head = tail.get(..whole).and_then(last_head);
    Ok((
        file,
        head.map_or_else(|| Place::Remembered(remembered(memory)), Place::Written),
    ))
}

/// The end of a file, from where it was read: at least one whole line and what stands half behind it, or all there is.
fn last_lines(file: &mut File) -> io::Result<(u64, Vec<u8>)> {
    let length = file.metadata()?.len();
    let mut wanted = TAIL_BYTES;
    loop {
        let start = length.saturating_sub(wanted);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        Read::by_ref(file).take(wanted).read_to_end(&mut tail)?;
        // The first of two line ends shows where the line before the second begins.
        if start == 0 || tail.iter().filter(|byte| **byte == b'\n').nth(1).is_some() {
            return Ok((start, tail));
        }
        wanted = wanted.saturating_mul(4);
    }
}

fn remembered(memory: &Path) -> u64 {
    std::fs::read_to_string(memory)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

fn memory_file(ledger: &Path, sink: &Path) -> PathBuf {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, sink.as_os_str().as_encoded_bytes());
    let short: Vec<u8> = hash.as_ref().iter().take(8).copied().collect();
    ledger.with_file_name(format!("sink-{}.position", HEXLOWER.encode(&short)))
}
