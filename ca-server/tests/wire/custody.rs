//! The seal's life over the wire: initialised, unsealed, rekeyed, migrated; and what strangers can do to it, which is nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use signet_ca::clock::Clock;
use signet_ca::config::{Config, SealConfig, SealSettings};
use signet_ca::foundation::Foundation;
use signet_ca::http::table::{Endpoint, ROUTES};
use signet_ca::http::{PeerAddress, node_router};
use signet_ca::node::Node;
use signet_ca::store::{Change, Table};
use signet_core::policy_set::PolicySet;
use signet_core::time::UnixTime;
use tower::ServiceExt as _;

use crate::desk::Desk;
use crate::guards::path_of;

const OPERATOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);

struct Server {
    node: Arc<Node>,
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
    body: Value,
}

impl Server {
    fn start(folder: &Path, current: SealSettings, previous: Option<SealSettings>) -> Self {
        Self::configured(folder, SealConfig { current, previous }, |config| {
            config.limits.login_rate_per_minute = 1_000_000;
        })
    }

    fn configured(folder: &Path, seal: SealConfig, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::dev("127.0.0.1:0".parse().unwrap(), folder.join("data"), None);
        config.seal = seal;
        change(&mut config);
        let clock = Clock::fixed(UnixTime::from_secs(1_795_000_000));
        // In a thread of its own: opening may bring its own runtime.
        let start = move || Node::start(Foundation::lay(config, PolicySet::empty(), clock).unwrap()).unwrap();
        let node = std::thread::spawn(start).join().unwrap();
        let router = node_router(Arc::clone(&node));
        Self { node, router }
    }

    async fn send(&self, from: Ipv4Addr, token: &str, line: (&str, &str), body: &Value) -> Answer {
        let (method, path) = line;
        let mut request = Request::builder().method(method).uri(format!("/v1/{path}"));
        if !token.is_empty() {
            request = request.header("x-vault-token", token);
        }
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(PeerAddress(IpAddr::V4(from)));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(OPERATOR, "", ("GET", path), &Value::Null).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(OPERATOR, "", ("PUT", path), &body).await
    }

    async fn unsealed_with(&self, keys: &[String]) -> Answer {
        let mut last = None;
        for key in keys {
            last = Some(self.put("sys/unseal", json!({ "key": key })).await);
        }
        last.unwrap()
    }
}

