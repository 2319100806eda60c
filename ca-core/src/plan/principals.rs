//! For whom a certificate is: the names asked for, or the role's default, each of them allowed by the role.

use crate::caller::Caller;
use crate::denial::Denial;
use crate::principal::{PRINCIPALS_MAX, Principal};
use crate::request::{CertType, SigningRequest};
use crate::role::{NameRule, Role, RoleSource, Star};
use crate::template::{is_template, render};
use crate::vault_value::split_commas;

use super::MountLimits;

const PRINCIPALS_MAX_FILE: usize = 32;

pub(super) fn resolve(
    role: &Role,
    request: &SigningRequest,
    caller: &Caller,
    cert_type: CertType,
    limits: &MountLimits,
) -> Result<Vec<Principal>, Denial> {
    let names = wanted(role, request, caller, cert_type)?;
    let guessed = request.or_default_user && cert_type == CertType::User && !role.default_user().is_empty();
    match allowed(role, names, caller, cert_type, limits) {
        Err(Denial::PrincipalNotAllowed { .. }) if guessed => {
            allowed(role, default_names(role, caller)?, caller, cert_type, limits)
        }
        other => other,
    }
}

/// Checks every name against the role.
fn allowed(
    role: &Role,
    names: Vec<String>,
    caller: &Caller,
    cert_type: CertType,
    limits: &MountLimits,
) -> Result<Vec<Principal>, Denial> {
    if names.is_empty() {
        let empty_is_fine = role.empty_principals_allowed || !limits.strict_empty_principals;
        let denial = || Denial::PrincipalsEmpty {
            role: role.name().to_owned(),
        };
        return empty_is_fine.then(Vec::new).ok_or_else(denial);
    }
    let max = if *role.source() == RoleSource::Api {
        PRINCIPALS_MAX
    } else {
        PRINCIPALS_MAX_FILE
    };
    if names.len() > max {
        return Err(Denial::TooManyPrincipals {
            asked: names.len(),
            max,
        });
    }
    let names_rule = match cert_type {
        CertType::User => role.allowed_users(),
        CertType::Host => role.allowed_domains(),
    };
    if names_rule.allows_nothing() {
        return Err(Denial::NoPrincipalAllowed {
            role: role.name().to_owned(),
        });
    }
    let allowed = allowed_names(role, names_rule, caller)?;
    names
        .into_iter()
        .map(|name| checked(role, cert_type, names_rule.star, &allowed, name))
        .collect()
}

/// The names asked for, sorted and unique; the role's default where none was. An empty text asks for none, and then the
/// default is split like any other list.
fn wanted(role: &Role, request: &SigningRequest, caller: &Caller, cert_type: CertType) -> Result<Vec<String>, Denial> {
    let mut names: Vec<String> = split_commas(request.valid_principals.as_deref().unwrap_or_default())
        .map(str::to_owned)
        .collect();
    if names.is_empty() && cert_type == CertType::User {
        return default_names(role, caller);
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn default_names(role: &Role, caller: &Caller) -> Result<Vec<String>, Denial> {
    let mut names = rendered(role, role.default_user(), role.default_user_templated, caller, true)?;
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn allowed_names(role: &Role, names_rule: &NameRule, caller: &Caller) -> Result<Vec<String>, Denial> {
    if names_rule.star == Star::All {
        Ok(Vec::new())
    } else {
        rendered(role, &names_rule.names, names_rule.templated, caller, false)
    }
}

fn rendered(
    role: &Role,
    names: &[String],
    templated: bool,
    caller: &Caller,
    default_user: bool,
) -> Result<Vec<String>, Denial> {
    names
        .iter()
        .map(|name| {
            if !(templated && is_template(name)) {
                return Ok(name.clone());
            }
            render(name, caller).map_err(|reason| Denial::TemplateUnresolved {
                role: role.name().to_owned(),
                template: name.clone(),
                reason,
                default_user,
            })
        })
        .collect()
}

fn checked(
    role: &Role,
    cert_type: CertType,
    star: Star,
    allowed: &[String],
    name: String,
) -> Result<Principal, Denial> {
    let listed = match cert_type {
        CertType::User => allowed.contains(&name),
        CertType::Host => allowed.iter().any(|domain| host_matches(role, domain, &name)),
    };
    let starred = match star {
        Star::None => false,
        Star::AllButRoot => name != "root",
        Star::All => true,
    };
    if !(listed || starred) {
        let role = role.name().to_owned();
        return Err(Denial::PrincipalNotAllowed {
            role,
            principal: name,
            allowed: allowed.to_vec(),
        });
    }
    let parsed = match cert_type {
        CertType::User => Principal::parse(&name),
        CertType::Host => Principal::parse_host(&name),
    };
    parsed.map_err(|reason| Denial::PrincipalInvalid {
        principal: name,
        reason,
    })
}

fn host_matches(role: &Role, domain: &str, name: &str) -> bool {
    let below = || {
        name.strip_suffix(domain)
            .is_some_and(|front| front.len() > 1 && front.ends_with('.'))
    };
    (role.bare_domains && name == domain) || (role.subdomains && below())
}
