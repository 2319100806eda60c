//! Everything in a `policies/` folder as one immutable snapshot: roles, people, access policies, hosts, cases. Loaded all or
//! nothing, with every mistake of every file at once.

mod ask;
mod diff;
mod explain;
mod lint;
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::digest;

use crate::access::{AccessPolicies, DEFAULT_MOUNT, Known, role_id};
use crate::breakglass::Document;
use crate::cases::{self, Case, CaseOutcome};
use crate::host_policy::HostPolicy;
use crate::mistake::Mistake;
use crate::people::People;
use crate::role::{ROLE_FIELDS, Role, RoleSource, is_role_name};
use crate::vault_value::Fields;

pub use self::ask::Ask;
pub use self::diff::{Access, Diff};
pub use self::explain::{Explanation, Step};
pub use self::lint::Finding;

/// The file that lists people, relative to the policies folder.
pub const PEOPLE_FILE: &str = "people.toml";

/// The file that says who opens which account on which hosts, relative to the policies folder.
pub const HOSTS_FILE: &str = "hosts.toml";

/// The break-glass document (see [`crate::breakglass`]), relative to the policies folder.
pub const BREAKGLASS_FILE: &str = "breakglass.keys";

/// A snapshot of the policies folder.
#[derive(Debug, Default)]
pub struct PolicySet {
    /// Who may do what.
    pub access: AccessPolicies,
    /// Who is who.
    pub people: People,
    /// Who opens which account on which hosts, and how hosts enrol.
    pub hosts: HostPolicy,
    /// The text of the break-glass document, for hosts; empty for none. Only a host can tell whether it believes it.
    pub breakglass: String,
    /// The line of each rule of `hosts`.
    host_rule_lines: Vec<usize>,
    roles: BTreeMap<String, BTreeMap<String, Arc<Role>>>,
    cases: Vec<Case>,
    version: String,
}

impl PolicySet {
    /// A set in which nothing is defined, so that only root tokens may do anything.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            version: version_of(&BTreeMap::new()),
            ..Self::default()
        }
    }

    /// Reads the files of a policies folder: path relative to the folder (with `/`) → text.
    ///
    /// # Errors
    /// Every mistake in every file, in the order of files and lines.
    pub fn from_files(files: &BTreeMap<String, String>) -> Result<Self, Vec<Mistake>> {
        let mut loader = Loader::default();
        for (file, text) in files {
            loader.take(file, text);
        }
        let mut set = loader.finish()?;
        set.version = version_of(files);
        Ok(set)
    }

    /// A role that a file defines.
    #[must_use]
    pub fn role(&self, mount: &str, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(mount)?.get(name)
    }

    /// The roles that files define at a mount, by name.
    pub fn roles(&self, mount: &str) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.get(mount).into_iter().flat_map(BTreeMap::values)
    }

    /// The roles that files define at any mount.
    pub fn all_roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values().flat_map(BTreeMap::values)
    }

    /// SHA-256 of all inputs, in hex: two servers with the same version decide alike.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs the cases of `tests/*.toml` through the real path.
    #[must_use]
    pub fn run_cases(&self) -> Vec<CaseOutcome> {
        self.cases.iter().map(|case| case.run(self)).collect()
    }
}

/// Collects what the files define, and their mistakes.
#[derive(Default)]
struct Loader<'a> {
    policies: Vec<(&'a str, &'a str)>,
    people: People,
    hosts: HostPolicy,
    host_rule_lines: Vec<usize>,
    breakglass: String,
    roles: BTreeMap<String, BTreeMap<String, Arc<Role>>>,
    /// Names of roles whose files hold mistakes: policies that name them are not wrong for that.
    broken_roles: BTreeSet<String>,
    cases: Vec<Case>,
    mistakes: Vec<Mistake>,
}

impl<'a> Loader<'a> {
    fn take(&mut self, file: &'a str, text: &'a str) {
        let (folder, _) = file.split_once('/').unwrap_or(("", file));
        let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
        match (folder, extension) {
            ("", _) if file == PEOPLE_FILE => self.take_people(text),
            ("", _) if file == HOSTS_FILE => self.take_hosts(text),
            ("", _) if file == BREAKGLASS_FILE => self.take_breakglass(text),
            ("roles", "toml") => self.take_role(file, |name| Role::from_toml(name, file, text)),
            ("roles", "json") => self.take_role(file, |name| role_from_json(name, file, text)),
            ("access", "cedar") => self.policies.push((file, text)),
            ("tests", "toml") => match cases::from_toml(file, text) {
                Ok(cases) => self.cases.extend(cases),
                Err(mistakes) => self.mistakes.extend(mistakes),
            },
            _ => self.mistakes.push(misplaced(file)),
        }
    }

    fn take_people(&mut self, text: &str) {
        let (people, mistakes) = People::read(PEOPLE_FILE, text);
        self.people = people;
        self.mistakes.extend(mistakes);
    }