impl Answer {
    fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.body);
        self.body
    }

    fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default()),
            (status, code),
            "{}",
            self.body
        );
        self.body
    }
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A server under three shares of which two are needed, unsealed; its shares and root token.
async fn open_shamir(folder: &Path) -> (Server, Vec<String>, String) {
    let server = Server::start(folder, SealSettings::Shamir, None);
    let made = server
        .put("sys/init", json!({"secret_shares": 3, "secret_threshold": 2}))
        .await
        .ok();
    let keys = texts(&made["keys_base64"]);
    assert_eq!(server.unsealed_with(&keys[..2]).await.ok()["sealed"], false);
    (server, keys, text(&made["root_token"]))
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one life, told in order")]
async fn a_shamir_server_goes_from_not_initialised_to_open_and_back_by_vaults_codes() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), SealSettings::Shamir, None);
    assert_eq!(server.get("sys/health").await.status, 501);
    assert_eq!(server.get("sys/health?uninitcode=299").await.status, 299);
    assert_eq!(server.get("sys/init").await.ok()["initialized"], false);
    let refused = server.get("sys/mounts").await.refused(503, "not-initialized");
    assert_eq!(refused["errors"][0], "Vault is sealed");
    server
        .put("sys/unseal", json!({"key": "x"}))
        .await
        .refused(503, "not-initialized");
    for (body, code) in [
        (json!({}), "share-numbers-invalid"),
        (
            json!({"secret_shares": 3, "secret_threshold": 1}),
            "share-numbers-invalid",
        ),
        (
            json!({"secret_shares": 3, "secret_threshold": 4}),
            "share-numbers-invalid",
        ),
        (
            json!({"secret_shares": 3, "secret_threshold": 2, "recovery_shares": 1}),
            "not-for-this-seal",
        ),
        (
            json!({"secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["keybase:me"]}),
            "not-offered",
        ),
        (
            json!({"secret_shares": 2, "secret_threshold": 2, "age_keys": ["age1x"]}),
            "age-keys-invalid",
        ),
    ] {
        server.put("sys/init", body).await.refused(400, code);
    }
    let made = server
        .put(
            "sys/init",
            json!({"secret_shares": 3, "secret_threshold": 2, "pgp_keys": null}),
        )
        .await
        .ok();
    let (hex, keys) = (texts(&made["keys"]), texts(&made["keys_base64"]));
    assert_eq!((hex.len(), keys.len()), (3, 3));
    assert!(text(&made["root_token"]).starts_with("hvs."));
    let again = server
        .put("sys/init", json!({"secret_shares": 1, "secret_threshold": 1}))
        .await;
    assert_eq!(
        again.refused(400, "already-initialized")["errors"][0],
        "Vault is already initialized"
    );
    let health = server.get("sys/health").await;
    assert_eq!((health.status.as_u16(), &health.body["sealed"]), (503, &json!(true)));
    assert!(text(&health.body["seal_reason"]).contains("2 of 3 key shares"));
    assert_eq!(server.get("sys/health?sealedcode=299&uninitcode=298").await.status, 299);

    let one = server.put("sys/unseal", json!({"key": hex[0]})).await.ok();
    assert_eq!(
        (&one["progress"], &one["t"], &one["n"], &one["sealed"]),
        (&json!(1), &json!(2), &json!(3), &json!(true))
    );
    assert_ne!(one["nonce"], "");
    server
        .put("sys/unseal", json!({"key": keys[0]}))
        .await
        .refused(400, "share-duplicate");
    let reset = server.put("sys/unseal", json!({"reset": true})).await.ok();
    assert_eq!((&reset["progress"], &reset["nonce"]), (&json!(0), &json!("")));
    server.put("sys/unseal", json!({})).await.refused(400, "field-missing");
    server
        .put("sys/unseal", json!({"key": "rubbish"}))
        .await
        .refused(400, "share-invalid");
    server
        .put("sys/unseal", json!({"key": keys[0], "migrate": true}))
        .await
        .refused(400, "nothing-in-progress");
    let open = server.unsealed_with(&[hex[2].clone(), keys[0].clone()]).await.ok();
    assert_eq!(
        (&open["sealed"], &open["progress"], &open["type"]),
        (&json!(false), &json!(0), &json!("shamir"))
    );
    assert_eq!(server.get("sys/health").await.status, 200);
    let root = text(&made["root_token"]);
    let mounts = ("GET", "sys/mounts");
    assert!(
        server
            .send(OPERATOR, &root, mounts, &Value::Null)
            .await
            .status
            .is_success()
    );

    server.put("sys/seal", json!({})).await.refused(403, "token-missing");
    assert_eq!(
        server
            .send(OPERATOR, &root, ("PUT", "sys/seal"), &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(server.get("sys/health").await.status, 503);
    server
        .send(OPERATOR, &root, mounts, &Value::Null)
        .await
        .refused(503, "sealed");
    assert_eq!(server.unsealed_with(&keys[1..]).await.ok()["sealed"], false);
    assert!(
        server
            .send(OPERATOR, &root, mounts, &Value::Null)
            .await
            .status
            .is_success(),
        "the token is kept"
    );
    let revoked = server
        .send(OPERATOR, &root, ("POST", "auth/token/revoke-self"), &Value::Null)
        .await;
    assert_eq!(revoked.status, 204);
    server
        .send(OPERATOR, &root, mounts, &Value::Null)
        .await
        .refused(403, "token-invalid");
}

#[tokio::test]
async fn shares_of_another_server_are_refused_and_count_for_nothing() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, strangers, _) = open_shamir(two.path()).await;
    let server = Server::start(one.path(), SealSettings::Shamir, None);
    server
        .put("sys/init", json!({"secret_shares": 3, "secret_threshold": 2}))
        .await
        .ok();
    for share in &strangers {
        server
            .put("sys/unseal", json!({"key": share}))
            .await
            .refused(400, "share-of-another-set");
    }
    assert_eq!(server.get("sys/seal-status").await.ok()["progress"], 0);
}

#[tokio::test]
async fn cve_2025_4656_cve_2025_52894_cve_2026_5807_a_thousand_anonymous_starts_and_cancels_do_not_stop_an_operator() {
    let folder = tempfile::tempdir().unwrap();
    let (server, keys, root) = open_shamir(folder.path()).await;
    let flood = async |times: usize| {
        for turn in 0..times {
            let line = match turn % 5 {
                0 => ("PUT", "sys/rekey/init"),
                1 => ("DELETE", "sys/rekey/init"),
                2 => ("PUT", "sys/generate-root/attempt"),
                3 => ("DELETE", "sys/generate-root/attempt"),
                _ => ("DELETE", "sys/rekey/verify"),
            };
            let body = json!({"secret_shares": 1, "secret_threshold": 1});
            server
                .send(STRANGER, "", line, &body)
                .await
                .refused(403, "token-missing");
        }
    };
    flood(1000).await;
    let begin = json!({"secret_shares": 5, "secret_threshold": 3});
    let started = server
        .send(OPERATOR, &root, ("PUT", "sys/rekey/init"), &begin)
        .await
        .ok();
    assert_eq!(
        (&started["started"], &started["required"], &started["n"]),
        (&json!(true), &json!(2), &json!(5))
    );
    let nonce = text(&started["nonce"]);
    flood(50).await;
    let first = server
        .put("sys/rekey/update", json!({"key": keys[0], "nonce": nonce}))
        .await
        .ok();
    assert_eq!((&first["complete"], &first["progress"]), (&json!(false), &json!(1)));
    // Somebody who knows the nonce, which is no secret, cannot end it, nor can a token that no policy knows.
    let cancel = ("DELETE", "sys/rekey/init");
    server
        .send(STRANGER, "", cancel, &json!({"nonce": nonce}))
        .await
        .refused(403, "token-missing");
    server
        .send(STRANGER, "hvs.x", cancel, &json!({"nonce": nonce}))
        .await
        .refused(403, "token-invalid");
    // Whoever may cancel has to name what, unless it is their own.
    let create = ("POST", "auth/token/create");
    let made = server
        .send(OPERATOR, &root, create, &json!({"policies": ["root"]}))
        .await
        .ok();
    let other = text(&made["auth"]["client_token"]);
    server
        .send(OPERATOR, &other, cancel, &Value::Null)
        .await
        .refused(400, "nonce-wrong");
    server
        .send(OPERATOR, &root, cancel, &json!({"nonce": "other"}))
        .await
        .refused(400, "nonce-wrong");
    server
        .put("sys/rekey/update", json!({"key": keys[1], "nonce": "other"}))
        .await
        .refused(400, "nonce-wrong");
    let done = server
        .put("sys/rekey/update", json!({"key": keys[2], "nonce": nonce}))
        .await
        .ok();
    assert_eq!((&done["complete"], texts(&done["keys"]).len()), (&json!(true), 5));
    let new = texts(&done["keys_base64"]);
    server
        .send(OPERATOR, &root, ("PUT", "sys/seal"), &Value::Null)
        .await
        .ok();
    server
        .put("sys/unseal", json!({"key": keys[0]}))
        .await
        .refused(400, "share-of-another-set");
    assert_eq!(server.unsealed_with(&new[2..]).await.ok()["sealed"], false);
    let line = ("PUT", "sys/rekey/init");
    server.send(OPERATOR, &root, line, &begin).await.ok();
    assert_eq!(server.send(OPERATOR, &root, cancel, &Value::Null).await.status, 204);
}

#[tokio::test]
async fn a_share_holder_may_start_and_cancel_without_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let (server, keys, _) = open_shamir(folder.path()).await;
    let begin = json!({"secret_shares": 2, "secret_threshold": 2, "key": keys[0]});
    let nonce = text(&server.put("sys/rekey/init", begin.clone()).await.ok()["nonce"]);
    server
        .put("sys/rekey/init", begin)
        .await
        .refused(400, "already-in-progress");
    let end = json!({"key": keys[1], "nonce": nonce});
    assert_eq!(
        server
            .send(OPERATOR, "", ("DELETE", "sys/rekey/init"), &end)
            .await
            .status,
        204
    );
    assert_eq!(server.get("sys/rekey/init").await.ok()["started"], false);
    server
        .put("sys/rekey/update", json!({"key": keys[0], "nonce": nonce}))
        .await
        .refused(400, "nothing-in-progress");
}

