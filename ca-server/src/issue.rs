//! The road of a certificate, in one function. Read it first.

use std::sync::Arc;

use signet_core::caller::Caller;
use signet_core::certificate::SignedCertificate;
use signet_core::denial::Denial;
use signet_core::plan::{CertificatePlan, resolve};
use signet_core::request::SigningRequest;
use signet_core::role::DEFAULT_ISSUER;
use signet_core::signer::{SignError, Signer};

use crate::authority::Authority;
use crate::certificates::CoverError;
use crate::ledger::{IssueContext, IssuedCertificate, LedgerError};
use crate::metrics::Metrics;
use crate::mounts::{Issuer, Mount};
use crate::random::{self, RandomFailed};

/// Who asks for a certificate, where.
#[derive(Debug, Clone, Copy)]
pub struct Counter<'a> {
    /// The authority.
    pub authority: &'a Authority,
    /// Who asks.
    pub caller: &'a Caller,
    /// At which mount.
    pub mount: &'a Mount,
    /// By which role.
    pub role: &'a str,
    /// The request's id.
    pub request_id: &'a str,
}

/// Issues a certificate: every step makes the value that the next one needs, so none can be left out.
///
/// # Errors
/// [`IssueError`]; nobody holds a certificate then.
pub async fn issue(at: Counter<'_>, request: &SigningRequest) -> Result<IssuedCertificate, IssueError> {
    let now = at.authority.clock.now();
    let policy = at.authority.policy();
    // 1. Without a permit that could apply, the caller learns nothing about the role.
    let slice = policy.access.slice(at.caller, at.mount.path(), at.role)?;
    // 2. The role's rules, in Vault's order: what OpenSSH will enforce.
    let role = at.authority.role(at.mount, at.role).ok_or_else(|| unknown_role(at))?;
    let rules_met = resolve(&role, request, at.caller, &at.authority.limits(at.mount))?;
    // 3. The policies' yes to exactly these principals, this TTL, these options.
    let grant = slice.grant(rules_met, now)?;
    // 4. The CA key comes last of the checks, as on Vault.
    let issuer = issuer(at.mount, role.issuer_ref())?;
    // 5. All fields decided, then signed.
    let serial = at.authority.ledger.reserve_serial()?;
    let plan = CertificatePlan::new(grant, serial, now, random::nonce32()?)?;
    // A search for live certificates looks back as far as this says.
    at.authority.longest.cover(lifetime(&plan)).await?;
    let certificate = sign(plan, Arc::clone(issuer.signer()), &at.authority.metrics).await?;
    // 6. No record, no certificate: only the ledger makes what may become an answer.
    let context = IssueContext {
        caller: at.caller,
        mount: at.mount.path(),
        role: at.role,
        request_id: at.request_id,
    };
    let recorded = at.authority.ledger.record_issue(certificate, context).await?;
    // 7. INVARIANT: whoever retires or removes an issuer first has it sign no more, then looks for records of it. One that
    // was not there yet when they looked belongs to a certificate that stays here.
    if !at.mount.still_signs(issuer.id()) {
        return Err(IssueError::Issuer {
            reference: issuer.shown().to_owned(),
        });
    }
    Ok(recorded)
}

fn issuer(mount: &Mount, reference: &str) -> Result<Arc<Issuer>, IssueError> {
    match mount.issuer(reference) {
        Some(issuer) if issuer.signs() => Ok(issuer),
        Some(_) | None if reference != DEFAULT_ISSUER => Err(IssueError::Issuer {
            reference: reference.to_owned(),
        }),
        Some(_) | None => Err(IssueError::NoCaKey),
    }
}

fn lifetime(plan: &CertificatePlan) -> u64 {
    let validity = plan.validity();
    validity.valid_after().secs_until(validity.valid_before())
}

/// Signs on this thread what takes microseconds; RSA and keys in hardware go elsewhere, so that they delay nobody else's
/// answer.
async fn sign(
    plan: CertificatePlan,
    signer: Arc<dyn Signer>,
    metrics: &Metrics,
) -> Result<SignedCertificate, IssueError> {
    if !signer.is_slow() {
        return Ok(plan.sign(&*signer)?);
    }
    let holder = signer.holder();
    let signing = tokio::task::spawn_blocking(move || plan.sign(&*signer));
    let outcome = signing.await.map_err(|_| SignError::Failed)?;
    metrics.slow_signature(
        holder,
        match &outcome {
            Ok(_) => "ok",
            Err(SignError::Busy { .. }) => "busy",
            Err(SignError::Unavailable { .. }) => "unavailable",
            Err(_) => "failed",
        },
    );
    Ok(outcome?)
}

fn unknown_role(at: Counter<'_>) -> Denial {
    let names = at.authority.role_names(at.mount);
    Denial::UnknownRole {
        mount: at.mount.path().to_owned(),
        role: at.role.to_owned(),
        nearest: signet_core::mistake::nearest(at.role, names.iter().map(String::as_str)).map(str::to_owned),
    }
}

impl From<CoverError> for IssueError {
    fn from(error: CoverError) -> Self {
        match error {
            CoverError::Store(error) => Self::Ledger(LedgerError::Store(error)),
            // Sealing fails only where randomness does.
            CoverError::Barrier(_) => Self::Random(RandomFailed),
        }
    }
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A rule or a policy says no.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The mount has no CA key.
    #[error("the mount has no CA key")]
    NoCaKey,
    /// The role names an issuer that is not there, or does not sign. OpenBao's text.
    #[error("unable to find issuer for reference: {reference}")]
    Issuer {
        /// What the role says.
        reference: String,
    },
    /// It could not be signed.
    #[error("the certificate could not be signed")]
    Sign(#[from] SignError),
    /// No randomness for the nonce.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// The record could not be made durable.
    #[error("the certificate could not be recorded")]
    Ledger(#[from] LedgerError),
}
