//! Published mistakes of other certificate authorities, sent to ours over the API. Each row is refused before a key is
//! used, and each table stands beside a request that is granted.

use serde_json::{Value, json};
use signet_tests::api::Api;
use signet_tests::authority::Authority;
use signet_tests::keys::KeyFile;
use signet_tests::workdir::Workdir;

/// An authority with a wide role (everything that Vault's wire can allow) and an ordinary subject key.
struct Scene {
    authority: Authority,
    root: Api,
    key: String,
    folder: Workdir,
}

impl Scene {
    fn new() -> Self {
        let authority = Authority::dev();
        let root = authority.root();
        let wide = json!({
            "key_type": "ca", "allow_user_certificates": true, "allow_host_certificates": true, "allowed_users": "*",
            "allowed_domains": "example.com", "allow_bare_domains": true, "allow_subdomains": true,
            "allowed_extensions": "*", "allowed_critical_options": "*", "allow_user_key_ids": true, "max_ttl": "1h"
        });
        root.write("ssh/roles/wide", &wide);
        let folder = Workdir::new();
        let key = KeyFile::ed25519(folder.path(), "key").public_line();
        let scene = Self {
            authority,
            root,
            key,
            folder,
        };
        let granted = scene.sign(&json!({}));
        assert_eq!(
            granted.status, 200,
            "the row beside which all others stand: {}",
            granted.text
        );
        scene
    }

    /// A request that is granted but for what `change` puts over it.
    fn sign(&self, change: &Value) -> signet_tests::api::Answer {
        let mut body = json!({"public_key": self.key, "valid_principals": "ubuntu"});
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.root.post("ssh/sign/wide", &body)
    }

    /// Each change is refused with a 400 and no certificate; then the ledger holds one certificate only.
    fn refuses(&self, rows: &[(&str, Value)]) {
        for (name, change) in rows {
            let answer = self.sign(change);
            assert_eq!(answer.status, 400, "{name}: {}", answer.text);
            assert!(
                !answer.errors().is_empty() && !answer.text.contains("cert-v01"),
                "{name}: {}",
                answer.text
            );
        }
        assert_eq!(
            self.authority.records("issue").len(),
            1,
            "no refusal left a certificate in the ledger"
        );
    }
}

#[test]
fn cve_2024_7594_no_certificate_without_principals() {
    Scene::new().refuses(&[
        ("an empty text", json!({"valid_principals": ""})),
        ("a blank", json!({"valid_principals": " "})),
        ("a comma", json!({"valid_principals": ","})),
        ("absent", json!({"valid_principals": null})),
        ("an array", json!({"valid_principals": []})),
        ("an array with nothing in it", json!({"valid_principals": [""]})),
    ]);
}

#[test]
fn principals_that_openssh_or_a_shell_reads_differently_are_refused() {
    let names = [
        "ubuntu\u{0}root",
        "ubuntu\nroot",
        "ubuntu root",
        "ub*",
        "?buntu",
        "!root",
        "ubuntu\"",
        "back\\slash",
        "-oProxyCommand=x",
        "\u{1b}]0;x",
        "ünicode",
    ];
    let rows: Vec<(&str, Value)> = names
        .iter()
        .map(|name| (*name, json!({"valid_principals": name})))
        .collect();
    Scene::new().refuses(&rows);
}

#[test]
fn more_principals_than_openssh_reads_are_refused() {
    let many: Vec<String> = (0..257).map(|index| format!("user{index}")).collect();
    let long = "a".repeat(65);
    Scene::new().refuses(&[
        ("257 names", json!({"valid_principals": many.join(",")})),
        ("a name of 65 bytes", json!({"valid_principals": long})),
    ]);
}

#[test]
fn options_in_the_wrong_place_or_with_the_wrong_value_are_refused() {
    Scene::new().refuses(&[
        (
            "force-command as an extension",
            json!({"extensions": {"force-command": "ls"}}),
        ),
        (
            "source-address as an extension",
            json!({"extensions": {"source-address": "10.0.0.0/8"}}),
        ),
        (
            "verify-required as an extension",
            json!({"extensions": {"verify-required": ""}}),
        ),
        (
            "permit-pty as a critical option",
            json!({"critical_options": {"permit-pty": ""}}),
        ),
        ("a flag with a value", json!({"extensions": {"permit-pty": "yes"}})),
        (
            "verify-required on an ordinary key",
            json!({"critical_options": {"verify-required": ""}}),
        ),
        (
            "a source address with host bits",
            json!({"critical_options": {"source-address": "10.0.0.1/8"}}),
        ),
        (
            "a source address that is a name",
            json!({"critical_options": {"source-address": "office.example.com"}}),
        ),
        (
            "a source address with a blank",
            json!({"critical_options": {"source-address": "10.0.0.0/8, 127.0.0.0/8"}}),
        ),
        (
            "a source address longer than an address",
            json!({"critical_options": {"source-address": "10.0.0.0/33"}}),
        ),
        ("no source address", json!({"critical_options": {"source-address": ""}})),
        ("no forced command", json!({"critical_options": {"force-command": ""}})),
    ]);
}

