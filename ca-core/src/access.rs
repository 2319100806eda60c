//! Who may do what: access policies in Cedar, for signing and for every administrative path. Default deny, forbid wins, a
//! policy that fails denies.
//!
//! [`AccessPolicies::slice`] finds the few policies that can apply to a caller and a role, [`Slice::grant`] decides over
//! them. What a certificate may hold is the role's business ([`crate::plan`]).

mod cache;
mod index;
mod memory;
mod names;
mod parse;
mod slice;
mod vocabulary;

use std::sync::Arc;

use cedar_policy::PolicySet;

use self::cache::Cache;
use self::index::{Index, path_scopes, role_scopes};
pub(crate) use self::index::{Kind, Scope};
use self::memory::Memory;
pub(crate) use self::names::Known;
pub(crate) use self::parse::Written;
pub use self::slice::{BUILTIN_ROOT, Slice};
use self::slice::{Body, Identity, Question, decide, errored, path_context};
use self::vocabulary::{Action, Vocabulary};
pub use self::vocabulary::{DEFAULT_MOUNT, SCHEMA, Verb, role_id, split_role_id};
use crate::caller::Caller;
use crate::denial::Denial;
use crate::mistake::Mistake;
use crate::time::UnixTime;

/// The id of the rule that lets every authenticated caller look after their own token.
pub const BUILTIN_DEFAULT: &str = "builtin-default";

/// How many permits a refusal names at most.
const NEAR_MAX: usize = 8;

/// All access policies, indexed. A snapshot: a reload makes a new one.
#[derive(Debug, Default)]
pub struct AccessPolicies {
    policies: Vec<Written>,
    index: Index,
    cache: Cache,
}

