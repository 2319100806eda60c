//! The index and the cache against the whole set, on random policies and callers.

use cedar_policy::PolicySet;
use proptest::prelude::*;

use super::*;

/// The whole set, without index and cache: slow, simple, and what the fast way must agree with.
fn oracle(access: &AccessPolicies, who: &Caller, role: &str, resolved: &Resolved) -> Result<Vec<String>, Denial> {
    let vocabulary = Vocabulary::get().unwrap();
    let (mount, name) = split_role_id(role);
    let resource = (role.to_owned(), vocabulary.role(mount, name));
    let question = Question::new(vocabulary, who, Action::Sign, resource);
    let all = PolicySet::from_policies(access.written().iter().map(|written| written.policy.clone())).unwrap();
    let entities = vocabulary.signing_entities(who, mount, name).unwrap();
    let context = slice::signing_context(&memory::Asked::new(resolved, who.address(), who.method(), NOON)).unwrap();
    decide(&question, &all, &entities, context)
}

fn principal_scope() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("principal".to_owned()),
        Just("principal is Person".to_owned()),
        "[a-c]".prop_map(|id| format!("principal == Person::\"{id}\"")),
        "[a-c]".prop_map(|id| format!("principal in Person::\"{id}\"")),
        "[a-d]".prop_map(|id| format!("principal in Group::\"{id}\"")),
        "[a-d]".prop_map(|id| format!("principal is Person in Group::\"{id}\"")),
        "[a-b]".prop_map(|id| format!("principal in Policy::\"{id}\"")),
    ]
}

fn resource_scope() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("resource".to_owned()),
        Just("resource is Role".to_owned()),
        "(m/)?[a-c]".prop_map(|id| format!("resource == Role::\"{id}\"")),
        "(m/)?[a-c]".prop_map(|id| format!("resource in Role::\"{id}\"")),
        "(ssh|m)".prop_map(|id| format!("resource in Mount::\"{id}\"")),
        "(ssh|m)".prop_map(|id| format!("resource is Role in Mount::\"{id}\"")),
    ]
}

fn policy() -> impl Strategy<Value = String> {
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    let condition = prop_oneof![
        2 => Just(""),
        1 => Just("when { context.principals.contains(\"root\") }"),
        1 => Just("unless { context.source_ip.isInRange(ip(\"10.0.0.0/8\")) }"),
        1 => Just("when { principal in Group::\"b\" }"),
        1 => Just("when { context.ttl <= 600 }"),
    ];
    (effect, principal_scope(), resource_scope(), condition).prop_map(|(effect, principal, resource, condition)| {
        format!("{effect} ({principal}, action == Action::\"sign\", {resource}) {condition};\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_index_agrees_with_the_whole_set(
        policies in prop::collection::vec(policy(), 1..24),
        callers in prop::collection::vec(("[a-c]", prop::collection::btree_set("[a-d]", 0..3), prop::collection::btree_set("[a-b]", 0..2), any::<bool>()), 4),
        roles in prop::collection::vec("(m/)?[a-c]", 3),
        principal in "(root|ubuntu)",
        ttl in prop_oneof![Just(600u64), Just(601u64)],
    ) {
        let access = AccessPolicies::parse(&[("access/random.cedar", policies.concat())]).unwrap();
        for (person, groups, tokens, inside) in &callers {
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
            let from = if *inside { "10.0.0.1" } else { "203.0.113.9" };
            let who = caller(&Who { from, policies: &tokens, ..member(person, &groups) });
            for role in &roles {
                let (mount, name) = split_role_id(role);
                let resolved = resolved(mount, name, &[&principal], ttl, &who);
                let expected = oracle(&access, &who, role, &resolved);
                // Twice: built, then from the cache.
                for _ in 0..2 {
                    let answer = access.slice(&who, mount, name).and_then(|slice| slice.grant(resolved.clone(), NOON));
                    let answer = answer.map(|grant| grant.policies().to_vec());
                    match (&answer, &expected) {
                        (Ok(given), Ok(expected)) => prop_assert_eq!(given, expected),
                        // Without any permit in reach, a forbid is not looked at: both are refusals.
                        (Err(Denial::NoPolicyPermits { .. }), Err(expected)) => {
                            let refused = ["no-policy-permits", "policy-forbids"].contains(&expected.code());
                            prop_assert!(refused, "{:?}", expected);
                        }
                        (Err(given), Err(expected)) => prop_assert_eq!(given.code(), expected.code()),
                        _ => prop_assert!(false, "index says {:?}, the whole set says {:?}", answer, expected),
                    }
                }
            }
        }
    }

    /// Taking a permit away never gives anybody anything; taking a group away neither, where no forbid or negation is about.
    #[test]
    fn dropping_a_permit_never_turns_a_denial_into_a_grant(
        policies in prop::collection::vec(policy(), 1..12),
        groups in prop::collection::btree_set("[a-d]", 0..3),
        drop in any::<prop::sample::Index>(),
    ) {
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let who = caller(&member("a", &groups));
        let granted = |policies: &[String]| {
            let access = AccessPolicies::parse(&[("access/random.cedar", policies.concat())]).unwrap();
            access.slice(&who, "ssh", "a").and_then(|slice| slice.grant(resolved("ssh", "a", &["root"], 600, &who), NOON)).is_ok()
        };
        let mut fewer = policies.clone();
        let position = drop.index(fewer.len());
        if fewer.remove(position).starts_with("permit") {
            prop_assert!(granted(&policies) || !granted(&fewer));
        }
    }
}
