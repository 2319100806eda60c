//! The log as a file: `/var/log/auth.log`, `/var/log/secure`. A rotated file is read to its end before the new one.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use signet_core::time::UnixTime;

use super::{FIRST_LOOK_SECS, LINE_BYTES_MAX, LogError, Position, Reading, accepted};

/// More than this is not read at once; the rest comes with the next reading.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads from where the last reading ended. `offset` tells how far local time is from UTC, in seconds: the traditional
/// time stamp names no zone.
///
/// # Errors
/// [`LogError::File`].
pub fn read(
    path: &Path,
    position: &Position,
    now: UnixTime,
    offset: impl Fn() -> i64,
    logins_max: usize,
) -> Result<Reading, LogError> {
    let wrong = |source| LogError::File {
        path: path.display().to_string(),
        source,
    };
    let mut times = Times {
        now,
        offset: None,
        ask: &offset,
    };
    let mut reading = Reading::default();
    let current = std::fs::metadata(path).map_err(wrong)?;
    let mut start = 0;
    let mut earliest = now.minus(FIRST_LOOK_SECS).secs();
    if let Position::File {
        path: of,
        inode,
        offset: done,
    } = position
        && Path::new(of) == path
    {
        earliest = 0;
        if *inode == current.ino() {
            // Cut down in place (`copytruncate`): what was between is gone.
            start = if *done > current.len() { 0 } else { *done };
        } else if let Some(rotated) = rotated(path, *inode) {
            let end = part(&rotated, *done, logins_max, &mut reading, &mut times, earliest).map_err(wrong)?;
            if !end.whole {
                reading.position = at(path, *inode, end.offset);
                return Ok(reading);
            }
        } else {
            let lost = "the log was rotated away before it was read to its end: some logins may be missing";
            reading.problems.push(lost.to_owned());
        }
    }
    // Opened again rather than trusted to be the file that was looked at: a rotation may just have happened.
    let end = part(path, start, logins_max, &mut reading, &mut times, earliest).map_err(wrong)?;
    reading.position = at(path, end.inode, end.offset);
    Ok(reading)
}

fn at(path: &Path, inode: u64, offset: u64) -> Position {
    Position::File {
        path: path.display().to_string(),
        inode,
        offset,
    }
}

/// The rotated file that is the one read before: `auth.log.1`, `secure-20261126`.
fn rotated(path: &Path, inode: u64) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let entries = std::fs::read_dir(path.parent()?).ok()?;
    let mut found = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let ours = entry.file_name().to_str().is_some_and(|other| other.starts_with(name));
        (ours && entry.metadata().ok()?.ino() == inode).then(|| entry.path())
    });
    found.next()
}

struct End {
    inode: u64,
    offset: u64,
    /// Whether everything was read.
    whole: bool,
}

fn part(
    path: &Path,
    from: u64,
    logins_max: usize,
    reading: &mut Reading,
    times: &mut Times<'_>,
    earliest: u64,
) -> std::io::Result<End> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let from = if from > metadata.len() { 0 } else { from };
    file.seek(SeekFrom::Start(from))?;
    let mut lines = BufReader::new(file.take(BYTES_MAX));
    let mut offset = from;
    let mut line = Vec::new();
    let whole = loop {
        if reading.logins.len() >= logins_max {
            break false;
        }
        line.clear();
        let length = lines.read_until(b'\n', &mut line)?;
        // A line without its end is still being written.
        if line.last() != Some(&b'\n') {
            break lines.get_ref().limit() > 0;
        }
        offset += u64::try_from(length).unwrap_or_default();
        if line.len() > LINE_BYTES_MAX {
            continue;
        }
        let text = String::from_utf8_lossy(&line);
        let login = split(text.trim_end()).and_then(|(stamp, message)| {
            // The time is looked at last: most lines are other ones.
            accepted(message, 0)?;
            accepted(message, times.read(stamp))
        });
        reading.logins.extend(login.filter(|login| login.time >= earliest));
    };
    Ok(End {
        inode: metadata.ino(),
        offset,
        whole,
    })
}

