//! Access cases: `tests/*.toml` say who asks for what from where, and what must come of it. They take the real path.

use crate::access::role_id;
use crate::caller::AuthMethod;
use crate::denial::Denial;
use crate::mistake::{Mistake, nearest};
use crate::plan::Grant;
use crate::policy_set::{Ask, PolicySet};
use crate::time::UnixTime;
use crate::toml_reader::{self, TableReader};

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
    toml_reader::read(file, text, |top| {
        let cases = top.tables("case");
        cases.iter().filter_map(|table| read_case(file, table)).collect()
    })
}

fn read_case(file: &str, table: &TableReader<'_>) -> Option<Case> {
    let (name, person) = (table.required("name"), table.required("person"));
    let ask = read_ask(table, &person.unwrap_or_default());
    let expected = read_expected(table);
    Some(Case {
        name: name?,
        file: file.to_owned(),
        line: table.line(),
        ask,
        expected: expected?,
    })
}

fn read_ask(table: &TableReader<'_>, person: &str) -> Ask {
    let texts = |key: &str| table.strings(key).into_iter().map(|(text, _)| text);
    let (groups, policies) = (texts("groups").collect(), texts("policies").collect());
    let role = table.required("role").unwrap_or_default();
    let mount = table.string("mount");
    let id = mount.map_or_else(|| role.clone(), |mount| role_id(&mount, &role));
    let asked = Ask::new(person, &id);
    let time = |text: &str| UnixTime::parse_rfc3339(text).ok();
    Ask {
        groups,
        policies,
        principals: table.has("principals").then(|| texts("principals").collect()),
        ttl_secs: table.duration_secs("ttl", 0..=u64::MAX),
        from: table
            .parsed("from", "an address such as \"10.1.2.3\"", |text| text.parse().ok())
            .unwrap_or(asked.from),
        method: table
            .parsed("method", "`token`, `ssh-key` or `jwt`", AuthMethod::parse)
            .unwrap_or(asked.method),
        cert_type: table
            .word("cert_type", &[("user", "user"), ("host", "host")])
            .map(str::to_owned),
        at: table
            .parsed("at", "a time such as \"2026-11-22T03:00:00Z\"", time)
            .unwrap_or(asked.at),
        extensions: texts("extensions").collect(),
        ..asked
    }
}

fn read_expected(table: &TableReader<'_>) -> Option<Expected> {
    let allowed = table
        .required("expect")
        .and_then(|_| table.word("expect", &[("allow", true), ("deny", false)]));
    let by = table.string("by");
    let code = table.string("code");
    if let Some(code) = code.as_ref().filter(|code| !Denial::CODES.contains(&code.as_str())) {
        let mistake = table.mistake(table.place_of("code"), format!("unknown denial code `{code}`"));
        table.keep(mistake.did_you_mean(code, Denial::CODES.iter().copied()));
    }
    if allowed? {
        if code.is_some() {
            table.wrong("code", "`code` is for cases that expect `deny`");
        }
        Some(Expected::Allow { by })
    } else {
        Some(Expected::Deny { by, code })
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
