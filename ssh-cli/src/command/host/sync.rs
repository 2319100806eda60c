//! `signet host sync`: fetches the trust bundle, renews the certificate, reports.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::enroll::endpoint;
use crate::clock;
use crate::command::host::Writing;
use crate::config::Environment;
use crate::host::files::{FOLDER, Files};
use crate::host::layout::Layout;
use crate::host::settings::HostSettings;
use crate::host::sync::{Lock, LockError, Outcome, Plan, Sync};
use crate::output::{self, Format};
use crate::report::{Exit, Failure, remark};

/// Flags of `signet host sync`.
#[derive(Debug, Args)]
#[command(
    after_help = "Ends with 0 when everything is in place, with 5 when the authority could not be reached and the host is sound, \
                  with 1 when something is wrong; what is wrong is said on stderr and reported."
)]
pub struct SyncArgs {
    /// Do not wait for a random time first, and ask also while the authority is left alone after failures
    #[arg(long)]
    pub now: bool,
    /// How it writes.
    #[command(flatten)]
    pub writing: Writing,
    /// table, json or yaml
    #[arg(long)]
    pub format: Option<String>,
    /// The host's root folder, for tests
    #[arg(long, default_value = "/", hide = true)]
    pub root: PathBuf,
    /// Leave sshd alone, for tests
    #[arg(long, hide = true)]
    pub files_only: bool,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &SyncArgs, environment: &Environment) -> Result<u8, Failure> {
    let format = Format::chosen(args.format.as_deref(), environment)?;
    let layout = Layout::under(&args.root);
    let files = Files::new(&layout, args.writing.stop_after);
    let settings = HostSettings::read(&layout).map_err(|error| on_host(&error))?;
    let settings = settings.ok_or_else(|| {
        Failure::usage(format!("there is no `{}` on this host", layout.settings().display()))
            .hint("run `signet host bake` first")
    })?;
    if !args.now {
        wait(settings.jitter_secs)?;
    }
    files
        .folder(&layout.state_folder(), FOLDER)
        .map_err(|error| on_host(&error))?;
    let lock = Lock::take(&layout)?;
    let endpoint = endpoint(&settings, environment)?;
    let plan = Plan {
        now: args.now,
        sshd_pid: args.writing.sshd_pid,
        files_only: args.files_only,
    };
    let sync = Sync::new(&layout, &files, settings, endpoint, clock::now(), plan);
    let outcome = sync.map_err(|error| on_host(&error))?.run();
    drop(lock);
    show(&outcome, format)?;
    Ok(code(&outcome))
}

/// A fleet whose timers were all started by the same outage comes back over a while.
fn wait(jitter_secs: u64) -> Result<(), Failure> {
    let number = crate::random::number().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    std::thread::sleep(Duration::from_secs(number % jitter_secs.saturating_add(1)));
    Ok(())
}

/// A file of the host, or sshd, is not as it has to be.
pub(super) fn on_host(error: &dyn std::error::Error) -> Failure {
    Failure::from_error(Exit::Failed, error).hint("run it as root; `signet host check` says what is wrong")
}

fn show(outcome: &Outcome, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => output::pairs(&outcome.to_json())?,
        other => output::document(&outcome.to_json(), other)?,
    }
    for problem in &outcome.problems {
        remark(&format!("problem: {problem}"));
    }
    for alarm in &outcome.alarms {
        remark(&format!("alarm: {alarm}"));
    }
    if let Some(why) = &outcome.not_reached {
        remark(&format!("not reached: {why}"));
    }
    Ok(())
}

const fn code(outcome: &Outcome) -> u8 {
    if !outcome.problems.is_empty() {
        Exit::Failed.code()
    } else if outcome.not_reached.is_some() {
        Exit::Later.code()
    } else {
        0
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Busy => Self::from_error(Exit::Later, &error).hint("wait until it is done"),
            LockError::Open { .. } => Self::from_error(Exit::Failed, &error).hint("run it as root"),
        }
    }
}
