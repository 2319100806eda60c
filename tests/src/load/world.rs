//! The policy folders that the benchmark serves: the ordinary one and the big one.

use std::fmt::Write as _;
use std::path::Path;

use crate::load::subject_keys;
use crate::team::{ROLE, Team};
use crate::workdir::write;

/// How much there is of everything besides what the benchmark itself uses.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Role files.
    pub roles: usize,
    /// Access policies.
    pub policies: usize,
    /// People, each with a key and two groups.
    pub people: usize,
}

/// What a company of some hundred people has.
pub const ORDINARY: Size = Size {
    roles: 100,
    policies: 1_000,
    people: 100,
};

/// Ten thousand of everything.
pub const BIG: Size = Size {
    roles: 10_000,
    policies: 10_000,
    people: 10_000,
};

/// Groups that people and policies are spread over.
const GROUPS: usize = 200;

/// Writes the folder: the team of the tests, and beside it as many others as the size says.
pub fn install(policies: &Path, size: Size) {
    Team::default().install(policies);
    write(&policies.join("people.toml"), &people(size));
    for index in 0..size.roles {
        let text = format!("description = \"Role {index}\"\nallowed_users = [\"user{index}\"]\nttl = \"10m\"\n");
        write(&policies.join(format!("roles/other-{index}.toml")), &text);
    }
    for (file, start) in (0..size.policies).step_by(500).enumerate() {
        let rules = (start..size.policies.min(start + 500)).map(|index| rule(index, size));
        write(
            &policies.join(format!("access/other-{file}.cedar")),
            &rules.collect::<String>(),
        );
    }
}

fn people(size: Size) -> String {
    let groups: Vec<String> = (0..GROUPS)
        .map(|index| format!("group-{index}"))
        .chain(["backend".to_owned()])
        .collect();
    let mut text = format!("groups = {groups:?}\nlogin_groups = [\"ci\"]\n");
    for (index, key) in subject_keys::make(size.people).iter().enumerate() {
        let (first, second) = (index % GROUPS, (index + 7) % GROUPS);
        write!(
            text,
            "\n[people.person{index}]\ngroups = [\"group-{first}\", \"group-{second}\"]\nkeys = [{key:?}]\n"
        )
        .expect("text");
    }
    text
}

/// Ten of the others also speak of the benchmark's own role, as in a company where many teams share one.
fn rule(index: usize, size: Size) -> String {
    let other = format!("other-{}", index % size.roles);
    let role = if index.is_multiple_of(100) && index < 1_000 {
        ROLE
    } else {
        &other
    };
    let user = index % size.roles;
    format!(
        "@id(\"rule-{index}\")\npermit (principal in Group::\"group-{}\", action == Action::\"sign\", \
         resource == Role::\"{role}\")\nwhen {{ [\"user{user}\"].containsAll(context.principals) }};\n",
        index % GROUPS
    )
}
