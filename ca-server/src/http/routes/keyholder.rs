//! `sys/rekey`, `sys/rekey-recovery-key` and `sys/generate-root`: what the holders of key shares do together.
//!
//! SECURITY: starting and cancelling need a token that a policy permits it, or a share of the set. In Vault anybody could do
//! both and so keep operators from ever finishing (CVE-2025-4656, CVE-2025-52894, CVE-2026-5807).

use http::StatusCode;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::custody::{blocking, recipients, refuse_pgp, spec, texts};
use crate::custody::CustodyError;
use crate::custody::recipients::Recipients;
use crate::http::ask::NodeAsk;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::http::{permit, session_of};
use crate::node::{Actor, LifeError, Node, OTP_CHARS, RekeyDone, RekeyStatus, RootStatus, Target};
use crate::seal::shamir::{Share, ShareSet};

fn must_be_open(ask: &NodeAsk<'_>) -> Result<(), Problem> {
    ask.node.authority().map(drop).ok_or_else(|| Problem::sealed(ask.node))
}

/// Who may start or cancel: the holder of a share of `set`, or a caller whom a policy permits it.
pub(super) async fn standing(ask: &NodeAsk<'_>, set: Option<ShareSet>) -> Result<Actor, Problem> {
    let authority = ask.node.authority().ok_or_else(|| Problem::sealed(ask.node))?;
    let key = Zeroizing::new(ask.text("key")?);
    if let (false, Some(set)) = (key.is_empty(), set) {
        set.admit(&Share::parse(&key)?)?;
        return Ok(Actor::Address(ask.peer));
    }
    let session = session_of(&authority, ask.head, ask.peer, ask.now)?;
    authority.tokens.spend(&session.entry).await?;
    let permit = permit(&authority, session, (ask.op, ask.path), (ask.now, ask.request_id)).await?;
    Ok(Actor::Caller(Box::new(permit.session().caller.clone())))
}

/// `GET …/init`
pub(super) fn rekey_status(ask: &NodeAsk<'_>, target: Target) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    Ok(Reply::bare(StatusCode::OK, rekey_body(&ask.node.rekey_status(target))))
}

/// `PUT …/init`
pub(super) async fn rekey_start(ask: &NodeAsk<'_>, target: Target) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    refuse_pgp(ask, "pgp_keys", "age_keys")?;
    if ask.fields.bool("backup")?.unwrap_or(false) {
        return Err(Problem::NotOffered("keeping a copy of key shares"));
    }
    let set = blocking(ask.node, move |node| match node.rekey_set(target) {
        Ok(set) => Ok(Some(set)),
        Err(LifeError::Custody(CustodyError::NoRecoveryKeys)) => Ok(None),
        Err(error) => Err(error),
    })
    .await?;
    let actor = standing(ask, set).await?;
    let spec = spec(ask, "secret_shares", "secret_threshold")?;
    let recipients = recipients(ask, "age_keys", spec)?;
    let verify = ask.fields.bool("require_verification")?.unwrap_or(false);
    if set.is_none() {
        let first = move |node: &Node| node.first_recovery_keys(spec, &recipients, verify, &actor);
        let made = blocking(ask.node, first).await?;
        return Ok(Reply::bare(StatusCode::OK, done_body(&made)));
    }
    let begin = move |node: &Node| node.rekey_start(target, spec, recipients, verify, &actor);
    let status = blocking(ask.node, begin).await?;
    Ok(Reply::bare(StatusCode::OK, rekey_body(&status)))
}

/// `DELETE …/init`
pub(super) async fn rekey_cancel(ask: &NodeAsk<'_>, target: Target) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    let set = blocking(ask.node, move |node| node.rekey_set(target)).await.ok();
    let (actor, nonce) = (standing(ask, set).await?, ask.text("nonce")?);
    blocking(ask.node, move |node| node.rekey_cancel(target, &nonce, &actor)).await?;
    Ok(Reply::nothing())
}

/// `PUT …/update`
pub(super) async fn rekey_update(ask: &NodeAsk<'_>, target: Target) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    let (key, nonce, peer) = share_and_nonce(ask)?;
    let done = blocking(ask.node, move |node| node.rekey_update(target, &key, &nonce, peer)).await?;
    Ok(Reply::bare(
        StatusCode::OK,
        match done {
            Some(done) => done_body(&done),
            None => with_complete(rekey_body(&ask.node.rekey_status(target)), false),
        },
    ))
}

/// `GET …/verify`
pub(super) fn verify_status(ask: &NodeAsk<'_>, target: Target) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    Ok(Reply::bare(StatusCode::OK, verify_body(ask, target)?))
}

