//! `sys/signet`: what Vault has no path for. Only about the caller themselves.

use serde_json::{Value, json};
use signet_core::role::{NameRule, Role, Star};

use crate::http::ask::Ask;
use crate::http::authenticate::Session;
use crate::http::envelope::Reply;
use crate::http::problem::Problem;
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
        for name in ask.authority.role_names(&mount) {
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
        "principals": with_star(role.allowed_users(), |name| vec![name.to_owned()]),
        "default_principals": role.default_user(),
        "domains": with_star(role.allowed_domains(), |domain| host_patterns(role, domain)),
        "user_certificates": role.user_certificates(),
        "host_certificates": role.host_certificates(),
        "ttl": role.ttl_secs(),
        "max_ttl": role.max_ttl_secs(),
        "extensions": role.default_extensions().keys().collect::<Vec<_>>(),
        "may_use": true,
    })
}

/// A role's names for people: a star that the rule keeps apart is one of them again.
fn with_star(rule: &NameRule, shown: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let names = rule.names.iter().flat_map(|name| shown(name));
    let star = (rule.star != Star::None).then(|| "*".to_owned());
    names.chain(star).collect()
}

/// What a host may be called under a domain of the role.
fn host_patterns(role: &Role, domain: &str) -> Vec<String> {
    let bare = role.bare_domains().then(|| domain.to_owned());
    let below = role.subdomains().then(|| format!("*.{domain}"));
    bare.into_iter().chain(below).collect()
}

#[cfg(test)]
mod tests {
    use signet_core::role::RoleSource;
    use signet_core::vault_value::Fields;

    use super::*;

    #[test]
    fn names_are_shown_as_what_may_be_asked_for() {
        let rows: [(&str, &[&str], &[&str]); 5] = [
            (r#""allow_user_certificates":true,"allowed_users":"*""#, &["*"], &[]),
            (
                r#""allow_user_certificates":true,"allowed_users":"a,b""#,
                &["a", "b"],
                &[],
            ),
            (
                r#""allow_host_certificates":true,"allowed_domains":"x.test","allow_subdomains":true"#,
                &[],
                &["*.x.test"],
            ),
            (
                r#""allow_host_certificates":true,"allowed_domains":"x.test","allow_subdomains":true,"allow_bare_domains":true"#,
                &[],
                &["x.test", "*.x.test"],
            ),
            (r#""allow_host_certificates":true,"allowed_domains":"*""#, &[], &["*"]),
        ];
        for (fields, principals, domains) in rows {
            let json = format!(r#"{{"key_type":"ca",{fields}}}"#);
            let fields = Fields::from_json(json.as_bytes()).unwrap();
            let role = Role::from_vault_json("r", "ssh", &fields, RoleSource::Api).unwrap();
            let names = with_star(role.allowed_users(), |name| vec![name.to_owned()]);
            assert_eq!(names, principals, "{json}");
            assert_eq!(
                with_star(role.allowed_domains(), |domain| host_patterns(&role, domain)),
                domains,
                "{json}"
            );
        }
    }
}
