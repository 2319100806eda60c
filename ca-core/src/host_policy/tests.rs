//! What `hosts.toml` may say, what is told when it says something else, and the names that come of it.

use super::*;

const GOOD: &str = r#"
[[rule]]
tags = []
accounts = { root = ["on-call"] }

[[rule]]
tags = ["web"]
accounts = { ubuntu = ["backend", "on-call"], deploy = ["deploy"] }

[[rule]]
tags = ["web", "eu"]
[rule.accounts]
ubuntu = ["backend-eu"]

[[enroll]]
method = "ec2"
accounts = ["123456789012"]
regions = ["eu-central-1"]
images = ["ami-0123456789abcdef0", "ami-01234567"]
subnets = ["10.1.0.0/16"]
tags = ["web"]
names = ["{instance_id}.web.example.com", "{private_ip}"]

[[enroll]]
method = "jwt"
mount = "k8s"
role = "node"
tags = ["node"]
names = ["{user}.example.com"]

[[enroll]]
method = "token"
domains = ["internal.example.com"]
tags = ["web", "db"]
"#;

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn good() -> HostPolicy {
    HostPolicy::from_toml("hosts.toml", GOOD).unwrap()
}

#[test]
fn a_host_gets_every_rule_whose_tags_it_has() {
    let policy = good();
    let rows = [
        ("no tags", set(&[]), vec![("root", set(&["on-call"]))]),
        ("other tags", set(&["db", "eu"]), vec![("root", set(&["on-call"]))]),
        (
            "one rule's tags",
            set(&["web"]),
            vec![
                ("deploy", set(&["deploy"])),
                ("root", set(&["on-call"])),
                ("ubuntu", set(&["backend", "on-call"])),
            ],
        ),
        (
            "all tags, so that an account is opened by either rule's principals",
            set(&["web", "eu", "x"]),
            vec![
                ("deploy", set(&["deploy"])),
                ("root", set(&["on-call"])),
                ("ubuntu", set(&["backend", "backend-eu", "on-call"])),
            ],
        ),
    ];
    for (name, tags, want) in rows {
        let want = want
            .into_iter()
            .map(|(account, principals)| (account.to_owned(), principals));
        assert_eq!(principals_by_account(&policy.rules, &tags), want.collect(), "{name}");
    }
}