#[tokio::test]
async fn a_rekey_with_verification_counts_when_its_holders_have_proved_their_shares_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (server, keys, root) = open_shamir(folder.path()).await;
    let begin = json!({"secret_shares": 3, "secret_threshold": 3, "require_verification": true});
    let nonce = text(
        &server
            .send(OPERATOR, &root, ("PUT", "sys/rekey/init"), &begin)
            .await
            .ok()["nonce"],
    );
    server
        .put("sys/rekey/update", json!({"key": keys[0], "nonce": nonce}))
        .await
        .ok();
    let made = server
        .put("sys/rekey/update", json!({"key": keys[1], "nonce": nonce}))
        .await
        .ok();
    assert_eq!(
        (&made["complete"], &made["verification_required"]),
        (&json!(true), &json!(true))
    );
    let (new, nonce) = (texts(&made["keys_base64"]), text(&made["verification_nonce"]));
    drop(server);

    let server = Server::start(folder.path(), SealSettings::Shamir, None);
    server
        .put("sys/rekey/verify", json!({"key": new[0], "nonce": nonce}))
        .await
        .refused(503, "sealed");
    assert_eq!(
        server.unsealed_with(&keys[1..]).await.ok()["sealed"],
        false,
        "the old ones are in force"
    );
    let status = server.get("sys/rekey/verify").await.ok();
    assert_eq!(
        (&status["nonce"], &status["t"], &status["n"]),
        (&json!(nonce), &json!(3), &json!(3))
    );
    server
        .put("sys/rekey/verify", json!({"key": keys[0], "nonce": nonce}))
        .await
        .refused(400, "share-of-another-set");
    server
        .put("sys/rekey/verify", json!({"key": new[0], "nonce": nonce}))
        .await
        .ok();
    server
        .put("sys/rekey/verify", json!({"key": new[0], "nonce": nonce}))
        .await
        .refused(400, "share-duplicate");
    server
        .put("sys/rekey/verify", json!({"key": new[1], "nonce": nonce}))
        .await
        .ok();
    let verified = server
        .put("sys/rekey/verify", json!({"key": new[2], "nonce": nonce}))
        .await
        .ok();
    assert_eq!(verified["complete"], true);
    server
        .send(OPERATOR, &root, ("PUT", "sys/seal"), &Value::Null)
        .await
        .ok();
    assert_eq!(server.unsealed_with(&new).await.ok()["sealed"], false);
}

