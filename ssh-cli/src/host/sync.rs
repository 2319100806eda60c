//! One run of `signet host sync`: what is in force is repaired, what is newer is fetched, verified and put in force, the host
//! certificate is renewed, logins are read and told.
//!
//! Nothing here may make a host worse. What cannot be verified is left aside and becomes a problem in the report; a run that
//! is cut short is finished by the next, also when the authority is away by then.

mod bundle;
mod lock;
mod report;

use serde_json::{Value, json};
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;

use super::alarm;
use super::authority::Authority;
use super::certificate::HostCertificate;
use super::files::{self, FOLDER, FileError, Files, PRIVATE, PUBLIC};
use super::findings::{Examination, Severity, Trusts, examine};
use super::host_key::HostKey;
use super::layout::Layout;
use super::logins;
use super::settings::HostSettings;
use super::sshd::{Reload, Sshd, unit_options};
use super::state::State;
use crate::endpoint::Endpoint;

pub use bundle::{Held, open_new, pinned_keys};
pub use lock::{Lock, LockError};

/// How one run goes about it.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Ask the authority also while it is to be left alone.
    pub now: bool,
    /// Tell this process to reload, where no unit can.
    pub sshd_pid: Option<u32>,
    /// Neither ask sshd nor tell it anything.
    pub files_only: bool,
}

/// What one run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Version of the bundle in force; 0 without one.
    pub bundle_version: u64,
    /// Version of the KRL in force.
    pub krl_version: u64,
    /// Files that changed.
    pub changed: Vec<String>,
    /// Whether the host certificate was renewed.
    pub renewed: bool,
    /// How many logins the authority took.
    pub reported: usize,
    /// How many wait for it.
    pub unreported: usize,
    /// Why the authority was not reached; a sound host goes on without it.
    pub not_reached: Option<String>,
    /// What is wrong with this host, one sentence each.
    pub problems: Vec<String>,
    /// What the authority finds alarming.
    pub alarms: Vec<String>,
}

impl Outcome {
    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "bundle_version": self.bundle_version,
            "krl_version": self.krl_version,
            "changed": self.changed,
            "certificate_renewed": self.renewed,
            "logins_reported": self.reported,
            "logins_waiting": self.unreported,
            "not_reached": self.not_reached,
            "problems": self.problems,
            "alarms": self.alarms,
        })
    }

    fn problem(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.problems.contains(&text) {
            self.problems.push(text);
        }
    }
}

/// An error with its reasons, as one sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// A run under way.
#[derive(Debug)]
pub struct Sync<'a> {
    layout: &'a Layout,
    files: &'a Files,
    settings: HostSettings,
    endpoint: Option<Endpoint>,
    now: UnixTime,
    plan: Plan,
    state: State,
    outcome: Outcome,
    /// Once a run is enough, whoever asks for it.
    renewal_tried: bool,
}

impl<'a> Sync<'a> {
    /// Prepares a run. `endpoint` is the authority by the settings, `None` where they name none.
    ///
    /// # Errors
    /// [`FileError`] where the folder of the state cannot be made.
    pub fn new(
        layout: &'a Layout,
        files: &'a Files,
        settings: HostSettings,
        endpoint: Option<Endpoint>,
        now: UnixTime,
        plan: Plan,
    ) -> Result<Self, FileError> {
        files.folder(&layout.state_folder(), FOLDER)?;
        let mut outcome = Outcome::default();
        let state = State::load(layout).unwrap_or_else(|error| {
            outcome.problem(sentence(&error));
            State::default()
        });
        Ok(Self {
            layout,
            files,
            settings,
            endpoint,
            now,
            plan,
            state,
            outcome,
            renewal_tried: false,
        })
    }

