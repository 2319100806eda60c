//! `auth/token`: tokens made by tokens. A child never has more than its parent, and ends with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use signet_core::access::Verb;
use signet_core::caller::{AuthMethod, ROOT_POLICY};

use crate::http::Permit;
use crate::http::ask::Ask;
use crate::http::authenticate::Session;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::ledger::{Event, EventKind};
use crate::tokens::{TokenEntry, TokenError, TokenHash, TokenSpec};

/// Metadata that a token's creator chose. Templates of roles must not see it as if a login had proved it
/// (CVE-2026-71543), so it is kept under names that no template has.
const CHOSEN: &str = "token_meta/";

/// `GET auth/token/lookup-self`.
pub(super) fn lookup_self(ask: &Ask<'_>, session: &Session) -> Reply {
    Reply::data(described(ask, &session.entry, ask.token().unwrap_or_default()))
}

/// `POST auth/token/lookup`.
pub(super) fn lookup(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let token = named_token(ask)?;
    let entry = ask.authority.tokens.check(&token, ask.now);
    let entry = entry.ok_or_else(|| Problem::forbidden("token-unknown", "bad token"))?;
    Ok(Reply::data(described(ask, &entry, &token)))
}

/// `POST auth/token/lookup-accessor`: all but the token itself.
pub(super) fn lookup_accessor(ask: &Ask<'_>) -> Result<Reply, Problem> {
    Ok(Reply::data(described(ask, &*by_accessor(ask)?, "")))
}

/// `LIST auth/token/accessors`.
pub(super) fn accessors(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let accessors = ask.authority.tokens.list_accessors(ask.now);
    if accessors.is_empty() {
        Err(Problem::NothingThere)
    } else {
        Ok(Reply::data(json!({"keys": accessors})))
    }
}

/// `POST auth/token/renew-self`.
pub(super) async fn renew_self(ask: &Ask<'_>, session: &Session) -> Result<Reply, Problem> {
    renewed(ask, session, &session.entry, ask.token().unwrap_or_default()).await
}

/// `POST auth/token/renew`.
pub(super) async fn renew(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    let token = named_token(ask)?;
    let entry = ask.authority.tokens.check(&token, ask.now);
    let entry = entry.ok_or_else(|| Problem::forbidden("token-unknown", "bad token"))?;
    renewed(ask, permit.session(), &entry, &token).await
}

async fn renewed(ask: &Ask<'_>, session: &Session, entry: &TokenEntry, token: &str) -> Result<Reply, Problem> {
    let increment = ask.fields.duration_secs("increment")?;
    if !entry.renewable {
        return Err(TokenError::NotRenewable.into());
    }
    let event = event(ask, session, EventKind::TokenRenew).text("subject_accessor", &entry.accessor);
    ask.authority.ledger.record(event).await?;
    let entry = ask.authority.tokens.renew(entry.hash, increment, ask.now).await?;
    Ok(Reply::auth(token, &entry, ask.now))
}

/// `POST auth/token/revoke-self`.
pub(super) async fn revoke_self(ask: &Ask<'_>, session: &Session) -> Result<Reply, Problem> {
    revoked(ask, session, session.entry.hash).await
}

/// `POST auth/token/revoke`: 204, also for a token that has ended already.
pub(super) async fn revoke(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    revoked(ask, permit.session(), TokenHash::of(&named_token(ask)?)).await
}

/// `POST auth/token/revoke-accessor`.
pub(super) async fn revoke_accessor(ask: &Ask<'_>, permit: &Permit) -> Result<Reply, Problem> {
    revoked(ask, permit.session(), by_accessor(ask)?.hash).await
}

/// Taking a right away never waits for the record: a full disk must not keep a stolen token alive.
async fn revoked(ask: &Ask<'_>, session: &Session, hash: TokenHash) -> Result<Reply, Problem> {
    let accessors = ask.authority.tokens.revoke(hash).await?;
    if !accessors.is_empty() {
        let event =
            event(ask, session, EventKind::TokenRevoke).list("subject_accessors", accessors.iter().map(String::as_str));
        super::record_denial(ask.authority, event).await;
    }
    Ok(Reply::nothing())
}

