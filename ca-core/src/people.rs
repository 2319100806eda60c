//! `people.toml`: who is who, which groups they are in and which SSH keys they log in with.
//!
//! Every group is declared, either in `groups` (members are listed here) or in `login_groups` (it comes with the login).
//! So a misspelt group is found at load, and taking the last member out of a group is not a mistake that would keep the
//! old file, and with it that member, in force.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::caller::ENROLLED_HOSTS;
use crate::mistake::Mistake;
use crate::subject_key::SubjectKey;
use crate::toml_reader::{self, Place, TableReader};

/// Longest name of a person or a group, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Marks in the name of a person.
const PERSON_MARKS: &str = "._@+-";

/// Marks in the name of a group; identity providers write `team:backend` and `acme/app`.
const GROUP_MARKS: &str = "._@+-:/";

/// One person of `people.toml`.
#[derive(Debug, Clone)]
pub struct Person {
    name: String,
    groups: BTreeSet<String>,
    keys: Vec<SubjectKey>,
    metadata: BTreeMap<String, String>,
}

impl Person {
    /// The stable name, which is the id of the Cedar entity `Person`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The groups the person is in.
    #[must_use]
    pub const fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }

    /// The SSH public keys the person logs in with.
    #[must_use]
    pub fn keys(&self) -> &[SubjectKey] {
        &self.keys
    }

    /// Values for the templates of roles.
    #[must_use]
    pub const fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

/// Everybody in `people.toml`.
#[derive(Debug, Clone, Default)]
pub struct People {
    persons: BTreeMap<String, Person>,
    by_key: HashMap<Vec<u8>, String>,
    groups: BTreeSet<String>,
    login_groups: BTreeSet<String>,
}

impl People {
    /// Reads `people.toml`.
    ///
    /// # Errors
    /// Every mistake in the file: unknown keys, undeclared groups, unusable public keys, a key that two people share.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        let (people, mistakes) = Self::read(file, text);
        if mistakes.is_empty() { Ok(people) } else { Err(mistakes) }
    }

    /// Reads what can be read beside the mistakes, so that the other files can be checked against it.
    pub(crate) fn read(file: &str, text: &str) -> (Self, Vec<Mistake>) {
        toml_reader::read_beside_mistakes(file, text, |top| {
            let mut people = Self {
                groups: names(top, "groups"),
                login_groups: names(top, "login_groups"),
                ..Self::default()
            };
            if let Some(listed) = top.table("people") {
                for name in listed.free_keys() {
                    people.add(&listed, name);
                }
            }
            people
        })
    }

    /// Looks a person up by name.
    #[must_use]
    pub fn person(&self, name: &str) -> Option<&Person> {
        self.persons.get(name)
    }

    /// Looks a person up by the SSH wire form of one of their public keys.
    #[must_use]
    pub fn by_key_blob(&self, blob: &[u8]) -> Option<&Person> {
        self.person(self.by_key.get(blob)?)
    }

    /// Everybody, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Person> {
        self.persons.values()
    }

    /// Groups whose members are listed in the file.
    #[must_use]
    pub const fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }

    /// Groups that come with the login.
    #[must_use]
    pub const fn login_groups(&self) -> &BTreeSet<String> {
        &self.login_groups
    }

    /// Whether a policy may name this group.
    #[must_use]
    pub fn knows_group(&self, group: &str) -> bool {
        group == ENROLLED_HOSTS || self.groups.contains(group) || self.login_groups.contains(group)
    }

    /// Every group that a policy may name.
    pub fn known_groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().chain(&self.login_groups).map(String::as_str)
    }

    fn add(&mut self, listed: &TableReader<'_>, name: String) {
        if let Some(reason) = name_fault(&name, PERSON_MARKS) {
            listed.wrong(&name, format!("{name:?} cannot be the name of a person: {reason}"));
        }
        let Some(table) = listed.table(&name) else {
            return;
        };
        let groups = table.strings("groups");
        for (group, place) in &groups {
            self.check_group(&table, group, *place);
        }
        let keys = self.read_keys(&table, &name);
        let metadata = table.string_map("metadata");
        if metadata.values().any(|value| value.chars().any(char::is_control)) {
            table.wrong("metadata", format!("metadata of `{name}` holds a control character"));
        }
        let groups = groups.into_iter().map(|(group, _)| group).collect();
        self.persons.insert(
            name.clone(),
            Person {
                name,
                groups,
                keys,
                metadata,
            },
        );
    }

    fn check_group(&self, table: &TableReader<'_>, group: &str, place: Place) {
        if self.groups.contains(group) {
            return;
        }
        table.keep(if self.login_groups.contains(group) {
            let text = format!("group `{group}` is in `login_groups`, so it has no members here");
            let mistake = table.mistake(place, text);
            mistake.hint("move it to `groups`, or give it at the login")
        } else {
            let mistake = table.mistake(place, format!("unknown group `{group}`"));
            unknown_group(mistake, group, self)
        });
    }

    fn read_keys(&mut self, table: &TableReader<'_>, name: &str) -> Vec<SubjectKey> {
        let mut keys = Vec::new();
        for (line, place) in table.strings("keys") {
            match SubjectKey::parse(&line) {
                Err(error) => table.wrong_at(place, format!("a key of `{name}` is not usable: {error}")),
                Ok(key) => match self.by_key.insert(key.blob().to_vec(), name.to_owned()) {
                    None => keys.push(key),
                    Some(other) => table.wrong_at(place, format!("this key of `{name}` is listed for `{other}` too")),
                },
            }
        }
        keys
    }
}

/// Completes a mistake about a group that is not declared.
pub(crate) fn unknown_group(mistake: Mistake, group: &str, people: &People) -> Mistake {
    let mistake = mistake.did_you_mean(group, people.known_groups());
    match mistake.hint {
        Some(_) => mistake,
        None => mistake.hint("declare it in `groups` of people.toml, or in `login_groups` if it comes with the login"),
    }
}

fn names(table: &TableReader<'_>, key: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, place) in table.strings(key) {
        if let Some(reason) = name_fault(&name, GROUP_MARKS) {
            table.wrong_at(place, format!("{name:?} cannot be the name of a group: {reason}"));
        } else if name == ENROLLED_HOSTS {
            table.wrong_at(
                place,
                format!("`{name}` is the group of enrolled hosts; no person is in it"),
            );
        }
        names.insert(name);
    }
    names
}

/// Why a text cannot name a person or a group.
///
/// SECURITY: names are filled into templates of roles and into key IDs; a comma or a blank would make two names of one
/// (GHSA-59w7-v8rr-pr4p).
fn name_fault(name: &str, marks: &str) -> Option<String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Some(format!("it must have 1 to {NAME_BYTES_MAX} characters"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    let spaced = || marks.chars().map(String::from).collect::<Vec<_>>().join(" ");
    (!name.chars().all(plain)).then(|| format!("only letters, digits and {} are allowed", spaced()))
}

#[cfg(test)]
mod tests;
