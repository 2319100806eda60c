//! The guard matrix: every row of the route table × who asks.

use http::StatusCode;
use signet_ca::http::table::{Endpoint, Keyholder, Op, Open, Place, ROUTES, Route};
use signet_ca::node::Target;

use crate::desk::{Desk, MOUNT, ROOT};

pub(crate) fn path_of(route: &Route) -> String {
    let filled = match route.pattern.split_once([':', '*']) {
        None => route.pattern.to_owned(),
        Some((before, capture)) => {
            let after = capture
                .split_once('/')
                .map(|(_, after)| format!("/{after}"))
                .unwrap_or_default();
            let value = if before == "auth/" { "no-such" } else { "my-role" };
            format!("{before}{value}{after}")
        }
    };
    match route.place {
        Place::Root => filled,
        Place::Mount => format!("{MOUNT}/{filled}"),
    }
}

#[tokio::test]
async fn without_a_token_only_open_routes_answer() {
    let desk = Desk::with_role(&[]).await;
    for route in ROUTES {
        let (path, method) = (path_of(route), route.op.method());
        let answer = desk.ask(method, &path, None, "{}").await;
        match route.endpoint {
            Endpoint::Open(_) | Endpoint::Node(_) => {
                assert_ne!(answer.status, StatusCode::FORBIDDEN, "{method} {path}: {}", answer.text);
            }
            // Nobody has recovery keys here, so only a token could let anybody begin or end anything.
            Endpoint::Keyholder(
                Keyholder::RekeyStart(Target::Recovery)
                | Keyholder::RekeyCancel(Target::Recovery)
                | Keyholder::VerifyReset(Target::Recovery)
                | Keyholder::RootCancel,
            ) => {
                for (token, code) in [(None, "token-missing"), (Some("hvs.x"), "token-invalid")] {
                    let body = r#"{"secret_shares":1,"secret_threshold":1,"nonce":"x"}"#;
                    let answer = desk.ask(method, &path, token, body).await;
                    assert_eq!(
                        (answer.status, answer.code().as_str()),
                        (StatusCode::FORBIDDEN, code),
                        "{method} {path}"
                    );
                }
            }
            // `custody.rs` asks these with shares.
            Endpoint::Keyholder(_) => assert!(
                answer.status.is_success() || answer.status.is_client_error(),
                "{method} {path}"
            ),
            Endpoint::Token(_) | Endpoint::Policy(_) => {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
                assert_eq!(answer.code(), "token-missing", "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn with_a_wrong_token_only_open_routes_answer() {
    let desk = Desk::with_role(&[]).await;
    for route in ROUTES
        .iter()
        .filter(|route| matches!(route.endpoint, Endpoint::Token(_) | Endpoint::Policy(_)))
    {
        let (path, method) = (path_of(route), route.op.method());
        for token in ["hvs.aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x", "wire-root ", "Wire-root"] {
            let answer = desk.ask(method, &path, Some(token), "{}").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
            assert_eq!(
                answer.json()["errors"],
                serde_json::json!(["permission denied", "invalid token"])
            );
        }
    }
}

#[tokio::test]
async fn with_a_token_that_no_policy_knows_guarded_routes_are_refused() {
    let desk = Desk::with_role(&[]).await;
    let token = desk.plain_token().await;
    for route in ROUTES {
        // Ends the token itself.
        if route.pattern == "auth/token/revoke-self" {
            continue;
        }
        let (path, method) = (path_of(route), route.op.method());
        let answer = desk.ask(method, &path, Some(&token), "{}").await;
        match route.endpoint {
            Endpoint::Policy(_) => {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}: {}", answer.text);
                assert_eq!(
                    answer.first_error(),
                    "1 error occurred:\n\t* permission denied\n\n",
                    "{method} {path}"
                );
            }
            Endpoint::Token(_) if route.place == Place::Mount => {
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (StatusCode::FORBIDDEN, "no-policy-permits"),
                    "{path}"
                );
            }
            Endpoint::Open(_) | Endpoint::Node(_) | Endpoint::Keyholder(_) | Endpoint::Token(_) => {}
        }
    }
}

#[tokio::test]
async fn a_backup_is_restored_by_whom_a_policy_permits_it_and_no_share_or_stranger() {
    let desk = Desk::with_role(&[]).await;
    let plain = desk.plain_token().await;
    for (token, status, code) in [
        (None, StatusCode::FORBIDDEN, "token-missing"),
        (
            Some("hvs.aaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            StatusCode::FORBIDDEN,
            "token-invalid",
        ),
        (Some(plain.as_str()), StatusCode::FORBIDDEN, "no-policy-permits"),
        // Dev mode and tests have no process that could start anew.
        (Some(ROOT), StatusCode::BAD_REQUEST, "not-offered"),
    ] {
        for path in ["sys/storage/restore", "sys/storage/restore?check=true"] {
            let answer = desk.ask("PUT", path, token, "signet backup 1\n").await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (status, code),
                "{token:?} {path}: {}",
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_verbs_are_told_to_holders_of_a_token_only() {
    let desk = Desk::with_role(&[]).await;
    for (method, path, status) in [
        ("GET", "secret/x", StatusCode::NOT_FOUND),
        ("GET", "ssh-client-signer/keys/x", StatusCode::NOT_FOUND),
        ("GET", "ssh-client-signer/sign/my-role", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "sys/raw/x", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(
            desk.ask(method, path, None, "").await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
        assert_eq!(desk.ask(method, path, Some(ROOT), "").await.status, status, "{path}");
    }
}

#[test]
fn the_table_has_no_two_rows_for_one_request() {
    for (index, route) in ROUTES.iter().enumerate() {
        let same = ROUTES
            .iter()
            .skip(index + 1)
            .find(|other| (other.op, other.place, other.pattern) == (route.op, route.place, route.pattern));
        assert!(same.is_none(), "{} stands twice", route.pattern);
    }
    let open: Vec<&str> = ROUTES
        .iter()
        .filter(|route| match route.endpoint {
            Endpoint::Open(open) => !matches!(open, Open::NotOffered(_)),
            Endpoint::Node(_) | Endpoint::Keyholder(_) => true,
            Endpoint::Token(_) | Endpoint::Policy(_) => false,
        })
        .filter(|route| route.op != Op::Head)
        .map(|route| route.pattern)
        .collect();
    // Whoever adds to this list has thought about what a stranger can do with it.
    assert_eq!(
        open,
        [
            "public_key",
            "krl",
            "krl/signature",
            "trust-bundle",
            "trust-bundle/public_key",
            "issuer/:ref/public_key",
            "sys/health",
            "sys/seal-status",
            "sys/leader",
            "sys/init",
            "sys/init",
            "sys/unseal",
            "sys/rekey/init",
            "sys/rekey/init",
            "sys/rekey/init",
            "sys/rekey/update",
            "sys/rekey/verify",
            "sys/rekey/verify",
            "sys/rekey/verify",
            "sys/rekey-recovery-key/init",
            "sys/rekey-recovery-key/init",
            "sys/rekey-recovery-key/init",
            "sys/rekey-recovery-key/update",
            "sys/rekey-recovery-key/verify",
            "sys/rekey-recovery-key/verify",
            "sys/rekey-recovery-key/verify",
            "sys/generate-root/attempt",
            "sys/generate-root/attempt",
            "sys/generate-root/attempt",
            "sys/generate-root/update",
            "sys/storage/restore",
            "sys/signet/host/challenge",
            "sys/signet/host/enroll",
            "sys/signet/host/renew",
            "sys/signet/host/report",
            "auth/ssh-key/challenge",
            "auth/ssh-key/login",
            "auth/:mount/login",
        ]
    );
}