#[tokio::test]
async fn enough_shares_make_a_root_token_that_only_the_holder_of_the_password_reads() {
    let folder = tempfile::tempdir().unwrap();
    let (server, keys, root) = open_shamir(folder.path()).await;
    let attempt = ("PUT", "sys/generate-root/attempt");
    server
        .send(OPERATOR, &root, attempt, &json!({"otp": "short"}))
        .await
        .refused(400, "otp-invalid");
    server
        .send(OPERATOR, &root, attempt, &json!({"pgp_key": "k"}))
        .await
        .refused(400, "not-offered");
    let started = server.send(OPERATOR, &root, attempt, &json!({})).await.ok();
    let (nonce, otp) = (text(&started["nonce"]), text(&started["otp"]));
    assert_eq!((otp.len(), &started["otp_length"]), (32, &json!(32)));
    assert_eq!(
        server.get("sys/generate-root/attempt").await.ok()["otp"],
        "",
        "shown once"
    );
    server
        .put("sys/generate-root/update", json!({"key": keys[1], "nonce": nonce}))
        .await
        .ok();
    let done = server
        .put("sys/generate-root/update", json!({"key": keys[2], "nonce": nonce}))
        .await
        .ok();
    assert_eq!(done["complete"], true);
    let veiled = STANDARD_NO_PAD.decode(text(&done["encoded_root_token"])).unwrap();
    let token: String = veiled
        .iter()
        .zip(otp.bytes())
        .map(|(one, other)| char::from(one ^ other))
        .collect();
    assert!(token.starts_with("hvs.") && token != root);
    assert!(
        server
            .send(OPERATOR, &token, ("GET", "sys/mounts"), &Value::Null)
            .await
            .status
            .is_success()
    );
    assert_eq!(server.get("sys/generate-root/attempt").await.ok()["started"], false);
}

