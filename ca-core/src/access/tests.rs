//! Decision tables, attacks on the policy engine, and what is told about mistakes.

mod agreement;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::*;
use crate::caller::{AuthMethod, CallerParts};
use crate::plan::{MountLimits, Resolved, resolve};
use crate::request::SigningRequest;
use crate::role::{Role, RoleSource};
use crate::vault_value::Fields;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIa+WAsDQ1rqRRG6+nLT+gFN0ee/bipaztddk+RtZ5u3";
/// Monday, 2026-01-05, 12:00 UTC.
const NOON: UnixTime = UnixTime::from_secs(1_767_614_400);

const POLICIES: &str = r#"
@id("backend-sign")
permit (principal in Group::"backend", action == Action::"sign", resource == Role::"web")
when { ["ubuntu", "deploy"].containsAll(context.principals) && context.ttl <= 3600 };

@id("office-only-root")
forbid (principal, action == Action::"sign", resource)
when { context.principals.contains("root") && !context.source_ip.isInRange(ip("10.0.0.0/8")) };

@id("admins-mount")
permit (principal in Group::"admins", action == Action::"sign", resource in Mount::"ssh");

@id("day-shift")
permit (principal == Person::"dora", action == Action::"sign", resource == Role::"team-a/db")
when { context.hour >= 8 && context.hour < 18 && context.weekday <= 5 && context.method == "ssh-key" };

@id("operators")
permit (principal in Policy::"operator", action in [Action::"read", Action::"update"], resource in Path::"ssh/roles");

@id("not-that-one")
forbid (principal, action == Action::"update", resource == Path::"ssh/roles/crown-jewels");
"#;

struct Who<'a> {
    person: &'a str,
    groups: &'a [&'a str],
    policies: &'a [&'a str],
    from: &'a str,
    method: AuthMethod,
}

const fn member<'a>(person: &'a str, groups: &'a [&'a str]) -> Who<'a> {
    Who {
        person,
        groups,
        policies: &[],
        from: "10.1.2.3",
        method: AuthMethod::SshKey,
    }
}

fn caller(who: &Who<'_>) -> Caller {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    Caller::authenticated(CallerParts {
        person: who.person.to_owned(),
        display_name: String::new(),
        method: who.method,
        groups: texts(who.groups),
        policies: texts(who.policies),
        address: who.from.parse::<IpAddr>().unwrap(),
        accessor: String::new(),
        token_expires: None,
        metadata: BTreeMap::new(),
    })
}

/// What a role without limits of its own makes of a request, so that policy alone decides.
fn resolved(mount: &str, role: &str, principals: &[&str], ttl: u64, caller: &Caller) -> Resolved {
    let document =
        br#"{"key_type":"ca","allow_user_certificates":true,"allowed_users":"*","allow_empty_principals":true}"#;
    let fields = Fields::from_json(document).unwrap();
    let role = Role::from_vault_json(role, mount, &fields, RoleSource::Api).unwrap();
    let request = SigningRequest {
        public_key: Some(KEY.to_owned()),
        ttl_secs: Some(ttl),
        valid_principals: Some(principals.join(",")),
        ..SigningRequest::default()
    };
    resolve(
        &role,
        &request,
        caller,
        &MountLimits {
            strict_empty_principals: false,
            ..MountLimits::default()
        },
    )
    .unwrap()
}

fn sign(
    policies: &str,
    who: &Who<'_>,
    role: &str,
    principals: &[&str],
    ttl: u64,
    now: UnixTime,
) -> Result<Vec<String>, Denial> {
    let access = AccessPolicies::parse(&[("access/t.cedar", policies)]).unwrap();
    let caller = caller(who);
    let (mount, name) = split_role_id(role);
    let slice = access.slice(&caller, mount, name)?;
    slice
        .grant(resolved(mount, name, principals, ttl, &caller), now)
        .map(|grant| grant.policies().to_vec())
}

fn shown(answer: &Result<Vec<String>, Denial>) -> String {
    match answer {
        Ok(policies) => format!("allow {}", policies.join(",")),
        Err(denial) => {
            let named = match denial {
                Denial::PolicyForbids { policies, .. } | Denial::PolicyErrored { policies, .. } => policies,
                Denial::NoPolicyPermits { near, .. } => near,
                other => panic!("unexpected denial {other:?}"),
            };
            format!("{} {}", denial.code(), named.join(","))
        }
    }
}

#[track_caller]
fn check(sentence: &str, who: &Who<'_>, role: &str, principals: &[&str], ttl: u64, expected: &str) {
    assert_eq!(
        shown(&sign(POLICIES, who, role, principals, ttl, NOON)),
        expected,
        "{sentence}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a decision table")]