#[test]
fn the_ways_to_enrol_are_read() {
    let policy = good();
    let [ec2, jwt, token] = policy.enroll.as_slice() else {
        panic!("three")
    };
    assert_eq!(
        ec2.proof,
        EnrollProof::Ec2 {
            accounts: set(&["123456789012"]),
            regions: set(&["eu-central-1"]),
            images: set(&["ami-0123456789abcdef0", "ami-01234567"]),
            subnets: vec!["10.1.0.0/16".parse().unwrap()],
        }
    );
    assert_eq!(
        jwt.proof,
        EnrollProof::Jwt {
            mount: "k8s".to_owned(),
            role: "node".to_owned()
        }
    );
    assert_eq!(token.proof, EnrollProof::Token);
    assert_eq!(token.names, ["internal.example.com"]);
    assert!(HostPolicy::from_toml("hosts.toml", "").unwrap().rules.is_empty());
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = r#"rules = []

[[rule]]
tag = ["web"]
accounts = { ubuntu = ["backend"] }

[[rule]]
tags = ["Web", "a_b", "x", "x", ""]
accounts = { breakglass = ["on-call"], "a b" = ["on-call"], ubuntu = [], root = ["on-call", "on-call", "b*"], deploy = "x" }

[[rule]]
tags = ["x", "y"]

[[rule]]
tags = ["y", "x"]
accounts = {}

[[enroll]]
method = "ec3"
accounts = []

[[enroll]]
tags = ["web"]

[[enroll]]
method = "ec2"
accounts = ["12345"]
regions = []
images = ["ami-*"]
subnets = ["10.1.2.3/16", "10.1.0.0/33"]
tags = ["web"]
names = ["{instance}.example.com", "{user}.example.com", "{region", "*.example.com", "a,b", "a..b", "-{region}", "ok"]
mount = "k8s"

[[enroll]]
method = "ec2"
tags = []

[[enroll]]
method = "jwt"
mount = "k8s"
role = "node"
tags = ["a"]
names = []

[[enroll]]
method = "jwt"
mount = "k8s"
role = "node"
tags = ["a"]
names = ["{user}"]
images = ["ami-01234567"]

[[enroll]]
method = "token"
tags = ["web"]
names = ["x"]
domains = ["*.example.com", "internal..example.com", "10.0.0.1", "ok.example.com", "ok.example.com"]
"#;
    let mistakes = HostPolicy::from_toml("hosts.toml", text).unwrap_err();
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

fn values(of: &[(&'static str, &str)]) -> BTreeMap<&'static str, String> {
    of.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn jwt(pattern: &str) -> EnrollRule {
    let mut rule = good().enroll.remove(1);
    rule.names = vec![pattern.to_owned()];
    rule
}

#[test]
fn names_are_filled_in_from_the_proof() {
    let ec2 = &good().enroll[0];
    let all = values(&[
        ("instance_id", "i-0abc"),
        ("private_ip", "10.1.2.3"),
        ("region", "eu-central-1"),
    ]);
    assert_eq!(ec2.names_for(&all).unwrap(), ["i-0abc.web.example.com", "10.1.2.3"]);
    let mut six = all.clone();
    six.insert("private_ip", "fd00::7".to_owned());
    assert_eq!(ec2.names_for(&six).unwrap()[1], "fd00::7");
    for absent in [
        values(&[("instance_id", "i-0abc")]),
        values(&[("instance_id", "i-0abc"), ("private_ip", "")]),
    ] {
        assert_eq!(
            ec2.names_for(&absent),
            Err(HostNameError::Missing("private_ip".to_owned()))
        );
    }
    let mut twice = jwt("{user}.example.com");
    twice.names.push("node-1.example.com".to_owned());
    assert_eq!(
        twice.names_for(&values(&[("user", "node-1")])).unwrap(),
        ["node-1.example.com"]
    );
}

#[test]
fn cve_2026_71543_a_value_cannot_become_another_name() {
    let longest = "x".repeat(64);
    let hostile = [
        "a,b", "*", "a*", "x/../y", "../y", "a b", "a\nb", "a\0b", "", "-x", "x-", ".", "..", "a..b", ".a", "a.",
        "a:b", "ä", "{user}", "a?", "!a", "%h", &longest,
    ];
    for value in hostile {
        for pattern in ["{user}", "{user}.example.com", "node-{user}.example.com"] {
            let made = jwt(pattern).names_for(&values(&[("user", value)]));
            assert!(made.is_err(), "{value:?} in {pattern}: {made:?}");
        }
    }
    let error = jwt("{user}.example.com")
        .names_for(&values(&[("user", "a\n,b")]))
        .unwrap_err();
    assert_eq!(error.to_string(), "`a\\n,b` for {user} cannot stand in a host name");
}

#[test]
fn a_token_names_a_host_within_its_domains_only() {
    let policy = good();
    let token = &policy.enroll[2];
    for name in [
        "internal.example.com",
        "db-1.internal.example.com",
        "a.b.internal.example.com",
        "DB.Internal.example.com",
    ] {
        assert!(token.allows_name(name), "{name}");
    }
    for name in [
        "",
        "example.com",
        "xinternal.example.com",
        ".internal.example.com",
        "a..internal.example.com",
        "*.internal.example.com",
        "a,b.internal.example.com",
        "internal.example.com.",
        "internal.example.com.evil.org",
        "10.0.0.1",
        "x/y.internal.example.com",
    ] {
        assert!(!token.allows_name(name), "{name}");
    }
    assert!(
        !policy.enroll[1].allows_name("k8s.example.com"),
        "only tokens name hosts freely"
    );
    assert_eq!(token.names_for(&BTreeMap::new()), Err(HostNameError::Token));
    assert!(
        token.allows_tags(&set(&["db"])) && token.allows_tags(&set(&[])) && token.allows_tags(&set(&["db", "web"]))
    );
    assert!(!token.allows_tags(&set(&["db", "root"])));
}
