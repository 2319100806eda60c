//! `sys/`: health, seal and leadership as Vault's clients and load balancers ask for them, and capabilities.

use http::StatusCode;
use serde_json::{Map, Value, json};
use signet_core::access::Verb;

use crate::http::ask::Ask;
use crate::http::authenticate::Session;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::http::table::Op;

/// The level of Vault's behaviour that clients switch features by, and our own version behind it.
const VERSION: &str = concat!("1.17.6+signet", env!("CARGO_PKG_VERSION"));
/// How many paths one question may hold.
const PATHS_MAX: usize = 100;

/// `GET|HEAD sys/health`: 200, or what `activecode` asks for, since this node is always active.
pub(super) fn health(ask: &Ask<'_>) -> Result<Reply, Problem> {
    let status = match ask.fields.int("activecode")? {
        None => StatusCode::OK,
        // 1xx announces another answer, which never comes.
        Some(code) => u16::try_from(code)
            .ok()
            .filter(|code| (200..600).contains(code))
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or_else(|| Problem::refused("field-invalid", "activecode is not a status code"))?,
    };
    if ask.op == Op::Head {
        return Ok(Reply::head(status));
    }
    Ok(Reply::bare(
        status,
        json!({
            "initialized": true,
            "sealed": false,
            "standby": false,
            "performance_standby": false,
            "replication_performance_mode": "disabled",
            "replication_dr_mode": "disabled",
            "server_time_utc": ask.now.secs(),
            "version": VERSION,
            "enterprise": false,
            "cluster_name": ask.authority.config.name,
        }),
    ))
}

/// `GET sys/seal-status`.
pub(super) fn seal_status(ask: &Ask<'_>) -> Reply {
    Reply::bare(
        StatusCode::OK,
        json!({
            "type": "key-file",
            "initialized": true,
            "sealed": false,
            "t": 1,
            "n": 1,
            "progress": 0,
            "nonce": "",
            "version": VERSION,
            "build_date": "",
            "migration": false,
            "cluster_name": ask.authority.config.name,
            "recovery_seal": false,
            "storage_type": "sqlite",
        }),
    )
}

/// `GET sys/leader`: one node, no leader to look for.
pub(super) fn leader(ask: &Ask<'_>) -> Reply {
    let address = ask.authority.config.addresses.first().map_or("", String::as_str);
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
pub(super) fn init_status() -> Reply {
    Reply::bare(StatusCode::OK, json!({"initialized": true}))
}

/// `PUT sys/init`: a server that answers is initialised.
pub(super) fn init_again() -> Result<Reply, Problem> {
    Err(Problem::refused("already-initialized", "Vault is already initialized"))
}

/// `POST sys/capabilities-self`: what the caller may do, path by path.
pub(super) fn capabilities_self(ask: &Ask<'_>, session: &Session) -> Result<Reply, Problem> {
    let mut paths = ask.fields.comma_list("paths")?.unwrap_or_default();
    paths.extend(ask.fields.string("path")?);
    if paths.is_empty() {
        return Err(Problem::refused("field-missing", "paths must be supplied"));
    }
    if paths.len() > PATHS_MAX {
        return Err(Problem::refused(
            "too-many-paths",
            format!("at most {PATHS_MAX} paths are taken at once"),
        ));
    }
    let mut answer = Map::new();
    for path in paths {
        let capabilities = capabilities(ask, session, &path);
        answer.insert(path, capabilities);
    }
    Ok(Reply::twice(answer))
}

fn capabilities(ask: &Ask<'_>, session: &Session, path: &str) -> Value {
    if session.caller.is_root() {
        return json!(["root"]);
    }
    let Ok(path) = crate::http::path::canonical(path) else {
        return json!(["deny"]);
    };
    let policy = ask.authority.policy();
    let mut words: Vec<&str> = Verb::ALL
        .into_iter()
        .filter(|verb| {
            policy
                .access
                .decide_path(&session.caller, *verb, &path, ask.now)
                .is_ok()
        })
        .map(Verb::as_str)
        .collect();
    // Signing is not a capability on a path here; Vault's clients ask for it as one.
    if may_sign(ask, session, &path) && !words.contains(&"update") {
        words.push("update");
    }
    if words.is_empty() {
        json!(["deny"])
    } else {
        json!(words)
    }
}

fn may_sign(ask: &Ask<'_>, session: &Session, path: &str) -> bool {
    let Some((mount, rest)) = ask.authority.mounts.split(path) else {
        return false;
    };
    let role = rest.strip_prefix("sign/").or_else(|| rest.strip_prefix("issue/"));
    role.is_some_and(|role| {
        ask.authority
            .policy()
            .access
            .slice(&session.caller, mount.path(), role)
            .is_ok()
    })
}