#[tokio::test]
async fn a_rotation_is_seen_in_key_status_and_needs_a_policy() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _, root) = open_shamir(folder.path()).await;
    server.put("sys/rotate", json!({})).await.refused(403, "token-missing");
    let status = ("GET", "sys/key-status");
    assert_eq!(server.send(OPERATOR, &root, status, &Value::Null).await.ok()["term"], 1);
    assert_eq!(
        server
            .send(OPERATOR, &root, ("PUT", "sys/rotate"), &Value::Null)
            .await
            .status,
        204
    );
    let after = server.send(OPERATOR, &root, status, &Value::Null).await.ok();
    assert_eq!((&after["term"], &after["data"]["term"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn recovery_keys_become_shares_and_shares_recovery_keys() {
    let folder = tempfile::tempdir().unwrap();
    let key_file = || SealSettings::KeyFile {
        path: folder.path().join("barrier.key"),
    };
    let (server, keys, root) = open_shamir(folder.path()).await;
    drop(server);
    // shamir → key file, by the holders of the shares.
    let server = Server::start(folder.path(), key_file(), Some(SealSettings::Shamir));
    let waits = server.get("sys/seal-status").await.ok();
    assert_eq!(
        (&waits["migration"], &waits["sealed"], &waits["t"]),
        (&json!(true), &json!(true), &json!(2))
    );
    server
        .put("sys/unseal", json!({"key": keys[0]}))
        .await
        .refused(400, "migration-waits");
    for key in &keys[..2] {
        server
            .put("sys/unseal", json!({"key": key, "migrate": true}))
            .await
            .ok();
    }
    assert!(server.node.authority().is_some());
    drop(server);
    let server = Server::start(folder.path(), key_file(), None);
    let status = server.get("sys/seal-status").await.ok();
    assert_eq!(
        (
            &status["type"],
            &status["sealed"],
            &status["recovery_seal"],
            &status["n"]
        ),
        (&json!("key-file"), &json!(false), &json!(true), &json!(3))
    );
    // The recovery keys prove operators, and can be made anew.
    server
        .send(OPERATOR, &root, ("PUT", "sys/rekey/init"), &json!({}))
        .await
        .refused(400, "not-for-this-seal");
    let begin = json!({"secret_shares": 2, "secret_threshold": 2});
    let line = ("PUT", "sys/rekey-recovery-key/init");
    let nonce = text(&server.send(OPERATOR, &root, line, &begin).await.ok()["nonce"]);
    server
        .put("sys/rekey-recovery-key/update", json!({"key": keys[0], "nonce": nonce}))
        .await
        .ok();
    let done = server
        .put("sys/rekey-recovery-key/update", json!({"key": keys[2], "nonce": nonce}))
        .await
        .ok();
    let new = texts(&done["keys_base64"]);
    drop(server);
    // key file → shamir, by the holders of the recovery keys.
    let server = Server::start(folder.path(), SealSettings::Shamir, Some(key_file()));
    server
        .put("sys/unseal", json!({"key": keys[0], "migrate": true}))
        .await
        .refused(400, "share-of-another-set");
    for key in &new {
        server
            .put("sys/unseal", json!({"key": key, "migrate": true}))
            .await
            .ok();
    }
    drop(server);
    let server = Server::start(folder.path(), SealSettings::Shamir, None);
    assert_eq!(server.unsealed_with(&new).await.ok()["sealed"], false);
    assert!(
        server
            .send(OPERATOR, &root, ("GET", "sys/mounts"), &Value::Null)
            .await
            .status
            .is_success()
    );
}

#[tokio::test]
async fn key_shares_are_taken_at_a_limited_rate() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), SealSettings::Shamir, None);
    server
        .put("sys/init", json!({"secret_shares": 1, "secret_threshold": 1}))
        .await
        .ok();
    let guess = json!({"key": "00"});
    for _ in 0..60 {
        server
            .send(STRANGER, "", ("PUT", "sys/unseal"), &guess)
            .await
            .refused(400, "share-invalid");
    }
    server
        .send(STRANGER, "", ("PUT", "sys/unseal"), &guess)
        .await
        .refused(429, "rate-limited");
    server.put("sys/unseal", guess).await.refused(400, "share-invalid");
}