/// Time stamp and message of a line whose tag is sshd's: `Nov 26 04:00:00 host sshd[1]: …` or
/// `2026-11-26T04:00:00.1+00:00 host sshd-session[1]: …`.
pub(super) fn split(line: &str) -> Option<(&str, &str)> {
    let traditional = line.get(15..16) == Some(" ") && line.get(3..4) == Some(" ");
    let (stamp, rest) = if traditional {
        line.split_at_checked(15)?
    } else {
        line.split_at_checked(line.find(' ')?)?
    };
    let (_host, rest) = rest.trim_start_matches(' ').split_once(' ')?;
    let (tag, message) = rest.split_once(": ")?;
    let (program, pid) = tag.strip_suffix(']')?.split_once('[')?;
    let ours = matches!(program, "sshd" | "sshd-session") && pid.bytes().all(|byte| byte.is_ascii_digit());
    ours.then_some((stamp, message))
}

/// How time stamps are read.
pub(super) struct Times<'a> {
    pub(super) now: UnixTime,
    pub(super) offset: Option<i64>,
    pub(super) ask: &'a dyn Fn() -> i64,
}

impl Times<'_> {
    /// Seconds since 1970; now, where the stamp is unreadable: the login counts, whenever it was.
    pub(super) fn read(&mut self, stamp: &str) -> u64 {
        let read = if stamp.as_bytes().get(4) == Some(&b'-') {
            rfc3339(stamp)
        } else {
            let offset = *self.offset.get_or_insert_with(self.ask);
            traditional(stamp, self.now, offset)
        };
        read.unwrap_or(self.now.secs())
    }
}

/// `2026-11-26T04:00:00.123456+01:00`.
fn rfc3339(stamp: &str) -> Option<u64> {
    if let Some(utc) = stamp.strip_suffix('Z') {
        return UnixTime::parse_rfc3339(&format!("{utc}Z")).ok().map(UnixTime::secs);
    }
    let (local, zone) = stamp.split_at_checked(stamp.len().checked_sub(6)?)?;
    let local = UnixTime::parse_rfc3339(&format!("{local}Z")).ok()?.secs();
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let shift = hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60;
    match zone.get(..1)? {
        "+" => local.checked_sub(shift),
        "-" => local.checked_add(shift),
        _ => None,
    }
}

/// `Nov 26 04:00:00`, which names neither year nor zone: the latest year in which it is not in the future by more than a day.
fn traditional(stamp: &str, now: UnixTime, offset: i64) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = MONTHS.iter().position(|name| Some(*name) == stamp.get(..3))? + 1;
    let day: u8 = stamp.get(4..6)?.trim().parse().ok()?;
    let clock = stamp.get(7..15)?;
    let this_year: u64 = now.to_string().get(..4)?.parse().ok()?;
    // A leap day is four or eight years back at most.
    (0..9).find_map(|back| {
        let year = (this_year + 1).checked_sub(back)?;
        let local = UnixTime::parse_rfc3339(&format!("{year:04}-{month:02}-{day:02}T{clock}Z")).ok()?;
        let time = local.secs().checked_add_signed(offset.checked_neg()?)?;
        (time <= now.plus(24 * 3600).secs()).then_some(time)
    })
}

/// How far this machine's local time is ahead of UTC just now, as `date` tells it; 0 where it does not.
#[must_use]
pub fn local_offset_secs() -> i64 {
    let output = Command::new("date").arg("+%z").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().as_deref().and_then(zone_secs).unwrap_or_default()
}

/// `+0130`.
pub(super) fn zone_secs(text: &str) -> Option<i64> {
    let (sign, digits) = text.split_at_checked(1)?;
    let (hours, minutes) = digits.split_at_checked(2)?;
    let secs = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
    match sign {
        "+" => Some(secs),
        "-" => Some(-secs),
        _ => None,
    }
}