    fn take_hosts(&mut self, text: &str) {
        let (hosts, rule_lines, mistakes) = HostPolicy::read(HOSTS_FILE, text);
        self.hosts = hosts;
        self.host_rule_lines = rule_lines;
        self.mistakes.extend(mistakes);
    }

    fn take_breakglass(&mut self, text: &str) {
        // Whether its signatures are right depends on the keys that a host holds; whether it can be read does not.
        match Document::parse(text) {
            Ok(_) => text.clone_into(&mut self.breakglass),
            Err(fault) => self.mistakes.push(Mistake::new(BREAKGLASS_FILE, fault.to_string())),
        }
    }

    fn take_role(&mut self, file: &str, read: impl FnOnce(&str) -> Result<Role, Vec<Mistake>>) {
        let stem = stem(file);
        let role = match read(stem) {
            Ok(role) => role,
            Err(mistakes) => {
                self.broken_roles.insert(stem.to_owned());
                return self.mistakes.extend(mistakes);
            }
        };
        let (mount, name) = (role.mount().to_owned(), role.name().to_owned());
        if let Some(first) = self
            .roles
            .entry(mount.clone())
            .or_default()
            .insert(name.clone(), Arc::new(role))
        {
            let text = format!("role `{name}` at mount `{mount}` is defined by {} too", source(&first));
            self.mistakes.push(Mistake::new(file, text));
        }
    }

    fn finish(mut self) -> Result<PolicySet, Vec<Mistake>> {
        let ids = |(mount, roles): (&String, &BTreeMap<String, Arc<Role>>)| -> Vec<String> {
            roles.keys().map(|name| role_id(mount, name)).collect()
        };
        let roles: BTreeSet<String> = self.roles.iter().flat_map(ids).collect();
        let known = Known {
            people: &self.people,
            roles: &roles,
            broken_roles: &self.broken_roles,
        };
        let (access, mistakes) = AccessPolicies::read(&self.policies, Some(&known));
        self.mistakes.extend(mistakes);
        if !self.mistakes.is_empty() {
            self.mistakes.sort();
            self.mistakes.dedup();
            return Err(self.mistakes);
        }
        Ok(PolicySet {
            access,
            people: self.people,
            hosts: self.hosts,
            breakglass: self.breakglass,
            host_rule_lines: self.host_rule_lines,
            roles: self.roles,
            cases: self.cases,
            version: String::new(),
        })
    }
}

/// Reads a Vault role document as it is. The folders between `roles/` and the file are its mount; without any it is `ssh`.
fn role_from_json(name: &str, file: &str, text: &str) -> Result<Role, Vec<Mistake>> {
    let wrong = |text: String| vec![Mistake::new(file, text)];
    if !is_role_name(name) {
        return Err(wrong(format!(
            "`{name}` is not a role name: letters, digits, `_`, and inside also `-`, `.`, `@`"
        )));
    }
    let fields = Fields::from_json(text.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let known = || ROLE_FIELDS.iter().copied().chain(["name"]);
    let known_fields: Vec<&str> = known().collect();
    let unknown = fields.unknown(&known_fields);
    if !unknown.is_empty() {
        let mistake = |word: &String| Mistake::new(file, format!("unknown field `{word}`")).did_you_mean(word, known());
        let place = |word: &String| text.find(&format!("\"{word}\""));
        let line = |word: &String| place(word).map(|offset| crate::mistake::line_of(text, offset));
        let placed = |word: &String| match line(word) {
            Some(line) => mistake(word).line(line),
            None => mistake(word),
        };
        return Err(unknown.iter().map(placed).collect());
    }
    match fields.string("name") {
        Ok(Some(written)) if written != name => {
            return Err(wrong(format!(
                "the role is called `{written}` but the file `{name}`: make them agree"
            )));
        }
        Ok(_) => {}
        Err(error) => return Err(wrong(error.to_string())),
    }
    let folders = file.strip_prefix("roles/").and_then(|rest| rest.rsplit_once('/'));
    let mount = folders.map_or(DEFAULT_MOUNT, |(folders, _)| folders);
    Role::from_vault_json(name, mount, &fields, RoleSource::File(file.to_owned()))
        .map_err(|error| wrong(error.to_string()))
}

fn misplaced(file: &str) -> Mistake {
    let hint =
        "known: people.toml, hosts.toml, breakglass.keys, roles/*.toml, roles/*.json, access/*.cedar, tests/*.toml";
    Mistake::new(file, "no file of this name belongs in a policies folder").hint(hint)
}

fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// The file of a role that a file defines.
fn source(role: &Role) -> &str {
    match role.source() {
        RoleSource::File(file) => file,
        RoleSource::Api => "the API",
    }
}

fn version_of(files: &BTreeMap<String, String>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for (file, text) in files {
        for part in [file, text] {
            // With its length before each part, no two sets of files run into the same bytes.
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
    }
    data_encoding::HEXLOWER.encode(context.finish().as_ref())
}

#[cfg(test)]
mod tests;