/// `PUT …/verify`
pub(super) async fn verify_update(ask: &NodeAsk<'_>, target: Target) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    let (key, nonce, peer) = share_and_nonce(ask)?;
    let named = nonce.clone();
    let complete = blocking(ask.node, move |node| node.verify_update(target, &key, &nonce, peer)).await?;
    let body = if complete {
        json!({"nonce": named, "complete": true})
    } else {
        with_complete(verify_body(ask, target)?, false)
    };
    Ok(Reply::bare(StatusCode::OK, body))
}

/// `DELETE …/verify`
pub(super) async fn verify_reset(ask: &NodeAsk<'_>, target: Target) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    let set = blocking(ask.node, move |node| node.rekey_set(target)).await.ok();
    standing(ask, set).await?;
    ask.node.verify_reset(target, &ask.text("nonce")?)?;
    Ok(Reply::bare(StatusCode::OK, verify_body(ask, target)?))
}

/// `GET sys/generate-root/attempt`
pub(super) fn root_status(ask: &NodeAsk<'_>) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    Ok(Reply::bare(StatusCode::OK, root_body(&ask.node.root_status(), "", "")))
}

/// `PUT sys/generate-root/attempt`
pub(super) async fn root_start(ask: &NodeAsk<'_>) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    refuse_pgp(ask, "pgp_key", "age_key")?;
    let set = blocking(ask.node, Node::operators).await?;
    let actor = standing(ask, Some(set)).await?;
    let otp = Zeroizing::new(ask.text("otp")?);
    let recipients = Recipients::parse(&ask.fields.string("age_key")?.into_iter().collect::<Vec<_>>(), 1)?;
    let (status, made) = blocking(ask.node, move |node| node.root_start(&otp, recipients, &actor)).await?;
    let otp = made.as_ref().map_or("", secrecy::ExposeSecret::expose_secret);
    Ok(Reply::bare(StatusCode::OK, root_body(&status, otp, "")))
}

/// `DELETE sys/generate-root/attempt`
pub(super) async fn root_cancel(ask: &NodeAsk<'_>) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    let set = blocking(ask.node, Node::operators).await.ok();
    let (actor, nonce) = (standing(ask, set).await?, ask.text("nonce")?);
    blocking(ask.node, move |node| node.root_cancel(&nonce, &actor)).await?;
    Ok(Reply::nothing())
}

/// `PUT sys/generate-root/update`
pub(super) async fn root_update(ask: &NodeAsk<'_>) -> Result<Reply, Problem> {
    must_be_open(ask)?;
    let (key, nonce, peer) = share_and_nonce(ask)?;
    let Some(proof) = blocking(ask.node, move |node| node.root_update(&key, &nonce, peer)).await? else {
        return root_status(ask);
    };
    let token = ask.node.make_root(&proof).await?;
    Ok(Reply::bare(StatusCode::OK, root_body(&proof.status, "", &token)))
}

fn share_and_nonce(ask: &NodeAsk<'_>) -> Result<(Zeroizing<String>, String, std::net::IpAddr), Problem> {
    let key = Zeroizing::new(ask.text("key")?);
    if key.is_empty() {
        return Err(Problem::refused(
            "field-missing",
            "'key' must be specified in request body as JSON",
        ));
    }
    Ok((key, ask.text("nonce")?, ask.peer))
}

fn rekey_body(status: &RekeyStatus) -> Value {
    json!({
        "nonce": status.nonce,
        "started": status.started,
        "t": status.t,
        "n": status.n,
        "progress": status.progress,
        "required": status.required,
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": status.verification_required,
        "verification_nonce": status.verification_nonce,
    })
}

fn done_body(done: &RekeyDone) -> Value {
    let (hex, base64) = texts(&done.keys);
    json!({
        "nonce": done.nonce,
        "complete": true,
        "keys": hex,
        "keys_base64": base64,
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": !done.verification_nonce.is_empty(),
        "verification_nonce": done.verification_nonce,
    })
}

fn verify_body(ask: &NodeAsk<'_>, target: Target) -> Result<Value, Problem> {
    let status = ask.node.verify_status(target)?;
    Ok(json!({
        "nonce": status.nonce,
        "started": true,
        "t": status.t,
        "n": status.n,
        "progress": status.progress,
    }))
}

fn root_body(status: &RootStatus, otp: &str, token: &str) -> Value {
    json!({
        "nonce": status.nonce,
        "started": status.started,
        "progress": status.progress,
        "required": status.required,
        "complete": !token.is_empty(),
        "encoded_token": token,
        "encoded_root_token": token,
        "pgp_fingerprint": "",
        "otp": otp,
        "otp_length": OTP_CHARS,
    })
}

fn with_complete(mut body: Value, complete: bool) -> Value {
    if let Some(body) = body.as_object_mut() {
        body.insert("complete".to_owned(), complete.into());
    }
    body
}
