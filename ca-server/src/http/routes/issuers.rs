//! `<mount>/issuers`, `issuer/:ref` and `config/issuers`, as OpenBao has them. What could lock people out is refused unless
//! it is forced: the rules are those of a rotation.

use serde_json::{Map, Value, json};
use signet_core::role::DEFAULT_ISSUER;

use super::ca::{line_of, made, reach, wish, with_holder};
use super::mount_of;
use super::rotate::take;
use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::EventKind;
use crate::mounts::{Issuer, Mount, State, is_issuer_name};
use crate::rotation::{Step, roles_of};

/// `LIST issuers`.
pub(super) fn list(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let mut issuers = mount_of(ask)?.issuers();
    let after = ask.text("after")?;
    let limit = usize::try_from(ask.fields.int("limit")?.unwrap_or(0)).unwrap_or(0);
    issuers.sort_by(|one, other| one.id().cmp(other.id()));
    issuers.retain(|issuer| issuer.id() > after.as_str());
    if limit > 0 {
        issuers.truncate(limit);
    }
    if issuers.is_empty() {
        return Err(Problem::NothingThere);
    }
    let keys: Vec<&str> = issuers.iter().map(|issuer| issuer.id()).collect();
    let info: Map<String, Value> = issuers
        .iter()
        .map(|issuer| (issuer.id().to_owned(), described(issuer)))
        .collect();
    Ok(Reply::data(json!({"keys": keys, "key_info": info})))
}

/// `POST issuers/import[/:name]`: makes a key, or takes one. Hosts are told to trust it; it signs only where it is named.
pub(super) async fn import(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let name = name_of(ask.capture.to_owned())?;
    let set_default = ask.fields.bool("set_default")?.unwrap_or_default();
    let force = ask.fields.bool("force")?.unwrap_or_default();
    let wish = wish(ask, "ssh-rsa")?;
    let (key, _naming) = made(ask, wish).await?;
    let signer = key.signer();
    let fingerprint = signer.public_key().fingerprint();
    if let Some(same) = mount.issuer_of_key(&fingerprint) {
        let warning = "An issuer with the provided public key already exists, returning the existing issuer";
        return Ok(Reply::data(brief(&same)).with_warnings([warning.to_owned()]));
    }
    if !name.is_empty() && mount.issuer(&name).is_some() {
        return Err(Problem::refused("issuer-invalid", "issuer name already in use"));
    }
    let replaces = set_default && mount.default_issuer().is_some();
    if replaces && !force {
        let text = "not safe to make the new issuer the default: no host trusts its key yet";
        return Err(
            Problem::refused("rotation-unsafe", text).with_hint("leave set_default out; later: POST config/issuers")
        );
    }
    let event = ask
        .authority
        .ledger
        .event(EventKind::CaCreate)
        .caller(&permit.session().caller)
        .text("mount", mount.path())
        .text("ca_fingerprint", &fingerprint)
        .text("issuer_name", &name)
        .text("holder", signer.holder())
        .optional("place", signer.place().as_deref())
        .text("request_id", ask.request_id);
    ask.authority.ledger.record(event).await?;
    reach(ask, mount, signer.public_key()).await?;
    let state = if set_default && !replaces {
        State::Default
    } else {
        State::Published
    };
    let issuer = mount.add_issuer(key, &name, state, ask.now).await?;
    if replaces {
        take(ask, permit, mount, Step::Promote, &issuer, force).await?;
    }
    Ok(Reply::data(brief(&issuer)))
}

/// `GET issuer/:ref`.
pub(super) fn read(ask: &Ask<'_>) -> Result<Reply, Problem> {
    Ok(Reply::data(described(&*issuer_of(ask)?)))
}

/// `GET issuer/:ref/public_key`.
pub(super) fn public_key(ask: &Ask<'_>) -> Result<Reply, Problem> {
    Ok(Reply::text("text/plain", line_of(issuer_of(ask)?.signer().as_ref())))
}

/// `POST issuer/:ref`: gives it another name.
pub(super) async fn rename(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let (mount, issuer) = (mount_of(ask)?, issuer_of(ask)?);
    let name = name_of(ask.text("issuer_name")?)?;
    if name.is_empty() {
        // Roles name issuers: one that lost its name by an empty request would sign for nobody.
        return Err(Problem::refused("field-missing", "expected non-empty issuer name"));
    }
    if name == issuer.name() {
        return Ok(Reply::data(described(&issuer)));
    }
    if mount.issuer(&name).is_some() {
        return Err(Problem::refused("issuer-invalid", "issuer name already in use"));
    }
    // Recorded: roles name issuers, so a name decides which key signs.
    let event = ask
        .authority
        .ledger
        .event(EventKind::CaRename)
        .caller(&permit.session().caller)
        .text("mount", mount.path())
        .text("issuer", issuer.id())
        .text("ca_fingerprint", &issuer.fingerprint())
        .text("issuer_name", &name)
        .text("request_id", ask.request_id);
    ask.authority.ledger.record(event).await?;
    let roles = roles_of(ask.authority, mount, &issuer);
    mount.rename(issuer.id(), &name).await?;
    let renamed = mount.issuer(issuer.id()).unwrap_or(issuer);
    let left = roles
        .len()
        .saturating_sub(roles_of(ask.authority, mount, &renamed).len());
    let warning = (left > 0).then(|| format!("{left} roles reference the old name and do not sign any more"));
    Ok(Reply::data(described(&renamed)).with_warnings(warning))
}

