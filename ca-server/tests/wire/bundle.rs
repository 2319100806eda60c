//! What hosts fetch: revocation list and trust bundle, cacheable, signed, never going back.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;
use signet_ca::clock::Clock;
use signet_core::policy_set::PolicySet;
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;
use signet_core::trust_bundle::VerifiedBundle;

use crate::desk::{Answer, Desk, MOUNT, ROOT};

const START: u64 = 1_795_000_000;
const WEEK: u64 = 7 * 86_400;

async fn get(desk: &Desk, path: &str) -> Answer {
    desk.ask("GET", &format!("{MOUNT}/{path}"), None, "").await
}

async fn get_unless(desk: &Desk, method: &str, path: &str, etag: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1/{MOUNT}/{path}"))
        .header("if-none-match", etag);
    desk.send(request.body(Body::empty()).unwrap()).await
}

async fn bundle_key(desk: &Desk) -> SubjectKey {
    SubjectKey::parse(&get(desk, "trust-bundle/public_key").await.text).unwrap()
}

async fn bundle(desk: &Desk, newest: u64) -> VerifiedBundle {
    let answer = get(desk, "trust-bundle").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let pinned = [bundle_key(desk).await];
    VerifiedBundle::open(&answer.text, &pinned, MOUNT, desk.clock.now(), newest).unwrap()
}

