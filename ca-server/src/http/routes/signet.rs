//! `sys/signet`: what Vault has no path for. Only about the caller themselves.

use serde_json::{Value, json};
use signet_core::role::Role;

use crate::http::ask::Ask;
use crate::http::authenticate::Session;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
use crate::issue::role_names;
use crate::mounts::Mount;

/// `GET sys/signet/whoami`.
pub(super) fn whoami(session: &Session) -> Reply {
    let caller = &session.caller;
    Reply::data(json!({
        "person": caller.person(),
        "display_name": caller.display_name(),
        "method": caller.method().as_str(),
        "groups": caller.groups(),
        "policies": caller.policies(),
        "address": caller.address().to_string(),
        "accessor": caller.accessor(),
        "expires": caller.token_expires().map(|expires| expires.to_string()),
    }))
}

/// `GET sys/signet/roles?mount=`: the roles that some policy lets the caller use, whatever else it asks for.
pub(super) fn roles(ask: &Ask<'_>, session: &Session) -> Result<Reply, Problem> {
    let wanted = ask.text("mount")?;
    let wanted = wanted.trim_matches('/');
    let policy = ask.authority.policy();
    let mut roles = Vec::new();
    for mount in ask.authority.mounts.list() {
        if !wanted.is_empty() && wanted != mount.path() {
            continue;
        }
        for name in role_names(ask.authority, &mount) {
            let usable = policy.access.slice(&session.caller, mount.path(), &name).is_ok();
            if let Some(role) = ask.authority.role(&mount, &name).filter(|_| usable) {
                roles.push(summary(&mount, &role));
            }
        }
    }
    Ok(Reply::data(json!({"roles": roles})))
}

fn summary(mount: &Mount, role: &Role) -> Value {
    json!({
        "mount": mount.path(),
        "name": role.name(),
        "description": role.description(),
        "principals": role.allowed_users().names,
        "default_principals": role.default_user(),
        "domains": role.allowed_domains().names,
        "user_certificates": role.user_certificates(),
        "host_certificates": role.host_certificates(),
        "ttl": role.ttl_secs(),
        "max_ttl": role.max_ttl_secs(),
        "extensions": role.default_extensions().keys().collect::<Vec<_>>(),
        "may_use": true,
    })
}