    /// The whole run.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let mut held = self.repair();
        self.follow(&mut held);
        let certificate = self.tend_certificate(held.as_ref(), false);
        self.read_logins();
        self.raise_alarms();
        let trusts = self.examine();
        self.report(held.as_ref(), certificate.as_ref(), &trusts);
        self.save();
        if let Some(held) = &held {
            self.outcome.bundle_version = held.bundle().version;
            self.outcome.krl_version = held.bundle().krl_version;
        }
        self.outcome.unreported = self.state.unreported.len();
        self.outcome
    }

    /// Whether the authority may be asked for anything more in this run.
    fn may_ask(&self) -> bool {
        self.outcome.not_reached.is_none() && (self.plan.now || self.state.may_ask(self.now))
    }

    fn not_reached(&mut self, why: String, retry_after_secs: Option<u64>) {
        let random = crate::random::number().unwrap_or_default();
        self.state.not_reached(self.now, retry_after_secs, random);
        self.outcome.not_reached = Some(why);
    }

    fn save(&mut self) -> bool {
        let put = self
            .files
            .put(&self.layout.state(), self.state.to_json().as_bytes(), PRIVATE);
        if let Err(error) = &put {
            self.outcome.problem(sentence(error));
        }
        put.is_ok()
    }

    /// The certificate in place, renewed when two thirds of its life are over (or `by_request`). The old one stays until a
    /// better one is verified.
    fn tend_certificate(&mut self, held: Option<&Held>, by_request: bool) -> Option<HostCertificate> {
        let host = self.settings.host.clone()?;
        let current = self.certificate_in_place();
        let key = match HostKey::read(self.layout, current.as_ref().map(HostCertificate::key)) {
            Ok(key) => key,
            Err(error) => {
                self.outcome.problem(sentence(&error));
                return current;
            }
        };
        match &current {
            None => self.outcome.problem("there is no host certificate"),
            Some(current) if current.key() != key.public() => {
                self.outcome
                    .problem("the host certificate is for a key that this host no longer has: enrol again");
            }
            Some(current) if current.valid_before() <= self.now => {
                let ended = format!("the host certificate ended at {}", current.valid_before());
                self.outcome.problem(ended);
            }
            Some(current) if !by_request && self.now < current.renewal_time() => return Some(current.clone()),
            Some(_) => {}
        }
        let endpoint = self.endpoint.clone().filter(|_| self.may_ask() && !self.renewal_tried);
        let Some(endpoint) = endpoint else { return current };
        self.renewal_tried = true;
        match self.renew(&endpoint, &key, &host, held) {
            Ok(fresh) => {
                self.outcome.renewed = true;
                self.outcome.problems.retain(|problem| {
                    !problem.starts_with("the host certificate ended") && problem != "there is no host certificate"
                });
                Some(fresh)
            }
            Err(problem) => {
                self.outcome.problems.extend(problem);
                current
            }
        }
    }

    fn certificate_in_place(&mut self) -> Option<HostCertificate> {
        let text = match files::read_text(&self.layout.host_certificate()) {
            Ok(text) => text?,
            Err(error) => {
                self.outcome.problem(sentence(&error));
                return None;
            }
        };
        match HostCertificate::parse(&text) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                self.outcome
                    .problem(format!("the host certificate in place cannot be used: {error}"));
                None
            }
        }
    }

    /// Asks, verifies, replaces, and has sshd read it. The error is a problem, or nothing where the authority is away.
    fn renew(
        &mut self,
        endpoint: &Endpoint,
        key: &HostKey,
        host: &str,
        held: Option<&Held>,
    ) -> Result<HostCertificate, Option<String>> {
        let admission = Authority::new(endpoint).and_then(|authority| authority.renew(key, host));
        let admission = match admission {
            Ok(admission) => admission,
            Err(error) if error.is_passing() => {
                self.not_reached(sentence(&error), error.retry_after_secs());
                return Err(None);
            }
            Err(error) => {
                return Err(Some(format!(
                    "the host certificate is not renewed: {}",
                    sentence(&error)
                )));
            }
        };
        let ca_keys = host_ca_keys(self.layout, held);
        let fresh = HostCertificate::verify(&admission.signed_key, key.public(), &ca_keys, self.now)
            .map_err(|error| Some(format!("the new host certificate is not put in place: {error}")))?;
        let path = self.layout.host_certificate();
        self.files
            .put(&path, fresh.text().as_bytes(), PUBLIC)
            .map_err(|error| Some(sentence(&error)))?;
        self.outcome.changed.push(path.display().to_string());
        if !self.plan.files_only
            && let Err(why) = reload(self.layout, self.plan.sshd_pid)
        {
            self.outcome.problem(why);
        }
        Ok(fresh)
    }

    /// What this host trusts, by the files that sshd reads, and what is wrong with it.
    fn examine(&mut self) -> Trusts {
        let Examination { trusts, findings } = examine(self.layout, self.now);
        // What is newest is in force whatever the clock says: a host whose clock is behind needs its revocations too.
        let files_only = self.plan.files_only;
        let counts = |about: &str| !files_only || matches!(about, "bundle" | "clock");
        for finding in findings {
            if finding.severity == Severity::Problem && counts(finding.about) {
                self.outcome.problem(finding.text);
            }
        }
        trusts
    }

    /// What sshd accepted since the last run, kept until the authority has it.
    fn read_logins(&mut self) {
        let room = self.state.room();
        if room == 0 {
            self.outcome
                .problem("too many logins wait for the authority: the log is not read on until it takes them");
            return;
        }
        match logins::read(&self.settings.log, &self.state.log, self.now, room) {
            Err(error) => self.outcome.problem(sentence(&error)),
            Ok(reading) => {
                let alarming = reading.logins.iter().filter(|login| login.breakglass).cloned();
                self.state.alarms_due.extend(alarming);
                self.state.unreported.extend(reading.logins);
                self.state.log = reading.position;
                for problem in reading.problems {
                    self.outcome.problem(problem);
                }
                self.save();
            }
        }
    }

    /// Runs the local alarm, once a login; a failed one is due again.
    fn raise_alarms(&mut self) {
        const DUE_MAX: usize = 1_000;
        let host = self.settings.host.clone().unwrap_or_default();
        let hook = self.layout.alarm_hook();
        let due = std::mem::take(&mut self.state.alarms_due);
        if due.is_empty() {
            return;
        }
        let mut waiting = due.into_iter();
        for login in waiting.by_ref() {
            if let Err(error) = alarm::raise(&hook, &host, &login) {
                self.outcome.problem(sentence(&error));
                // The next ones would fail as well, each after its time is up.
                self.state.alarms_due.push(login);
                break;
            }
        }
        self.state.alarms_due.extend(waiting.take(DUE_MAX));
        self.save();
    }
}

/// The keys that a host certificate may be signed with: the bundle's, else those that came with the enrolment.
fn host_ca_keys(layout: &Layout, held: Option<&Held>) -> Vec<SubjectKey> {
    match held.map(|held| held.verified.host_ca_keys()) {
        Some(keys) if !keys.is_empty() => keys.to_vec(),
        _ => {
            let text = files::read_text(&layout.host_ca_keys())
                .ok()
                .flatten()
                .unwrap_or_default();
            text.lines().filter_map(|line| SubjectKey::parse(line).ok()).collect()
        }
    }
}

/// Has sshd read its certificate, after its configuration was tested: from 9.8 on it does so only when told.
///
/// # Errors
/// A sentence.
pub fn reload(layout: &Layout, pid: Option<u32>) -> Result<Reload, String> {
    let sshd = Sshd::find(layout, &unit_options(layout)).map_err(|error| sentence(&error))?;
    sshd.test().map_err(|error| sentence(&error))?;
    sshd.reload(pid).map_err(|error| sentence(&error))
}
