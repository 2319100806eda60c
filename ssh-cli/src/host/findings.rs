//! What is wrong on a host, each with the next step, and what the host trusts. Files are judged by our own reading, since
//! sshd says nothing about a bad line in them; the configuration by sshd's own answer.

mod doors;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Serialize;
use signet_core::time::UnixTime;

use super::config_text::ConfigText;
use super::configure::{ORDINARY, SOME_ADDRESS};
use super::layout::{BREAKGLASS_ACCOUNT, Layout};
use super::sshd::{Effective, Sshd, unit_options};

/// 2020-01-01: a clock before it was never set.
const NEVER_SET_BEFORE: UnixTime = UnixTime::from_secs(1_577_836_800);
/// How far a host's clock may be behind the authority's before a fresh certificate is "not yet valid".
const BEHIND_SECS_MAX: u64 = 30;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Somebody is or will be locked out, or somebody gets in who must not.
    Problem,
    /// It works and opens or hides more than it should.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, one word: `krl`, `ca-keys`, `sshd` …
    pub about: &'static str,
    /// One sentence.
    pub text: String,
    /// The next step.
    pub next: String,
}

/// What a host trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Trusts {
    /// `10.0p2`; empty when sshd does not say.
    pub sshd_version: String,
    /// The host's name as enrolled.
    pub host: Option<String>,
    /// The authority's address.
    pub address: Option<String>,
    /// The host's tags.
    pub tags: BTreeSet<String>,
    /// Fingerprints of the CA keys in the file that sshd reads.
    pub user_ca_keys: Vec<String>,
    /// Version of the KRL in the file that sshd reads.
    pub krl_version: Option<u64>,
    /// Version of the bundle in force.
    pub bundle_version: Option<u64>,
    /// Until when it counts as fresh, seconds since 1970.
    pub bundle_valid_until: Option<u64>,
    /// Account → principals that open it, from the files that sshd reads.
    pub accounts: BTreeMap<String, Vec<String>>,
    /// Fingerprints of the break-glass keys.
    pub breakglass_keys: Vec<String>,
    /// Names in the host certificate.
    pub host_names: Vec<String>,
    /// When the host certificate ends, seconds since 1970.
    pub host_certificate_ends: Option<u64>,
}

/// Everything that an examination brought up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// What the host trusts.
    pub trusts: Trusts,
    /// What was found, worst first.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// The sentences of what is a problem, for the report to the authority.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let problems = self.findings.iter().filter(|f| f.severity == Severity::Problem);
        problems.map(|finding| finding.text.clone()).collect()
    }
}

/// Looks at a host. Works without root as far as files can be read; what could not be looked at is a note.
#[must_use]
pub fn examine(layout: &Layout, now: UnixTime) -> Examination {
    let mut look = Look {
        layout,
        now,
        trusts: Trusts::default(),
        findings: Vec::new(),
        effective: None,
    };
    look.sshd();
    look.settings();
    look.ca_keys();
    look.krl();
    look.principals();
    look.breakglass();
    look.bundle();
    look.clock();
    look.host_certificate();
    look.doors();
    look.findings.sort_by_key(|finding| finding.severity);
    Examination {
        trusts: look.trusts,
        findings: look.findings,
    }
}

/// What sshd says of the logins that matter.
struct Answers {
    root: Effective,
    ordinary: Effective,
    breakglass: Effective,
    /// Accounts that certificates open, where a `Match` of others may hold for one of them alone.
    accounts: Vec<(String, Effective)>,
    config: ConfigText,
    sshd: Sshd,
}

/// One examination under way.
struct Look<'a> {
    layout: &'a Layout,
    now: UnixTime,
    trusts: Trusts,
    findings: Vec<Finding>,
    effective: Option<Answers>,
}

