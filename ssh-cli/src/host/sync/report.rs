//! What the host tells the authority: what it trusts, what is wrong, who came in.

use signet_core::enrollment::{HostReport, LOGINS_PER_REPORT_MAX};

use super::super::authority::{Authority, AuthorityError, Taken};
use super::super::certificate::HostCertificate;
use super::super::findings::Trusts;
use super::super::host_key::HostKey;
use super::{Held, Sync, sentence};

/// More logins than this many reports hold wait for the next run.
const REPORTS_MAX: usize = 10;
/// The authority keeps them for people to read.
const PROBLEMS_MAX: usize = 50;

impl Sync<'_> {
    /// Sends reports until no login waits.
    pub(super) fn report(&mut self, held: Option<&Held>, certificate: Option<&HostCertificate>, trusts: &Trusts) {
        let (Some(host), Some(endpoint)) = (self.settings.host.clone(), self.endpoint.clone()) else {
            return;
        };
        if !self.may_ask() {
            return;
        }
        let key = HostKey::read(self.layout, certificate.map(HostCertificate::key));
        let (key, authority) = match (key, Authority::new(&endpoint)) {
            (Ok(key), Ok(authority)) => (key, authority),
            (Err(error), _) => return self.outcome.problem(sentence(&error)),
            (_, Err(error)) => return self.outcome.problem(sentence(&error)),
        };
        let mut report = self.about_this_host(&host, held, certificate, trusts);
        for _ in 0..REPORTS_MAX {
            match self.send(&authority, &key, &mut report) {
                Ok(taken) => {
                    self.state.reached();
                    self.state.last_report = self.now.secs();
                    self.outcome.alarms.extend(taken.alarms);
                    let is_due = taken.renew_after.is_some_and(|time| time <= self.now.secs());
                    if is_due {
                        self.tend_certificate(held, true);
                    }
                }
                Err(error) if error.is_passing() => {
                    return self.not_reached(sentence(&error), error.retry_after_secs());
                }
                Err(error) => {
                    return self
                        .outcome
                        .problem(format!("the report is not taken: {}", sentence(&error)));
                }
            }
            if self.state.unreported.is_empty() || report.logins.is_empty() {
                return;
            }
        }
    }

    /// One report with the next logins; they are forgotten once the authority has them, not before.
    fn send(&mut self, authority: &Authority, key: &HostKey, report: &mut HostReport) -> Result<Taken, AuthorityError> {
        self.number(report, self.state.sequence.saturating_add(1));
        let taken = match authority.report(key, report) {
            // The state was lost or restored: go on from where the authority is, once.
            Err(AuthorityError::Stale { newest }) => {
                self.number(report, newest.saturating_add(1));
                authority.report(key, report)?
            }
            other => other?,
        };
        let count = report.logins.len();
        self.state.unreported.drain(..count);
        self.outcome.reported += count;
        self.save();
        Ok(taken)
    }

    /// The number is on disk before the report goes out. Where the disk is full the report goes out without logins: they
    /// could not be crossed off, and would be told again each time.
    fn number(&mut self, report: &mut HostReport, sequence: u64) {
        self.state.sequence = sequence;
        report.sequence = sequence;
        let is_saved = self.save();
        report.problems = self.outcome.problems.iter().take(PROBLEMS_MAX).cloned().collect();
        let logins = self.state.unreported.iter().take(LOGINS_PER_REPORT_MAX);
        report.logins = if is_saved {
            logins.cloned().collect()
        } else {
            Vec::new()
        };
    }

    fn about_this_host(
        &self,
        host: &str,
        held: Option<&Held>,
        certificate: Option<&HostCertificate>,
        trusts: &Trusts,
    ) -> HostReport {
        let bundle = held.map(Held::bundle);
        // `10.0` of `10.0p2`: what a portable release adds matters to nobody here.
        let version = trusts.sshd_version.split('p').next();
        HostReport {
            host: host.to_owned(),
            time: self.now.secs(),
            sshd_version: version.unwrap_or_default().to_owned(),
            signet_version: env!("CARGO_PKG_VERSION").to_owned(),
            bundle_version: bundle.map_or(0, |bundle| bundle.version),
            bundle_valid_until: bundle.map_or(0, |bundle| bundle.valid_until),
            krl_version: trusts.krl_version.unwrap_or_default(),
            user_ca_keys: trusts.user_ca_keys.clone(),
            breakglass_keys: trusts.breakglass_keys.clone(),
            host_certificate_ends: certificate.map_or(0, |certificate| certificate.valid_before().secs()),
            ..HostReport::default()
        }
    }
}
