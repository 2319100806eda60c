//! `sys/capabilities-self`: what the caller may do.

use serde_json::{Map, Value, json};
use signet_core::access::Verb;

use crate::http::ask::Ask;
use crate::http::authenticate::Session;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;

/// How many paths one question may hold.
const PATHS_MAX: usize = 100;

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
