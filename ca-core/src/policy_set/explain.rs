//! Why somebody may or may not have a certificate: identity → groups → role → principals → decision, the first broken link
//! marked, with its fix. The answers are the server's own.

use std::fmt;

use super::ask::{Ask, resolve_with_some_key};
use super::{PEOPLE_FILE, PolicySet, source};
use crate::access::{Kind, Scope, Slice, Written, role_id};
use crate::caller::{AuthMethod, Caller};
use crate::denial::Denial;
use crate::mistake::nearest;
use crate::people::Person;
use crate::plan::Resolved;

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `identity`, `groups`, `role`, `principals` or `decision`.
    pub link: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// What was found.
    pub text: String,
    /// What to do where it does not hold.
    pub fix: Option<String>,
}

/// The chain, up to the first link that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explanation {
    /// The links in order.
    pub steps: Vec<Step>,
}

impl Explanation {
    /// Whether the certificate would be issued.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.steps.iter().all(|step| step.holds)
    }

    fn holds(&mut self, link: &'static str, text: impl Into<String>) {
        self.steps.push(Step {
            link,
            holds: true,
            text: text.into(),
            fix: None,
        });
    }

    fn broken(mut self, link: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        self.steps.push(Step {
            link,
            holds: false,
            text: text.into(),
            fix: Some(fix.into()),
        });
        self
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let mark = if step.holds { "ok  " } else { "STOP" };
            writeln!(f, "{mark} {:<10} {}", step.link, step.text)?;
            if let Some(fix) = &step.fix {
                writeln!(f, "     {:<10} {fix}", "fix:")?;
            }
        }
        Ok(())
    }
}

impl PolicySet {
    /// Explains the answer to a question.
    #[must_use]
    pub fn explain(&self, ask: &Ask) -> Explanation {
        let mut chain = Explanation::default();
        match self.identity(ask) {
            Ok(text) => chain.holds("identity", text),
            Err((text, fix)) => return chain.broken("identity", text, fix),
        }
        let caller = self.caller(ask);
        let Ok(slice) = self.access.slice(&caller, &ask.mount, &ask.role) else {
            return self.no_group_fits(chain, ask, &caller);
        };
        chain.holds("groups", groups_text(&caller));
        let Some(role) = self.role(&ask.mount, &ask.role) else {
            let denial = self.unknown_role(&ask.mount, &ask.role);
            let fix = denial.hint().unwrap_or_else(|| "write roles/*.toml for it".to_owned());
            return chain.broken("role", denial.to_string(), fix);
        };
        chain.holds("role", format!("`{role}` ({})", source(role)));
        match resolve_with_some_key(role, ask, &caller) {
            Ok(resolved) => decide(chain, &slice, resolved, ask),
            Err(denial) => {
                let fix = denial.hint().unwrap_or_else(|| format!("change {}", source(role)));
                chain.broken("principals", denial.to_string(), fix)
            }
        }
    }

    fn identity(&self, ask: &Ask) -> Result<String, (String, String)> {
        let Some(person) = self.people.person(&ask.person) else {
            if ask.method != AuthMethod::SshKey || !ask.groups.is_empty() {
                return Ok(format!(
                    "`{}` comes with the login ({})",
                    ask.person,
                    ask.method.as_str()
                ));
            }
            let near = nearest(&ask.person, self.people.iter().map(Person::name));
            let fix = near.map_or_else(
                || {
                    format!(
                        "add [people.{}] to {PEOPLE_FILE}, or say which groups come with the login",
                        ask.person
                    )
                },
                |near| format!("did you mean `{near}`?"),
            );
            return Err((format!("nobody is called `{}` in {PEOPLE_FILE}", ask.person), fix));
        };
        if ask.method == AuthMethod::SshKey && person.keys().is_empty() {
            let fix = format!("add a public key to `keys` of [people.{}] in {PEOPLE_FILE}", ask.person);
            return Err((format!("`{}` has no SSH key to log in with", ask.person), fix));
        }
        Ok(format!(
            "`{}` is in {PEOPLE_FILE}, with {} SSH key(s)",
            ask.person,
            person.keys().len()
        ))
    }

    fn no_group_fits(&self, chain: Explanation, ask: &Ask, caller: &Caller) -> Explanation {
        let policies = self.access.signing_policies(&ask.mount, &ask.role);
        let permits: Vec<&Written> = policies.into_iter().filter(|policy| policy.permits()).collect();
        let id = role_id(&ask.mount, &ask.role);
        if permits.is_empty() {
            if self.role(&ask.mount, &ask.role).is_none() {
                let denial = self.unknown_role(&ask.mount, &ask.role);
                let fix = denial.hint().unwrap_or_else(|| "write roles/*.toml for it".to_owned());
                return chain.broken("role", denial.to_string(), fix);
            }
            let fix = format!("write a permit with resource == Role::\"{id}\" in access/*.cedar");
            return chain.broken("groups", format!("no policy permits anybody to use role `{id}`"), fix);
        }
        let ways: Vec<String> = permits.iter().map(|permit| way_in(permit, &ask.person)).collect();
        let text = format!("{}; no policy for role `{id}` is for any of them", groups_text(caller));
        chain.broken("groups", text, ways.join("; or "))
    }
}

fn groups_text(caller: &Caller) -> String {
    if caller.groups().is_empty() {
        return "in no group".to_owned();
    }
    let groups: Vec<&str> = caller.groups().iter().map(String::as_str).collect();
    format!("in {}", groups.join(", "))
}

/// What would make a permit apply to a person.
fn way_in(permit: &Written, person: &str) -> String {
    let place = format!("(policy `{}`, {}:{})", permit.id, permit.file, permit.line);
    match &permit.principal {
        Scope::Entity(Kind::Group, group) => format!("put `{person}` into group `{group}` {place}"),
        Scope::Entity(Kind::Policy, policy) => format!("use a token with policy `{policy}` {place}"),
        Scope::Entity(_, other) => format!("it is for `{other}` only {place}"),
        Scope::Any => format!("see {place}"),
    }
}

fn decide(mut chain: Explanation, slice: &Slice, resolved: Resolved, ask: &Ask) -> Explanation {
    let principals: Vec<&str> = resolved
        .principals()
        .iter()
        .map(crate::principal::Principal::as_str)
        .collect();
    chain.holds(
        "principals",
        format!(
            "the role allows {} for {} s",
            principals.join(", "),
            resolved.ttl_secs()
        ),
    );
    match slice.grant(resolved, ask.at) {
        Ok(grant) => {
            chain.holds(
                "decision",
                format!("allow, by policy `{}`", grant.policies().join("`, `")),
            );
            chain
        }
        Err(denial) => {
            let fix = match &denial {
                Denial::NoPolicyPermits { near, .. } => {
                    format!("compare with the conditions of policy `{}`", near.join("`, `"))
                }
                Denial::PolicyForbids { policies, .. } => {
                    format!(
                        "ask for what policy `{}` leaves open, or change it",
                        policies.join("`, `")
                    )
                }
                other => other.hint().unwrap_or_else(|| "see the policy".to_owned()),
            };
            chain.broken("decision", denial.to_string(), fix)
        }
    }
}
