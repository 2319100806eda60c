//! A small team's policy folder: who exists, what role there is, who may use it.

use std::fmt::Write as _;
use std::path::Path;

use crate::keys::KeyFile;
use crate::workdir::{login_name, write};

/// The role that the team logs in with.
pub const ROLE: &str = "my-role";

/// The group whose members may.
pub const GROUP: &str = "backend";

/// People with their groups and keys, in the words of `people.toml`.
#[derive(Debug, Default)]
pub struct Team {
    people: Vec<(String, Vec<&'static str>, Vec<String>)>,
}

impl Team {
    /// Adds a person with groups and one SSH key.
    #[must_use]
    pub fn person(mut self, name: &str, groups: &[&'static str], key: &KeyFile) -> Self {
        self.people
            .push((name.to_owned(), groups.to_vec(), vec![key.public_line()]));
        self
    }

    /// The text of `people.toml`.
    pub fn people_toml(&self) -> String {
        let mut text = format!("groups = [\"{GROUP}\"]\nlogin_groups = [\"ci\"]\n");
        for (name, groups, keys) in &self.people {
            write!(text, "\n[people.{name}]\ngroups = {groups:?}\nkeys = {keys:?}\n").expect("text");
        }
        text
    }

    /// Replaces a policy folder's content by this team's.
    pub fn install(&self, policies: &Path) {
        std::fs::remove_dir_all(policies).expect("the old policies");
        write(&policies.join("people.toml"), &self.people_toml());
        write(&policies.join(format!("roles/{ROLE}.toml")), &role());
        write(&policies.join("access/backend.cedar"), &access());
    }
}

/// A role for the account that runs the tests.
fn role() -> String {
    format!(
        "description = \"Log in to the hosts of the tests\"\nallowed_users = [\"{0}\", \"deploy\"]\n\
         default_user = \"{0}\"\nttl = \"10m\"\nmax_ttl = \"1h\"\ndefault_extensions = [\"permit-pty\"]\n",
        login_name()
    )
}

fn access() -> String {
    let account = login_name();
    format!(
        "@id(\"backend-logs-in\")\npermit (principal in Group::\"{GROUP}\", action == Action::\"sign\", \
         resource == Role::\"{ROLE}\")\nwhen {{ [\"{account}\", \"deploy\"].containsAll(context.principals) }};\n\n\
         @id(\"ci-deploys\")\npermit (principal in Group::\"ci\", action == Action::\"sign\", resource == Role::\"{ROLE}\")\n\
         when {{ [\"{account}\", \"deploy\"].containsAll(context.principals) && context.ttl <= 900 }};\n"
    )
}
