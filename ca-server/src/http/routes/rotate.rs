//! `<mount>/rotate`: where the rotation of a mount's CA key stands, and its next step.

use serde_json::{Value, json};

use super::ca::{made, reach, wish};
use super::issuers::{described, name_of};
use super::mount_of;
use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::Event;
use crate::mounts::{Issuer, IssuerConflict, Mount, MountError, State};
use crate::rotation::{self, Step, Verdict, judge, meant, trusted_until};

/// `GET rotate`.
pub(super) async fn read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    Ok(Reply::data(status(ask, mount_of(ask)?, None).await?))
}

/// `POST rotate`: does one step, the next one unless another is named.
pub(super) async fn step(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let (due, _) = rotation::next(mount).ok_or_else(|| {
        let text = format!("mount `{}` has no CA key that could be rotated", mount.path());
        Problem::refused("rotation-step", text).with_hint("make one: POST config/ca")
    })?;
    let word = ask.text("step")?;
    let step = match word.as_str() {
        "" => due,
        word => Step::parse(word).ok_or_else(|| {
            Problem::refused(
                "field-invalid",
                "step is one of stage, publish, promote, retire, remove",
            )
        })?,
    };
    if step == Step::Stage {
        stage(ask, permit, mount).await?;
    } else {
        let issuer = meant(mount, step, &ask.text("issuer")?).map_err(|text| {
            let hint = format!("the next step is: {}", due.as_str());
            Problem::refused("rotation-step", text).with_hint(hint)
        })?;
        let force = ask.fields.bool("force")?.unwrap_or_default();
        take(ask, permit, mount, step, &issuer, force).await?;
    }
    Ok(Reply::data(status(ask, mount, Some(step)).await?))
}

/// Makes or imports the next key.
async fn stage(ask: &Ask<'_>, permit: &Permit, mount: &Mount) -> Result<(), Problem> {
    let _one_at_a_time = mount.rotation().await;
    if let Some((due @ (Step::Publish | Step::Promote), _)) = rotation::next(mount) {
        let text = format!(
            "a rotation of `{}` is under way, and its next step is: {}",
            mount.path(),
            due.as_str()
        );
        return Err(Problem::refused("rotation-step", text)
            .with_hint("go on with it, or delete the issuer that was staged: DELETE issuer/ID"));
    }
    let name = name_of(ask.text("issuer_name")?)?;
    // Of the same kind as the present one, unless another is asked for.
    let line = mount
        .signer()
        .map(|signer| signer.public_key().line())
        .unwrap_or_default();
    let kind = line.split(' ').next().unwrap_or_default();
    let wish = wish(ask, kind)?;
    let (key, _naming) = made(ask, wish).await?;
    let signer = key.signer();
    let fingerprint = signer.public_key().fingerprint();
    if let Some(same) = mount.issuer_of_key(&fingerprint) {
        let text = format!("issuer `{}` has this key already", same.shown());
        return Err(Problem::refused("ca-key-exists", text));
    }
    let event = event(ask, permit, mount, Step::Stage)
        .text("ca_fingerprint", &fingerprint)
        .text("holder", signer.holder())
        .optional("place", signer.place().as_deref());
    ask.authority.ledger.record(event).await?;
    reach(ask, mount, signer.public_key()).await?;
    mount.add_issuer(key, &name, State::Staged, ask.now).await?;
    Ok(())
}

/// Does a step of an issuer if it is safe, or if it is forced.
pub(super) async fn take(
    ask: &Ask<'_>,
    permit: &Permit,
    mount: &Mount,
    step: Step,
    issuer: &Issuer,
    force: bool,
) -> Result<(), Problem> {
    let _one_at_a_time = mount.rotation().await;
    let now = mount.issuer(issuer.id()).map(|issuer| issuer.state());
    if now != Some(issuer.state()) {
        return Err(MountError::from(IssuerConflict::Changed).into());
    }
    let taken = judge_and_take(ask, permit, mount, step, issuer, force).await;
    if taken.is_err() && step == Step::Remove {
        // It was not removed, whatever stood in the way: it goes on signing for whom it signed.
        mount.pause(issuer.id(), false).await?;
    }
    taken
}

