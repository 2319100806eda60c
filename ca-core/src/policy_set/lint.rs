//! What is legal and yet unwise in a policy set: each finding with its place, why it matters and what to do.

use std::collections::BTreeSet;
use std::fmt;

use super::ask::Ask;
use super::sample::{Mentions, ODD_PRINCIPAL, STRANGER, principals_of, somebody_permitted};
use super::{HOSTS_FILE, PEOPLE_FILE, PolicySet, source};
use crate::access::{Kind, Scope, Written, role_id};
use crate::host_policy::HostRule;
use crate::role::{NameRule, Role, Star};

/// Longest lifetime that needs no explanation, in seconds.
const TTL_SECS_MAX: u64 = 24 * 3600;

/// Something unwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file to change.
    pub file: String,
    /// The line, where one is known.
    pub line: Option<usize>,
    /// A stable word for the kind of finding.
    pub code: &'static str,
    /// What was found.
    pub text: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(
            f,
            ": {} [{}]\n    why: {}\n    fix: {}",
            self.text, self.code, self.why, self.fix
        )
    }
}

impl PolicySet {
    /// Finds what is unwise, in the order of files and lines.
    #[must_use]
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = self.empty_groups();
        findings.extend(self.root_everywhere());
        findings.extend(self.principals_nobody_gets());
        for role in self.all_roles() {
            let policies = self.access.signing_policies(role.mount(), role.name());
            let mentions = Mentions::of(policies.iter().copied());
            let linted = Linted {
                set: self,
                role,
                policies,
                mentions,
            };
            findings.extend(linted.findings());
        }
        findings.sort();
        findings.dedup();
        findings
    }

    /// Groups that policies rely on and nobody is in.
    fn empty_groups(&self) -> Vec<Finding> {
        let filled: BTreeSet<&String> = self.people.iter().flat_map(crate::people::Person::groups).collect();
        let empty = |group: &str| self.people.groups().contains(group) && !filled.contains(&group.to_owned());
        let finding = |policy: &Written| match &policy.principal {
            Scope::Entity(Kind::Group, group) if empty(group) => Some(Finding {
                file: policy.file.clone(),
                line: Some(policy.line),
                code: "group-nobody-can-be-in",
                text: format!("policy `{}` is for group `{group}`, which nobody is in", policy.id),
                why: "the policy never applies; whoever relies on it is wrong",
                fix: format!(
                    "put somebody into `{group}` in {PEOPLE_FILE}, list it in `login_groups`, or drop the policy"
                ),
            }),
            _ => None,
        };
        self.access.written().iter().filter_map(finding).collect()
    }

    /// Rules for every host that open root.
    fn root_everywhere(&self) -> Vec<Finding> {
        let opens_root = |rule: &HostRule| rule.tags.is_empty() && rule.accounts.contains_key("root");
        let finding = |(rule, line): (&HostRule, &usize)| {
            opens_root(rule).then(|| Finding {
                file: HOSTS_FILE.to_owned(),
                line: Some(*line),
                code: "root-on-every-host",
                text: "a rule without tags opens root on every host, those that come later included".to_owned(),
                why: "one certificate is then enough for everything",
                fix: "open root by tags, one rule for each kind of host".to_owned(),
            })
        };
        self.host_rules().filter_map(finding).collect()
    }

    /// Principals that open an account and that no role gives to anybody.
    fn principals_nobody_gets(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (rule, line) in self.host_rules() {
            for (account, principals) in &rule.accounts {
                let missing = principals.iter().filter(|principal| !self.a_role_allows(principal));
                findings.extend(missing.map(|principal| Finding {
                    file: HOSTS_FILE.to_owned(),
                    line: Some(*line),
                    code: "principal-nobody-can-get",
                    text: format!("nobody can get principal `{principal}`, which opens account `{account}`"),
                    why: "no role in these files allows it, so whoever relies on it is locked out",
                    fix: format!("add `{principal}` to allowed_users of a role, or take it out of {HOSTS_FILE}"),
                }));
            }
        }
        findings
    }

    fn a_role_allows(&self, principal: &str) -> bool {
        self.all_roles()
            .filter(|role| role.user_certificates())
            .any(|role| may_allow(role.allowed_users(), principal))
    }

    fn host_rules(&self) -> impl Iterator<Item = (&HostRule, &usize)> {
        self.hosts.rules.iter().zip(&self.host_rule_lines)
    }
}

/// Whether a role's names cover a principal; a template covers what its fixed ends leave open.
fn may_allow(rule: &NameRule, principal: &str) -> bool {
    let star = match rule.star {
        Star::None => false,
        Star::AllButRoot => principal != "root",
        Star::All => true,
    };
    let covers = |name: &String| match (name.split_once("{{"), name.rsplit_once("}}")) {
        (Some((front, _)), Some((_, end))) if rule.templated => {
            let middle = principal.strip_prefix(front).and_then(|rest| rest.strip_suffix(end));
            middle.is_some_and(|middle| !middle.is_empty())
        }
        _ => name == principal,
    };
    star || rule.names.iter().any(covers)
}

/// One role under the eye of lint.
struct Linted<'a> {
    set: &'a PolicySet,
    role: &'a Role,
    policies: Vec<&'a Written>,
    mentions: Mentions,
}

