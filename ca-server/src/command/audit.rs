//! `signet-ca audit`: reads a ledger, from a data folder or from exported JSON lines.

mod source;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use signet_core::ledger::{ChainHash, Head, Query, Verifier};
use signet_core::serial::Serial;
use signet_core::time::UnixTime;

use self::source::Source;

/// Reads the ledger.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Checks the hash chain and names each record that was changed, removed, inserted or moved
    Verify(Verify),
    /// Finds records by person, role, principal, serial, key ID, fingerprint, time or event
    Search(Search),
    /// Shows the newest records, and with --follow each new one
    Tail(Tail),
    /// Writes all records as JSON lines
    Export(Export),
}

/// Where the ledger is.
#[derive(Debug, Args)]
struct Place {
    /// A data folder, its ledger.db, or a file of JSON lines
    #[arg(value_name = "LEDGER")]
    ledger: std::path::PathBuf,
}

/// How records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for people
    Text,
    /// The record as it is
    Json,
}

/// Checks the hash chain.
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    place: Place,
    /// A record noted earlier, `POSITION:HASH`; it must be there still. Only this shows a ledger that was cut at its end
    #[arg(long, value_name = "POSITION:HASH", value_parser = parse_head)]
    expect: Option<Head>,
    /// The file is a part of a ledger, such as a rotated sink: its first record is taken as the beginning
    #[arg(long)]
    part: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Finds records.
#[derive(Debug, Args)]
pub struct Search {
    #[command(flatten)]
    place: Place,
    /// The person, exactly
    #[arg(long)]
    person: Option<String>,
    /// The role, exactly
    #[arg(long)]
    role: Option<String>,
    /// A principal of the certificate
    #[arg(long)]
    principal: Option<String>,
    /// The serial, decimal as sshd logs it
    #[arg(long)]
    serial: Option<u64>,
    /// The key ID, exactly
    #[arg(long)]
    key_id: Option<String>,
    /// The subject key's fingerprint, SHA256:…
    #[arg(long)]
    fingerprint: Option<String>,
    /// The event: issue, deny, login …
    #[arg(long)]
    event: Option<String>,
    /// From this time on (2026-11-22T03:00:00Z)
    #[arg(long, value_parser = UnixTime::parse_rfc3339)]
    since: Option<UnixTime>,
    /// Before this time
    #[arg(long, value_parser = UnixTime::parse_rfc3339)]
    until: Option<UnixTime>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Shows the newest records.
#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    place: Place,
    /// How many
    #[arg(long, short = 'n', default_value_t = 10)]
    lines: u64,
    /// Goes on with each new record
    #[arg(long, short)]
    follow: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Writes all records.
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    place: Place,
}

impl Audit {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let result = match self {
            Self::Verify(verb) => verb.run(),
            Self::Search(verb) => verb.run(),
            Self::Tail(verb) => verb.run(),
            Self::Export(verb) => verb.run(),
        };
        match result {
            // `| head` has seen enough.
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            other => other,
        }
    }
}

impl Verify {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut verifier = if self.part {
            Verifier::of_part()
        } else {
            Verifier::new()
        };
        if let Some(head) = self.expect {
            verifier = verifier.noted(head);
        }
        Source::open(&self.place.ledger)?.each(|line| {
            verifier.check(line);
            Ok(())
        })?;
        let verification = verifier.finish();
        let head = verification.head;
        let findings: Vec<String> = verification.findings.iter().map(ToString::to_string).collect();
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => {
                let answer = serde_json::json!({ "records": verification.records, "position": head.position,
                    "hash": head.hash.to_string(), "findings": findings });
                writeln!(out, "{answer}")?;
            }
            Format::Text => {
                for finding in &findings {
                    writeln!(out, "{finding}")?;
                }
                let verdict = if findings.is_empty() { "sound" } else { "NOT SOUND" };
                writeln!(
                    out,
                    "{verdict}: {} records; note down {}:{}",
                    verification.records, head.position, head.hash
                )?;
            }
        }
        Ok(if findings.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl Search {
    fn run(self) -> anyhow::Result<ExitCode> {
        let source = Source::open(&self.place.ledger)?;
        let query = Query {
            event: self.event.as_deref().map(Query::event_of).transpose()?,
            person: self.person,
            role: self.role,
            principal: self.principal,
            serial: self.serial,
            key_id: self.key_id,
            fingerprint: self.fingerprint,
            since: self.since,
            until: self.until,
        };
        let (needle, mut out) = (query.needle(), BufWriter::new(io::stdout().lock()));
        let mut show = |line: &str| {
            if needle.as_deref().is_none_or(|needle| line.contains(needle)) {
                let record: Value = serde_json::from_str(line).unwrap_or_default();
                if query.fits(&record) {
                    print(&mut out, self.format, line, &record)?;
                }
            }
            Ok(())
        };
        match query.serial.and_then(Serial::from_u64) {
            Some(serial) => source.with_serial(serial, &mut show)?,
            None => source.each(&mut show)?,
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Tail {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut source = Source::open(&self.place.ledger)?;
        let mut out = io::stdout().lock();
        let mut show = |line: &str| {
            Ok(print(
                &mut out,
                self.format,
                line,
                &serde_json::from_str(line).unwrap_or_default(),
            )?)
        };
        source.newest(self.lines, &mut show)?;
        if !self.follow {
            return Ok(ExitCode::SUCCESS);
        }
        // Ends by a signal, or when nobody reads any more.
        loop {
            std::thread::sleep(Duration::from_millis(250));
            source.more(&mut show)?;
        }
    }
}

impl Export {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut out = BufWriter::new(io::stdout().lock());
        Source::open(&self.place.ledger)?.each(|line| Ok(writeln!(out, "{line}")?))?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn print(out: &mut impl Write, format: Format, line: &str, record: &Value) -> io::Result<()> {
    if format == Format::Json {
        return writeln!(out, "{line}");
    }
    let text = |name: &str| {
        record
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .escape_debug()
            .to_string()
    };
    write!(out, "{} {:<12}", text("time"), text("event"))?;
    for name in [
        "person",
        "mount",
        "role",
        "principals",
        "serial",
        "key_id",
        "valid_before",
        "address",
        "code",
        "version",
    ] {
        match record.get(name) {
            Some(Value::String(_)) => write!(out, " {name}={}", text(name))?,
            Some(other) => write!(out, " {name}={other}")?,
            None => {}
        }
    }
    writeln!(out)
}

fn parse_head(text: &str) -> anyhow::Result<Head> {
    let (position, hash) = text
        .split_once(':')
        .context("write it as `signet-ca audit verify` prints it: POSITION:HASH")?;
    let hash = ChainHash::parse(hash).context("the hash has 64 hexadecimal digits")?;
    Ok(Head {
        position: position.parse()?,
        hash,
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
