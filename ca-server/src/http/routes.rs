//! The handlers, one file a noun, and the one place that calls them. Each match is exhaustive: a row of the table without a
//! handler does not compile.

mod backup;
mod bundle;
mod ca;
mod certificates;
mod custody;
mod hosts;
mod issue;
mod issuers;
mod keyholder;
mod login;
mod mounts;
mod reconcile;
mod revocations;
mod roles;
mod rotate;
mod sign;
mod signet;
mod sys;
mod token;

use axum::body::Body;

use super::Permit;
use super::ask::{Ask, NodeAsk};
use super::authenticate::Session;
use super::envelope::Reply;
use super::problem::Problem;
use super::table::{Keyholder, NodeEndpoint, Open, Policy, Token};
use crate::authority::Authority;
use crate::ledger::Event;
use crate::metrics::Metrics;
use crate::mounts::Mount;

/// Endpoints about the seal, there while it is closed.
pub(super) async fn node(endpoint: NodeEndpoint, ask: &NodeAsk<'_>) -> Result<Reply, Problem> {
    match endpoint {
        NodeEndpoint::Health => custody::health(ask),
        NodeEndpoint::SealStatus => Ok(custody::seal_status(ask)),
        NodeEndpoint::Leader => Ok(custody::leader(ask)),
        NodeEndpoint::InitStatus => Ok(custody::init_status(ask)),
        NodeEndpoint::Init => custody::init(ask).await,
        NodeEndpoint::Unseal => custody::unseal(ask).await,
    }
}

/// Endpoints for whoever a policy permits it, or who brings a key share.
pub(super) async fn keyholder(endpoint: Keyholder, ask: &NodeAsk<'_>) -> Result<Reply, Problem> {
    match endpoint {
        Keyholder::RekeyStatus(target) => keyholder::rekey_status(ask, target),
        Keyholder::RekeyStart(target) => keyholder::rekey_start(ask, target).await,
        Keyholder::RekeyCancel(target) => keyholder::rekey_cancel(ask, target).await,
        Keyholder::RekeyUpdate(target) => keyholder::rekey_update(ask, target).await,
        Keyholder::VerifyStatus(target) => keyholder::verify_status(ask, target),
        Keyholder::VerifyUpdate(target) => keyholder::verify_update(ask, target).await,
        Keyholder::VerifyReset(target) => keyholder::verify_reset(ask, target).await,
        Keyholder::RootStatus => keyholder::root_status(ask),
        Keyholder::RootStart => keyholder::root_start(ask).await,
        Keyholder::RootCancel => keyholder::root_cancel(ask).await,
        Keyholder::RootUpdate => keyholder::root_update(ask).await,
        // Its body is read piece by piece: `restore`.
        Keyholder::Restore => Err(Problem::UnsupportedPath),
    }
}

/// A backup that is sent to be restored.
pub(super) async fn restore(ask: &NodeAsk<'_>, body: Body) -> Result<Reply, Problem> {
    backup::restore(ask, body).await
}

/// Endpoints without a token.
pub(super) async fn open(endpoint: Open, ask: &Ask<'_>) -> Result<Reply, Problem> {
    match endpoint {
        Open::PublicKey => ca::public_key(ask),
        Open::IssuerPublicKey => issuers::public_key(ask),
        Open::SshKeyChallenge => login::ssh_key_challenge(ask).await,
        Open::SshKeyLogin => login::ssh_key_login(ask).await,
        Open::JwtLogin => login::jwt_login(ask).await,
        Open::Krl => bundle::krl(ask).await,
        Open::KrlSignature => bundle::krl_signature(ask).await,
        Open::TrustBundle => bundle::trust_bundle(ask).await,
        Open::BundleKey => Ok(bundle::public_key(ask)),
        Open::HostChallenge => hosts::challenge(ask),
        Open::HostEnroll => hosts::enroll(ask).await,
        Open::HostRenew => hosts::renew(ask).await,
        Open::HostReport => hosts::report(ask).await,
        Open::NotOffered(what) => Err(Problem::NotOffered(what)),
    }
}

