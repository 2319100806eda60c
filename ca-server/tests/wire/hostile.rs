//! Attacks on the wire, named by the vulnerability that they repeat.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;

use crate::desk::{Desk, KEY, MOUNT, ROOT, SLIDE_ROLE, holds};

const CANARY: &str = "canary-b6f1c0ffee";

async fn role(desk: &Desk, fields: serde_json::Value) {
    let mut document = json!({"key_type": "ca", "allow_user_certificates": true, "allowed_extensions": "*"});
    document
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    let answer = desk
        .root("POST", &format!("{MOUNT}/roles/my-role"), &document.to_string())
        .await;
    assert!(answer.status.is_success(), "{}", answer.text);
}

#[tokio::test]
async fn cve_2024_7594_no_certificate_without_principals_leaves() {
    let desk = Desk::with_role(&[]).await;
    role(&desk, json!({"allowed_users": "*"})).await;
    for fields in [
        json!({}),
        json!({"valid_principals": ""}),
        json!({"valid_principals": " "}),
        json!({"valid_principals": ","}),
        json!({"valid_principals": null}),
        json!({"valid_principals": []}),
        json!({"valid_principals": [""]}),
    ] {
        let answer = desk.sign(ROOT, fields.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{fields}: {}", answer.text);
    }
    assert_eq!(
        desk.sign(ROOT, json!({"valid_principals": "ubuntu"})).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn restrictions_asked_for_as_extensions_are_refused() {
    let desk = Desk::with_role(&[]).await;
    role(&desk, json!({"allowed_users": "*", "default_user": "ubuntu"})).await;
    for name in ["force-command", "source-address", "verify-required"] {
        let answer = desk.sign(ROOT, json!({"extensions": {name: "x"}})).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_certificate_is_no_subject_key() {
    let desk = Desk::with_role(&[]).await;
    let signed = desk.sign(ROOT, json!({})).await.json()["data"]["signed_key"]
        .as_str()
        .unwrap()
        .to_owned();
    let answer = desk.sign(ROOT, json!({"public_key": signed.clone()})).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::BAD_REQUEST, "public-key-invalid")
    );
    let blob = signed.split(' ').nth(1).unwrap().trim();
    assert_eq!(
        desk.sign(ROOT, json!({"public_key": blob})).await.status,
        StatusCode::BAD_REQUEST
    );
    let import = json!({"public_key": signed, "private_key": "x"}).to_string();
    desk.root("DELETE", &format!("{MOUNT}/config/ca"), "").await;
    assert_eq!(
        desk.root("POST", &format!("{MOUNT}/config/ca"), &import).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn cve_2026_35414_principals_that_split_are_refused() {
    let desk = Desk::with_role(&[]).await;
    for name in ["a b", "a\nb", "a\u{0}b", "a;b\u{7f}"] {
        let answer = desk.sign(ROOT, json!({"valid_principals": name})).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn cve_2025_6203_deep_wide_and_long_bodies_are_refused() {
    let desk = Desk::with_role(&[]).await;
    let path = format!("{MOUNT}/sign/my-role");
    let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let answer = desk.root("POST", &path, &deep).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::BAD_REQUEST, "json-too-deep")
    );
    let long = format!("{{\"public_key\":\"{}\"}}", "A".repeat(70_000));
    assert_eq!(
        desk.root("POST", &path, &long).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    // Roles may be longer, and still end somewhere.
    let long_role = format!(
        "{{\"key_type\":\"ca\",\"allow_user_certificates\":true,\"allowed_users\":\"{}\"}}",
        "a,".repeat(100_000)
    );
    assert!(
        desk.root("POST", &format!("{MOUNT}/roles/long"), &long_role)
            .await
            .status
            .is_success()
    );
    let too_long = "x".repeat(1_048_577);
    let answer = desk.root("POST", &format!("{MOUNT}/roles/long"), &too_long).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let announced = Request::post(format!("/v1/{path}"))
        .header("x-vault-token", ROOT)
        .header("content-length", "99999999999999999999")
        .body(Body::empty())
        .unwrap();
    assert!(desk.send(announced).await.status.is_client_error());
    let packed = Request::post(format!("/v1/{path}"))
        .header("x-vault-token", ROOT)
        .header("content-encoding", "gzip")
        .body(Body::from("{}"))
        .unwrap();
    assert_eq!(desk.send(packed).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn cve_2026_3605_paths_with_two_readings_are_refused() {
    let desk = Desk::with_role(&[]).await;
    for path in [
        "ssh-client-signer/./roles/my-role",
        "ssh-client-signer/../sys/mounts",
        "ssh-client-signer/%2e%2e/sys/mounts",
        "ssh-client-signer%2froles/my-role",
        "ssh-client-signer/roles%2fmy-role",
        "ssh-client-signer/roles/my-role%00",
        "ssh-client-signer/roles/%e2%80%a4%e2%80%a4",
        "ssh-client-signer/roles/my-role%5c",
    ] {
        let answer = desk.root("GET", path, "").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, "path-invalid"),
            "{path}"
        );
    }
    assert_eq!(
        desk.root("GET", "ssh-client-signer//roles/my-role", "").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn cve_2024_8365_secrets_are_in_no_file() {
    let desk = Desk::with_role(&[]).await;
    let path = format!("{MOUNT}/sign/my-role");
    for body in [
        json!({"public_key": CANARY}).to_string(),
        json!({"public_key": KEY, "unknown": CANARY, "private_key": CANARY}).to_string(),
        format!("{{\"public_key\": {CANARY}"),
    ] {
        desk.ask("POST", &path, Some(CANARY), &body).await;
        desk.root("POST", &path, &body).await;
    }
    let import = json!({"private_key": CANARY, "public_key": CANARY}).to_string();
    desk.root("POST", &format!("{MOUNT}/config/ca"), &import).await;
    for path in ["auth/token/lookup", "auth/token/renew", "auth/token/revoke"] {
        desk.root("POST", path, &json!({"token": CANARY}).to_string()).await;
    }
    let token = desk.plain_token().await;
    let issued = desk
        .root("POST", &format!("{MOUNT}/issue/my-role"), r#"{"key_type":"ed25519"}"#)
        .await
        .json();
    let private = issued["data"]["private_key"]
        .as_str()
        .unwrap()
        .lines()
        .nth(2)
        .unwrap()
        .to_owned();
    let files = desk.ledger_file();
    assert!(holds(&files, "my-role"), "the files are read");
    for secret in [CANARY, ROOT, token.as_str(), private.as_str()] {
        assert!(!holds(&files, secret), "{secret} is in a file");
    }
}

#[tokio::test]
async fn children_never_have_more_than_their_parent() {
    let desk = Desk::with_policies(&[(
        "access/tokens.cedar",
        r#"@id("tokens") permit (principal in Policy::"ci", action, resource == Path::"auth/token/create");"#,
    )]);
    let made = desk
        .root("POST", "auth/token/create", r#"{"policies":["ci"],"ttl":"10m"}"#)
        .await
        .json();
    let ci = made["auth"]["client_token"].as_str().unwrap().to_owned();
    for (body, text) in [
        (
            r#"{"policies":["root"]}"#,
            "root tokens may not be created without parent token being root",
        ),
        (r#"{"policies":["admin"]}"#, "child policies must be subset of parent"),
    ] {
        let answer = desk.ask("POST", "auth/token/create", Some(&ci), body).await;
        assert_eq!(
            (answer.status, answer.first_error().as_str()),
            (StatusCode::BAD_REQUEST, text)
        );
    }
    let answer = desk
        .ask(
            "POST",
            "auth/token/create",
            Some(&ci),
            r#"{"ttl":"24h","meta":{"ssh_user":"root"}}"#,
        )
        .await;
    let child = answer.json()["auth"].clone();
    assert!(child["lease_duration"].as_u64().unwrap() <= 600, "{child}");
    // What a creator chose is under no name that a role's template could ask for (CVE-2026-71543).
    assert!(child["metadata"].get("ssh_user").is_none(), "{child}");
    desk.root("POST", "auth/token/revoke", &json!({"token": ci}).to_string())
        .await;
    let orphaned = desk
        .ask("GET", "auth/token/lookup-self", child["client_token"].as_str(), "")
        .await;
    assert_eq!(orphaned.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_address_that_asks_too_often_waits_and_health_checks_never_do() {
    let desk = Desk::new();
    let limit = desk.dev.authority.config.limits.login_rate_per_minute;
    let mut last = desk.ask("PUT", "sys/unseal", None, "{}").await;
    for _ in 0..limit {
        last = desk.ask("PUT", "sys/unseal", None, "{}").await;
    }
    assert_eq!(
        (last.status, last.code().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "rate-limited")
    );
    assert!(last.headers.contains_key("retry-after"));
    assert_eq!(desk.ask("GET", "sys/health", None, "").await.status, StatusCode::OK);
    assert_eq!(desk.root("GET", "sys/mounts", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_asked_by_headers_and_not_done_is_refused() {
    let desk = Desk::with_role(&[]).await;
    for (name, value, status) in [
        ("x-vault-wrap-ttl", "60", StatusCode::BAD_REQUEST),
        ("x-vault-namespace", "team-a", StatusCode::BAD_REQUEST),
        ("x-vault-namespace", "root", StatusCode::OK),
        ("x-vault-namespace", "", StatusCode::OK),
        ("x-vault-request", "true", StatusCode::OK),
    ] {
        let request = Request::get("/v1/auth/token/lookup-self").header("authorization", format!("Bearer {ROOT}"));
        let answer = desk
            .send(request.header(name, value).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.status, status, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_token_ends_at_its_second() {
    let desk = Desk::with_role(&[]).await;
    let token = desk.plain_token().await;
    let look = async || desk.ask("GET", "auth/token/lookup-self", Some(&token), "").await;
    desk.clock.advance(3_599);
    assert_eq!(look().await.json()["data"]["ttl"], 1);
    desk.clock.advance(1);
    assert_eq!(
        (look().await.status, look().await.code().as_str()),
        (StatusCode::FORBIDDEN, "token-invalid")
    );
}

#[tokio::test]
async fn a_change_runs_to_its_end_when_the_peer_hangs_up() {
    let desk = Desk::with_role(&[]).await;
    let path = format!("{MOUNT}/roles/other");
    tokio::select! {
        biased;
        _ = desk.root("POST", &path, SLIDE_ROLE) => {}
        () = std::future::ready(()) => {}
    }
    for _ in 0..400 {
        if desk.root("GET", &path, "").await.status == StatusCode::OK {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the role was begun and never finished");
}
