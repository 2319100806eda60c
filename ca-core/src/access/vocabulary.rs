//! Cedar's names for our things: the schema, the entity types, the actions, and the entities of one question.

use std::collections::HashSet;
use std::sync::LazyLock;

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, Schema};

use crate::caller::Caller;

/// The schema that every policy is checked against.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// The mount whose roles go by their bare name.
pub const DEFAULT_MOUNT: &str = "ssh";

/// What a policy decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Action {
    /// Getting a certificate of a role.
    Sign,
    /// A capability on a path.
    Path(Verb),
}

/// A capability on a path, as Vault names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Write what did not exist.
    Create,
    /// Read.
    Read,
    /// Write.
    Update,
    /// Delete.
    Delete,
    /// List names.
    List,
    /// The operations that Vault calls root-protected.
    Sudo,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 6] = [
        Self::Create,
        Self::Read,
        Self::Update,
        Self::Delete,
        Self::List,
        Self::Sudo,
    ];

    /// Vault's word, which is the id of the Cedar action.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Sudo => "sudo",
        }
    }
}

impl Action {
    /// Every action.
    pub(crate) const ALL: [Self; 7] = [
        Self::Sign,
        Self::Path(Verb::Create),
        Self::Path(Verb::Read),
        Self::Path(Verb::Update),
        Self::Path(Verb::Delete),
        Self::Path(Verb::List),
        Self::Path(Verb::Sudo),
    ];

    /// The id of the Cedar action.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Path(verb) => verb.as_str(),
        }
    }

    /// Reads the id back.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == id)
    }
}

/// The types of the schema.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub(crate) schema: Schema,
    person: EntityTypeName,
    group: EntityTypeName,
    policy: EntityTypeName,
    role: EntityTypeName,
    mount: EntityTypeName,
    path: EntityTypeName,
    action: EntityTypeName,
}

static VOCABULARY: LazyLock<Result<Vocabulary, String>> = LazyLock::new(Vocabulary::load);

impl Vocabulary {
    /// The one vocabulary.
    ///
    /// # Errors
    /// What Cedar says about the shipped schema; a test holds that it says nothing.
    pub(crate) fn get() -> Result<&'static Self, String> {
        VOCABULARY.as_ref().map_err(Clone::clone)
    }

    fn load() -> Result<Self, String> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| error.to_string())?;
        let name = |word: &str| word.parse::<EntityTypeName>().map_err(|error| error.to_string());
        Ok(Self {
            schema,
            person: name("Person")?,
            group: name("Group")?,
            policy: name("Policy")?,
            role: name("Role")?,
            mount: name("Mount")?,
            path: name("Path")?,
            action: name("Action")?,
        })
    }

    /// The uid of a person.
    pub(crate) fn person(&self, name: &str) -> EntityUid {
        uid(&self.person, name)
    }

    /// The uid of a role.
    pub(crate) fn role(&self, mount: &str, role: &str) -> EntityUid {
        uid(&self.role, &role_id(mount, role))
    }

    /// The uid of a path.
    pub(crate) fn path(&self, path: &str) -> EntityUid {
        uid(&self.path, path)
    }

    /// The uid of an action.
    pub(crate) fn action(&self, action: Action) -> EntityUid {
        uid(&self.action, action.as_str())
    }

    /// The caller with their groups and token policies.
    pub(crate) fn caller(&self, caller: &Caller) -> Entity {
        let groups = caller.groups().iter().map(|group| uid(&self.group, group));
        let policies = caller.policies().iter().map(|policy| uid(&self.policy, policy));
        Entity::new_no_attrs(self.person(caller.person()), groups.chain(policies).collect())
    }

    /// The caller and a role on its mount.
    pub(crate) fn signing_entities(&self, caller: &Caller, mount: &str, role: &str) -> Result<Entities, String> {
        let parents = HashSet::from([uid(&self.mount, mount)]);
        let role = Entity::new_no_attrs(self.role(mount, role), parents);
        Entities::from_entities([self.caller(caller), role], None).map_err(|error| error.to_string())
    }

    /// The caller and a path in all paths above it.
    pub(crate) fn path_entities(&self, caller: &Caller, path: &str) -> Result<Entities, String> {
        let parents = paths_above(path).map(|above| uid(&self.path, above)).collect();
        let path = Entity::new_no_attrs(self.path(path), parents);
        Entities::from_entities([self.caller(caller), path], None).map_err(|error| error.to_string())
    }
}

/// How policies name a role: bare at mount `ssh`, else with its mount.
#[must_use]
pub fn role_id(mount: &str, role: &str) -> String {
    if mount == DEFAULT_MOUNT {
        role.to_owned()
    } else {
        format!("{mount}/{role}")
    }
}

/// The mount and name behind a role's id.
#[must_use]
pub fn split_role_id(id: &str) -> (&str, &str) {
    id.rsplit_once('/').unwrap_or((DEFAULT_MOUNT, id))
}

/// `a/b`, `a` for `a/b/c`.
pub(crate) fn paths_above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/'), |(above, _)| above.rsplit_once('/')).map(|(above, _)| above)
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_schema_is_sound() {
        let vocabulary = Vocabulary::get().unwrap();
        assert_eq!(vocabulary.schema.actions().count(), Action::ALL.len());
        for action in Action::ALL {
            assert!(
                vocabulary
                    .schema
                    .actions()
                    .any(|known| *known == vocabulary.action(action)),
                "{action:?}"
            );
        }
    }

    #[test]
    fn a_role_goes_by_its_bare_name_at_the_default_mount_only() {
        assert_eq!(role_id("ssh", "web"), "web");
        assert_eq!(role_id("team/a", "web"), "team/a/web");
        assert_eq!(split_role_id("web"), ("ssh", "web"));
        assert_eq!(split_role_id("team/a/web"), ("team/a", "web"));
    }

    #[test]
    fn paths_above_a_path_end_at_its_first_segment() {
        assert_eq!(paths_above("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(paths_above("a").count(), 0);
    }
}
