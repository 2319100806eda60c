//! The policies that can apply to one caller and one role, and the decision over them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, Response,
    RestrictedExpression,
};

use super::memory::{Asked, Memory};
use super::parse::BUILTIN;
use super::vocabulary::{Action, Vocabulary, role_id};
use crate::caller::{AuthMethod, Caller};
use crate::denial::Denial;
use crate::plan::{Grant, Resolved};
use crate::principal::Principal;
use crate::time::UnixTime;

/// The id under which the ledger shows that a root token needed no policy.
pub const BUILTIN_ROOT: &str = "builtin-root";

/// What may apply to a caller who asks a role for a certificate. Making one shows that some permit could.
#[derive(Debug)]
pub struct Slice {
    mount: String,
    role: String,
    rules: Rules,
}

#[derive(Debug)]
enum Rules {
    Root {
        person: String,
    },
    Policies {
        body: Arc<Body>,
        address: IpAddr,
        method: AuthMethod,
    },
}

/// The part of a slice that every request of the same caller for the same role shares.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) identity: Identity,
    pub(crate) question: Question,
    pub(crate) policies: PolicySet,
    pub(crate) entities: Entities,
    pub(crate) granted: Memory,
}

/// What the choice of policies and entities depends on, and nothing else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) person: String,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) policies: BTreeSet<String>,
    pub(crate) mount: String,
    pub(crate) role: String,
}

impl Identity {
    pub(crate) fn of(caller: &Caller, mount: &str, role: &str) -> Self {
        Self {
            person: caller.person().to_owned(),
            groups: caller.groups().clone(),
            policies: caller.policies().clone(),
            mount: mount.to_owned(),
            role: role.to_owned(),
        }
    }

    pub(crate) fn is(&self, caller: &Caller, mount: &str, role: &str) -> bool {
        self.role == role
            && self.mount == mount
            && self.person == caller.person()
            && self.groups == *caller.groups()
            && self.policies == *caller.policies()
    }
}

/// Who asks to do what with what, for Cedar and for the words of a refusal.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) person: String,
    pub(crate) action: Action,
    pub(crate) resource: String,
    pub(crate) principal_uid: EntityUid,
    pub(crate) action_uid: EntityUid,
    pub(crate) resource_uid: EntityUid,
    /// Permits worth naming when nothing permits.
    pub(crate) near: Vec<String>,
}

impl Slice {
    /// The slice of a root token.
    pub(crate) fn root(caller: &Caller, mount: &str, role: &str) -> Self {
        let rules = Rules::Root {
            person: caller.person().to_owned(),
        };
        Self {
            mount: mount.to_owned(),
            role: role.to_owned(),
            rules,
        }
    }

    /// The slice of anybody else.
    pub(crate) fn policies(body: Arc<Body>, caller: &Caller) -> Self {
        let (mount, role) = (body.identity.mount.clone(), body.identity.role.clone());
        Self {
            mount,
            role,
            rules: Rules::Policies {
                body,
                address: caller.address(),
                method: caller.method(),
            },
        }
    }

    /// Decides whether the caller may have the certificate that the role's rules allow.
    ///
    /// # Errors
    /// [`Denial::PolicyForbids`], [`Denial::NoPolicyPermits`] or [`Denial::PolicyErrored`]. Something resolved for another
    /// role than the slice was made for is never granted.
    pub fn grant(&self, resolved: Resolved, now: UnixTime) -> Result<Grant, Denial> {
        if resolved.role() != self.role || resolved.mount() != self.mount {
            return Err(self.other_role(&resolved));
        }
        match &self.rules {
            Rules::Root { .. } => Ok(Grant::new(resolved, vec![BUILTIN_ROOT.to_owned()])),
            Rules::Policies { body, address, method } => {
                let asked = Asked::new(&resolved, *address, *method, now);
                if let Some(policies) = body.granted.recall(&asked) {
                    return Ok(Grant::new(resolved, policies));
                }
                let policies = decide(&body.question, &body.policies, &body.entities, signing_context(&asked)?)?;
                body.granted.keep(&asked, &policies);
                Ok(Grant::new(resolved, policies))
            }
        }
    }

    fn other_role(&self, resolved: &Resolved) -> Denial {
        let person = match &self.rules {
            Rules::Root { person } => person.clone(),
            Rules::Policies { body, .. } => body.question.person.clone(),
        };
        let resource = role_id(resolved.mount(), resolved.role());
        Denial::NoPolicyPermits {
            person,
            action: Action::Sign.as_str().to_owned(),
            resource,
            near: Vec::new(),
        }
    }
}