impl Linted<'_> {
    fn findings(&self) -> Vec<Finding> {
        let mut findings = self.anybody();
        findings.extend(
            [self.unreachable(), self.both_kinds(), self.long_lived()]
                .into_iter()
                .flatten(),
        );
        findings.extend(self.picks_freely());
        findings.extend(self.star_reaches_root());
        findings
    }

    fn finding(&self, code: &'static str, text: String, why: &'static str, fix: impl Into<String>) -> Finding {
        Finding {
            file: source(self.role).to_owned(),
            line: None,
            code,
            text,
            why,
            fix: fix.into(),
        }
    }

    fn permits(&self) -> impl Iterator<Item = &Written> {
        self.policies.iter().copied().filter(|policy| policy.permits())
    }

    /// Permits that do not look at who asks, and permits that let a stranger in all the same.
    fn anybody(&self) -> Vec<Finding> {
        let blind = |policy: &&Written| policy.principal == Scope::Any && !Mentions::of([*policy]).principal;
        let mut open: BTreeSet<String> = self.permits().filter(blind).map(|policy| policy.id.clone()).collect();
        let situations = self.mentions.situations();
        for principal in principals_of(self.role, &self.mentions) {
            let mut ask = Ask::new(STRANGER, &role_id(self.role.mount(), self.role.name()));
            ask.principals = Some(vec![principal]);
            open.extend(
                self.set
                    .granted_in_some(&ask, &situations)
                    .into_iter()
                    .flat_map(|(policies, _)| policies),
            );
        }
        let finding = |policy: &Written| Finding {
            file: policy.file.clone(),
            line: Some(policy.line),
            code: "anybody-may-use-role",
            text: format!(
                "policy `{}` lets everybody who can log in use role `{}`",
                policy.id,
                self.role.name()
            ),
            why: "a login of any kind, from any trusted issuer, is then enough for a certificate",
            fix: "name a group: principal in Group::\"…\"".to_owned(),
        };
        self.permits()
            .filter(|policy| open.contains(&policy.id))
            .map(finding)
            .collect()
    }

    fn unreachable(&self) -> Option<Finding> {
        self.permits().next().is_none().then(|| {
            self.finding(
                "role-never-reachable",
                format!("no policy lets anybody use role `{}`", self.role.name()),
                "only a root token can use it, which is a habit to avoid",
                format!(
                    "write a permit with resource == Role::\"{}\", or remove the role",
                    role_id(self.role.mount(), self.role.name())
                ),
            )
        })
    }

    fn both_kinds(&self) -> Option<Finding> {
        (self.role.user_certificates() && self.role.host_certificates()).then(|| {
            self.finding(
                "user-and-host-certificates",
                format!("role `{}` issues both user and host certificates", self.role.name()),
                "who may log in could then also pose as a host, and the other way round",
                "make two roles",
            )
        })
    }

    fn long_lived(&self) -> Option<Finding> {
        let longest = self.role.max_ttl_secs();
        let text = match longest {
            Some(secs) if secs <= TTL_SECS_MAX => return None,
            Some(secs) => format!(
                "role `{}` gives certificates that live {} h",
                self.role.name(),
                secs / 3600
            ),
            None => format!(
                "role `{}` sets no max_ttl: a request may ask for as long as the mount allows",
                self.role.name()
            ),
        };
        Some(self.finding(
            "ttl-above-24h",
            text,
            "a certificate cannot be taken back from hosts that are not reached; its end is what protects",
            "set max_ttl to at most \"24h\", better \"30m\"",
        ))
    }

    /// Whether a principal is granted to somebody whom a permit is for; the id of a permit that does it.
    fn granted(&self, principal: &str) -> Option<String> {
        let situations = self.mentions.situations();
        self.permits().find_map(|permit| {
            let mut ask = somebody_permitted(permit, &Mentions::of([permit]), self.role);
            ask.principals = Some(vec![principal.to_owned()]);
            self.set
                .granted_in_some(&ask, &situations)
                .and_then(|(policies, _)| policies.into_iter().next())
        })
    }

    fn picks_freely(&self) -> Option<Finding> {
        let policy = (self.role.allowed_users().star != Star::None)
            .then(|| self.granted(ODD_PRINCIPAL))
            .flatten()?;
        Some(self.finding(
            "principals-picked-freely",
            format!(
                "role `{}` allows \"*\", and policy `{policy}` leaves the principal to the requester",
                self.role.name()
            ),
            "the requester then decides whom they log in as",
            "list the names in allowed_users, or limit them: when { [\"ubuntu\"].containsAll(context.principals) }",
        ))
    }

    fn star_reaches_root(&self) -> Option<Finding> {
        let named = self.role.allowed_users().names.iter().any(|name| name == "root");
        let star = self.role.allowed_users().star == Star::All && !named;
        let policy = star.then(|| self.granted("root")).flatten()?;
        Some(self.finding(
            "wildcard-reaches-root",
            format!(
                "role `{}` allows \"*\", and policy `{policy}` lets it reach `root`",
                self.role.name()
            ),
            "root by accident: nobody who reads the role sees the name",
            "list the names in allowed_users; if root is meant, name it",
        ))
    }
}