/// `DELETE issuer/:ref`. What is not there is deleted, as in OpenBao: a repeated request must not fail.
pub(super) async fn delete(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let Some(issuer) = mount.issuer(ask.capture) else {
        return Ok(Reply::nothing());
    };
    if issuer.state() == State::Default {
        let text = format!("issuer `{}` is the default and signs", issuer.shown());
        return Err(Problem::refused("rotation-unsafe", text)
            .with_hint("make another the default first (`signet ca rotate`), or delete all with DELETE config/ca"));
    }
    let force = ask.fields.bool("force")?.unwrap_or_default();
    let roles = roles_of(ask.authority, mount, &issuer);
    take(ask, permit, mount, Step::Remove, &issuer, force).await?;
    let warning = format!("{} roles reference '{}'", roles.len(), issuer.shown());
    if roles.is_empty() {
        Ok(Reply::nothing())
    } else {
        Ok(Reply::data(json!({})).with_warnings([warning]))
    }
}

/// `GET config/issuers`.
pub(super) fn read_default(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let issuer = mount_of(ask)?
        .default_issuer()
        .ok_or_else(|| Problem::refused("ca-key-missing", "no default issuer currently configured"))?;
    Ok(Reply::data(json!({"default": issuer.id()})))
}

/// `POST config/issuers`: which issuer signs.
pub(super) async fn write_default(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let mount = mount_of(ask)?;
    let reference = ask.text("default")?;
    if reference.is_empty() || reference.eq_ignore_ascii_case(DEFAULT_ISSUER) {
        let text = "invalid issuer specification; must be non-empty and can't be 'default'.";
        return Err(Problem::refused("issuer-invalid", text));
    }
    let issuer = find(mount, &reference)?;
    let answer = Reply::data(json!({"default": issuer.id()}));
    if issuer.state() == State::Default {
        let warning = "The default issuer is already set to the specified issuer.";
        return Ok(answer.with_warnings([warning.to_owned()]));
    }
    if issuer.state() != State::Published {
        let text = format!(
            "issuer `{}` is {}: hosts do not trust it",
            issuer.shown(),
            issuer.state().as_str()
        );
        return Err(Problem::refused("rotation-step", text).with_hint("publish it first: POST rotate"));
    }
    let force = ask.fields.bool("force")?.unwrap_or_default();
    take(ask, permit, mount, Step::Promote, &issuer, force).await?;
    Ok(answer)
}

/// Reads a name; `""` is none.
pub(super) fn name_of(name: String) -> Result<String, Problem> {
    if name.is_empty() || is_issuer_name(&name) {
        return Ok(name);
    }
    let text = if name.eq_ignore_ascii_case(DEFAULT_ISSUER) {
        "issuer name 'default' is reserved"
    } else {
        "an issuer's name has letters, digits, `_`, and inside also `-` and `.`, and is no id"
    };
    Err(Problem::refused("issuer-invalid", text))
}

fn issuer_of(ask: &Ask<'_>) -> Result<std::sync::Arc<Issuer>, Problem> {
    find(mount_of(ask)?, ask.capture)
}

fn find(mount: &Mount, reference: &str) -> Result<std::sync::Arc<Issuer>, Problem> {
    mount.issuer(reference).ok_or_else(|| {
        let text = format!("unable to find issuer for reference: {reference}");
        Problem::refused("issuer-invalid", text).with_hint("`signet ca status` lists them")
    })
}

/// What an import answers.
fn brief(issuer: &Issuer) -> Value {
    json!({
        "issuer_id": issuer.id(),
        "issuer_name": issuer.name(),
        "public_key": line_of(issuer.signer().as_ref()),
    })
}

/// All that is told of an issuer; of one that lies elsewhere also where, and whether it can be used now.
pub(super) fn described(issuer: &Issuer) -> Value {
    let data = json!({
        "issuer_id": issuer.id(),
        "issuer_name": issuer.name(),
        "is_default": issuer.state() == State::Default,
        "public_key": line_of(issuer.signer().as_ref()),
        "ca_fingerprint": issuer.fingerprint(),
        "state": issuer.state().as_str(),
        "created": issuer.created().map(|at| at.to_string()),
        "since": issuer.created().map(|_| issuer.since().to_string()),
        "trusted_until": issuer.until().map(|at| at.to_string()),
    });
    with_holder(data, issuer.signer().as_ref())
}