#[test]
fn key_ids_that_forge_log_lines_are_refused() {
    Scene::new().refuses(&[
        ("a new line", json!({"key_id": "x\nAccepted publickey for root"})),
        ("a serial of its own", json!({"key_id": "x (serial 1) CA"})),
        ("an escape", json!({"key_id": "\u{1b}[2J"})),
        ("too long", json!({"key_id": "x".repeat(257)})),
    ]);
}

#[test]
fn cve_2021_32923_lifetimes_that_never_end_are_refused() {
    Scene::new().refuses(&[
        ("negative", json!({"ttl": -1})),
        ("above the role's maximum", json!({"ttl": "61m"})),
        ("the largest number", json!({"ttl": 18_446_744_073_709_551_615_u64})),
        ("an exponent", json!({"ttl": "1e300h"})),
        ("a word", json!({"ttl": "forever"})),
    ]);
}

#[test]
fn subject_keys_that_are_no_keys_are_refused() {
    let scene = Scene::new();
    let certificate = scene
        .authority
        .root()
        .sign("ssh", "wide", &scene.key, "ubuntu")
        .signed_key()
        .to_owned();
    let weak = KeyFile::generate(scene.folder.path(), "weak", "rsa", Some(1024)).public_line();
    let ed25519 = scene.key.split(' ').nth(1).unwrap().to_owned();
    let short = format!("ssh-ed25519 {}", &ed25519[..ed25519.len() - 8]);
    let swapped = format!("ssh-rsa {ed25519}");
    let small_order = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let rows: Vec<(&str, Value)> = vec![
        ("a certificate", json!({"public_key": certificate})),
        ("RSA of 1024 bits", json!({"public_key": weak})),
        ("31 bytes of Ed25519", json!({"public_key": short})),
        ("another type than the blob's", json!({"public_key": swapped})),
        ("a point of small order", json!({"public_key": small_order})),
        ("two lines", json!({"public_key": format!("{0}\n{0}", scene.key)})),
        (
            "options before the key",
            json!({"public_key": format!("cert-authority {}", scene.key)}),
        ),
        ("DSA", json!({"public_key": "ssh-dss AAAAB3NzaC1kc3MAAACBAP"})),
        ("nothing", json!({"public_key": ""})),
        (
            "a private key",
            json!({"public_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}),
        ),
    ];
    for (name, change) in rows {
        let answer = scene.sign(&change);
        assert_eq!(answer.status, 400, "{name}: {}", answer.text);
    }
}

#[test]
fn host_names_outside_the_domain_and_wildcards_are_refused() {
    let host = |name: &str| json!({"cert_type": "host", "valid_principals": name});
    let scene = Scene::new();
    assert_eq!(scene.sign(&host("web-1.example.com")).status, 200);
    let names = [
        "*.example.com",
        "web-1.example.org",
        "example.com.evil.net",
        "evilexample.com",
        "web 1.example.com",
        "",
    ];
    for name in names {
        let answer = scene.sign(&host(name));
        assert_eq!(answer.status, 400, "{name}: {}", answer.text);
    }
}

#[test]
fn bodies_that_exhaust_a_parser_are_refused_and_the_server_lives_on() {
    let scene = Scene::new();
    let deep = format!("{{\"public_key\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    for body in [deep.as_str(), "{\"public_key\":", "[", "\u{0}", "{}{}"] {
        let answer = scene.root.post_text("ssh/sign/wide", body);
        assert_eq!(answer.status, 400, "{} {}", answer.status, answer.text);
    }
    // The server need not read what it refuses: a client that is still sending may see the connection close instead.
    let long = json!({"public_key": "x".repeat(1_000_000)});
    if let Some(answer) = scene.root.try_send("POST", "ssh/sign/wide", Some(&long)) {
        assert_eq!(answer.status, 413, "{}", answer.text);
    }
    assert_eq!(scene.sign(&json!({})).status, 200);
}

#[test]
fn paths_that_are_not_written_plainly_are_no_way_around_a_rule() {
    let scene = Scene::new();
    let anonymous = scene.authority.anonymous();
    for path in [
        "ssh/roles/wide",
        "ssh//roles/wide",
        "ssh/./roles/wide",
        "ssh/x/../roles/wide",
        "ssh/%72oles/wide",
        "ssh/roles/wide/",
    ] {
        let answer = anonymous.get(path);
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.text
        );
        assert!(answer.body["data"].is_null(), "{path}: {}", answer.text);
    }
}

#[test]
fn a_token_that_is_not_quite_right_opens_nothing() {
    let scene = Scene::new();
    let root = signet_tests::authority::ROOT_TOKEN;
    for token in [
        "",
        "x",
        &root[1..],
        &format!("{root}x"),
        &root.to_uppercase(),
        &format!("{root},{root}"),
    ] {
        let answer = scene.authority.api(token).sign("ssh", "wide", &scene.key, "ubuntu");
        assert_eq!(answer.status, 403, "{token:?}: {}", answer.text);
    }
    assert_eq!(
        scene
            .authority
            .anonymous()
            .sign("ssh", "wide", &scene.key, "ubuntu")
            .status,
        403
    );
}
