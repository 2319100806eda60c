//! Names in policies that the schema cannot know: groups of `people.toml`, roles of the role files.

use std::collections::BTreeSet;

use cedar_policy::EntityUid;

use super::index::{Kind, Scope};
use super::parse::{Lines, Written};
use super::vocabulary::{DEFAULT_MOUNT, split_role_id};
use crate::mistake::Mistake;
use crate::people::{People, unknown_group};

/// `@role("api")`: the role this policy names is made over the API.
const ROLE_ANNOTATION: &str = "role";

/// What policies may name.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) people: &'a People,
    /// Ids of the roles that files define.
    pub(crate) roles: &'a BTreeSet<String>,
    /// Names of roles whose files hold mistakes of their own.
    pub(crate) broken_roles: &'a BTreeSet<String>,
}

/// Finds every group and role that a policy names and nobody defines.
pub(crate) fn check(policies: &[Written], texts: &[(&str, &str)], known: &Known<'_>) -> Vec<Mistake> {
    let file_mounts: BTreeSet<&str> = known.roles.iter().map(|id| split_role_id(id).0).collect();
    let mut mistakes = Vec::new();
    let mut lines: Option<(&str, Lines)> = None;
    for policy in policies.iter().filter(|policy| !head_tells_all(policy, known)) {
        for uid in policy.policy.entity_literals() {
            let Some(mistake) = unknown(policy, &uid, known, &file_mounts) else {
                continue;
            };
            let file = policy.file.as_str();
            if lines.as_ref().is_none_or(|(of, _)| *of != file) {
                let text = texts
                    .iter()
                    .find(|(name, _)| *name == file)
                    .map_or("", |(_, text)| *text);
                lines = Some((file, Lines::of(text)));
            }
            let lines = lines.as_ref().map(|(_, lines)| lines);
            let place = uid.as_ref().loc().zip(lines);
            let line = place.map_or(policy.line, |(loc, lines)| lines.at(loc.start()));
            mistakes.push(mistake.line(line));
        }
    }
    mistakes
}

fn unknown(policy: &Written, uid: &EntityUid, known: &Known<'_>, file_mounts: &BTreeSet<&str>) -> Option<Mistake> {
    let id = uid.id().unescaped();
    match Kind::parse(uid.type_name().basename())? {
        Kind::Group if !known.people.knows_group(id) => {
            let mistake = Mistake::new(policy.file.as_str(), format!("unknown group `{id}`"));
            Some(unknown_group(mistake, id, known.people))
        }
        Kind::Role if !known.roles.contains(id) => {
            let (mount, name) = split_role_id(id);
            if let Some(mistake) = bare_name_expected(policy, id) {
                return Some(mistake);
            }
            let over_api = policy.policy.annotation(ROLE_ANNOTATION) == Some("api");
            // On a mount without role files, roles are made over the API, and files cannot know them.
            if over_api || !file_mounts.contains(mount) || known.broken_roles.contains(name) {
                return None;
            }
            let mistake = Mistake::new(policy.file.as_str(), format!("unknown role `{id}`"));
            let mistake = mistake.did_you_mean(id, known.roles.iter().map(String::as_str));
            Some(match mistake.hint {
                Some(_) => mistake,
                None => mistake
                    .hint("add roles/*.toml, or annotate the policy with @role(\"api\") if it is made over the API"),
            })
        }
        Kind::Group | Kind::Role | Kind::Person | Kind::Policy | Kind::Mount | Kind::Path => None,
    }
}

/// `Role::"ssh/web"` would never match, as roles at mount `ssh` go by their bare name.
fn bare_name_expected(policy: &Written, id: &str) -> Option<Mistake> {
    let (_, name) = id.rsplit_once('/').filter(|(mount, _)| *mount == DEFAULT_MOUNT)?;
    let mistake = Mistake::new(policy.file.as_str(), format!("unknown role `{id}`"));
    Some(mistake.hint(format!(
        "roles at mount `{DEFAULT_MOUNT}` go by their bare name: write Role::\"{name}\""
    )))
}

/// Whether a look at the head of a policy tells that all its names are known. Most policies name entities there only, and
/// walking through the conditions of ten thousand policies takes longer than reading them.
fn head_tells_all(policy: &Written, known: &Known<'_>) -> bool {
    let scopes = [&policy.principal, &policy.resource];
    let known_scope = |scope: &Scope| match scope {
        Scope::Entity(Kind::Group, id) => known.people.knows_group(id),
        Scope::Entity(Kind::Role, id) => known.roles.contains(id),
        Scope::Any | Scope::Entity(Kind::Person | Kind::Policy | Kind::Mount | Kind::Path, _) => true,
    };
    let in_scopes = scopes.iter().filter(|scope| ***scope != Scope::Any).count();
    let snippet = policy.policy.as_ref().loc().and_then(|loc| loc.snippet());
    let in_text = snippet.map(|text| text.matches("::").count() - text.matches("Action::").count());
    scopes.into_iter().all(known_scope) && in_text.is_some_and(|in_text| in_text <= in_scopes)
}
