//! Rotating a mount's CA key: stage, publish, promote, retire, remove. Where a rotation stands is nothing but the states of
//! the mount's issuers, so that it goes on after any interruption; here is decided which step comes next and whether it is
//! safe, that is, whether no login can fail by it.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use signet_core::role::DEFAULT_ISSUER;
use signet_core::time::UnixTime;

use crate::authority::Authority;
use crate::certificates::{Certificate, Wanted, oldest_issue, search};
use crate::hosts::{host_mount, user_mount};
use crate::ledger::{EventKind, FILE};
use crate::mounts::{Issuer, Mount, State};
use crate::revocations::PRUNE_MARGIN_SECS;

/// Names in one sentence; the whole list stands beside it.
const NAMED: usize = 10;

/// One step of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make or import the next key; nobody is told.
    Stage,
    /// Have hosts trust it beside the old one.
    Publish,
    /// Let it sign; the old one is trusted on.
    Promote,
    /// The old one signs for nobody any more.
    Retire,
    /// The old one is forgotten.
    Remove,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: &[Self] = &[Self::Stage, Self::Publish, Self::Promote, Self::Retire, Self::Remove];

    /// The word in requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Publish => "publish",
            Self::Promote => "promote",
            Self::Retire => "retire",
            Self::Remove => "remove",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|step| step.as_str() == word)
    }

    /// Its record.
    #[must_use]
    pub const fn event(self) -> EventKind {
        match self {
            Self::Stage => EventKind::CaStage,
            Self::Publish => EventKind::CaPublish,
            Self::Promote => EventKind::CaPromote,
            Self::Retire => EventKind::CaRetire,
            Self::Remove => EventKind::CaRemove,
        }
    }

    /// Whether the step is an issuer's next one.
    fn is_due(self, issuer: &Issuer) -> bool {
        match self {
            Self::Stage => false,
            Self::Publish => issuer.state() == State::Staged,
            Self::Promote => issuer.state() == State::Published && issuer.is_successor(),
            Self::Retire => issuer.state() == State::Published && issuer.is_predecessor(),
            Self::Remove => issuer.state() == State::Retired,
        }
    }

    /// Whether the step can be done with an issuer that somebody names.
    fn is_possible(self, issuer: &Issuer) -> bool {
        match self {
            Self::Stage => false,
            Self::Publish => issuer.state() == State::Staged,
            Self::Promote | Self::Retire => issuer.state() == State::Published,
            Self::Remove => issuer.state() != State::Default,
        }
    }
}

/// The step that comes next, and of which issuer; `None` while the mount has no CA key at all.
#[must_use]
pub fn next(mount: &Mount) -> Option<(Step, Option<Arc<Issuer>>)> {
    mount.default_issuer()?;
    let issuers = mount.issuers();
    let due = |step: Step| issuers.iter().find(|issuer| step.is_due(issuer)).cloned();
    let steps = [Step::Publish, Step::Promote, Step::Retire, Step::Remove];
    let found = steps.into_iter().find_map(|step| Some((step, Some(due(step)?))));
    Some(found.unwrap_or((Step::Stage, None)))
}

/// The issuer that a step is meant of: the one that is named, else the only one whose next step it is.
///
/// # Errors
/// A sentence saying why there is none.
pub fn meant(mount: &Mount, step: Step, reference: &str) -> Result<Arc<Issuer>, String> {
    if !reference.is_empty() {
        let issuer = mount
            .issuer(reference)
            .ok_or_else(|| format!("unable to find issuer for reference: {reference}"))?;
        let state = issuer.state().as_str();
        return if step.is_possible(&issuer) {
            Ok(issuer)
        } else {
            Err(format!(
                "issuer `{}` is {state}: it cannot {} now",
                issuer.shown(),
                step.as_str()
            ))
        };
    }
    let due: Vec<_> = mount
        .issuers()
        .into_iter()
        .filter(|issuer| step.is_due(issuer))
        .collect();
    match due.as_slice() {
        [issuer] => Ok(Arc::clone(issuer)),
        [] => Err(format!("no issuer of `{}` is due to {}", mount.path(), step.as_str())),
        several => {
            let names: Vec<&str> = several.iter().map(|issuer| issuer.shown()).collect();
            Err(format!("say which issuer: {}", names.join(", ")))
        }
    }
}

/// What is known about a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why not now; `None` when the step is safe.
    pub refusal: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Hosts that have not reported trusting the key.
    pub laggards: Vec<String>,
    /// How many hosts have.
    pub trusting: usize,
    /// When it is safe, where that is only a question of time.
    pub safe_at: Option<UnixTime>,
    /// How many certificates of the key live.
    pub live: u64,
}

impl Verdict {
    fn refuse(&mut self, refusal: String, hint: &str) {
        // The first reason is told.
        self.refusal.get_or_insert(refusal);
        self.hint.get_or_insert_with(|| hint.to_owned());
    }
}

/// Judges a step of an issuer.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn judge(
    authority: &Authority,
    mount: &Mount,
    step: Step,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<Verdict, rusqlite::Error> {
    let mut verdict = Verdict::default();
    match step {
        Step::Stage | Step::Publish => {}
        Step::Promote => promotable(authority, mount, issuer, now, &mut verdict),
        Step::Retire => retirable(authority, mount, issuer, &mut verdict),
        Step::Remove => removable(authority, mount, issuer, now, &mut verdict).await?,
    }
    Ok(verdict)
}

