//! What goes over the wire, as snapshots: status, headers that matter, body.

use std::fmt::Write as _;

use crate::desk::{Answer, Desk, KEY, MOUNT, ROOT, SLIDE_ROLE};

fn shown(method: &str, path: &str, answer: &Answer) -> String {
    let mut text = format!("{method} {path}\n{}", answer.status.as_u16());
    for name in ["content-type", "cache-control", "retry-after"] {
        if let Some(value) = answer.headers.get(name) {
            write!(text, "\n{name}: {}", value.to_str().unwrap()).unwrap();
        }
    }
    write!(text, "\n{}\n\n", answer.text.trim_end_matches('\n')).unwrap();
    text
}

fn check(name: &str, transcript: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "<uuid>",
    );
    settings.add_filter(r"hvs\.[0-9A-Za-z]{28}", "<token>");
    settings.add_filter(r#""accessor":"[0-9A-Za-z]{24}""#, r#""accessor":"<accessor>""#);
    settings.add_filter(r"ssh_[0-9a-f]{8}", "ssh_<hex>");
    settings.add_filter(
        r"-cert-v01@openssh.com [0-9A-Za-z+/=]+",
        "-cert-v01@openssh.com <certificate>",
    );
    settings.add_filter(r"ssh-ed25519 AAAAC3[0-9A-Za-z+/=]+", "ssh-ed25519 <key>");
    settings.add_filter(
        r"(?s)-----BEGIN ([A-Z ]+)-----.*?-----END",
        "-----BEGIN $1----- <key> -----END",
    );
    settings.bind(|| insta::assert_snapshot!(name, transcript));
}

async fn transcript(desk: &Desk, name: &str, token: Option<&str>, rows: &[(&str, &str, &str)]) {
    let mut text = String::new();
    for (method, path, body) in rows {
        text += &shown(method, path, &desk.ask(method, path, token, body).await);
    }
    check(name, &text);
}

