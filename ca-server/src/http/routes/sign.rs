//! `POST <mount>/sign/:role`: a certificate for the caller's key.

use signet_core::denial::Denial;
use signet_core::request::SigningRequest;

use super::mount_of;
use crate::http::ask::Ask;
use crate::http::authenticate::Session;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::issue::{Counter, IssueError, issue};
use crate::ledger::{EventKind, IssuedCertificate};

/// Signs; a refusal is recorded before it is answered.
pub(super) async fn sign(ask: &Ask<'_>, session: &Session) -> Result<Reply, Problem> {
    let request = match SigningRequest::from_vault(&ask.fields) {
        Ok(request) => request,
        Err(error) => return Err(refused(ask, session, &SigningRequest::default(), error.into()).await),
    };
    let issued = issued(ask, session, &request).await?;
    let warnings = issued.warnings().to_vec();
    Ok(Reply::signed(issued.serial().vault_hex(), issued.line().to_owned()).with_warnings(warnings))
}

/// Walks the road of a certificate for this request.
pub(super) async fn issued(
    ask: &Ask<'_>,
    session: &Session,
    request: &SigningRequest,
) -> Result<IssuedCertificate, Problem> {
    let counter = Counter {
        authority: ask.authority,
        caller: &session.caller,
        mount: mount_of(ask)?,
        role: ask.capture,
        request_id: ask.request_id,
    };
    match issue(counter, request).await {
        Ok(issued) => {
            ask.authority.metrics.certificate();
            Ok(issued)
        }
        Err(IssueError::Denied(denial)) => Err(refused(ask, session, request, denial).await),
        Err(IssueError::NoCaKey) => Err(Problem::NoCaKey {
            mount: counter.mount.path().to_owned(),
        }),
        Err(error @ IssueError::Issuer { .. }) => Err(Problem::refused("issuer-invalid", error.to_string())
            .with_hint("the role's issuer_ref names an issuer that is not there or does not sign: tell the operator")),
        Err(IssueError::Ledger(error)) => Err(error.into()),
        Err(IssueError::Sign(error)) => Err(error.into()),
        Err(IssueError::Random(error)) => Err(error.into()),
    }
}

/// Records who was refused what and why.
pub(super) async fn refused(ask: &Ask<'_>, session: &Session, request: &SigningRequest, denial: Denial) -> Problem {
    let principals = request.valid_principals.as_deref().map(brief);
    let event = ask
        .authority
        .ledger
        .event(EventKind::Deny)
        .caller(&session.caller)
        .text("action", "sign")
        .text("mount", ask.mount.as_ref().map_or("", |mount| mount.path()))
        .text("role", ask.capture)
        .optional("principals", principals.as_deref())
        .text("code", denial.code())
        .text("reason", &brief(&denial.to_string()))
        .text("request_id", ask.request_id);
    ask.authority.metrics.denial(denial.code());
    super::record_denial(ask.authority, event).await;
    denial.into()
}

/// What the ledger keeps of a text that a caller chose.
const TEXT_CHARS_MAX: usize = 300;

fn brief(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