impl AccessPolicies {
    /// Reads Cedar files: pairs of the name people know a file by and its text.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn parse(files: &[(impl AsRef<str>, impl AsRef<str>)]) -> Result<Self, Vec<Mistake>> {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(file, text)| (file.as_ref(), text.as_ref()))
            .collect();
        let (policies, mistakes) = Self::read(&files, None);
        if mistakes.is_empty() {
            Ok(policies)
        } else {
            Err(mistakes)
        }
    }

    /// Reads Cedar files and checks the groups and roles they name too; gives what could be read beside the mistakes.
    pub(crate) fn read(files: &[(&str, &str)], known: Option<&Known<'_>>) -> (Self, Vec<Mistake>) {
        let (policies, mut mistakes) = parse::parse(files);
        if let Some(known) = known {
            mistakes.extend(names::check(&policies, files, known));
        }
        let index = Index::build(&policies);
        (
            Self {
                policies,
                index,
                cache: Cache::default(),
            },
            mistakes,
        )
    }

    /// How many policies there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there is none, so that only root tokens may do anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The policies that can apply when this caller asks this role for a certificate.
    ///
    /// # Errors
    /// [`Denial::NoPolicyPermits`] when no permit among them could, so that a caller without any permit learns nothing of
    /// the role.
    pub fn slice(&self, caller: &Caller, mount: &str, role: &str) -> Result<Slice, Denial> {
        if caller.is_root() {
            return Ok(Slice::root(caller, mount, role));
        }
        if let Some(body) = self.cache.get(caller, mount, role) {
            return Ok(Slice::policies(body, caller));
        }
        let body = Arc::new(self.body(caller, mount, role)?);
        self.cache.put(caller, &body);
        Ok(Slice::policies(body, caller))
    }

    fn body(&self, caller: &Caller, mount: &str, role: &str) -> Result<Body, Denial> {
        let vocabulary = Vocabulary::get().map_err(|reason| errored(&reason))?;
        let resource = (role_id(mount, role), vocabulary.role(mount, role));
        let question = Question::new(vocabulary, caller, Action::Sign, resource);
        let (question, policies) = self.sliced(question, &role_scopes(mount, role), caller)?;
        let entities = vocabulary
            .signing_entities(caller, mount, role)
            .map_err(|reason| errored(&reason))?;
        Ok(Body {
            identity: Identity::of(caller, mount, role),
            question,
            policies,
            entities,
            granted: Memory::default(),
        })
    }

    /// Decides on a verb at a path. The ids of what permits it.
    ///
    /// # Errors
    /// [`Denial::PolicyForbids`], [`Denial::NoPolicyPermits`] or [`Denial::PolicyErrored`].
    pub fn decide_path(&self, caller: &Caller, verb: Verb, path: &str, now: UnixTime) -> Result<Vec<String>, Denial> {
        if caller.is_root() {
            return Ok(vec![BUILTIN_ROOT.to_owned()]);
        }
        let path = path.trim_matches('/');
        if is_own_business(verb, path) {
            return Ok(vec![BUILTIN_DEFAULT.to_owned()]);
        }
        let vocabulary = Vocabulary::get().map_err(|reason| errored(&reason))?;
        let resource = (path.to_owned(), vocabulary.path(path));
        let question = Question::new(vocabulary, caller, Action::Path(verb), resource);
        // SECURITY: `a/../b` is in no path that a policy could have meant.
        if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(question.nothing_permits());
        }
        let (question, policies) = self.sliced(question, &path_scopes(path), caller)?;
        let entities = vocabulary
            .path_entities(caller, path)
            .map_err(|reason| errored(&reason))?;
        decide(&question, &policies, &entities, path_context(caller, now)?)
    }

    /// The policies that can apply, and the question with the permits that a refusal names.
    fn sliced(
        &self,
        mut question: Question,
        resources: &[Scope],
        caller: &Caller,
    ) -> Result<(Question, PolicySet), Denial> {
        let candidates = self.index.candidates(question.action, resources, caller);
        let applying: Vec<&Written> = candidates
            .iter()
            .filter_map(|position| self.policies.get(*position))
            .collect();
        let permits: Vec<&&Written> = applying.iter().filter(|policy| policy.permits()).collect();
        if permits.is_empty() {
            let fitting = self.index.of_resources(question.action, resources);
            let near = fitting
                .filter_map(|position| self.policies.get(position))
                .filter(|policy| policy.permits());
            question.near = near.take(NEAR_MAX).map(|policy| policy.id.clone()).collect();
            return Err(question.nothing_permits());
        }
        question.near = permits.iter().take(NEAR_MAX).map(|policy| policy.id.clone()).collect();
        let policies = PolicySet::from_policies(applying.iter().map(|written| written.policy.clone()));
        Ok((question, policies.map_err(|error| errored(&error.to_string()))?))
    }

    /// Everything that was written.
    pub(crate) fn written(&self) -> &[Written] {
        &self.policies
    }

    /// The policies, permits and forbids, that can matter when somebody asks for a certificate of this role.
    pub(crate) fn signing_policies(&self, mount: &str, role: &str) -> Vec<&Written> {
        let scopes = role_scopes(mount, role);
        self.index
            .of_resources(Action::Sign, &scopes)
            .filter_map(|position| self.policies.get(position))
            .collect()
    }
}

/// What every authenticated caller may do: look after the token they hold, and ask what they may do.
fn is_own_business(verb: Verb, path: &str) -> bool {
    let own_token = [
        "auth/token/lookup-self",
        "auth/token/renew-self",
        "auth/token/revoke-self",
        "sys/capabilities-self",
    ];
    // Named one by one: what else lies under `sys/signet` is about others.
    let own_rights = ["sys/signet/whoami", "sys/signet/roles"];
    match verb {
        Verb::Create | Verb::Read | Verb::Update if own_token.contains(&path) => true,
        Verb::Read | Verb::List => own_rights.contains(&path),
        Verb::Create | Verb::Update | Verb::Delete | Verb::Sudo => false,
    }
}

#[cfg(test)]
mod tests;
