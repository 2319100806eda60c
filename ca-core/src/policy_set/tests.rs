//! Whole policy folders: the example that ships, mistakes across files, lint, explain, diff, and a large set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;

fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files
        .iter()
        .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
        .collect()
}

fn shown<T: std::fmt::Display>(items: &[T]) -> String {
    let lines: Vec<String> = items.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The example set as it lies in the source tree.
fn example() -> BTreeMap<String, String> {
    fn walk(folder: &Path, root: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension != "md") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut found = BTreeMap::new();
    walk(&root, &root, &mut found);
    found
}

#[test]
fn the_example_set_loads_passes_its_cases_and_lints_clean() {
    let set = PolicySet::from_files(&example()).unwrap_or_else(|mistakes| panic!("{}", shown(&mistakes)));
    let outcomes = set.run_cases();
    assert!(outcomes.len() >= 20, "{} cases", outcomes.len());
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let findings = set.lint();
    assert!(findings.is_empty(), "{}", shown(&findings));
}

const PEOPLE: &str = "groups = [\"backend\", \"ops\"]\nlogin_groups = [\"ci\"]\n[people.alice]\ngroups = [\"backend\"]\n[people.bob]\ngroups = [\"ops\"]\n";
const WEB: &str = "allowed_users = [\"ubuntu\", \"deploy\"]\ndefault_user = \"ubuntu\"\nttl = \"30m\"\n";
const ACCESS: &str = "@id(\"backend-web\")\npermit (principal in Group::\"backend\", action == Action::\"sign\", resource == Role::\"web\");\n";

fn small() -> BTreeMap<String, String> {
    files(&[
        ("people.toml", PEOPLE),
        ("roles/web.toml", WEB),
        ("access/backend.cedar", ACCESS),
    ])
}

fn set(changes: &[(&str, &str)]) -> PolicySet {
    let mut all = small();
    all.extend(files(changes));
    PolicySet::from_files(&all).unwrap_or_else(|mistakes| panic!("{}", shown(&mistakes)))
}

/// The document of the slides, unchanged.
const VAULT_ROLE: &str = r#"{"allow_user_certificates":true,"allowed_users":"*","default_extensions":[{"permit-pty":""}],"key_type":"ca","default_user":"ubuntu","ttl":"30m0s"}"#;

#[test]
fn a_vault_role_document_loads_as_it_is() {
    let set = set(&[
        ("roles/my-role.json", VAULT_ROLE),
        ("roles/team-a/my-role.json", VAULT_ROLE),
    ]);
    assert!(set.role("ssh", "my-role").is_some());
    assert!(set.role("team-a", "my-role").is_some());
    assert_eq!(set.all_roles().count(), 3);
}

#[test]
fn mistakes_of_all_files_are_told_at_once() {
    let mistakes = PolicySet::from_files(&files(&[
        ("people.toml", PEOPLE),
        ("roles/web.toml", "alowed_users = [\"ubuntu\"]\n"),
        ("roles/db.toml", WEB),
        ("roles/db.json", VAULT_ROLE),
        ("roles/old.json", "{\n \"key_type\": \"ca\",\n \"alow_user_certificates\": true\n}"),
        ("access/backend.cedar", "permit (principal in Group::\"bakend\", action == Action::\"sign\", resource == Role::\"web\");\n\npermit (principal in Group::\"backend\", action == Action::\"sign\", resource == Role::\"bd\")\nwhen { context.tttl < 5 ||\n  principal in Group::\"opps\" };\npermit (principal in Group::\"ops\", action == Action::\"sign\", resource == Role::\"ssh/db\");\n@role(\"api\")\npermit (principal in Group::\"ops\", action == Action::\"sign\", resource == Role::\"made-by-terraform\");\npermit (principal in Group::\"ops\", action == Action::\"sign\", resource == Role::\"other-mount/x\");\n"),
        ("tests/a.toml", "[[case]]\nname = \"x\"\nperson = \"alice\"\nrole = \"web\"\nexpect = \"alow\"\nwhen = 5\n[[case]]\nname = \"y\"\nexpect = \"deny\"\ncode = \"no-policy-permit\"\n"),
        ("hosts.toml", "[[rule]]\ntags = [\"web\"]\nacounts = {}\n"),
        ("breakglass.keys", "ssh-ed25519 AAAA\n"),
        ("roles/breakglass.keys", ""),
        ("acess/x.cedar", ""),
        ("notes.toml", ""),
    ]))
    .unwrap_err();
    insta::assert_snapshot!(shown(&mistakes));
}

#[test]
fn taking_the_last_member_out_of_a_group_loads_and_ends_their_access() {
    let before = set(&[]);
    let after = set(&[(
        "people.toml",
        &PEOPLE.replace("groups = [\"backend\"]\n[people.bob]", "groups = []\n[people.bob]"),
    )]);
    let ask = Ask::new("alice", "web");
    assert!(before.ask(&ask).is_ok());
    let denial = after.ask(&ask).unwrap_err();
    assert!(
        matches!(&denial, crate::denial::Denial::NoPolicyPermits { near, .. } if near == &["backend-web"]),
        "{denial:?}"
    );
    assert!(
        format!("{denial} {:?}", denial.hint()).contains("backend-web"),
        "the refusal names the policy: {denial} {:?}",
        denial.hint()
    );
    assert_ne!(before.version(), after.version());
}

#[test]
fn a_caller_without_a_permit_does_not_learn_which_roles_exist() {
    let set = set(&[]);
    for role in ["web", "no-such-role"] {
        assert_eq!(set.ask(&Ask::new("bob", role)).unwrap_err().code(), "no-policy-permits");
    }
    assert_eq!(
        set.ask(&Ask::new("alice", "web2")).unwrap_err().code(),
        "no-policy-permits"
    );
}

#[test]
fn lint_finds_each_kind_of_unwise_thing() {
    let both = VAULT_ROLE.replace(
        "\"allow_user_certificates\":true",
        "\"allow_user_certificates\":true,\"allow_host_certificates\":true,\"max_ttl\":\"1h\"",
    );
    let set = set(&[
        ("roles/star.json", VAULT_ROLE),
        ("roles/both.json", &both),
        (
            "roles/long.toml",
            "allowed_users = [\"ubuntu\"]\nttl = \"25h\"\nmax_ttl = \"48h\"\n",
        ),
        ("roles/orphan.toml", WEB),
        ("roles/open.toml", WEB),
        (
            "roles/limited.json",
            &VAULT_ROLE.replace("\"ttl\"", "\"max_ttl\":\"1h\",\"ttl\""),
        ),
        (
            "people.toml",
            &PEOPLE.replace("\"ops\"]\nlogin", "\"ops\", \"nobody\"]\nlogin"),
        ),
        (
            "hosts.toml",
            "[[rule]]\ntags = []\naccounts = { root = [\"root\"], ubuntu = [\"ubuntu\", \"some-team\"] }\n",
        ),
        (
            "access/x.cedar",
            r#"
@id("star") permit (principal in Group::"ops", action == Action::"sign", resource == Role::"star");
@id("both") permit (principal in Group::"ops", action == Action::"sign", resource == Role::"both")
when { ["ubuntu"].containsAll(context.principals) };
@id("long") permit (principal in Group::"nobody", action == Action::"sign", resource == Role::"long");
@id("open") permit (principal, action == Action::"sign", resource == Role::"open")
when { context.source_ip.isInRange(ip("10.0.0.0/8")) };
@id("limited") permit (principal in Group::"ops", action == Action::"sign", resource == Role::"limited")
when { ["ubuntu", "deploy"].containsAll(context.principals) };
"#,
        ),
    ]);
    insta::assert_snapshot!(shown(&set.lint()));
}

#[test]
fn lint_tells_principals_of_hosts_that_no_role_gives() {
    let hosts = "[[rule]]\ntags = [\"web\"]\naccounts = { app = [\"ubuntu\", \"backend\"], root = [\"dev-al\", \"dev-\", \"root\"] }\n";
    let role = |users: &str| format!("allowed_users = [{users}]\ndefault_user = \"ubuntu\"\nttl = \"30m\"\n");
    let rows: [(&str, &str, &[&str]); 4] = [
        (
            "names",
            "\"ubuntu\", \"deploy\"",
            &["backend", "dev-al", "dev-", "root"],
        ),
        (
            "a template",
            "\"ubuntu\", \"dev-{{identity.entity.name}}\"",
            &["backend", "dev-", "root"],
        ),
        ("a star covers everything but root", "\"ubuntu\", \"*\"", &["root"]),
        ("a star and root", "\"*\", \"root\"", &[]),
    ];
    for (name, users, missing) in rows {
        let set = set(&[("roles/web.toml", &role(users)), ("hosts.toml", hosts)]);
        let findings = set.lint();
        let findings = findings
            .iter()
            .filter(|finding| finding.code == "principal-nobody-can-get");
        let told: Vec<&str> = findings.filter_map(|finding| finding.text.split('`').nth(1)).collect();
        let (mut told, mut missing) = (told, missing.to_vec());
        told.sort_unstable();
        missing.sort_unstable();
        assert_eq!(told, missing, "{name}");
    }
}

#[test]
fn hosts_and_break_glass_keys_are_part_of_the_set_and_of_its_version() {
    let hosts = "[[rule]]\ntags = [\"web\"]\naccounts = { ubuntu = [\"ubuntu\"] }\n";
    let document = "signet-breakglass-v1\ncert-authority,principals=\"breakglass\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIa+WAsDQ1rqRRG6+nLT+gFN0ee/bipaztddk+RtZ5u3\n";
    let without = set(&[]);
    let with_hosts = set(&[("hosts.toml", hosts)]);
    let with_both = set(&[("hosts.toml", hosts), ("breakglass.keys", document)]);
    assert_eq!(
        (with_both.hosts.rules.len(), with_both.breakglass.as_str()),
        (1, document)
    );
    assert_eq!((without.hosts.rules.len(), without.breakglass.as_str()), (0, ""));
    let versions: BTreeSet<&str> = [&without, &with_hosts, &with_both].map(PolicySet::version).into();
    assert_eq!(versions.len(), 3);
}

#[test]
fn what_is_no_break_glass_document_is_refused() {
    let long = format!("signet-breakglass-v1\n{}", "x".repeat(64 * 1024));
    for text in [
        "",
        "\n",
        "signet-breakglass-v2\n",
        " signet-breakglass-v1\n",
        "signet-breakglass-v1\na\0b\n",
        "signet-breakglass-v1\r\n",
        &long,
    ] {
        let mut all = small();
        all.extend(files(&[("breakglass.keys", text)]));
        assert!(PolicySet::from_files(&all).is_err(), "{text:.40?}");
    }
}

#[test]
fn explain_marks_the_first_broken_link_and_its_fix() {
    let key = "keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIa+WAsDQ1rqRRG6+nLT+gFN0ee/bipaztddk+RtZ5u3\"]\n";
    let people = PEOPLE.replace("[people.alice]\n", &format!("[people.alice]\n{key}"));
    let forbid = format!(
        "{ACCESS}@id(\"no-deploy-abroad\")\nforbid (principal, action == Action::\"sign\", resource) when {{ context.principals.contains(\"deploy\") && !context.source_ip.isInRange(ip(\"10.0.0.0/8\")) }};\n"
    );
    let set = set(&[("people.toml", &people), ("access/backend.cedar", &forbid)]);
    let as_principal = |person: &str, principal: &str| Ask {
        principals: Some(vec![principal.to_owned()]),
        ..Ask::new(person, "web")
    };
    let ci = Ask {
        groups: ["ci".to_owned()].into(),
        method: crate::caller::AuthMethod::Jwt,
        ..Ask::new("jwt/repo:acme", "web")
    };
    let rows = [
        ("all links hold", Ask::new("alice", "web")),
        ("misspelt person", Ask::new("alise", "web")),
        ("no key", Ask::new("bob", "web")),
        ("wrong group", ci),
        ("unknown role", Ask::new("alice", "wbe")),
        ("principal not allowed", as_principal("alice", "root")),
        ("forbidden", as_principal("alice", "deploy")),
    ];
    let text: Vec<String> = rows
        .iter()
        .map(|(name, ask)| format!("## {name}\n{}", set.explain(ask)))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
    assert!(set.explain(&rows[0].1).allowed());
    assert!(rows[1..].iter().all(|(_, ask)| !set.explain(ask).allowed()));
}

#[test]
fn diff_lists_who_gains_and_who_loses() {
    let old = set(&[]);
    let new = set(&[
        (
            "people.toml",
            &PEOPLE.replace(
                "[people.alice]\ngroups = [\"backend\"]",
                "[people.alice]\ngroups = [\"ops\"]",
            ),
        ),
        (
            "access/ops.cedar",
            "@id(\"ops-web\")\npermit (principal in Group::\"ops\", action == Action::\"sign\", resource == Role::\"web\")\nwhen { context.principals == [\"deploy\"] && context.source_ip.isInRange(ip(\"10.0.0.0/8\")) };\n@id(\"ci-web\")\npermit (principal in Group::\"ci\", action == Action::\"sign\", resource == Role::\"web\") when { context.principals == [\"deploy\"] };\n",
        ),
    ]);
    let diff = Diff::between(&old, &new);
    insta::assert_snapshot!(format!(
        "gained:\n{}\nlost:\n{}",
        shown(&diff.gained),
        shown(&diff.lost)
    ));
    assert!(Diff::between(&old, &old).is_empty());
}

/// Adding policies for other roles changes no answer and leaves the slice as small as it was.
#[test]
fn a_large_set_decides_like_a_small_one() {
    let mut all = small();
    for number in 0..300 {
        all.insert(format!("roles/r{number}.toml"), WEB.to_owned());
        let policy = format!(
            "permit (principal in Group::\"ops\", action == Action::\"sign\", resource == Role::\"r{number}\");\n"
        );
        all.insert(format!("access/r{number}.cedar"), policy);
    }
    let large = PolicySet::from_files(&all).unwrap();
    let small = PolicySet::from_files(&small()).unwrap();
    for (person, allowed) in [("alice", true), ("bob", false)] {
        let ask = Ask::new(person, "web");
        assert_eq!((small.ask(&ask).is_ok(), large.ask(&ask).is_ok()), (allowed, allowed));
    }
}