/// Endpoints for any valid token.
pub(super) async fn token(endpoint: Token, ask: &Ask<'_>, session: &Session) -> Result<Reply, Problem> {
    match endpoint {
        Token::Sign => sign::sign(ask, session).await,
        Token::Issue => issue::issue(ask, session).await,
        Token::LookupSelf => Ok(token::lookup_self(ask, session)),
        Token::RenewSelf => token::renew_self(ask, session).await,
        Token::RevokeSelf => token::revoke_self(ask, session).await,
        Token::CapabilitiesSelf => sys::capabilities_self(ask, session),
        Token::Whoami => Ok(signet::whoami(session)),
        Token::Roles => signet::roles(ask, session),
        Token::MountOfPath => mounts::of_path(ask),
    }
}

/// Endpoints that a policy guards.
pub(super) async fn policy(endpoint: Policy, ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    match endpoint {
        Policy::Seal => custody::seal(ask, permit).await,
        Policy::Rotate => custody::rotate(ask, permit).await,
        Policy::KeyStatus => custody::key_status(ask),
        Policy::MountList => Ok(mounts::list(ask)),
        Policy::MountRead => mounts::read(ask),
        Policy::MountCreate => mounts::create(ask, permit).await,
        Policy::MountDelete => mounts::delete(ask, permit).await,
        Policy::MountTuneRead => mounts::tune_read(ask),
        Policy::MountTune => mounts::tune(ask, permit).await,
        Policy::RoleList => roles::list(ask),
        Policy::RoleRead => roles::read(ask),
        Policy::RoleWrite => roles::write(ask, permit).await,
        Policy::RoleDelete => roles::delete(ask, permit).await,
        Policy::CaRead => ca::read(ask),
        Policy::CaWrite => ca::write(ask, permit).await,
        Policy::CaDelete => ca::delete(ask, permit).await,
        Policy::IssuerList => issuers::list(ask),
        Policy::IssuerImport => issuers::import(ask, permit).await,
        Policy::IssuerRead => issuers::read(ask),
        Policy::IssuerRename => issuers::rename(ask, permit).await,
        Policy::IssuerDelete => issuers::delete(ask, permit).await,
        Policy::DefaultIssuerRead => issuers::read_default(ask),
        Policy::DefaultIssuerWrite => issuers::write_default(ask, permit).await,
        Policy::RotationRead => rotate::read(ask).await,
        Policy::RotationStep => rotate::step(ask, permit).await,
        Policy::TokenCreate => token::create(ask, permit, false).await,
        Policy::TokenCreateOrphan => token::create(ask, permit, true).await,
        Policy::TokenLookup => token::lookup(ask),
        Policy::TokenRenew => token::renew(ask, permit).await,
        Policy::TokenRevoke => token::revoke(ask, permit).await,
        Policy::TokenLookupAccessor => token::lookup_accessor(ask),
        Policy::TokenRevokeAccessor => token::revoke_accessor(ask, permit).await,
        Policy::TokenAccessors => token::accessors(ask),
        Policy::Metrics => Ok(metrics(&ask.authority.metrics)),
        Policy::Revoke => revocations::revoke(ask, permit).await,
        Policy::RevocationList => revocations::list(ask).await,
        Policy::RevocationDelete => revocations::delete(ask, permit).await,
        Policy::CertificateList => certificates::list(ask).await,
        Policy::HostList => hosts::list(ask),
        Policy::HostRead => hosts::read(ask),
        Policy::HostForget => hosts::forget(ask, permit).await,
        Policy::HostTokenCreate => hosts::create_token(ask, permit).await,
        Policy::Reconcile => reconcile::read(ask).await,
        Policy::Backup => backup::take(ask, permit).await,
    }
}

/// The metrics' text.
pub(super) fn metrics(metrics: &Metrics) -> Reply {
    Reply::text(
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        metrics.render(),
    )
}

/// Records a refusal. It is answered all the same when the ledger is down: nothing is given away by a no.
pub(super) async fn record_denial(authority: &Authority, event: Event) {
    if let Err(error) = authority.ledger.record(event).await {
        tracing::error!(%error, "a refusal could not be recorded");
    }
}

/// The mount of a path under one.
fn mount_of<'a>(ask: &'a Ask<'_>) -> Result<&'a Mount, Problem> {
    ask.mount.as_deref().ok_or(Problem::UnsupportedPath)
}
