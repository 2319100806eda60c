//! Templates in role fields: `{{identity.entity.name}}` and the like, filled in for one caller.
//!
//! # Security
//! A template stands for exactly one value. A person who controls a piece of their own metadata must not be able to write
//! `bob,root` into it and so get two principals (CVE-2026-71543).

use crate::caller::{AuthMethod, Caller};

/// Whether a text holds a template at all.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("}}")
}

/// Fills in one template.
///
/// A caller without an identity of their own (a bare token) gets the template's text unchanged, as on Vault; such a text
/// never equals a principal.
///
/// # Errors
/// Vault's reason when braces do not match, a name is unknown or a value is missing, or when a value holds a comma, a
/// blank or a control character.
pub fn render(template: &str, caller: &Caller) -> Result<String, String> {
    if caller.method() == AuthMethod::Token {
        return Ok(template.to_owned());
    }
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (directive, next) = after.split_once("}}").ok_or("unbalanced templating characters")?;
        out.push_str(before);
        out.push_str(&checked(resolve(directive.trim(), caller)?)?);
        rest = next;
    }
    if rest.contains("}}") {
        return Err("unbalanced templating characters".to_owned());
    }
    out.push_str(rest);
    Ok(out)
}

fn checked(value: String) -> Result<String, String> {
    match value
        .chars()
        .find(|c| *c == ',' || *c == '*' || c.is_whitespace() || c.is_control())
    {
        Some(bad) => Err(format!(
            "template substitution contains forbidden value {:?}",
            bad.to_string()
        )),
        None => Ok(value),
    }
}

fn resolve(directive: &str, caller: &Caller) -> Result<String, String> {
    const NO_VALUE: &str = "no value could be found for one of the template directives";
    let metadata = |key: &str| {
        caller
            .metadata()
            .get(key)
            .filter(|value| !value.is_empty())
            .cloned()
            .ok_or_else(|| NO_VALUE.to_owned())
    };
    if let Some(key) = directive.strip_prefix("identity.entity.metadata.") {
        return metadata(key);
    }
    if let Some(group) = directive
        .strip_prefix("identity.groups.names.")
        .and_then(|rest| rest.strip_suffix(".name"))
    {
        let member = caller.groups().contains(group);
        return member
            .then(|| group.to_owned())
            .ok_or_else(|| format!("entity is not a member of group {group:?}"));
    }
    match directive {
        "identity.entity.name" | "identity.entity.id" => Ok(caller.person().to_owned()),
        _ if directive.starts_with("identity.entity.aliases.") => match directive.rsplit_once('.') {
            Some((_, "name")) => Ok(caller.person().to_owned()),
            Some((front, key)) if front.ends_with(".metadata") => metadata(key),
            _ => Err("alias not found".to_owned()),
        },
        _ => Err(NO_VALUE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::caller::CallerParts;

    fn caller(method: AuthMethod, unix_name: &str) -> Caller {
        Caller::authenticated(CallerParts {
            person: "alice".to_owned(),
            display_name: "ssh-key-alice".to_owned(),
            method,
            groups: BTreeSet::from(["backend".to_owned()]),
            policies: BTreeSet::new(),
            address: [127, 0, 0, 1].into(),
            accessor: "a".to_owned(),
            token_expires: None,
            metadata: BTreeMap::from([("unix".to_owned(), unix_name.to_owned())]),
        })
    }

    #[test]
    fn templates_are_filled_in_or_refused() {
        let alice = caller(AuthMethod::SshKey, "al");
        let rows = [
            ("{{identity.entity.name}}", Ok("alice")),
            ("dev-{{ identity.entity.metadata.unix }}", Ok("dev-al")),
            ("{{identity.groups.names.backend.name}}", Ok("backend")),
            ("plain", Ok("plain")),
            (
                "{{identity.groups.names.root.name}}",
                Err("entity is not a member of group \"root\""),
            ),
            (
                "{{identity.entity.metadata.none}}",
                Err("no value could be found for one of the template directives"),
            ),
            ("{{identity.entity.name", Err("unbalanced templating characters")),
            ("x}}", Err("unbalanced templating characters")),
            (
                "{{nonsense}}",
                Err("no value could be found for one of the template directives"),
            ),
        ];
        for (template, want) in rows {
            let want = want.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(render(template, &alice), want, "{template}");
        }
    }

    #[test]
    fn cve_2026_71543_a_value_cannot_become_two_principals() {
        for hostile in ["bob,root", "*", "b ob", "b\nob"] {
            let error = render(
                "{{identity.entity.metadata.unix}}",
                &caller(AuthMethod::SshKey, hostile),
            )
            .unwrap_err();
            assert!(error.contains("forbidden value"), "{hostile}: {error}");
        }
    }

    #[test]
    fn a_bare_token_has_no_identity() {
        let token = caller(AuthMethod::Token, "al");
        assert_eq!(
            render("{{identity.entity.name}}", &token),
            Ok("{{identity.entity.name}}".to_owned())
        );
    }
}