fn signing_decisions() {
    let alice = member("alice", &["backend"]);
    let away = Who {
        from: "203.0.113.7",
        ..member("ada", &["admins"])
    };
    let mapped = Who {
        from: "::ffff:10.9.9.9",
        ..member("ada", &["admins"])
    };
    let backend = "allow backend-sign";
    check("a member logs in as ubuntu", &alice, "web", &["ubuntu"], 600, backend);
    check(
        "a member may ask for both names",
        &alice,
        "web",
        &["ubuntu", "deploy"],
        600,
        backend,
    );
    check(
        "a name outside the list is refused",
        &alice,
        "web",
        &["ubuntu", "x"],
        600,
        "no-policy-permits backend-sign",
    );
    check("an hour is allowed", &alice, "web", &["ubuntu"], 3600, backend);
    check(
        "more than an hour is not",
        &alice,
        "web",
        &["ubuntu"],
        3601,
        "no-policy-permits backend-sign",
    );
    check(
        "who is in no group is refused, and the policies are named",
        &member("eve", &[]),
        "web",
        &["ubuntu"],
        600,
        "no-policy-permits backend-sign,admins-mount",
    );
    check(
        "a group of another role does not help",
        &alice,
        "db",
        &["ubuntu"],
        600,
        "no-policy-permits admins-mount",
    );
    check(
        "a mount covers its roles",
        &member("ada", &["admins"]),
        "db",
        &["root"],
        600,
        "allow admins-mount",
    );
    check(
        "a mount covers no other mount",
        &member("ada", &["admins"]),
        "team-a/db",
        &["x"],
        600,
        "no-policy-permits day-shift",
    );
    check(
        "root from outside the office is forbidden",
        &away,
        "db",
        &["root"],
        600,
        "policy-forbids office-only-root",
    );
    check(
        "others from outside are not",
        &away,
        "db",
        &["ubuntu"],
        600,
        "allow admins-mount",
    );
    check(
        "an IPv4 address on a dual-stack socket counts as one",
        &mapped,
        "db",
        &["root"],
        600,
        "allow admins-mount",
    );
    check(
        "forbid wins over two permits",
        &Who {
            groups: &["admins", "backend"],
            ..away
        },
        "web",
        &["root"],
        600,
        "policy-forbids office-only-root",
    );
    check(
        "a person is named by name",
        &member("dora", &[]),
        "team-a/db",
        &["x"],
        600,
        "allow day-shift",
    );
    check(
        "a group called like the person is not the person",
        &member("x", &["dora"]),
        "team-a/db",
        &["x"],
        600,
        "no-policy-permits day-shift",
    );
}

#[test]
fn hours_and_weekdays_are_utc() {
    let dora = member("dora", &[]);
    let at = |now| shown(&sign(POLICIES, &dora, "team-a/db", &["x"], 600, now));
    assert_eq!(at(NOON), "allow day-shift");
    assert_eq!(
        at(NOON.plus(6 * 3600)),
        "no-policy-permits day-shift",
        "18:00 is past the shift"
    );
    assert_eq!(at(NOON.minus(4 * 3600)), "allow day-shift", "8:00 is in it");
    assert_eq!(at(NOON.plus(5 * 86_400)), "no-policy-permits day-shift", "Saturday");
    let by_token = Who {
        method: AuthMethod::Token,
        ..member("dora", &[])
    };
    assert_eq!(
        shown(&sign(POLICIES, &by_token, "team-a/db", &["x"], 600, NOON)),
        "no-policy-permits day-shift"
    );
}

