//! Access cases: `tests/*.toml` say who asks for what from where, and what must come of it. They take the real path.

use std::net::IpAddr;

use crate::access::role_id;
use crate::caller::AuthMethod;
use crate::denial::Denial;
use crate::mistake::{Mistake, nearest};
use crate::plan::Grant;
use crate::policy_set::{Ask, PolicySet};
use crate::time::UnixTime;
use crate::toml_reader::{TableReader, TomlReader};

const KEYS: &[&str] = &[
    "name",
    "person",
    "groups",
    "policies",
    "role",
    "mount",
    "principals",
    "ttl",
    "from",
    "method",
    "cert_type",
    "at",
    "extensions",
    "expect",
    "by",
    "code",
];

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    name: String,
    file: String,
    line: usize,
    ask: Ask,
    expected: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Allow { by: Option<String> },
    Deny { by: Option<String>, code: Option<String> },
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseOutcome {
    /// The case's name, a sentence.
    pub name: String,
    /// Its file.
    pub file: String,
    /// The line on which it starts.
    pub line: usize,
    /// Whether it came out as expected.
    pub passed: bool,
    /// What was expected.
    pub expected: String,
    /// What came out.
    pub found: String,
}

/// Reads a file of cases.
///
/// # Errors
/// Every mistake in the file.
pub fn from_toml(file: &str, text: &str) -> Result<Vec<Case>, Vec<Mistake>> {
    let reader = TomlReader::new(file, text);
    let document = reader.parse();
    let table = reader.table(&document);
    table.only(&["case"]);
    let cases = table
        .subtables("case")
        .iter()
        .filter_map(|table| read_case(file, table))
        .collect();
    reader.finish(cases)
}

fn read_case(file: &str, table: &TableReader<'_, '_>) -> Option<Case> {
    table.only(KEYS);
    let (name, person, role) = (table.required("name"), table.required("person"), table.required("role"));
    let expected = read_expected(table);
    let (name, person, role) = (name?.0, person?.0, role?.0);
    let mount = table.string("mount").map(|(mount, _)| mount);
    let id = mount
        .as_ref()
        .map_or_else(|| role.clone(), |mount| role_id(mount, &role));
    let mut ask = Ask::new(&person, &id);
    let texts = |key: &str| table.strings(key).into_iter().map(|(text, _)| text);
    ask.groups = texts("groups").collect();
    ask.policies = texts("policies").collect();
    ask.principals = table.is_array("principals").then(|| texts("principals").collect());
    ask.extensions = texts("extensions").collect();
    ask.ttl_secs = table.duration_secs("ttl").map(|(secs, _)| secs);
    ask.cert_type = table.string("cert_type").map(|(word, _)| word);
    read(
        table,
        "from",
        "an address such as \"10.1.2.3\"",
        |text| text.parse::<IpAddr>().ok(),
        &mut ask.from,
    );
    read(
        table,
        "method",
        "one of token, ssh-key, jwt",
        AuthMethod::parse,
        &mut ask.method,
    );
    let time = |text: &str| UnixTime::parse_rfc3339(text).ok();
    read(
        table,
        "at",
        "a time such as \"2026-11-22T03:00:00Z\"",
        time,
        &mut ask.at,
    );
    Some(Case {
        name,
        file: file.to_owned(),
        line: table.reader().line(table.place()),
        ask,
        expected: expected?,
    })
}

/// Reads a word into `target`; leaves the default where the key is absent.
fn read<T>(table: &TableReader<'_, '_>, key: &str, wanted: &str, parse: impl Fn(&str) -> Option<T>, target: &mut T) {
    let Some((text, offset)) = table.string(key) else {
        return;
    };
    match parse(&text) {
        Some(value) => *target = value,
        None => table
            .reader()
            .mistake(offset, format!("`{key}` is {text:?}, but must be {wanted}")),
    }
}

fn read_expected(table: &TableReader<'_, '_>) -> Option<Expected> {
    let by = table.string("by").map(|(id, _)| id);
    let code = table.string("code");
    let (word, offset) = table.required("expect")?;
    if let Some((code, offset)) = &code
        && !Denial::CODES.contains(&code.as_str())
    {
        let mistake = table.reader().at(*offset, format!("unknown denial code `{code}`"));
        table
            .reader()
            .keep(mistake.did_you_mean(code, Denial::CODES.iter().copied()));
    }
    match word.as_str() {
        "allow" if code.is_some() => {
            table
                .reader()
                .mistake(offset, "`code` is for cases that expect \"deny\"");
            None
        }
        "allow" => Some(Expected::Allow { by }),
        "deny" => Some(Expected::Deny {
            by,
            code: code.map(|(code, _)| code),
        }),
        other => {
            let mistake = table.reader().at(
                offset,
                format!("`expect` is {other:?}, but must be \"allow\" or \"deny\""),
            );
            table.reader().keep(mistake.did_you_mean(other, ["allow", "deny"]));
            None
        }
    }
}

impl Case {
    /// Asks the set, and compares.
    pub(crate) fn run(&self, set: &PolicySet) -> CaseOutcome {
        let answer = set.ask(&self.ask);
        CaseOutcome {
            name: self.name.clone(),
            file: self.file.clone(),
            line: self.line,
            passed: self.expected.met_by(&answer),
            expected: self.expected.to_string(),
            found: found(&answer, set, &self.ask),
        }
    }
}

impl Expected {
    fn met_by(&self, answer: &Result<Grant, Denial>) -> bool {
        match (self, answer) {
            (Self::Allow { by }, Ok(grant)) => named(by.as_ref(), grant.policies()),
            (Self::Deny { by, code }, Err(denial)) => {
                code.as_ref().is_none_or(|code| code == denial.code()) && named(by.as_ref(), deciding(denial))
            }
            (Self::Allow { .. }, Err(_)) | (Self::Deny { .. }, Ok(_)) => false,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (word, by, code) = match self {
            Self::Allow { by } => ("allow", by, &None),
            Self::Deny { by, code } => ("deny", by, code),
        };
        f.write_str(word)?;
        if let Some(code) = code {
            write!(f, " ({code})")?;
        }
        by.as_ref().map_or(Ok(()), |by| write!(f, " by `{by}`"))
    }
}

fn named(by: Option<&String>, policies: &[String]) -> bool {
    by.is_none_or(|by| policies.contains(by))
}

/// The policies that a denial names as deciding.
fn deciding(denial: &Denial) -> &[String] {
    match denial {
        Denial::PolicyForbids { policies, .. } | Denial::PolicyErrored { policies, .. } => policies,
        Denial::NoPolicyPermits { near, .. } => near,
        _ => &[],
    }
}

fn found(answer: &Result<Grant, Denial>, set: &PolicySet, ask: &Ask) -> String {
    match answer {
        Ok(grant) => format!("allow by `{}`", grant.policies().join("`, `")),
        Err(denial) => {
            let hint = denial.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("deny ({}): {denial}{hint}{}", denial.code(), unknown_person(set, ask))
        }
    }
}

/// A misspelt person is no mistake in itself (strangers are worth a case), but worth a word when a case fails.
fn unknown_person(set: &PolicySet, ask: &Ask) -> String {
    let names = || set.people.iter().map(crate::people::Person::name);
    if names().any(|name| name == ask.person) {
        return String::new();
    }
    nearest(&ask.person, names())
        .map(|near| format!("; did you mean person `{near}`?"))
        .unwrap_or_default()
}