#[tokio::test]
async fn a_server_that_founded_itself_gets_recovery_keys_from_whom_a_policy_permits() {
    let desk = Desk::with_role(&[]).await;
    let begin = r#"{"secret_shares":3,"secret_threshold":2,"require_verification":true}"#;
    let line = "sys/rekey-recovery-key/init";
    let refused = desk.root("PUT", "sys/generate-root/attempt", "{}").await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (400, "no-recovery-keys")
    );
    let token = desk.plain_token().await;
    assert_eq!(desk.ask("PUT", line, Some(&token), begin).await.status, 403);
    let first = r#"{"secret_shares":3,"secret_threshold":2}"#;
    let keys = texts(&desk.root("PUT", line, first).await.json()["keys_base64"]);
    assert_eq!(keys.len(), 3);
    let status = desk.ask("GET", "sys/seal-status", None, "").await.json();
    assert_eq!(status["n"], 3);
    // The next ones need the holders of these, and with verification those of the new ones too.
    let nonce = text(&desk.root("PUT", line, begin).await.json()["nonce"]);
    let give = async |path: &str, key: &str, nonce: &str| {
        let body = json!({"key": key, "nonce": nonce}).to_string();
        desk.ask("PUT", path, None, &body).await.json()
    };
    give("sys/rekey-recovery-key/update", &keys[0], &nonce).await;
    let made = give("sys/rekey-recovery-key/update", &keys[1], &nonce).await;
    let (new, proof) = (texts(&made["keys"]), text(&made["verification_nonce"]));
    let attempt = desk.root("PUT", "sys/generate-root/attempt", "{}").await.json();
    let nonce = text(&attempt["nonce"]);
    give("sys/generate-root/update", &keys[0], &nonce).await;
    let done = give("sys/generate-root/update", &keys[2], &nonce).await;
    assert_eq!(done["complete"], true, "the old ones are in force");
    give("sys/rekey-recovery-key/verify", &new[0], &proof).await;
    assert_eq!(
        give("sys/rekey-recovery-key/verify", &new[2], &proof).await["complete"],
        true
    );
    let nonce = text(&desk.root("PUT", "sys/generate-root/attempt", "{}").await.json()["nonce"]);
    let old = give("sys/generate-root/update", &keys[0], &nonce).await;
    assert_eq!(old["code"], "share-of-another-set");
    give("sys/generate-root/update", &new[0], &nonce).await;
    assert_eq!(
        give("sys/generate-root/update", &new[1], &nonce).await["complete"],
        true
    );
    // Recovery keys do not unseal.
    assert_eq!(desk.root("PUT", "sys/seal", "").await.status, 204);
    assert_eq!(give("sys/unseal", &new[0], "").await["code"], "not-for-this-seal");
}

#[tokio::test]
async fn shares_and_root_token_go_out_encrypted_to_their_holders() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), SealSettings::Shamir, None);
    let holders: Vec<age::x25519::Identity> = (0..3).map(|_| age::x25519::Identity::generate()).collect();
    let recipients: Vec<String> = holders.iter().map(|holder| holder.to_public().to_string()).collect();
    let body = json!({
        "secret_shares": 2,
        "secret_threshold": 2,
        "age_keys": recipients[..2],
        "root_token_age_key": recipients[2],
    });
    let made = server.put("sys/init", body).await.ok();
    let opened = |holder: &age::x25519::Identity, text: &str| {
        let sealed = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        String::from_utf8(age::decrypt(holder, &sealed).unwrap()).unwrap()
    };
    let printed = texts(&made["keys_base64"]);
    server
        .put("sys/unseal", json!({"key": printed[0]}))
        .await
        .refused(400, "share-invalid");
    let keys: Vec<String> = holders
        .iter()
        .zip(&printed)
        .map(|(holder, text)| opened(holder, text))
        .collect();
    assert_eq!(server.unsealed_with(&keys).await.ok()["sealed"], false);
    let root = opened(&holders[2], &text(&made["root_token"]));
    let mounts = server.send(OPERATOR, &root, ("GET", "sys/mounts"), &Value::Null).await;
    assert!(mounts.status.is_success());
}