/// A certificate without principals may pass for everybody, and `containsAll` of nothing is true.
#[test]
fn a_certificate_without_principals_is_not_a_request_for_nobody() {
    let alice = member("alice", &["backend"]);
    let answer = sign(POLICIES, &alice, "web", &[], 600, NOON);
    assert_eq!(shown(&answer), "no-policy-permits backend-sign");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a decision table")]
fn path_decisions() {
    let access = AccessPolicies::parse(&[("access/t.cedar", POLICIES)]).unwrap();
    let operator = caller(&Who {
        policies: &["operator"],
        ..member("olga", &[])
    });
    let check = |sentence: &str, caller: &Caller, verb, path: &str, expected: &str| {
        assert_eq!(
            shown(&access.decide_path(caller, verb, path, NOON)),
            expected,
            "{sentence}"
        );
    };
    check(
        "below a permitted path",
        &operator,
        Verb::Update,
        "ssh/roles/web",
        "allow operators",
    );
    check(
        "the permitted path itself",
        &operator,
        Verb::Read,
        "ssh/roles/",
        "allow operators",
    );
    check(
        "another verb",
        &operator,
        Verb::Delete,
        "ssh/roles/web",
        "no-policy-permits ",
    );
    check(
        "a path that begins alike",
        &operator,
        Verb::Read,
        "ssh/rolesx/web",
        "no-policy-permits ",
    );
    check(
        "a forbid",
        &operator,
        Verb::Update,
        "ssh/roles/crown-jewels",
        "policy-forbids not-that-one",
    );
    check(
        "dots do not climb",
        &operator,
        Verb::Update,
        "ssh/roles/../config/ca",
        "no-policy-permits ",
    );
    check(
        "empty segments do not either",
        &operator,
        Verb::Update,
        "ssh/roles//web",
        "no-policy-permits ",
    );
    check(
        "another mount",
        &operator,
        Verb::Read,
        "x/ssh/roles/web",
        "no-policy-permits ",
    );
    let anybody = caller(&member("eve", &[]));
    for (verb, path) in [
        (Verb::Read, "auth/token/lookup-self"),
        (Verb::Update, "auth/token/renew-self"),
        (Verb::Update, "auth/token/revoke-self"),
        (Verb::Update, "sys/capabilities-self"),
        (Verb::Read, "sys/signet/whoami"),
        (Verb::List, "sys/signet/roles"),
    ] {
        check("own business", &anybody, verb, path, "allow builtin-default");
    }
    for (verb, path) in [
        (Verb::Update, "auth/token/create"),
        (Verb::Read, "auth/token/lookup"),
        (Verb::Delete, "auth/token/lookup-self"),
        (Verb::Update, "sys/signet/whoami"),
        (Verb::Read, "sys/signet/../mounts"),
        (Verb::List, "sys/signet/hosts"),
        (Verb::Read, "sys/signet/hosts/web-1"),
        (Verb::Read, "sys/signet/reconcile"),
        (Verb::Read, "sys/mounts"),
    ] {
        check("not own business", &anybody, verb, path, "no-policy-permits ");
    }
    let root = caller(&Who {
        policies: &["root"],
        ..member("root", &[])
    });
    check("root", &root, Verb::Sudo, "sys/anything", "allow builtin-root");
    for near_root in ["ROOT", "root ", " root", "Root"] {
        let caller = caller(&Who {
            policies: &[near_root],
            ..member("x", &[])
        });
        check(
            "only the very word is root (CVE-2025-5999)",
            &caller,
            Verb::Read,
            "sys/mounts",
            "no-policy-permits ",
        );
    }
}

#[test]
fn a_policy_that_fails_denies_even_when_another_permits() {
    let policies = r#"
        @id("ok") permit (principal, action == Action::"sign", resource);
        @id("overflow") forbid (principal, action == Action::"sign", resource)
        when { context.ttl * 9223372036854775807 > 5 };
    "#;
    let answer = sign(policies, &member("alice", &[]), "web", &["ubuntu"], 600, NOON);
    assert_eq!(shown(&answer), "policy-errored overflow");
}

#[test]
fn a_slice_grants_nothing_for_another_role() {
    let access = AccessPolicies::parse(&[("access/t.cedar", POLICIES)]).unwrap();
    for who in [
        member("alice", &["backend"]),
        Who {
            policies: &["root"],
            ..member("root", &[])
        },
    ] {
        let caller = caller(&who);
        let slice = access.slice(&caller, "ssh", "web").unwrap();
        assert!(
            slice
                .grant(resolved("ssh", "web", &["ubuntu"], 60, &caller), NOON)
                .is_ok()
        );
        assert!(
            slice
                .grant(resolved("ssh", "db", &["ubuntu"], 60, &caller), NOON)
                .is_err()
        );
        assert!(
            slice
                .grant(resolved("team-a", "web", &["ubuntu"], 60, &caller), NOON)
                .is_err()
        );
    }
}

#[test]
fn the_cache_tells_callers_apart_and_stays_bounded() {
    let access = AccessPolicies::parse(&[("access/t.cedar", POLICIES)]).unwrap();
    let alice = caller(&member("alice", &["backend"]));
    assert!(access.slice(&alice, "ssh", "web").is_ok());
    assert!(access.slice(&alice, "ssh", "web").is_ok(), "from the cache");
    assert_eq!(access.cache.len(), 1);
    let without = caller(&member("alice", &[]));
    assert!(
        access.slice(&without, "ssh", "web").is_err(),
        "the same person out of the group"
    );
    // The address is no part of what is cached, so it must be taken from each request.
    let admin = |from| {
        caller(&Who {
            from,
            ..member("ada", &["admins"])
        })
    };
    for (from, allowed) in [("10.0.0.1", true), ("203.0.113.7", false), ("10.0.0.1", true)] {
        let caller = admin(from);
        let slice = access.slice(&caller, "ssh", "db").unwrap();
        assert_eq!(
            slice.grant(resolved("ssh", "db", &["root"], 60, &caller), NOON).is_ok(),
            allowed,
            "{from}"
        );
    }
    for number in 0..5000 {
        let name = format!("p{number}");
        access.slice(&caller(&member(&name, &["admins"])), "ssh", "db").unwrap();
    }
    assert!(access.cache.len() <= 2048);
}

fn mistakes(text: &str) -> String {
    let mistakes = AccessPolicies::parse(&[("access/backend.cedar", text)]).unwrap_err();
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_line() {
    insta::assert_snapshot!(
        "types",
        mistakes(
            r#"
permit (principal in Group::"backend", action == Action::"sign", resource == Role::"web")
when { context.tttl <= 3600 };

permit (principal in Group::"backend", action == Action::"sing", resource == Role::"web");

permit (principal in Grupp::"backend", action == Action::"sign", resource);

permit (principal, action == Action::"sign", resource)
when { context.ttl < "5" };

forbid (principal in Role::"web", action == Action::"sign", resource);

permit (principal == ?principal, action == Action::"sign", resource);

forbid (principal, action == Action::"sign", resource)
when { context.ttl > 5 && context.ttl is Role };

forbid (principal, action == Action::"sign", resource)
when { context.principals.contains("rооt") };

forbid (principal, action == Action::"sign", resource)
when { false };
"#
        )
    );
    insta::assert_snapshot!(
        "syntax",
        mistakes("permit (principal, action, resource)\nwhen { context.ttl <= };\n")
    );
    insta::assert_snapshot!(
        "ids",
        mistakes(
            r#"
@id("a") permit (principal, action == Action::"sign", resource);
@id("a") permit (principal, action == Action::"sign", resource);
@id("builtin-root") permit (principal, action == Action::"sign", resource);
@id("a b") permit (principal, action == Action::"sign", resource);
"#
        )
    );
}

#[test]
fn a_policy_without_an_id_goes_by_its_file_and_position() {
    let text = "permit (principal, action == Action::\"sign\", resource);\n@id(\"x\") permit (principal, action, resource);\npermit (principal, action, resource);";
    let access = AccessPolicies::parse(&[("access/team/backend.cedar", text)]).unwrap();
    let ids: Vec<_> = access
        .written()
        .iter()
        .map(|written| (written.id.as_str(), written.line))
        .collect();
    assert_eq!(ids, [("backend.cedar#1", 1), ("x", 2), ("backend.cedar#3", 3)]);
}

/// What a slice remembers is asked for again in full: any part of the context that differs is decided anew.
#[test]
fn a_remembered_grant_answers_only_the_very_same_question() {
    let text = "permit (principal, action == Action::\"sign\", resource) when { context.principals == [\"ubuntu\"] && \
                context.ttl == 600 && context.hour == 12 && context.weekday == 1 && context.method == \"ssh-key\" && \
                context.source_ip == ip(\"10.1.2.3\") };";
    let access = AccessPolicies::parse(&[("access/t.cedar", text)]).unwrap();
    let alice = member("alice", &[]);
    let granted = |who: &Who<'_>, principals: &[&str], ttl, now| {
        let caller = caller(who);
        let slice = access.slice(&caller, "ssh", "web").unwrap();
        slice
            .grant(resolved("ssh", "web", principals, ttl, &caller), now)
            .is_ok()
    };
    for _ in 0..2 {
        assert!(granted(&alice, &["ubuntu"], 600, NOON));
        assert!(!granted(&alice, &["ubuntu", "root"], 600, NOON));
        assert!(!granted(&alice, &[], 600, NOON));
        assert!(!granted(&alice, &["ubuntu"], 601, NOON));
        assert!(!granted(&alice, &["ubuntu"], 600, NOON.plus(3600)));
        assert!(!granted(&alice, &["ubuntu"], 600, NOON.plus(24 * 3600)));
        assert!(!granted(
            &Who {
                from: "10.1.2.4",
                ..member("alice", &[])
            },
            &["ubuntu"],
            600,
            NOON
        ));
        assert!(!granted(
            &Who {
                method: AuthMethod::Token,
                ..member("alice", &[])
            },
            &["ubuntu"],
            600,
            NOON
        ));
    }
}