/// `POST auth/token/create` and `create-orphan`.
pub(super) async fn create(ask: &Ask<'_>, permit: &Permit, orphan: bool) -> Result<Reply, Problem> {
    let session = permit.session();
    if session.entry.num_uses > 0 {
        // A child would have all the uses that its parent was not given.
        let text = "restricted use token cannot generate child tokens";
        return Err(Problem::refused("token-uses-limited", text));
    }
    refuse_what_is_not_offered(ask)?;
    let orphan = orphan || asks_for_orphan(ask, session)?;
    let spec = spec(ask, session, orphan)?;
    let (token, entry) = ask.authority.tokens.create(spec, ask.now).await?;
    let event = event(ask, session, EventKind::TokenCreate)
        .text("subject", &entry.person)
        .text("subject_accessor", &entry.accessor)
        .text("subject_display_name", &entry.display_name)
        .list("token_policies", entry.policies.iter().map(String::as_str))
        .number("ttl", entry.ttl)
        .flag("orphan", entry.is_orphan());
    if let Err(error) = ask.authority.ledger.record(event).await {
        // Nobody holds the token's text yet, so one that is revoked here was never held.
        if let Err(error) = ask.authority.tokens.revoke(entry.hash).await {
            tracing::error!(%error, accessor = entry.accessor, "a token that nobody holds could not be deleted");
        }
        return Err(error.into());
    }
    Ok(Reply::login(&token, &entry, ask.now))
}

fn refuse_what_is_not_offered(ask: &Ask<'_>) -> Result<(), Problem> {
    for (field, what) in [
        ("id", "choosing a token's text (id)"),
        ("entity_alias", "entity aliases"),
    ] {
        if !ask.text(field)?.is_empty() {
            return Err(Problem::NotOffered(what));
        }
    }
    match ask.text("type")?.as_str() {
        "" | "service" | "default" => Ok(()),
        "batch" => Err(Problem::NotOffered("batch tokens")),
        other => Err(Problem::refused(
            "field-invalid",
            format!("invalid 'type' value {other:?}"),
        )),
    }
}

fn asks_for_orphan(ask: &Ask<'_>, session: &Session) -> Result<bool, Problem> {
    let asks = ask.fields.bool("no_parent")?.unwrap_or(false);
    if asks && !has_sudo(ask, session) {
        let text = "root or sudo privileges required to create orphan token";
        return Err(Problem::refused("sudo-required", text));
    }
    Ok(asks)
}

fn has_sudo(ask: &Ask<'_>, session: &Session) -> bool {
    ask.authority
        .policy()
        .access
        .decide_path(&session.caller, Verb::Sudo, "auth/token/create", ask.now)
        .is_ok()
}

/// What the new token is. A child stays its parent's person, with the same proof and the same groups; what root makes is
/// nobody but its name and its policies.
fn spec(ask: &Ask<'_>, session: &Session, orphan: bool) -> Result<TokenSpec, Problem> {
    let (parent, caller) = (&session.entry, &session.caller);
    let period = ask.fields.duration_secs("period")?.unwrap_or(0);
    if period > 0 && !has_sudo(ask, session) {
        let text = "root or sudo privileges required to create periodic token";
        return Err(Problem::refused("sudo-required", text));
    }
    let display_name = display_name(&ask.text("display_name")?);
    let inherits = !orphan && !caller.is_root();
    // The child's whole life lies within what is left of its parent's.
    let left = if orphan { 0 } else { parent.ttl_left(ask.now) };
    let within = |secs: u64| {
        if left == 0 || (secs != 0 && secs < left) {
            secs
        } else {
            left
        }
    };
    let ttl = match ask.fields.duration_secs("ttl")? {
        Some(ttl) => ttl,
        None => ask.fields.duration_secs("lease")?.unwrap_or(0),
    };
    let mut metadata = if inherits {
        parent.metadata.clone()
    } else {
        BTreeMap::new()
    };
    metadata.retain(|key, _| !key.starts_with(CHOSEN));
    metadata.extend(
        ask.fields
            .map("meta")?
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (CHOSEN.to_owned() + &key, value)),
    );
    Ok(TokenSpec {
        person: if inherits {
            parent.person.clone()
        } else if caller.is_root() {
            format!("token/{display_name}")
        } else {
            orphan_of(&parent.person)
        },
        method: if inherits { parent.method } else { AuthMethod::Token },
        groups: if inherits {
            parent.groups.clone()
        } else {
            BTreeSet::new()
        },
        policies: policies(ask, session)?,
        metadata,
        ttl: within(ttl),
        max_ttl: left,
        explicit_max_ttl: ask.fields.duration_secs("explicit_max_ttl")?.unwrap_or(0),
        period,
        renewable: ask.fields.bool("renewable")?.unwrap_or(true),
        num_uses: u64::try_from(ask.fields.int("num_uses")?.unwrap_or(0))
            .map_err(|_| Problem::refused("field-invalid", "number of uses cannot be negative"))?,
        parent: (!orphan).then_some(parent.hash),
        path: ask.path.to_owned(),
        display_name,
    })
}