#[tokio::test]
async fn cve_2024_1052_cve_2024_12289_a_closed_server_answers_nothing_but_about_its_seal() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), SealSettings::Shamir, None);
    let mut root = String::new();
    for code in ["not-initialized", "sealed"] {
        for route in ROUTES {
            let (path, method) = (path_of(route), route.op.method());
            for token in ["", "hvs.aaaaaaaaaaaaaaaaaaaaaaaaaaaa", &root] {
                let answer = server.send(OPERATOR, token, (method, &path), &json!({})).await;
                let restores_the_first = route.pattern == "sys/storage/restore" && code == "not-initialized";
                if matches!(route.endpoint, Endpoint::Node(_)) || restores_the_first {
                    // Each by its own rules; none takes a step without what it asks for.
                    assert_ne!(answer.status.as_u16(), 500, "{method} {path}");
                } else {
                    assert_eq!(answer.status.as_u16(), 503, "{method} {path}: {}", answer.text);
                    let told = answer.body["code"].as_str();
                    assert_eq!(told, (method != "HEAD").then_some(code), "{method} {path}");
                }
            }
        }
        if root.is_empty() {
            let begin = json!({"secret_shares": 3, "secret_threshold": 2});
            root = text(&server.put("sys/init", begin).await.ok()["root_token"]);
        }
    }
    assert_eq!(server.get("sys/seal-status").await.ok()["progress"], 0);
}

#[tokio::test]
async fn rubbish_from_an_operators_own_address_does_not_stop_their_shares() {
    let folder = tempfile::tempdir().unwrap();
    let (server, keys, root) = open_shamir(folder.path()).await;
    server
        .send(OPERATOR, &root, ("PUT", "sys/seal"), &Value::Null)
        .await
        .ok();
    drop(server);
    let seal = SealConfig {
        current: SealSettings::Shamir,
        previous: None,
    };
    let server = Server::configured(folder.path(), seal, |_| {});
    let mut refused = 0;
    for turn in 0..1000 {
        let rubbish = [json!({"key": "00"}), json!({"key": "hvs.x"}), json!({})];
        let answer = server.put("sys/unseal", rubbish[turn % 3].clone()).await;
        refused += usize::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused > 600, "whoever guesses is slowed down: {refused}");
    assert_eq!(
        server.get("sys/health?key=x").await.status,
        503,
        "and 429 means standby"
    );
    assert_eq!(server.unsealed_with(&keys[1..]).await.ok()["sealed"], false);
}

