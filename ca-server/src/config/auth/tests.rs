//! What the login sections of `signet.toml` may say, and everything that would let in more people than it seems to.

use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use signet_core::toml_reader;

use super::jwt::PUBLIC_ISSUERS;
use super::*;
use crate::login::test_issuer::{IssuerKey, key_set};

/// A folder with one key file and one key set.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let key = IssuerKey::new(Algorithm::ES256, "one");
        std::fs::write(folder.path().join("key.pem"), &key.public_pem).unwrap();
        std::fs::write(folder.path().join("keys.json"), key_set(&[&key])).unwrap();
        std::fs::write(
            folder.path().join("private.pem"),
            key.public_pem.replace("PUBLIC", "PRIVATE"),
        )
        .unwrap();
        folder
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn read(&self, source: &str) -> Result<Auth, Vec<String>> {
        let read = toml_reader::read("signet.toml", source, |top| Auth::read(top, &self.path()));
        read.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }
}

/// A good `[[auth.jwt]]`; `{issuer}` and `{role}` take further lines.
const GOOD: &str = r#"
[[auth.jwt]]
mount = "gitlab"
issuer = "https://gitlab.example.com"
audiences = ["https://ca.example.com"]
algorithms = ["ES256"]
public_key_files = ["key.pem"]

[[auth.jwt.role]]
name = "deploy"
bound_claims = { project_path = ["acme/app", "acme/lib"], ref_protected = true }
user_claim = "sub"
groups = ["ci"]
policies = ["deploy"]
ttl = "10m"
"#;

#[test]
fn nothing_written_means_login_with_ssh_keys() {
    let folder = Folder::new();
    for source in ["", "[auth]\n", "[auth.ssh-key]\n"] {
        let auth = folder.read(source).unwrap();
        assert_eq!(
            auth.ssh_key,
            Some(SshKeyAuth {
                ttl_secs: 28_800,
                max_ttl_secs: 86_400,
                verify_required: false
            })
        );
        assert!(auth.jwt.is_empty());
    }
    assert_eq!(folder.read("[auth.ssh-key]\nenabled = false\n").unwrap().ssh_key, None);
    let auth = folder
        .read("[auth.ssh-key]\nttl = \"1h\"\nmax_ttl = \"2h\"\nverify_required = true\n")
        .unwrap();
    assert_eq!(
        auth.ssh_key,
        Some(SshKeyAuth {
            ttl_secs: 3_600,
            max_ttl_secs: 7_200,
            verify_required: true
        })
    );
}

#[test]
fn a_good_issuer_reads_as_written() {
    let auth = Folder::new().read(GOOD).unwrap();
    let jwt = &auth.jwt[0];
    assert_eq!(
        (jwt.mount.as_str(), jwt.algorithms.as_slice()),
        ("gitlab", [Algorithm::ES256].as_slice())
    );
    let role = &jwt.roles["deploy"];
    assert_eq!((role.ttl_secs, role.max_ttl_secs), (600, 3_600));
    assert_eq!(role.rules.issuer, "https://gitlab.example.com");
    assert_eq!(
        role.rules.audiences,
        BTreeSet::from(["https://ca.example.com".to_owned()])
    );
    assert_eq!(
        role.rules.bound_claims["ref_protected"],
        BTreeSet::from(["true".to_owned()])
    );
    assert_eq!(role.policies, BTreeSet::from(["deploy".to_owned()]));
}

#[test]
fn keys_come_from_files_a_set_or_a_url() {
    let folder = Folder::new();
    let with = |keys: &str| folder.read(&GOOD.replace("public_key_files = [\"key.pem\"]", keys));
    assert!(matches!(
        with("jwks_file = \"keys.json\"").unwrap().jwt[0].keys,
        KeySource::Files(_)
    ));
    let url = with("jwks_url = \"https://gitlab.example.com/keys\"").unwrap();
    assert!(matches!(&url.jwt[0].keys, KeySource::Url { roots: None, .. }));
}