/// Whom an orphan stands for. Its maker chose the display name, so that must not make it a person of root's: those are
/// `token/token-…`.
fn orphan_of(maker: &str) -> String {
    if maker.starts_with("token/") {
        maker.to_owned()
    } else {
        format!("token/of/{maker}")
    }
}

/// The policies asked for, or the parent's own. Never more than the parent has.
fn policies(ask: &Ask<'_>, session: &Session) -> Result<BTreeSet<String>, Problem> {
    let own = session.caller.policies();
    let asked: BTreeSet<String> = ask
        .fields
        .comma_list("policies")?
        .unwrap_or_default()
        .into_iter()
        .map(|policy| policy.trim().to_lowercase())
        .filter(|policy| !policy.is_empty())
        .collect();
    let mut policies = if asked.is_empty() { own.clone() } else { asked };
    if !session.caller.is_root() {
        if policies.contains(ROOT_POLICY) {
            let text = "root tokens may not be created without parent token being root";
            return Err(Problem::refused("root-required", text));
        }
        if !policies
            .iter()
            .all(|policy| policy == "default" || own.contains(policy))
        {
            return Err(Problem::refused(
                "policies-not-subset",
                "child policies must be subset of parent",
            ));
        }
    }
    if !policies.contains(ROOT_POLICY) && !ask.fields.bool("no_default_policy")?.unwrap_or(false) {
        policies.insert("default".to_owned());
    }
    Ok(policies)
}

/// Vault's `token-<name>`, other characters as `-`: it becomes part of key IDs.
fn display_name(asked: &str) -> String {
    let name: String = asked
        .chars()
        .take(100)
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() {
        "token".to_owned()
    } else {
        format!("token-{name}")
    }
}

fn named_token(ask: &Ask<'_>) -> Result<String, Problem> {
    let token = ask.text("token")?;
    if token.is_empty() {
        Err(Problem::refused("field-missing", "missing token"))
    } else {
        Ok(token)
    }
}

fn by_accessor(ask: &Ask<'_>) -> Result<std::sync::Arc<TokenEntry>, Problem> {
    let accessor = ask.text("accessor")?;
    if accessor.is_empty() {
        return Err(Problem::refused("field-missing", "missing accessor"));
    }
    let entry = ask.authority.tokens.by_accessor(&accessor, ask.now);
    entry.ok_or_else(|| Problem::forbidden("accessor-unknown", "invalid accessor"))
}

fn described(ask: &Ask<'_>, entry: &TokenEntry, token: &str) -> Value {
    let meta: Map<String, Value> = entry
        .metadata
        .iter()
        .map(|(key, value)| {
            (
                key.strip_prefix(CHOSEN).unwrap_or(key).to_owned(),
                value.as_str().into(),
            )
        })
        .collect();
    let mut data = json!({
        "accessor": entry.accessor,
        "creation_time": entry.created.secs(),
        "creation_ttl": entry.ttl,
        "display_name": entry.display_name,
        "entity_id": "",
        "expire_time": entry.expires.map(|expires| expires.to_string()),
        "explicit_max_ttl": entry.explicit_max_ttl,
        "id": token,
        "issue_time": entry.created.to_string(),
        "meta": if meta.is_empty() { Value::Null } else { Value::Object(meta) },
        "num_uses": entry.uses_left(),
        "orphan": entry.is_orphan(),
        "path": entry.path,
        "policies": entry.policies,
        "renewable": entry.renewable,
        "ttl": entry.ttl_left(ask.now),
        "type": "service",
    });
    if let Value::Object(members) = &mut data {
        if entry.period > 0 {
            members.insert("period".to_owned(), entry.period.into());
        }
        if let Some(renewal) = entry.last_renewal {
            members.insert("last_renewal".to_owned(), renewal.to_string().into());
            members.insert("last_renewal_time".to_owned(), renewal.secs().into());
        }
    }
    data
}

fn event(ask: &Ask<'_>, session: &Session, kind: EventKind) -> Event {
    ask.authority
        .ledger
        .event(kind)
        .caller(&session.caller)
        .text("request_id", ask.request_id)
}