/// Hosts must trust a key before it signs. Those that have enrolled say so themselves; for others, and for the clients that
/// trust host keys, only time can tell.
fn promotable(authority: &Authority, mount: &Mount, issuer: &Issuer, now: UnixTime, verdict: &mut Verdict) {
    if mount.default_issuer().is_none() {
        return;
    }
    let is = |of: Option<Arc<Mount>>| of.is_some_and(|of| of.uuid() == mount.uuid());
    let settings = authority.config.rotation;
    let mut hosts = 0;
    if is(user_mount(authority)) {
        let (with, without) = authority.hosts.trusts(&issuer.fingerprint());
        hosts = with.len() + without.len();
        (verdict.trusting, verdict.laggards) = (with.len(), without);
        let trusting = u64::try_from(with.len()).unwrap_or(u64::MAX);
        let all = u64::try_from(hosts).unwrap_or(u64::MAX);
        let percent = settings.trusting_percent;
        if trusting.saturating_mul(100) < all.saturating_mul(percent) {
            let which = named(&verdict.laggards);
            let refusal = format!(
                "{} of {hosts} enrolled hosts have not reported that they trust {}, and {percent} % have to: {which}",
                verdict.laggards.len(),
                issuer.fingerprint(),
            );
            verdict.refuse(
                refusal,
                "hosts report when they sync: wait, look with `signet hosts ls`, or forget hosts that are gone",
            );
        }
    }
    let safe_at = issuer.published().plus(settings.publish_for_secs);
    if (hosts == 0 || is(host_mount(authority))) && now < safe_at {
        verdict.safe_at = Some(safe_at);
        let refusal = format!(
            "the key is published since {} only, and nobody reports that it is trusted: it may sign from {safe_at} on",
            issuer.published()
        );
        verdict.refuse(
            refusal,
            "wait until every host has fetched public_key, or change [rotation] publish_for",
        );
    }
}

/// No role may be left without the issuer that it names.
fn retirable(authority: &Authority, mount: &Mount, issuer: &Issuer, verdict: &mut Verdict) {
    let roles = roles_of(authority, mount, issuer);
    if !roles.is_empty() {
        let refusal = format!("{} role(s) sign with it: {}", roles.len(), named(&roles));
        verdict.refuse(refusal, "take issuer_ref out of them first");
    }
}

/// Names of the roles that have this issuer sign, and no other.
#[must_use]
pub fn roles_of(authority: &Authority, mount: &Mount, issuer: &Issuer) -> Vec<String> {
    let names = authority.role_names(mount).into_iter();
    let role_of = |name: &String| authority.role(mount, name);
    let naming = names.filter(|name| {
        role_of(name).is_some_and(|role| role.issuer_ref() != DEFAULT_ISSUER && issuer.is_meant(role.issuer_ref()))
    });
    naming.collect()
}

/// A key is trusted as long as a certificate of it lives. The ledger has all of them.
async fn removable(
    authority: &Authority,
    mount: &Mount,
    issuer: &Issuer,
    now: UnixTime,
    verdict: &mut Verdict,
) -> Result<(), rusqlite::Error> {
    retirable(authority, mount, issuer, verdict);
    let (live, last) = live(authority, mount, issuer, now).await?;
    verdict.live = live;
    if live > 0 {
        verdict.safe_at = Some(last);
        let refusal = format!("{live} certificate(s) that it signed live, the last until {last}");
        verdict.refuse(
            refusal,
            "wait, or end them with `signet revoke`; who logs in anew gets one of the new key",
        );
    }
    Ok(())
}

async fn live(
    authority: &Authority,
    mount: &Mount,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<(u64, UnixTime), rusqlite::Error> {
    let wanted = Wanted {
        mount: mount.path().to_owned(),
        live_at: Some(now),
        ..Wanted::default()
    };
    let oldest = oldest_issue(now, authority.longest.secs());
    let ledger = authority.config.data.join(FILE);
    let fingerprint = issuer.fingerprint();
    let mut found = (0_u64, UnixTime::from_secs(0));
    let searching = tokio::task::spawn_blocking(move || {
        search(&ledger, &wanted, Some(oldest), |certificate: Certificate| {
            // A record of an older version does not say which key signed: it may have been this one.
            if certificate.ca_fingerprint.as_ref().is_none_or(|of| *of == fingerprint) {
                found = (found.0.saturating_add(1), found.1.max(certificate.ends()));
            }
            ControlFlow::Continue(())
        })
        .map(|()| found)
    });
    // A search that crashed has shown nothing, and nothing is removed then.
    searching.await.unwrap_or(Ok((u64::MAX, UnixTime::from_secs(u64::MAX))))
}

/// Until when hosts have to trust an issuer that signs no more from `now` on.
#[must_use]
pub fn trusted_until(authority: &Authority, now: UnixTime) -> UnixTime {
    now.plus(authority.longest.secs().saturating_add(PRUNE_MARGIN_SECS))
}

fn named(names: &[String]) -> String {
    let mut text = names
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let more = names.len().saturating_sub(NAMED);
    if more > 0 {
        // Writing into a String cannot fail.
        let _infallible = write!(text, " and {more} more");
    }
    text
}
