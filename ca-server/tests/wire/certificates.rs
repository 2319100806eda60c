//! Which certificates live, as the ledger tells.

use http::StatusCode;
use serde_json::{Value, json};
use signet_core::subject_key::SubjectKey;

use crate::desk::{Desk, KEY, MOUNT, ROOT};

async fn list(desk: &Desk, query: &str) -> Value {
    let answer = desk.root("GET", &format!("{MOUNT}/certificates{query}"), "").await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
    answer.json()["data"].clone()
}

fn count(data: &Value) -> usize {
    data["certificates"].as_array().unwrap().len()
}

#[tokio::test]
async fn live_certificates_are_found_by_each_field() {
    let desk = Desk::with_role(&[]).await;
    desk.sign(ROOT, json!({})).await;
    desk.sign(ROOT, json!({"valid_principals": "deploy"})).await;
    let fingerprint = SubjectKey::parse(KEY).unwrap().fingerprint().replace('+', "%2B");
    for (query, want) in [
        ("", 2),
        ("?person=root", 2),
        ("?person=alice", 0),
        ("?role=my-role", 2),
        ("?role=my", 0),
        ("?principal=deploy", 1),
        ("?principal=ubuntu", 1),
        ("?cert_type=user", 2),
        ("?cert_type=host", 0),
        ("?serial=396354976710656", 1),
        ("?serial=0x1687b95978001", 1),
        ("?serial=7", 0),
        (&format!("?fingerprint={fingerprint}"), 2),
        ("?principal=deploy&serial=396354976710656", 0),
        ("?limit=1", 1),
        ("?issued_since=1795000001", 0),
    ] {
        assert_eq!(count(&list(&desk, query).await), want, "{query}");
    }
    let newest = list(&desk, "?limit=1").await;
    let next = newest["next"].as_u64().unwrap();
    let older = list(&desk, &format!("?limit=1&before={next}")).await;
    assert_eq!(older["certificates"][0]["serial"], "396354976710656");
    assert_eq!(older["next"], Value::Null);
    let newest = &newest["certificates"][0];
    assert_eq!(newest["serial"], "396354976710657");
    assert_eq!(newest["principals"], json!(["deploy"]));
    assert_eq!((&newest["live"], &newest["revoked"]), (&json!(true), &json!(false)));
    assert_eq!(newest["valid_before"], "2026-11-18T11:36:40Z");
    assert_eq!(newest["fingerprint"], SubjectKey::parse(KEY).unwrap().fingerprint());
}

#[tokio::test]
async fn what_has_ended_is_shown_only_when_asked_for_and_what_is_revoked_says_so() {
    let desk = Desk::with_role(&[]).await;
    desk.sign(ROOT, json!({})).await;
    let body = r#"{"serial":"396354976710656","reason":"x"}"#;
    desk.root("POST", &format!("{MOUNT}/revoke"), body).await;
    assert_eq!(list(&desk, "").await["certificates"][0]["revoked"], true);
    desk.clock.advance(1799);
    assert_eq!(count(&list(&desk, "").await), 1);
    desk.clock.advance(1);
    assert_eq!(count(&list(&desk, "").await), 0, "now == valid before is ended");
    let all = list(&desk, "?live=false").await;
    assert_eq!(count(&all), 1);
    assert_eq!(all["certificates"][0]["live"], false);
}

#[tokio::test]
async fn a_long_certificate_is_found_behind_many_short_ones() {
    let desk = Desk::with_role(&[]).await;
    let role = |ttl: &str| {
        format!(
            r#"{{"allow_user_certificates":true,"allowed_users":"*","key_type":"ca","default_user":"ubuntu","ttl":"{ttl}"}}"#
        )
    };
    desk.root("POST", &format!("{MOUNT}/roles/my-role"), &role("20d")).await;
    desk.sign(ROOT, json!({})).await;
    desk.root("POST", &format!("{MOUNT}/roles/my-role"), &role("1m")).await;
    for _ in 0..20 {
        desk.clock.advance(80_000);
        desk.sign(ROOT, json!({})).await;
    }
    assert_eq!(count(&list(&desk, "").await), 2);
    assert_eq!(desk.dev.authority.longest.secs(), 20 * 86_400 + 3600);
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let desk = Desk::with_role(&[]).await;
    for query in [
        "?cert_type=x",
        "?limit=0",
        "?limit=10001",
        "?limit=x",
        "?live=perhaps",
        "?before=-1",
        "?serial=x",
        "?issuer=x",
        "?person=%1b",
    ] {
        let answer = desk.root("GET", &format!("{MOUNT}/certificates{query}"), "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.text);
    }
}