#[tokio::test]
async fn a_health_code_without_a_body_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), SealSettings::Shamir, None);
    for code in ["204", "304"] {
        let answer = server.get(&format!("sys/health?uninitcode={code}")).await;
        assert_eq!((answer.status.as_str(), answer.text.as_str()), (code, ""));
        assert!(!answer.headers.contains_key("content-type"), "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn the_first_recovery_keys_count_when_they_are_proved_if_that_was_asked_for() {
    let desk = Desk::new();
    let begin = json!({"secret_shares": 2, "secret_threshold": 2, "require_verification": true});
    let init = "sys/rekey-recovery-key/init";
    let made = desk.root("PUT", init, &begin.to_string()).await.json();
    assert_eq!(
        (&made["complete"], &made["verification_required"]),
        (&json!(true), &json!(true))
    );
    let (keys, nonce) = (texts(&made["keys_base64"]), text(&made["verification_nonce"]));
    let attempt = desk.root("PUT", "sys/generate-root/attempt", "{}").await;
    assert_eq!(attempt.code(), "no-recovery-keys", "{}", attempt.text);
    for (key, complete) in [(&keys[0], false), (&keys[1], true)] {
        let body = json!({"key": key, "nonce": nonce}).to_string();
        let answer = desk.root("PUT", "sys/rekey-recovery-key/verify", &body).await;
        assert_eq!(answer.json()["complete"], complete, "{}", answer.text);
    }
    assert!(
        desk.root("PUT", "sys/generate-root/attempt", "{}")
            .await
            .status
            .is_success()
    );
}

#[tokio::test]
async fn a_root_generation_ends_with_the_shares_that_it_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let (server, keys, root) = open_shamir(folder.path()).await;
    let attempt = ("PUT", "sys/generate-root/attempt");
    server.send(OPERATOR, &root, attempt, &json!({})).await.ok();
    let begin = json!({"secret_shares": 3, "secret_threshold": 2});
    let started = server.send(OPERATOR, &root, ("PUT", "sys/rekey/init"), &begin).await;
    let nonce = text(&started.ok()["nonce"]);
    let mut new = Vec::new();
    for key in &keys[..2] {
        let answer = server
            .put("sys/rekey/update", json!({"key": key, "nonce": nonce}))
            .await
            .ok();
        if answer["complete"] == true {
            new = texts(&answer["keys_base64"]);
        }
    }
    assert_eq!(server.get("sys/generate-root/attempt").await.ok()["started"], false);
    let another = server
        .put("sys/generate-root/attempt", json!({"key": new[0]}))
        .await
        .ok();
    assert_eq!(another["started"], true, "and another begins with the new ones");
}

#[tokio::test]
async fn a_rekey_is_cancelled_after_a_restart_by_the_nonce_that_was_printed_first() {
    let folder = tempfile::tempdir().unwrap();
    let (server, keys, root) = open_shamir(folder.path()).await;
    let begin = json!({"secret_shares": 3, "secret_threshold": 3, "require_verification": true});
    let started = server.send(OPERATOR, &root, ("PUT", "sys/rekey/init"), &begin).await;
    let nonce = text(&started.ok()["nonce"]);
    for key in &keys[..2] {
        let body = json!({"key": key, "nonce": nonce});
        server.put("sys/rekey/update", body).await.ok();
    }
    drop(server);
    let server = Server::start(folder.path(), SealSettings::Shamir, None);
    server.unsealed_with(&keys[..2]).await.ok();
    let end = json!({"key": keys[2], "nonce": nonce});
    let line = ("DELETE", "sys/rekey/init");
    assert_eq!(server.send(OPERATOR, "", line, &end).await.status, 204);
    assert_eq!(server.get("sys/rekey/init").await.ok()["started"], false);
}

#[tokio::test]
async fn a_seal_from_before_a_rekey_that_is_put_back_opens_nothing_and_is_called_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (server, keys, root) = open_shamir(folder.path()).await;
    let store = Arc::clone(&server.node.foundation().store);
    let settings = store.scan(Table::Settings).unwrap();
    let (name, old) = settings.into_iter().find(|(name, _)| name == "seal").unwrap();
    let begin = json!({"secret_shares": 3, "secret_threshold": 2});
    let started = server.send(OPERATOR, &root, ("PUT", "sys/rekey/init"), &begin).await;
    let nonce = text(&started.ok()["nonce"]);
    for key in &keys[..2] {
        let body = json!({"key": key, "nonce": nonce});
        server.put("sys/rekey/update", body).await.ok();
    }
    store
        .apply(vec![Change::Put(Table::Settings, name, old)])
        .durable()
        .await
        .unwrap();
    drop((server, store));
    let server = Server::start(folder.path(), SealSettings::Shamir, None);
    server.unsealed_with(&keys[..2]).await.refused(503, "store-damaged");
    assert_eq!(server.get("sys/health").await.status, 503);
}

#[tokio::test]
async fn cve_2025_6203_deep_and_long_bodies_about_the_seal_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (server, ..) = open_shamir(folder.path()).await;
    let deep = serde_json::from_str(&format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100))).unwrap();
    let long = json!({"key": "A".repeat(70_000)});
    for path in ["sys/unseal", "sys/init", "sys/rekey/update", "sys/generate-root/update"] {
        server
            .put(path, Value::clone(&deep))
            .await
            .refused(400, "json-too-deep");
        assert_eq!(
            server.put(path, long.clone()).await.status,
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }
}
