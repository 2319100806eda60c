//! `sys/`: health, initialising, sealing and unsealing, as Vault's clients, load balancers and operators ask for them.

use std::sync::Arc;

use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::custody::recipients::{Printed, Recipients};
use crate::http::Permit;
use crate::http::ask::{Ask, NodeAsk};
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::http::table::Op;
use crate::keyring::TermInfo;
use crate::node::{Actor, LifeError, Node, Summary};
use crate::seal::SealKind;
use crate::seal::shamir::ShareSpec;

/// The level of Vault's behaviour that clients switch features by, and our own version behind it.
const VERSION: &str = concat!("1.17.6+signet", env!("CARGO_PKG_VERSION"));

/// `GET|HEAD sys/health`: 200, 501, 503, or what the query wants instead; the reason stands in the body.
pub(super) fn health(ask: &NodeAsk<'_>) -> Result<Reply, Problem> {
    let summary = ask.node.summary();
    let sealed = summary.closed.is_some();
    let status = match (summary.initialised, sealed) {
        (false, _) => code_for(ask, "uninitcode", StatusCode::NOT_IMPLEMENTED)?,
        (true, true) => code_for(ask, "sealedcode", StatusCode::SERVICE_UNAVAILABLE)?,
        (true, false) => code_for(ask, "activecode", StatusCode::OK)?,
    };
    // RFC 9110, "204 No Content" and "304 Not Modified": a body behind them breaks the connection.
    if ask.op == Op::Head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Reply::head(status));
    }
    let mut body = json!({
        "initialized": summary.initialised,
        "sealed": sealed,
        "standby": sealed,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": ask.now.secs(),
        "version": VERSION,
        "enterprise": false,
        "cluster_name": ask.node.foundation().config.name,
    });
    add_reason(&mut body, &summary);
    Ok(Reply::bare(status, body))
}

fn code_for(ask: &NodeAsk<'_>, field: &str, default: StatusCode) -> Result<StatusCode, Problem> {
    let Some(code) = ask.fields.int(field)? else {
        return Ok(default);
    };
    // 1xx announces another answer, which never comes.
    u16::try_from(code)
        .ok()
        .filter(|code| (200..600).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| Problem::refused("field-invalid", format!("{field} is not a status code")))
}

fn add_reason(body: &mut Value, summary: &Summary) {
    if let (Some(closed), Some(body)) = (&summary.closed, body.as_object_mut()) {
        body.insert("seal_reason".to_owned(), closed.reason().into());
    }
}

/// `GET sys/seal-status`.
pub(super) fn seal_status(ask: &NodeAsk<'_>) -> Reply {
    Reply::bare(StatusCode::OK, status(ask.node))
}

fn status(node: &Node) -> Value {
    let summary = node.summary();
    let (progress, nonce) = node.unseal_progress();
    let mut body = json!({
        "type": summary.kind.as_str(),
        "initialized": summary.initialised,
        "sealed": summary.closed.is_some(),
        "t": summary.shares.map_or(0, |set| set.t),
        "n": summary.shares.map_or(0, |set| set.n),
        "progress": progress,
        "nonce": nonce,
        "version": VERSION,
        "build_date": "",
        "migration": summary.migration,
        "cluster_name": node.foundation().config.name,
        "recovery_seal": summary.kind != SealKind::Shamir,
        "storage_type": "sqlite",
    });
    add_reason(&mut body, &summary);
    body
}

/// `GET sys/leader`: one node, no leader to look for.
pub(super) fn leader(ask: &NodeAsk<'_>) -> Reply {
    let config = &ask.node.foundation().config;
    let address = config.addresses.first().map_or("", String::as_str);
    Reply::bare(
        StatusCode::OK,
        json!({
            "ha_enabled": false,
            "is_self": false,
            "leader_address": address,
            "leader_cluster_address": "",
            "performance_standby": false,
        }),
    )
}

/// `GET sys/init`.
pub(super) fn init_status(ask: &NodeAsk<'_>) -> Reply {
    Reply::bare(StatusCode::OK, json!({"initialized": ask.node.summary().initialised}))
}

