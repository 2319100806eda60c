//! From Cedar text to checked policies with their ids and places. Mistakes of syntax, of types and of names of our own
//! schema are all found here, each with its line.

use std::collections::{HashMap, HashSet};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, Validator};

use super::index::{Scope, actions_of};
use super::vocabulary::{Action, Vocabulary};
use crate::mistake::Mistake;

/// Longest `@id`, in bytes.
const ID_BYTES_MAX: usize = 128;

/// Annotations that mean something; others are for people.
const ID: &str = "id";

/// The prefix of the ids of rules that no file holds.
pub(crate) const BUILTIN: &str = "builtin-";

/// A policy as somebody wrote it.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// `@id("…")`, else the file and the position in it: `backend.cedar#1`.
    pub(crate) id: String,
    /// The file.
    pub(crate) file: String,
    /// The line on which the policy starts.
    pub(crate) line: usize,
    /// Whom the head of the policy is for.
    pub(crate) principal: Scope,
    /// What the head of the policy is about.
    pub(crate) resource: Scope,
    /// The actions that the head of the policy names.
    pub(crate) actions: Vec<Action>,
    /// The policy itself, under our id.
    pub(crate) policy: Policy,
}

impl Written {
    /// Whether it permits rather than forbids.
    pub(crate) fn permits(&self) -> bool {
        self.policy.effect() == Effect::Permit
    }
}

/// The places of lines in a text, found once.
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn of(text: &str) -> Self {
        Self(
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(offset, _)| offset)
                .collect(),
        )
    }

    /// The line, from 1, that holds a byte offset.
    pub(crate) fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

/// Reads and checks the policies of all files.
pub(crate) fn parse(files: &[(&str, &str)]) -> (Vec<Written>, Vec<Mistake>) {
    let mut written = Vec::new();
    let mut mistakes = Vec::new();
    let vocabulary = match Vocabulary::get() {
        Ok(vocabulary) => vocabulary,
        Err(reason) => return (written, vec![Mistake::new("schema.cedarschema", reason)]),
    };
    let validator = Validator::new(vocabulary.schema.clone());
    for (file, text) in files {
        parse_file(&validator, file, text, &mut written, &mut mistakes);
    }
    check_ids(&written, &mut mistakes);
    (written, mistakes)
}

fn parse_file(validator: &Validator, file: &str, text: &str, written: &mut Vec<Written>, mistakes: &mut Vec<Mistake>) {
    let lines = Lines::of(text);
    let set: PolicySet = match text.parse() {
        Ok(set) => set,
        Err(errors) => {
            let errors: cedar_policy::ParseErrors = errors;
            mistakes.extend(
                errors
                    .iter()
                    .map(|error| mistake(file, &lines, &DetailedError::from(error))),
            );
            return;
        }
    };
    for template in set.templates() {
        let text = "a policy template (`?principal`, `?resource`) is not used here";
        let line = template.as_ref().loc().map_or(1, |loc| lines.at(loc.start()));
        mistakes.push(Mistake::new(file, text).line(line));
    }
    check_types(validator, &set, file, &lines, mistakes);
    let stem = file.rsplit('/').next().unwrap_or(file);
    for (position, policy) in set.policies().enumerate() {
        let id = policy
            .annotation(ID)
            .map_or_else(|| format!("{stem}#{}", position + 1), str::to_owned);
        let line = policy.as_ref().loc().map_or(1, |loc| lines.at(loc.start()));
        // The round through the syntax tree drops the copy of the policy's text, which nothing needs any more.
        let policy = Policy::from(policy.as_ref().new_id(PolicyId::new(&id).into()));
        written.push(Written {
            id,
            file: file.to_owned(),
            line,
            principal: Scope::of_principal(&policy),
            resource: Scope::of_resource(&policy),
            actions: actions_of(&policy),
            policy,
        });
    }
}

/// Checks a file's policies against the schema. What only follows from another mistake in the same policy is left out.
fn check_types(validator: &Validator, set: &PolicySet, file: &str, lines: &Lines, mistakes: &mut Vec<Mistake>) {
    let result = validator.validate(set, ValidationMode::Strict);
    let mut wrong: HashSet<&PolicyId> = HashSet::new();
    for error in result.validation_errors() {
        wrong.insert(error.policy_id());
        mistakes.push(mistake(file, lines, &DetailedError::from(error)));
    }
    // SECURITY: a forbid that can never apply, or a name in mixed scripts, is not what its author meant. Cedar calls these
    // warnings; here a setting that looks restrictive is enforced or refused. One a policy is enough: the rest follows.
    for warning in result.validation_warnings() {
        if wrong.insert(warning.policy_id()) {
            mistakes.push(mistake(file, lines, &DetailedError::from(warning)));
        }
    }
}

fn check_ids(written: &[Written], mistakes: &mut Vec<Mistake>) {
    let mut seen: HashMap<&str, &Written> = HashMap::new();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._@#/:-".contains(c);
    for policy in written {
        let mistake = |text: String| Mistake::new(policy.file.as_str(), text).line(policy.line);
        if policy.id.is_empty() || policy.id.len() > ID_BYTES_MAX || !policy.id.chars().all(plain) {
            mistakes.push(
                mistake(format!("{:?} cannot be the id of a policy", policy.id))
                    .hint("up to 128 letters, digits and . _ @ # / : - are allowed"),
            );
        }
        if policy.id.starts_with(BUILTIN) {
            mistakes.push(mistake(format!(
                "the id `{}` is reserved: ids must not begin with `{BUILTIN}`",
                policy.id
            )));
        }
        if let Some(first) = seen.insert(&policy.id, policy) {
            mistakes.push(
                mistake(format!(
                    "the id `{}` is taken by {}:{}",
                    policy.id, first.file, first.line
                ))
                .hint("ids go into the ledger, so each policy needs its own"),
            );
        }
    }
}

/// Turns Cedar's report into ours: the first labelled place, one clause, Cedar's help as the hint.
fn mistake(file: &str, lines: &Lines, error: &DetailedError) -> Mistake {
    let label = error.source_locations.first();
    let text = error
        .message
        .split_once("`, ")
        .filter(|(start, _)| start.starts_with("for policy `"));
    let mut text = text
        .map_or(error.message.as_str(), |(_, rest)| rest)
        .trim()
        .replace('\n', " ");
    if let Some(expected) = label.and_then(|label| label.label.as_deref()) {
        text = format!("{text}: {expected}");
    }
    let mistake = Mistake::new(file, text);
    let mistake = match label {
        Some(label) => mistake.line(lines.at(label.loc.start)),
        None => mistake,
    };
    match &error.help {
        Some(help) => mistake.hint(help.as_str()),
        None => mistake,
    }
}