#[test]
fn what_would_let_in_too_many_is_refused_with_its_reason() {
    let folder = Folder::new();
    let rows: [(&str, &str, &str, &str); 26] = [
        (
            "cve_2024_5798: no audience",
            "audiences = [\"https://ca.example.com\"]\n",
            "",
            "needs `audiences`",
        ),
        (
            "an empty audience",
            "[\"https://ca.example.com\"]",
            "[\"\"]",
            "compared as a whole",
        ),
        (
            "a star for an audience",
            "[\"https://ca.example.com\"]",
            "[\"*\"]",
            "compared as a whole",
        ),
        (
            "cve_2026_27962: HMAC",
            "\"ES256\"",
            "\"HS256\"",
            "HS256 is not accepted",
        ),
        ("no signature", "\"ES256\"", "\"none\"", "`none` is not accepted"),
        ("no algorithm", "[\"ES256\"]", "[]", "`algorithms` is missing or empty"),
        (
            "no issuer",
            "issuer = \"https://gitlab.example.com\"\n",
            "",
            "`issuer` is missing",
        ),
        (
            "cve_2026_22772: a pattern",
            "https://gitlab.example.com",
            "https://*.example.com",
            "compared as a whole",
        ),
        ("no keys", "public_key_files = [\"key.pem\"]", "", "write one of"),
        (
            "two kinds of keys",
            "[\"key.pem\"]",
            "[\"key.pem\"]\njwks_file = \"keys.json\"",
            "write one of",
        ),
        ("a missing file", "key.pem", "gone.pem", "cannot be read"),
        ("a private key", "key.pem", "private.pem", "private key"),
        (
            "plain http",
            "public_key_files = [\"key.pem\"]",
            "jwks_url = \"http://x.example.com\"",
            "is not fetched",
        ),
        (
            "metadata",
            "public_key_files = [\"key.pem\"]",
            "jwks_url = \"https://169.254.169.254/\"",
            "is not fetched",
        ),
        (
            "no bounds",
            "bound_claims = { project_path = [\"acme/app\", \"acme/lib\"], ref_protected = true }\n",
            "",
            "`bound_claims` is missing",
        ),
        ("an empty bound", "ref_protected = true", "ref = []", "admits nothing"),
        ("a glob", "\"acme/app\"", "\"acme/*\"", "compared as a whole"),
        (
            "a wrong bound",
            "ref_protected = true",
            "ref = { a = 1 }",
            "`ref` is a table, but must be a text",
        ),
        (
            "cve_2025_5999: root",
            "policies = [\"deploy\"]",
            "policies = [\"root\"]",
            "policy `root`",
        ),
        (
            "cve_2025_5999: ROOT",
            "policies = [\"deploy\"]",
            "policies = [\"ROOT\"]",
            "policy `root`",
        ),
        (
            "cve_2025_5999: root and a blank",
            "policies = [\"deploy\"]",
            "policies = [\"root \"]",
            "is not a name",
        ),
        (
            "a group with a comma",
            "groups = [\"ci\"]",
            "groups = [\"ci,ops\"]",
            "is not a name",
        ),
        ("a misspelt key", "user_claim", "user_clam", "did you mean `user_claim`"),
        ("the token method's mount", "\"gitlab\"", "\"token\"", "is taken"),
        ("a mount with a slash", "\"gitlab\"", "\"a/b\"", "may hold"),
        (
            "a ttl past its maximum",
            "ttl = \"10m\"",
            "ttl = \"10m\"\nmax_ttl = \"5m\"",
            "less than `ttl`",
        ),
    ];
    for (name, from, to, expected) in rows {
        assert!(GOOD.contains(from), "{name}: the row changes nothing");
        let mistakes = folder.read(&GOOD.replace(from, to)).expect_err(name);
        assert!(
            mistakes.iter().any(|mistake| mistake.contains(expected)),
            "{name}: {mistakes:?}"
        );
        assert!(
            mistakes.iter().all(|mistake| mistake.starts_with("signet.toml:")),
            "{name}: {mistakes:?}"
        );
    }
}

#[test]
fn an_issuer_for_all_the_world_needs_bounds() {
    let folder = Folder::new();
    let open = GOOD.replace(
        "{ project_path = [\"acme/app\", \"acme/lib\"], ref_protected = true }",
        "{}",
    );
    assert!(
        folder.read(&open).is_ok(),
        "one's own issuer may be trusted as a whole, in so many words"
    );
    for public in PUBLIC_ISSUERS {
        let mistakes = folder
            .read(&open.replace("https://gitlab.example.com", public))
            .unwrap_err();
        assert!(mistakes[0].contains("everybody in the world"), "{mistakes:?}");
    }
}

#[test]
fn two_issuers_and_two_roles_do_not_share_a_name() {
    let folder = Folder::new();
    let mistakes = folder.read(&format!("{GOOD}{GOOD}")).unwrap_err();
    assert!(mistakes[0].contains("`auth/gitlab` is taken"), "{mistakes:?}");
    let role = "[[auth.jwt.role]]\nname = \"deploy\"\nbound_claims = {}\n";
    let mistakes = folder.read(&format!("{GOOD}{role}")).unwrap_err();
    assert!(mistakes[0].contains("stands here twice"), "{mistakes:?}");
}