/// Asks Cedar. The ids of the permits that decided, or why not.
pub(crate) fn decide(
    question: &Question,
    policies: &PolicySet,
    entities: &Entities,
    context: Context,
) -> Result<Vec<String>, Denial> {
    let principal = question.principal_uid.clone();
    let request = Request::new(
        principal,
        question.action_uid.clone(),
        question.resource_uid.clone(),
        context,
        None,
    )
    .map_err(|error| errored(&error.to_string()))?;
    judge(question, &Authorizer::new().is_authorized(&request, policies, entities))
}

fn judge(question: &Question, response: &Response) -> Result<Vec<String>, Denial> {
    let diagnostics = response.diagnostics();
    // SECURITY: Cedar skips a policy that fails, so a failing forbid would not forbid. Any failure is a refusal.
    let id = |error: &AuthorizationError| match error {
        AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
    };
    let failed: BTreeSet<String> = diagnostics.errors().map(id).collect();
    if let Some(error) = diagnostics.errors().next() {
        return Err(Denial::PolicyErrored {
            policies: failed.into_iter().collect(),
            reason: error.to_string(),
        });
    }
    let mut reasons: Vec<String> = diagnostics.reason().map(ToString::to_string).collect();
    reasons.sort_unstable();
    if response.decision() == Decision::Allow {
        return Ok(reasons);
    }
    let (person, resource) = (question.person.clone(), question.resource.clone());
    let action = question.action.as_str().to_owned();
    if reasons.is_empty() {
        return Err(Denial::NoPolicyPermits {
            person,
            action,
            resource,
            near: question.near.clone(),
        });
    }
    Err(Denial::PolicyForbids {
        person,
        action,
        resource,
        policies: reasons,
    })
}

/// A refusal because the machinery failed, not a policy of anybody's.
pub(crate) fn errored(reason: &str) -> Denial {
    Denial::PolicyErrored {
        policies: vec![format!("{BUILTIN}engine")],
        reason: reason.to_owned(),
    }
}

/// The context of a question about a certificate.
pub(crate) fn signing_context(asked: &Asked<'_>) -> Result<Context, Denial> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let set = |texts: Vec<&str>| RestrictedExpression::new_set(texts.into_iter().map(text));
    let principals = match asked.principals {
        // SECURITY: a certificate without principals may pass for everybody, so it must not look like a request for
        // nobody: `["ubuntu"].containsAll([])` is true.
        [] => vec!["*"],
        named => named.iter().map(Principal::as_str).collect(),
    };
    let common = common_pairs(asked.address, asked.method, asked.hour, asked.weekday);
    let pairs = [
        ("principals", set(principals)),
        ("ttl", long(asked.ttl_secs)),
        ("cert_type", text(asked.cert_type.as_str())),
        ("key_type", text(asked.key_type)),
        ("extensions", set(asked.extensions.keys().map(String::as_str).collect())),
    ];
    context(pairs.into_iter().chain(common))
}

/// The context of a question about a path.
pub(crate) fn path_context(caller: &Caller, now: UnixTime) -> Result<Context, Denial> {
    context(common_pairs(caller.address(), caller.method(), now.hour_utc(), now.weekday_utc()).into_iter())
}

fn common_pairs(
    address: IpAddr,
    method: AuthMethod,
    hour: u64,
    weekday: u64,
) -> [(&'static str, RestrictedExpression); 4] {
    // SECURITY: a peer on a dual-stack socket shows as ::ffff:10.0.0.1, which is in no IPv4 range.
    let address = address.to_canonical().to_string();
    [
        ("source_ip", RestrictedExpression::new_ip(address)),
        ("method", RestrictedExpression::new_string(method.as_str().to_owned())),
        ("hour", long(hour)),
        ("weekday", long(weekday)),
    ]
}

fn long(number: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(number).unwrap_or(i64::MAX))
}

fn context(pairs: impl Iterator<Item = (&'static str, RestrictedExpression)>) -> Result<Context, Denial> {
    Context::from_pairs(pairs.map(|(key, value)| (key.to_owned(), value))).map_err(|error| errored(&error.to_string()))
}

impl Question {
    /// A question of a caller, without the permits that are near.
    pub(crate) fn new(vocabulary: &Vocabulary, caller: &Caller, action: Action, resource: (String, EntityUid)) -> Self {
        let (resource, resource_uid) = resource;
        Self {
            person: caller.person().to_owned(),
            action,
            resource,
            principal_uid: vocabulary.person(caller.person()),
            action_uid: vocabulary.action(action),
            resource_uid,
            near: Vec::new(),
        }
    }

    /// The refusal where no permit can apply.
    pub(crate) fn nothing_permits(self) -> Denial {
        let Self {
            person,
            action,
            resource,
            near,
            ..
        } = self;
        Denial::NoPolicyPermits {
            person,
            action: action.as_str().to_owned(),
            resource,
            near,
        }
    }
}
