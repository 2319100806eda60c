//! Finds the policies that can apply to a question without looking at the others: by action, resource scope and principal
//! scope. What it leaves out cannot apply by its scope alone; what it gives is for Cedar to decide. So the cost of a
//! decision does not grow with the number of policies.

use std::collections::HashMap;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use super::parse::Written;
use super::vocabulary::{Action, paths_above, role_id};
use crate::caller::Caller;

/// What the head of a policy says about principal or resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Anything, or anything of one type.
    Any,
    /// This entity or what is in it.
    Entity(Kind, String),
}

/// The entity types that a scope can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Person,
    Group,
    Policy,
    Role,
    Mount,
    Path,
}

impl Kind {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "Person" => Self::Person,
            "Group" => Self::Group,
            "Policy" => Self::Policy,
            "Role" => Self::Role,
            "Mount" => Self::Mount,
            "Path" => Self::Path,
            _ => return None,
        })
    }
}

impl Scope {
    fn of(uid: &EntityUid) -> Self {
        let kind = Kind::parse(uid.type_name().basename());
        // A type outside the schema cannot pass validation; if one did, `Any` only makes Cedar look once more.
        kind.map_or(Self::Any, |kind| Self::Entity(kind, uid.id().unescaped().to_owned()))
    }

    /// The principal scope of a policy.
    pub(crate) fn of_principal(policy: &Policy) -> Self {
        match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Self::Any,
            PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => {
                Self::of(&uid)
            }
        }
    }

    /// The resource scope of a policy.
    pub(crate) fn of_resource(policy: &Policy) -> Self {
        match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => Self::Any,
            ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => {
                Self::of(&uid)
            }
        }
    }
}

/// The actions that the head of a policy names.
pub(crate) fn actions_of(policy: &Policy) -> Vec<Action> {
    let named = |uid: &EntityUid| Action::parse(uid.id().unescaped());
    match policy.action_constraint() {
        ActionConstraint::Any => Action::ALL.to_vec(),
        ActionConstraint::Eq(uid) => named(&uid).into_iter().collect(),
        ActionConstraint::In(uids) => uids.iter().filter_map(named).collect(),
    }
}

/// Positions of policies, by scope.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_scope: HashMap<(Action, Scope, Scope), Vec<usize>>,
    by_resource: HashMap<(Action, Scope), Vec<usize>>,
}

impl Index {
    /// Sorts all policies in.
    pub(crate) fn build(policies: &[Written]) -> Self {
        let mut index = Self::default();
        for (position, policy) in policies.iter().enumerate() {
            for action in &policy.actions {
                let place = (*action, policy.resource.clone(), policy.principal.clone());
                index.by_scope.entry(place).or_default().push(position);
                let place = (*action, policy.resource.clone());
                index.by_resource.entry(place).or_default().push(position);
            }
        }
        index
    }

    /// The policies that can apply to this caller and these resource scopes, permits and forbids, in file order.
    pub(crate) fn candidates(&self, action: Action, resources: &[Scope], caller: &Caller) -> Vec<usize> {
        let principals = principal_scopes(caller);
        let mut found = Vec::new();
        for resource in resources {
            for principal in &principals {
                let place = (action, resource.clone(), principal.clone());
                found.extend(self.by_scope.get(&place).into_iter().flatten().copied());
            }
        }
        found.sort_unstable();
        found
    }

    /// The policies for these resource scopes, whoever they are for, the most specific scope first.
    pub(crate) fn of_resources<'a>(
        &'a self,
        action: Action,
        resources: &'a [Scope],
    ) -> impl Iterator<Item = usize> + 'a {
        let policies = move |resource: &Scope| self.by_resource.get(&(action, resource.clone()));
        resources.iter().filter_map(policies).flatten().copied()
    }
}

/// Every principal scope that a caller is in.
fn principal_scopes(caller: &Caller) -> Vec<Scope> {
    let groups = caller
        .groups()
        .iter()
        .map(|group| Scope::Entity(Kind::Group, group.clone()));
    let policies = caller
        .policies()
        .iter()
        .map(|policy| Scope::Entity(Kind::Policy, policy.clone()));
    let person = Scope::Entity(Kind::Person, caller.person().to_owned());
    [Scope::Any, person].into_iter().chain(groups).chain(policies).collect()
}

/// Every resource scope that a role is in, the most specific first.
pub(crate) fn role_scopes(mount: &str, role: &str) -> Vec<Scope> {
    vec![
        Scope::Entity(Kind::Role, role_id(mount, role)),
        Scope::Entity(Kind::Mount, mount.to_owned()),
        Scope::Any,
    ]
}

/// Every resource scope that a path is in, the most specific first.
pub(crate) fn path_scopes(path: &str) -> Vec<Scope> {
    let path_scope = |path: &str| Scope::Entity(Kind::Path, path.to_owned());
    std::iter::once(path)
        .chain(paths_above(path))
        .map(path_scope)
        .chain([Scope::Any])
        .collect()
}
