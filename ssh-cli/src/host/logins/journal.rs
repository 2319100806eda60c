//! The log as systemd's journal, read by `journalctl`.
//!
//! Entries are chosen by the sender's user id, which the kernel tells journald: a program of an ordinary user that calls
//! itself sshd is not heard. `_COMM` would not do: journald looks it up later, and a short session is gone by then.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use signet_core::time::UnixTime;

use super::{FIRST_LOOK_SECS, LINE_BYTES_MAX, LogError, Position, Reading, accepted};

const BYTES_MAX: u64 = 64 * 1024 * 1024;
const TIME_MAX: Duration = Duration::from_mins(1);

/// What we want to know of an entry. journalctl writes a text that is not UTF-8 as a list of numbers; sshd writes none.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "__REALTIME_TIMESTAMP", default)]
    micros: String,
    #[serde(rename = "MESSAGE", default)]
    message: serde_json::Value,
}

/// Reads from where the last reading ended. When the journal no longer has that entry, from its time on.
///
/// # Errors
/// [`LogError::Journal`].
pub fn read(program: &str, position: &Position, now: UnixTime, logins_max: usize) -> Result<Reading, LogError> {
    let first = format!("--since=@{}", now.minus(FIRST_LOOK_SECS).secs());
    let Position::Journal { cursor, time } = position else {
        return run(program, &first, position, logins_max);
    };
    run(program, &format!("--after-cursor={cursor}"), position, logins_max).or_else(|error| {
        let LogError::Journal { why } = &error else {
            return Err(error);
        };
        let gone = format!(
            "the journal has lost the entry that was read last ({why}): some logins may be missing or told twice"
        );
        let mut reading = run(program, &format!("--since=@{time}"), position, logins_max)?;
        reading.problems.push(gone);
        Ok(reading)
    })
}

fn run(program: &str, from: &str, position: &Position, logins_max: usize) -> Result<Reading, LogError> {
    let failed = |why: String| LogError::Journal { why };
    let child = Command::new(program)
        .args(["--output=json", "--no-pager", "--quiet", "--all", from])
        .args([
            "SYSLOG_IDENTIFIER=sshd",
            "_UID=0",
            "+",
            "SYSLOG_IDENTIFIER=sshd-session",
            "_UID=0",
        ])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Running(child.map_err(|error| failed(error.to_string()))?);
    let mut reading = Reading {
        position: position.clone(),
        ..Reading::default()
    };
    let whole = child
        .lines(&mut reading, logins_max)
        .map_err(|error| failed(error.to_string()))?;
    if whole {
        child.finish().map_err(failed)?;
    }
    Ok(reading)
}

/// journalctl, which does not outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Running {
    /// Whether the journal was read to its end.
    fn lines(&mut self, reading: &mut Reading, logins_max: usize) -> std::io::Result<bool> {
        let stdout = self.0.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let started = Instant::now();
        let mut lines = BufReader::new(stdout.take(BYTES_MAX));
        let mut line = Vec::new();
        loop {
            line.clear();
            if reading.logins.len() >= logins_max || started.elapsed() > TIME_MAX {
                return Ok(false);
            }
            lines.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                return Ok(lines.get_ref().limit() > 0);
            }
            if let Ok(entry) = serde_json::from_slice::<Entry>(&line) {
                take(&entry, reading);
            }
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        let mut words = String::new();
        if let Some(stderr) = self.0.stderr.take() {
            stderr
                .take(400)
                .read_to_string(&mut words)
                .map_err(|error| error.to_string())?;
        }
        match self.0.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) if words.trim().is_empty() => Err(status.to_string()),
            Ok(_) => Err(words.trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn take(entry: &Entry, reading: &mut Reading) {
    let time = entry.micros.parse::<u64>().unwrap_or_default() / 1_000_000;
    let message = entry.message.as_str().filter(|message| message.len() <= LINE_BYTES_MAX);
    reading
        .logins
        .extend(message.and_then(|message| accepted(message, time)));
    reading.position = Position::Journal {
        cursor: entry.cursor.clone(),
        time,
    };
}