async fn revoke(desk: &Desk, serial: &str) {
    let body = json!({"serial": serial, "reason": "x"}).to_string();
    let answer = desk.root("POST", &format!("{MOUNT}/revoke"), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

#[tokio::test]
async fn what_a_host_has_already_is_not_sent_again() {
    let desk = Desk::with_role(&[]).await;
    for path in ["krl", "krl/signature", "trust-bundle"] {
        let answer = get(&desk, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.headers["cache-control"], "no-cache", "{path}");
        assert_eq!(
            answer.headers["last-modified"], "Wed, 18 Nov 2026 11:06:40 GMT",
            "{path}"
        );
        let etag = answer.headers["etag"].to_str().unwrap().to_owned();
        let again = get_unless(&desk, "GET", path, &etag).await;
        assert_eq!(
            (again.status, again.bytes.len()),
            (StatusCode::NOT_MODIFIED, 0),
            "{path}"
        );
        assert_eq!(again.headers["etag"], etag.as_str(), "{path}");
        let other = get_unless(&desk, "GET", path, "\"0123\"").await;
        assert_eq!(other.status, StatusCode::OK, "{path}");
        revoke(&desk, "4711").await;
        let changed = get_unless(&desk, "GET", path, &etag).await;
        assert_eq!(changed.status, StatusCode::OK, "{path}");
    }
    for path in ["krl", "trust-bundle"] {
        let head = get_unless(&desk, "HEAD", path, "\"x\"").await;
        assert_eq!(head.status, StatusCode::OK, "{path}");
        assert_eq!(head.headers["etag"], get(&desk, path).await.headers["etag"], "{path}");
    }
}

#[tokio::test]
async fn a_bundle_says_what_hosts_have_to_believe() {
    let desk = Desk::with_role(&[]).await;
    revoke(&desk, "4711").await;
    let verified = bundle(&desk, 0).await;
    let said = verified.bundle();
    let ca = get(&desk, "public_key").await.text;
    assert_eq!(said.user_ca_keys, [ca.trim()]);
    assert_eq!(said.host_ca_keys, Vec::<String>::new(), "no [hosts] host_mount");
    assert_eq!((said.mount.as_str(), said.krl_version), (MOUNT, 2));
    assert_eq!(verified.krl(), get(&desk, "krl").await.bytes);
    assert_eq!(said.bundle_keys, [bundle_key(&desk).await.line()]);
    assert_eq!((said.issued, said.valid_until), (START, START + WEEK));
    assert_ne!(ca.trim(), bundle_key(&desk).await.line(), "never the CA key");
}

#[tokio::test]
async fn the_version_grows_with_each_change_and_with_time_and_else_stays() {
    let desk = Desk::with_role(&[]).await;
    let first = get(&desk, "trust-bundle").await.text;
    let mut version = bundle(&desk, 0).await.bundle().version;
    desk.clock.advance(WEEK / 2 - 1);
    assert_eq!(get(&desk, "trust-bundle").await.text, first, "nothing changed");
    let other = PolicySet::from_files(&[("people.toml".to_owned(), "groups = [\"x\"]".to_owned())].into()).unwrap();
    desk.dev.authority.set_policy(other);
    assert_eq!(
        get(&desk, "trust-bundle").await.text,
        first,
        "nothing that hosts see changed"
    );
    let text = "[[rule]]\ntags = [\"web\"]\naccounts = { ubuntu = [\"backend\"] }\n";
    let hosts = PolicySet::from_files(&[("hosts.toml".to_owned(), text.to_owned())].into()).unwrap();
    desk.dev.authority.set_policy(hosts);
    let ruled = bundle(&desk, version + 1).await.bundle().clone();
    assert!(ruled.rules[0].accounts["ubuntu"].contains("backend"));
    desk.clock.advance(WEEK / 2);
    let halfway = bundle(&desk, version + 1).await.bundle().clone();
    assert_eq!((halfway.issued, &halfway.rules), (START + WEEK - 1, &ruled.rules));
    assert!(halfway.version > ruled.version, "half of its time has passed");
    version = halfway.version;
    revoke(&desk, "4711").await;
    let revoked = bundle(&desk, version + 1).await.bundle().clone();
    assert_eq!(revoked.version, version + 1, "counted up, though the clock stood");
    desk.root("DELETE", &format!("{MOUNT}/config/ca"), "").await;
    assert_eq!(
        get(&desk, "trust-bundle").await.status,
        StatusCode::NOT_FOUND,
        "it would lock everybody out"
    );
    let key = r#"{"generate_signing_key":true,"key_type":"ed25519"}"#;
    desk.root("POST", &format!("{MOUNT}/config/ca"), key).await;
    let rotated = bundle(&desk, revoked.version + 1).await.bundle().clone();
    assert_ne!(rotated.user_ca_keys, revoked.user_ca_keys);
}

#[tokio::test]
async fn a_restart_serves_the_same_text_and_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let clock = Clock::fixed(UnixTime::from_secs(START));
    let desk = Desk::open(Some(data.clone()), clock.clone(), &[]);
    desk.make_role().await;
    revoke(&desk, "4711").await;
    let (text, key) = (get(&desk, "trust-bundle").await.text, bundle_key(&desk).await);
    desk.close();
    let desk = Desk::open(Some(data.clone()), clock.clone(), &[]);
    assert_eq!(bundle_key(&desk).await, key);
    assert_eq!(get(&desk, "trust-bundle").await.text, text);
    let metrics = desk.root("GET", "sys/metrics", "").await.text;
    for line in [
        format!("signet_krl_version{{mount=\"{MOUNT}\"}} 2"),
        format!("signet_krl_entries{{mount=\"{MOUNT}\"}} 1"),
        format!("signet_trust_bundle_version{{mount=\"{MOUNT}\"}} {START}"),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    let version = bundle(&desk, 0).await.bundle().version;
    // Changed while nobody fetched it, then restarted.
    revoke(&desk, "4712").await;
    desk.close();
    let desk = Desk::open(Some(data), clock, &[]);
    assert_eq!(bundle(&desk, version + 1).await.bundle().krl_version, 3);
}

#[tokio::test]
async fn a_fleet_behind_one_address_does_not_use_up_its_logins() {
    let desk = Desk::with_role(&[]).await;
    for _ in 0..400 {
        assert_eq!(get(&desk, "krl").await.status, StatusCode::OK);
    }
    let login = desk.ask("POST", "auth/ssh-key/challenge", None, "{}").await;
    assert_ne!(login.status, StatusCode::TOO_MANY_REQUESTS);
    for _ in 0..300 {
        desk.ask("POST", "auth/ssh-key/challenge", None, "{}").await;
    }
    let login = desk.ask("POST", "auth/ssh-key/challenge", None, "{}").await;
    assert_eq!(login.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(get(&desk, "krl").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_mount_without_a_ca_key_has_a_list_and_no_bundle() {
    let desk = Desk::new();
    desk.root("POST", &format!("sys/mounts/{MOUNT}"), r#"{"type":"ssh"}"#)
        .await;
    assert_eq!(get(&desk, "krl").await.status, StatusCode::OK);
    assert_eq!(get(&desk, "trust-bundle").await.status, StatusCode::NOT_FOUND);
    let answer = desk
        .ask(
            "POST",
            &format!("{MOUNT}/revoke"),
            Some(ROOT),
            r#"{"serial":"7","reason":"x"}"#,
        )
        .await;
    assert_eq!(answer.code(), "revocation-invalid");
    // A mount made anew at the same path starts anew.
    desk.root("DELETE", &format!("sys/mounts/{MOUNT}"), "").await;
    assert_ne!(get(&desk, "krl").await.status, StatusCode::OK);
}