impl Look<'_> {
    fn find(&mut self, severity: Severity, about: &'static str, text: impl Into<String>, next: impl Into<String>) {
        self.findings.push(Finding {
            severity,
            about,
            text: text.into(),
            next: next.into(),
        });
    }

    fn problem(&mut self, about: &'static str, text: impl Into<String>, next: impl Into<String>) {
        self.find(Severity::Problem, about, text, next);
    }

    fn warn(&mut self, about: &'static str, text: impl Into<String>, next: impl Into<String>) {
        self.find(Severity::Warning, about, text, next);
    }

    fn note(&mut self, about: &'static str, text: impl Into<String>, next: impl Into<String>) {
        self.find(Severity::Note, about, text, next);
    }

    fn sshd(&mut self) {
        let ask = || {
            let sshd = Sshd::find(self.layout, &unit_options(self.layout))?;
            let version = sshd.version()?;
            Ok::<_, super::sshd::SshdError>((sshd, version))
        };
        let (sshd, version) = match ask() {
            Ok(found) => found,
            Err(error) => return self.problem("sshd", error.to_string(), "install openssh-server"),
        };
        self.trusts.sshd_version.clone_from(&version.text);
        let answers = || {
            sshd.test()?;
            Ok::<_, super::sshd::SshdError>([
                sshd.effective("root", SOME_ADDRESS)?,
                sshd.effective(ORDINARY, SOME_ADDRESS)?,
                sshd.effective(BREAKGLASS_ACCOUNT, SOME_ADDRESS)?,
            ])
        };
        match (answers(), ConfigText::read(self.layout)) {
            (Ok([root, ordinary, breakglass]), Ok(config)) => {
                let accounts = self.matched_accounts(&sshd, &config);
                self.effective = Some(Answers {
                    root,
                    ordinary,
                    breakglass,
                    accounts,
                    config,
                    sshd,
                });
                self.effective_options();
            }
            (Err(error), _) if rustix::process::geteuid().is_root() => self.problem(
                "sshd",
                format!("{error}: the next restart of sshd fails"),
                "mend the line that sshd names, then `sshd -t`",
            ),
            (Err(error), _) => self.note(
                "sshd",
                format!("what the configuration comes to could not be asked ({error})"),
                "run `signet host check` as root",
            ),
            (_, Err(error)) => self.note("sshd", error.to_string(), "run `signet host check` as root"),
        }
    }

    /// What sshd says of each account with principals. Asking costs a run of sshd, so only where another's `Match` sets what
    /// we set.
    fn matched_accounts(&self, sshd: &Sshd, config: &ConfigText) -> Vec<(String, Effective)> {
        let keywords = ["trustedusercakeys", "revokedkeys", "authorizedprincipalsfile"];
        let is_matched = |keyword| config.foreign(keyword).any(|line| line.under.is_some());
        if !keywords.into_iter().any(is_matched) {
            return Vec::new();
        }
        let files = super::config_text::glob(&self.layout.principals(), "*");
        let names = files.iter().filter_map(|path| path.file_name()?.to_str());
        names
            .filter_map(|name| Some((name.to_owned(), sshd.effective(name, SOME_ADDRESS).ok()?)))
            .collect()
    }

    /// Whether sshd reads our files: the first value wins, and it may be another's.
    fn effective_options(&mut self) {
        let inside = Layout::default();
        let ours = [
            ("trustedusercakeys", "TrustedUserCAKeys", inside.user_ca_keys()),
            ("revokedkeys", "RevokedKeys", inside.krl()),
            (
                "authorizedprincipalsfile",
                "AuthorizedPrincipalsFile",
                inside.principals().join("%u"),
            ),
        ];
        let Some(answers) = &self.effective else { return };
        let mut wrong = Vec::new();
        for (user, effective) in [("root", &answers.root), ("an ordinary account", &answers.ordinary)] {
            for (keyword, name, path) in &ours {
                let found = effective.one(keyword);
                if Path::new(found) != path {
                    let place = super::configure::place(&answers.sshd, &answers.config, keyword, found);
                    wrong.push(format!(
                        "for {user} `{name}` is `{found}`, not `{}` ({place})",
                        path.display()
                    ));
                }
            }
        }
        for (account, effective) in &answers.accounts {
            for (keyword, name, path) in &ours {
                let found = effective.one(keyword);
                if Path::new(found) != path && found != answers.ordinary.one(keyword) {
                    let place = super::configure::place(&answers.sshd, &answers.config, keyword, found);
                    wrong.push(format!(
                        "for `{account}` `{name}` is `{found}`, not `{}` ({place})",
                        path.display()
                    ));
                }
            }
        }
        let is_locked_in = answers.ordinary.one("pubkeyauthentication") == "no";
        for text in wrong {
            self.problem("sshd", text, "remove the other line, or run `signet host bake` again");
        }
        if is_locked_in {
            self.problem(
                "sshd",
                "`PubkeyAuthentication` is no: nobody gets in with a certificate",
                "remove that line",
            );
        }
    }

    fn settings(&mut self) {
        match super::settings::HostSettings::read(self.layout) {
            Ok(Some(settings)) => {
                self.trusts.host = settings.host;
                self.trusts.address = settings.address;
                self.trusts.tags = settings.tags;
            }
            Ok(None) => self.note(
                "settings",
                "this host follows no authority: there is no host.toml",
                "`signet host bake -address=…`, if it should",
            ),
            Err(error) => self.problem("settings", error.to_string(), "mend host.toml, or bake again"),
        }
    }

    fn clock(&mut self) {
        if self.now < NEVER_SET_BEFORE {
            self.problem(
                "clock",
                format!("the clock says {}: every certificate is \"not yet valid\"", self.now),
                "set the clock; until then only a break-glass key without an expiry opens this host",
            );
        }
    }

    /// sshd's `StrictModes` looks at the file and every folder above it; for the CA file and the KRL nobody looks.
    fn modes(&mut self, about: &'static str, path: &Path, what_follows: &str) {
        const OTHERS_WRITE: u32 = 0o022;
        // In a test tree the owner is whoever runs the test.
        let root_uid = std::fs::metadata(self.layout.root()).map_or(0, |found| found.uid());
        for part in path.ancestors().take_while(|part| part.starts_with(self.layout.root())) {
            let Ok(found) = std::fs::metadata(part) else { continue };
            let shown = Path::new("/").join(part.strip_prefix(self.layout.root()).unwrap_or(part));
            let shown = shown.display();
            if found.mode() & OTHERS_WRITE != 0 {
                self.problem(
                    about,
                    format!("`{shown}` can be written by others than root: {what_follows}"),
                    format!("`chmod go-w {shown}`"),
                );
            }
            if found.uid() != root_uid {
                self.problem(
                    about,
                    format!("`{shown}` belongs to user {}: {what_follows}", found.uid()),
                    format!("`chown root {shown}`"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
