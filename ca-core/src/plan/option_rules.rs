//! Which critical options and extensions a certificate gets.

use std::collections::BTreeMap;

use crate::caller::{AuthMethod, Caller};
use crate::denial::Denial;
use crate::options::{self, OptionError, Options};
use crate::request::SigningRequest;
use crate::role::{OptionRule, Role};
use crate::subject_key::KeyKind;
use crate::template::{is_template, render};

const VERIFY_REQUIRED: &str = "verify-required";

/// The critical options: those asked for replace the role's, as on Vault, unless the role forces its own.
pub(super) fn critical_options(role: &Role, request: &SigningRequest, kind: KeyKind) -> Result<Options, Denial> {
    let defaults = &role.default_critical_options;
    let asked = &request.critical_options;
    let refused: Vec<String> = asked
        .iter()
        .filter(|(name, value)| {
            let contradicts = defaults.get(*name).is_some_and(|forced| forced != *value);
            !role.allowed_critical_options.allows(name) || (role.critical_options_forced && contradicts)
        })
        .map(|(name, _)| name.clone())
        .collect();
    if !refused.is_empty() {
        let allowed = role.allowed_critical_options.names();
        return Err(Denial::CriticalOptionsNotAllowed {
            role: role.name().to_owned(),
            options: refused,
            allowed,
        });
    }
    let mut given = if asked.is_empty() || role.critical_options_forced {
        defaults.clone()
    } else {
        BTreeMap::new()
    };
    given.extend(asked.clone());
    if role.verify_required {
        given.insert(VERIFY_REQUIRED.to_owned(), String::new());
    }
    if given.contains_key(VERIFY_REQUIRED) && !kind.is_security_key() {
        return Err(Denial::OptionInvalid(OptionError::VerifyRequiredOnPlainKey));
    }
    let listed = |name: &str| is_listed(&role.allowed_critical_options, defaults, name);
    options::critical_options(&given, listed).map_err(Denial::OptionInvalid)
}

/// The extensions: those asked for, or else the role's.
pub(super) fn extensions(
    role: &Role,
    request: &SigningRequest,
    caller: &Caller,
    warnings: &mut Vec<String>,
) -> Result<Options, Denial> {
    let defaults = &role.default_extensions;
    let listed = |name: &str| is_listed(&role.allowed_extensions, defaults, name);
    if request.extensions.is_empty() {
        let given = default_extensions(role, caller, warnings)?;
        return options::extensions(&given, listed).map_err(Denial::OptionInvalid);
    }
    let refused: Vec<String> = request
        .extensions
        .keys()
        .filter(|name| !role.allowed_extensions.allows(name))
        .cloned()
        .collect();
    if !refused.is_empty() {
        let allowed = role.allowed_extensions.names();
        return Err(Denial::ExtensionsNotAllowed {
            role: role.name().to_owned(),
            extensions: refused,
            allowed,
        });
    }
    options::extensions(&request.extensions, listed).map_err(Denial::OptionInvalid)
}

fn is_listed(rule: &OptionRule, defaults: &BTreeMap<String, String>, name: &str) -> bool {
    let by_name = match rule {
        OptionRule::Any => false,
        OptionRule::Listed(names) => names.contains(name),
    };
    by_name || defaults.contains_key(name)
}

fn default_extensions(
    role: &Role,
    caller: &Caller,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, String>, Denial> {
    const LEFT_OUT: &str = "default_extension templating enabled with at least one extension requiring identity \
                            templating. However, this request lacked identity entity information, causing one or more \
                            extensions to be skipped from the generated certificate.";
    let mut given = BTreeMap::new();
    let mut left_out = false;
    for (name, value) in &role.default_extensions {
        if !(role.default_extensions_templated && is_template(value)) {
            given.insert(name.clone(), value.clone());
        } else if caller.method() == AuthMethod::Token {
            left_out = true;
        } else {
            let value = render(value, caller).map_err(|reason| Denial::TemplateUnresolved {
                role: role.name().to_owned(),
                template: value.clone(),
                reason,
                default_user: false,
            })?;
            given.insert(name.clone(), value);
        }
    }
    if left_out {
        warnings.push(LEFT_OUT.to_owned());
    }
    Ok(given)
}