async fn judge_and_take(
    ask: &Ask<'_>,
    permit: &Permit,
    mount: &Mount,
    step: Step,
    issuer: &Issuer,
    force: bool,
) -> Result<(), Problem> {
    let verdict = verdict(ask, mount, step, issuer, force).await?;
    let refusal = verdict.refusal.as_deref();
    let event = event(ask, permit, mount, step)
        .text("ca_fingerprint", &issuer.fingerprint())
        .text("issuer", issuer.id())
        .optional("forced_against", refusal);
    ask.authority.ledger.record(event).await?;
    let id = issuer.id();
    match step {
        Step::Stage => {}
        Step::Publish => mount.publish(id, ask.now).await?,
        Step::Promote => mount.promote(id, ask.now).await?,
        Step::Retire => mount.retire(id, ask.now, trusted_until(ask.authority, ask.now)).await?,
        Step::Remove => {
            // Whoever kept a certificate of it against a wrong clock must stay revocable.
            let list = ask.authority.revocations.list(mount, ask.now).await?;
            list.retire(issuer.signer().public_key(), ask.now).await?;
            mount.remove_issuer(id, issuer.state()).await?;
        }
    }
    tracing::info!(
        mount = mount.path(),
        issuer = id,
        step = step.as_str(),
        "CA key rotation"
    );
    Ok(())
}

/// What is known of a step that is safe, or forced. Before a removal the issuer has stopped signing.
async fn verdict(ask: &Ask<'_>, mount: &Mount, step: Step, issuer: &Issuer, force: bool) -> Result<Verdict, Problem> {
    let judged = async || {
        let verdict = judge(ask.authority, mount, step, issuer, ask.now).await;
        let verdict = verdict.map_err(|error| Problem::internal(&error))?;
        match verdict.refusal.as_deref().filter(|_| !force) {
            None => Ok(verdict),
            Some(why) => {
                let text = format!("not safe to {} issuer `{}`: {why}", step.as_str(), issuer.shown());
                Err(Problem::refused("rotation-unsafe", text).with_hint(verdict.hint.unwrap_or_default()))
            }
        }
    };
    let verdict = judged().await?;
    if step != Step::Remove {
        return Ok(verdict);
    }
    // What it signed in the meantime is on record once it has stopped: see `issue`.
    mount.pause(issuer.id(), true).await?;
    judged().await
}

fn event(ask: &Ask<'_>, permit: &Permit, mount: &Mount, step: Step) -> Event {
    ask.authority
        .ledger
        .event(step.event())
        .caller(&permit.session().caller)
        .text("mount", mount.path())
        .text("request_id", ask.request_id)
}

/// All issuers, and the next step with what stands in its way.
async fn status(ask: &Ask<'_>, mount: &Mount, done: Option<Step>) -> Result<Value, Problem> {
    let issuers: Vec<Value> = mount.issuers().iter().map(|issuer| described(issuer)).collect();
    let next = match rotation::next(mount) {
        None => Value::Null,
        Some((step, None)) => next(step, None, &Verdict::default()),
        Some((step, Some(issuer))) => {
            let verdict = judge(ask.authority, mount, step, &issuer, ask.now)
                .await
                .map_err(|error| Problem::internal(&error))?;
            next(step, Some(&issuer), &verdict)
        }
    };
    Ok(json!({
        "mount": mount.path(),
        "done": done.map(Step::as_str),
        "issuers": issuers,
        "next": next,
    }))
}

fn next(step: Step, issuer: Option<&Issuer>, verdict: &Verdict) -> Value {
    json!({
        "step": step.as_str(),
        "issuer_id": issuer.map(Issuer::id),
        "issuer_name": issuer.map(Issuer::name),
        "ca_fingerprint": issuer.map(Issuer::fingerprint),
        "safe": verdict.refusal.is_none(),
        "reason": verdict.refusal,
        "hint": verdict.hint,
        "safe_at": verdict.safe_at.map(|at| at.to_string()),
        "trusting": verdict.trusting,
        "laggards": verdict.laggards,
        "live": verdict.live,
    })
}
