//! What changes for people between two policy sets: who gains and who loses which principals on which role.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::PolicySet;
use super::ask::Ask;
use super::sample::{Mentions, STRANGER, Situation, principals_of};
use crate::access::role_id;
use crate::role::Role;

/// Somebody's way to a principal through a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// A person of `people.toml`, or `anyone in group …` for groups that come with the login.
    pub who: String,
    /// The role's id.
    pub role: String,
    /// The principal.
    pub principal: String,
    /// Whether it depends on address, login method or time.
    pub sometimes: bool,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            who,
            role,
            principal,
            sometimes,
        } = self;
        let condition = if *sometimes { ", under conditions" } else { "" };
        write!(f, "{who}: `{principal}` with role `{role}`{condition}")
    }
}

/// The difference between two policy sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// What people can do after and could not before.
    pub gained: Vec<Access>,
    /// What people could do before and cannot after.
    pub lost: Vec<Access>,
}

impl Diff {
    /// Compares what people can do under two sets.
    #[must_use]
    pub fn between(old: &PolicySet, new: &PolicySet) -> Self {
        let questions = questions(old, new);
        let (before, after) = (old.reach(&questions), new.reach(&questions));
        Self {
            gained: after.difference(&before).cloned().collect(),
            lost: before.difference(&after).cloned().collect(),
        }
    }

    /// Whether nothing changes for anybody.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.gained.is_empty() && self.lost.is_empty()
    }
}

/// What both sets are asked: the same people, roles, principals and situations, so that only answers differ.
struct Questions {
    subjects: BTreeMap<String, Ask>,
    roles: BTreeMap<String, (BTreeSet<String>, Vec<Situation>)>,
}

fn questions(old: &PolicySet, new: &PolicySet) -> Questions {
    let mut subjects = BTreeMap::from([("anyone who can log in".to_owned(), Ask::new(STRANGER, ""))]);
    for set in [old, new] {
        for person in set.people.iter() {
            subjects.insert(person.name().to_owned(), Ask::new(person.name(), ""));
        }
        for group in set.people.login_groups() {
            let ask = Ask {
                groups: BTreeSet::from([group.clone()]),
                ..Ask::new(STRANGER, "")
            };
            subjects.insert(format!("anyone in group {group}"), ask);
        }
    }
    let mut roles = BTreeMap::new();
    for role in old.all_roles().chain(new.all_roles()) {
        let id = role_id(role.mount(), role.name());
        roles.entry(id).or_insert_with(|| role_questions(old, new, role));
    }
    Questions { subjects, roles }
}

fn role_questions(old: &PolicySet, new: &PolicySet, role: &Role) -> (BTreeSet<String>, Vec<Situation>) {
    let (mount, name) = (role.mount(), role.name());
    let policies = [old, new]
        .into_iter()
        .flat_map(|set| set.access.signing_policies(mount, name));
    let mentions = Mentions::of(policies);
    let versions = [old, new].into_iter().filter_map(|set| set.role(mount, name));
    let principals = versions.flat_map(|role| principals_of(role, &mentions)).collect();
    (principals, mentions.situations())
}

impl PolicySet {
    fn reach(&self, questions: &Questions) -> BTreeSet<Access> {
        let mut reach = BTreeSet::new();
        for (role, (principals, situations)) in &questions.roles {
            for (who, subject) in &questions.subjects {
                let ask = Ask {
                    mount: Ask::new("", role).mount,
                    role: Ask::new("", role).role,
                    ..subject.clone()
                };
                if self.access.slice(&self.caller(&ask), &ask.mount, &ask.role).is_err() {
                    continue;
                }
                for principal in principals {
                    let ask = Ask {
                        principals: Some(vec![principal.clone()]),
                        ..ask.clone()
                    };
                    if let Some((_, always)) = self.granted_in_some(&ask, situations) {
                        let (who, principal) = (who.clone(), principal.clone());
                        reach.insert(Access {
                            who,
                            role: role.clone(),
                            principal,
                            sometimes: !always,
                        });
                    }
                }
            }
        }
        reach
    }
}