/// `PUT sys/init`: founds the store. What it answers is shown once.
pub(super) async fn init(ask: &NodeAsk<'_>) -> Result<Reply, Problem> {
    let summary = ask.node.summary();
    if summary.initialised {
        return Err(Problem::refused("already-initialized", "Vault is already initialized"));
    }
    for (pgp, age) in [
        ("pgp_keys", "age_keys"),
        ("recovery_pgp_keys", "recovery_age_keys"),
        ("root_token_pgp_key", "root_token_age_key"),
    ] {
        refuse_pgp(ask, pgp, age)?;
    }
    let is_shamir = summary.kind == SealKind::Shamir;
    let (wanted, other) = if is_shamir {
        ("secret", "recovery")
    } else {
        ("recovery", "secret")
    };
    let other = [format!("{other}_shares"), format!("{other}_threshold")];
    for field in &other {
        if ask.fields.int(field)?.is_some_and(|number| number != 0) {
            let text = format!(
                "parameters {} not applicable to seal type {}",
                other.join(","),
                summary.kind.as_str()
            );
            return Err(Problem::refused("not-for-this-seal", text));
        }
    }
    let spec = spec(ask, &format!("{wanted}_shares"), &format!("{wanted}_threshold"))?;
    let age_keys = if is_shamir { "age_keys" } else { "recovery_age_keys" };
    let recipients = recipients(ask, age_keys, spec)?;
    let root_recipient = Recipients::parse(
        &ask.fields.string("root_token_age_key")?.into_iter().collect::<Vec<_>>(),
        1,
    )?;
    let actor = Actor::Address(ask.peer);
    let made = blocking(ask.node, move |node| {
        let made = if is_shamir {
            node.init_shamir(spec, &actor)
        } else {
            node.init_automatic(spec, &actor)
        }?;
        Ok((recipients.print(&made.shares)?, made.root_token))
    })
    .await?;
    let (printed, root_token) = made;
    let root_token = root_recipient
        .one(root_token.expose_secret())?
        .unwrap_or_else(|| root_token.expose_secret().to_owned());
    let (hex, base64) = texts(&printed);
    let body = if is_shamir {
        json!({"keys": hex, "keys_base64": base64, "root_token": root_token})
    } else {
        json!({
            "keys": [],
            "keys_base64": [],
            "recovery_keys": hex,
            "recovery_keys_base64": base64,
            "root_token": root_token,
        })
    };
    Ok(Reply::bare(StatusCode::OK, body))
}

/// `PUT sys/unseal`: a share, or a reset.
pub(super) async fn unseal(ask: &NodeAsk<'_>) -> Result<Reply, Problem> {
    let share = Zeroizing::new(ask.text("key")?);
    let reset = ask.fields.bool("reset")?.unwrap_or(false);
    let migrate = ask.fields.bool("migrate")?.unwrap_or(false);
    if !ask.node.summary().initialised {
        return Err(Problem::sealed(ask.node));
    }
    if share.is_empty() && !reset {
        return Err(Problem::refused(
            "field-missing",
            "'key' must be specified in request body as JSON, or 'reset' set to true",
        ));
    }
    let peer = ask.peer;
    blocking(ask.node, move |node| {
        if reset {
            node.reset_unseal(Some(share.as_str()).filter(|share| !share.is_empty()), peer)
        } else {
            node.unseal(&share, migrate, peer)
        }
    })
    .await?;
    Ok(seal_status(ask))
}

/// `PUT sys/seal`.
pub(super) async fn seal(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let actor = actor(permit);
    blocking(ask.node, move |node| node.seal(&actor)).await?;
    Ok(Reply::nothing())
}

/// `PUT sys/rotate`.
pub(super) async fn rotate(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let actor = actor(permit);
    blocking(ask.node, move |node| node.rotate(&actor)).await?;
    Ok(Reply::nothing())
}

/// `GET sys/key-status`.
pub(super) fn key_status(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let TermInfo { term, created } = ask.authority.keyring.newest().map_err(|_| Problem::sealed(ask.node))?;
    let data = json!({"term": term, "install_time": created.to_string()});
    match data {
        Value::Object(data) => Ok(Reply::twice(data)),
        _ => Ok(Reply::nothing()),
    }
}

fn actor(permit: &Permit) -> Actor {
    Actor::Caller(Box::new(permit.session().caller.clone()))
}

/// Runs what waits for a disk or a seal off the request threads.
pub(super) async fn blocking<T: Send + 'static>(
    node: &Arc<Node>,
    work: impl FnOnce(&Node) -> Result<T, LifeError> + Send + 'static,
) -> Result<T, Problem> {
    let node = Arc::clone(node);
    match tokio::task::spawn_blocking(move || work(&node)).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(Problem::internal(&error)),
    }
}

/// The number of shares and the threshold; both must be there.
pub(super) fn spec(ask: &NodeAsk<'_>, shares: &str, threshold: &str) -> Result<ShareSpec, Problem> {
    let number = |field: &str| Ok::<_, Problem>(ask.fields.int(field)?.unwrap_or(0));
    Ok(ShareSpec::new(number(shares)?, number(threshold)?)?)
}

/// The age recipients in `field`.
pub(super) fn recipients(ask: &NodeAsk<'_>, field: &str, spec: ShareSpec) -> Result<Recipients, Problem> {
    let texts = ask.fields.comma_list(field)?.unwrap_or_default();
    Ok(Recipients::parse(&texts, spec.shares().into())?)
}

/// There is no PGP here; shares that were meant to be encrypted must not go out in the clear.
pub(super) fn refuse_pgp(ask: &NodeAsk<'_>, pgp: &str, age: &str) -> Result<(), Problem> {
    if ask.fields.comma_list(pgp)?.is_none_or(|keys| keys.is_empty()) {
        return Ok(());
    }
    let text = format!("{pgp} is not available on this server: it encrypts to age recipients, given as {age}");
    Err(Problem::refused("not-offered", text)
        .with_hint("`age-keygen` makes a key pair; the recipient begins with age1"))
}

/// Shares as texts of an answer.
pub(super) fn texts(printed: &Printed) -> (Vec<&str>, Vec<&str>) {
    (
        printed.hex.iter().map(|text| text.as_str()).collect(),
        printed.base64.iter().map(|text| text.as_str()).collect(),
    )
}