#[tokio::test]
async fn the_three_requests_of_the_slides_and_a_certificate() {
    let desk = Desk::new();
    let key = format!(r#"{{"public_key":"{KEY}","valid_principals":"root","role":"x","zz":1}}"#);
    let rows = [
        ("POST", "sys/mounts/ssh-client-signer", r#"{"type":"ssh"}"#),
        (
            "POST",
            "ssh-client-signer/config/ca",
            r#"{"generate_signing_key":true,"key_type":"ed25519"}"#,
        ),
        ("POST", "ssh-client-signer/roles/my-role", SLIDE_ROLE),
        ("GET", "ssh-client-signer/roles/my-role", ""),
        ("LIST", "ssh-client-signer/roles", ""),
        ("GET", "ssh-client-signer/roles/?list=true", ""),
        ("PUT", "ssh-client-signer/sign/my-role", &key),
        ("POST", "ssh-client-signer/issue/my-role", r#"{"key_type":"ed25519"}"#),
        ("GET", "ssh-client-signer/config/ca", ""),
        ("GET", "ssh-client-signer/public_key", ""),
        ("DELETE", "ssh-client-signer/roles/my-role", ""),
        ("DELETE", "ssh-client-signer/roles/my-role", ""),
        ("GET", "ssh-client-signer/roles/my-role", ""),
        ("LIST", "ssh-client-signer/roles", ""),
        ("DELETE", "ssh-client-signer/config/ca", ""),
        ("GET", "ssh-client-signer/config/ca", ""),
        ("GET", "ssh-client-signer/public_key", ""),
    ];
    transcript(&desk, "slides", Some(ROOT), &rows).await;
}

#[tokio::test]
async fn refusals_have_vaults_texts() {
    let desk = Desk::with_role(&[]).await;
    let key = |fields: &str| format!(r#"{{"public_key":"{KEY}",{fields}}}"#);
    let rows = [
        ("POST", "ssh-client-signer/sign/my-roel", &*key(r#""ttl":"1h""#)),
        ("POST", "ssh-client-signer/issue/nope", r#"{"key_type":"ed25519"}"#),
        ("POST", "ssh-client-signer/sign/my-role", ""),
        (
            "POST",
            "ssh-client-signer/sign/my-role",
            r#"{"public_key":"ssh-rsa nonsense"}"#,
        ),
        ("POST", "ssh-client-signer/sign/my-role", &*key(r#""key_id":"mine""#)),
        ("POST", "ssh-client-signer/sign/my-role", &*key(r#""cert_type":"host""#)),
        ("POST", "ssh-client-signer/sign/my-role", &*key(r#""cert_type":"dog""#)),
        ("POST", "ssh-client-signer/sign/my-role", &*key(r#""ttl":"769h""#)),
        (
            "POST",
            "ssh-client-signer/sign/my-role",
            &*key(r#""extensions":{"permit-X11-forwarding":""}"#),
        ),
        (
            "POST",
            "ssh-client-signer/sign/my-role",
            &*key(r#""extensions":"permit-pty""#),
        ),
        (
            "POST",
            "ssh-client-signer/sign/my-role",
            &*key(r#""valid_principals":["root"]"#),
        ),
        ("POST", "ssh-client-signer/sign/my-role", "{"),
        (
            "POST",
            "ssh-client-signer/roles/r",
            r#"{"allow_user_certificates":true}"#,
        ),
        ("POST", "ssh-client-signer/roles/r", r#"{"key_type":"ca"}"#),
        (
            "POST",
            "ssh-client-signer/roles/r",
            r#"{"key_type":"ca","allow_user_certificates":true,"ttl":"2h","max_ttl":"1h"}"#,
        ),
        (
            "POST",
            "ssh-client-signer/roles/r",
            r#"{"key_type":"ca","allow_user_certificates":"yes"}"#,
        ),
        ("POST", "ssh-client-signer/config/ca", ""),
        (
            "POST",
            "ssh-client-signer/config/ca",
            r#"{"generate_signing_key":false}"#,
        ),
        ("POST", "ssh-client-signer/config/ca", r#"{"public_key":"x"}"#),
        (
            "POST",
            "ssh-client-signer/config/ca",
            r#"{"public_key":"x","private_key":"y","generate_signing_key":true}"#,
        ),
        ("POST", "sys/mounts/ssh-client-signer", r#"{"type":"ssh"}"#),
        ("POST", "sys/mounts/kv", r#"{"type":"kv"}"#),
        ("POST", "sys/mounts/sys/x", r#"{"type":"ssh"}"#),
        ("GET", "sshh/roles/x", ""),
        ("GET", "ssh-client-signer/keys/x", ""),
        ("GET", "ssh-client-signer/sign/x", ""),
        ("PATCH", "ssh-client-signer/roles/x", "{}"),
        ("POST", "ssh-client-signer/creds/x", "{}"),
        ("PUT", "sys/init", "{}"),
        ("PUT", "sys/unseal", "{}"),
    ];
    transcript(&desk, "refusals", Some(ROOT), &rows).await;
    desk.root("DELETE", &format!("{MOUNT}/config/ca"), "").await;
    // No CA key is reported last, as on Vault.
    let rows = [
        ("POST", "ssh-client-signer/sign/my-role", &*key(r#""key_id":"mine""#)),
        ("POST", "ssh-client-signer/sign/my-role", &*key(r#""ttl":"5m""#)),
    ];
    transcript(&desk, "refusals-without-ca-key", Some(ROOT), &rows).await;
}

#[tokio::test]
async fn sys_and_token_endpoints() {
    let desk = Desk::with_role(&[]).await;
    let rows = [
        ("GET", "sys/health", ""),
        ("GET", "sys/health?activecode=299&standbycode=299", ""),
        ("HEAD", "sys/health", ""),
        ("GET", "sys/seal-status", ""),
        ("GET", "sys/leader", ""),
        ("GET", "sys/init", ""),
        ("GET", "sys/mounts", ""),
        ("GET", "sys/mounts/ssh-client-signer", ""),
        (
            "POST",
            "sys/mounts/ssh-client-signer/tune",
            r#"{"default_lease_ttl":"1h","max_lease_ttl":"24h"}"#,
        ),
        ("GET", "sys/mounts/ssh-client-signer/tune", ""),
        ("GET", "sys/internal/ui/mounts/ssh-client-signer/roles", ""),
        ("GET", "sys/internal/ui/mounts/nothing", ""),
        (
            "POST",
            "sys/capabilities-self",
            r#"{"paths":["ssh-client-signer/sign/my-role","x"]}"#,
        ),
        ("GET", "sys/signet/whoami", ""),
        ("GET", "sys/signet/roles?mount=ssh-client-signer", ""),
        ("GET", "auth/token/lookup-self", ""),
        (
            "POST",
            "auth/token/create",
            r#"{"display_name":"terraform","ttl":"20m","renewable":false,"policies":["ci"]}"#,
        ),
        ("PUT", "auth/token/renew-self", r#"{"increment":60}"#),
        ("POST", "auth/token/lookup-accessor", r#"{"accessor":"nope"}"#),
        ("DELETE", "sys/mounts/ssh-client-signer", ""),
        ("DELETE", "sys/mounts/ssh-client-signer", ""),
    ];
    transcript(&desk, "sys-and-token", Some(ROOT), &rows).await;
    let rows = [("GET", "sys/mounts", ""), ("GET", "auth/token/lookup-self", "")];
    transcript(&desk, "without-token", None, &rows).await;
}

#[tokio::test]
async fn a_role_of_a_file_is_read_only() {
    let role = "allowed_users = [\"ubuntu\"]\ndefault_user = \"ubuntu\"\nttl = \"30m\"\nmax_ttl = \"1h\"\nmount = \"ssh-client-signer\"\n";
    let desk = Desk::with_role(&[("roles/filed.toml", role)]).await;
    let rows = [
        ("GET", "ssh-client-signer/roles/filed", ""),
        ("POST", "ssh-client-signer/roles/filed", SLIDE_ROLE),
        ("DELETE", "ssh-client-signer/roles/filed", ""),
        ("LIST", "ssh-client-signer/roles", ""),
    ];
    transcript(&desk, "role-in-file", Some(ROOT), &rows).await;
}
