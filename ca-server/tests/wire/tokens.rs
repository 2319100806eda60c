//! Attacks by holders of tokens who want more than they were given.

use http::StatusCode;
use serde_json::json;

use crate::desk::{Answer, Desk};

/// Everybody may make tokens, orphans too.
const MAKERS: &str = r#"@id("makers") permit(principal, action == Action::"update", resource in Path::"auth/token");"#;

async fn child(desk: &Desk, path: &str, token: &str, fields: serde_json::Value) -> Answer {
    desk.ask("POST", path, Some(token), &fields.to_string()).await
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()["auth"]["client_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_with_few_uses_makes_no_children_with_many() {
    let desk = Desk::with_policies(&[("access/makers.cedar", MAKERS)]);
    let few = json!({"num_uses": 3, "policies": ["a"]});
    let few = token(&desk.root("POST", "auth/token/create", &few.to_string()).await);
    for path in ["auth/token/create", "auth/token/create-orphan"] {
        let answer = child(&desk, path, &few, json!({})).await;
        assert_eq!(answer.code(), "token-uses-limited", "{path}: {}", answer.text);
    }
    let last = desk.ask("GET", "auth/token/lookup-self", Some(&few), "").await;
    assert_eq!(last.status, StatusCode::OK);
    let over = desk.ask("GET", "auth/token/lookup-self", Some(&few), "").await;
    assert_eq!(over.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_name_of_an_orphan_makes_nobody_of_it_whom_a_policy_knows() {
    let desk = Desk::with_policies(&[("access/makers.cedar", MAKERS)]);
    let named = |name: &str| json!({"display_name": name, "policies": ["a"]}).to_string();
    let maker = token(&desk.root("POST", "auth/token/create", &named("maker")).await);
    let taken = json!({"display_name": "ci"});
    let orphan = token(&child(&desk, "auth/token/create-orphan", &maker, taken).await);
    let whoami = desk.ask("GET", "sys/signet/whoami", Some(&orphan), "").await.json();
    assert_eq!(whoami["data"]["person"], "token/token-maker", "not token/token-ci");
    let more = json!({"policies": ["a", "b"]});
    let answer = child(&desk, "auth/token/create-orphan", &maker, more).await;
    assert_eq!(answer.code(), "policies-not-subset");
}

#[tokio::test]
async fn a_health_check_cannot_ask_for_an_answer_that_is_none() {
    let desk = Desk::new();
    for code in ["100", "101", "199", "600", "-1", "65736"] {
        let answer = desk
            .ask("GET", &format!("sys/health?activecode={code}"), None, "")
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{code}");
    }
    let answer = desk.ask("GET", "sys/health?activecode=299", None, "").await;
    assert_eq!(answer.status.as_u16(), 299);
}
