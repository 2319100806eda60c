//! Several issuers in a mount: OpenBao's paths, and the rotation that refuses what could fail a login.

use http::StatusCode;
use serde_json::{Value, json};
use signet_ca::clock::Clock;
use signet_core::krl::Krl;
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;
use ssh_key::{Certificate, HashAlg};

use crate::desk::{Answer, Desk, KEY, MOUNT, ROOT, SLIDE_ROLE, records};

const START: u64 = 1_795_000_000;
const DAY: u64 = 86_400;

async fn import(desk: &Desk, name: &str, fields: &str) -> Answer {
    desk.root("POST", &format!("{MOUNT}/issuers/import{name}"), fields)
        .await
}

async fn rotate(desk: &Desk, fields: Value) -> Answer {
    desk.root("POST", &format!("{MOUNT}/rotate"), &fields.to_string()).await
}

async fn next(desk: &Desk) -> Value {
    let answer = desk.root("GET", &format!("{MOUNT}/rotate"), "").await;
    answer.json()["data"]["next"].clone()
}

async fn states(desk: &Desk) -> Vec<String> {
    let answer = desk.root("GET", &format!("{MOUNT}/rotate"), "").await;
    let issuers = answer.json()["data"]["issuers"].as_array().unwrap().clone();
    issuers
        .iter()
        .map(|issuer| issuer["state"].as_str().unwrap().to_owned())
        .collect()
}

async fn public_key(desk: &Desk, path: &str) -> String {
    let answer = desk.ask("GET", &format!("{MOUNT}/{path}"), None, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.text
}

/// Signs and gives the fingerprint of the CA key.
async fn signer(desk: &Desk, role: &str) -> String {
    let body = json!({ "public_key": KEY }).to_string();
    let answer = desk.root("POST", &format!("{MOUNT}/sign/{role}"), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let line = answer.json()["data"]["signed_key"].as_str().unwrap().to_owned();
    Certificate::from_openssh(&line)
        .unwrap()
        .signature_key()
        .fingerprint(HashAlg::Sha256)
        .to_string()
}

fn fingerprint(line: &str) -> String {
    SubjectKey::parse(line).unwrap().fingerprint()
}

#[tokio::test]
async fn issuers_are_imported_listed_named_and_deleted_as_on_openbao() {
    let desk = Desk::with_role(&[]).await;
    let first = public_key(&desk, "public_key").await;
    let made = import(&desk, "/next", r#"{"key_type":"ed25519"}"#).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let id = made.json()["data"]["issuer_id"].as_str().unwrap().to_owned();
    assert_eq!(made.json()["data"]["issuer_name"], "next");
    let second = public_key(&desk, "issuer/next/public_key").await;
    assert_eq!(public_key(&desk, &format!("issuer/{id}/public_key")).await, second);
    assert_eq!(public_key(&desk, "issuer/default/public_key").await, first);
    // All trusted keys, one a line, the default first.
    assert_eq!(public_key(&desk, "public_key").await, format!("{first}{second}"));
    let listed = desk.root("LIST", &format!("{MOUNT}/issuers"), "").await.json();
    assert_eq!(listed["data"]["keys"].as_array().unwrap().len(), 2);
    assert_eq!(listed["data"]["key_info"][&id]["issuer_name"], "next");
    assert_eq!(listed["data"]["key_info"][&id]["is_default"], false);
    let renamed = desk
        .root("POST", &format!("{MOUNT}/issuer/next"), r#"{"issuer_name":"blue"}"#)
        .await;
    assert_eq!(renamed.json()["data"]["issuer_name"], "blue");
    let read = desk.root("GET", &format!("{MOUNT}/issuer/blue"), "").await;
    assert_eq!(read.json()["data"]["issuer_id"], id.as_str());
    let deleted = desk.root("DELETE", &format!("{MOUNT}/issuer/blue"), "").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.text);
    assert_eq!(public_key(&desk, "public_key").await, first);
    let config = desk.root("GET", &format!("{MOUNT}/config/issuers"), "").await.json();
    let default = config["data"]["default"].as_str().unwrap().to_owned();
    let same = desk
        .root(
            "POST",
            &format!("{MOUNT}/config/issuers"),
            &json!({"default": default}).to_string(),
        )
        .await;
    assert_eq!(
        same.json()["warnings"][0],
        "The default issuer is already set to the specified issuer."
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of mistakes")]
async fn mistakes_with_issuers_have_openbao_s_words() {
    let desk = Desk::with_role(&[]).await;
    import(&desk, "/next", r#"{"key_type":"ed25519"}"#).await;
    for (method, path, body, code, text) in [
        (
            "GET",
            "issuer/no",
            "",
            "issuer-invalid",
            "unable to find issuer for reference: no",
        ),
        (
            "POST",
            "issuers/import/next",
            r#"{"key_type":"ed25519"}"#,
            "issuer-invalid",
            "issuer name already in use",
        ),
        (
            "POST",
            "issuers/import/default",
            r#"{"key_type":"ed25519"}"#,
            "issuer-invalid",
            "issuer name 'default' is reserved",
        ),
        (
            "POST",
            "issuers/import/DeFault",
            r#"{"key_type":"ed25519"}"#,
            "issuer-invalid",
            "issuer name 'default' is reserved",
        ),
        (
            "POST",
            "issuers/import/a@b",
            r#"{"key_type":"ed25519"}"#,
            "issuer-invalid",
            "an issuer's name has letters",
        ),
        (
            "POST",
            "issuer/next",
            "{}",
            "field-missing",
            "expected non-empty issuer name",
        ),
        (
            "POST",
            "issuer/default",
            r#"{"issuer_name":"next"}"#,
            "issuer-invalid",
            "issuer name already in use",
        ),
        (
            "POST",
            "config/issuers",
            r#"{"default":"default"}"#,
            "issuer-invalid",
            "invalid issuer specification; must be non-empty and can't be 'default'.",
        ),
        (
            "POST",
            "config/issuers",
            "",
            "issuer-invalid",
            "invalid issuer specification; must be non-empty and can't be 'default'.",
        ),
        (
            "POST",
            "config/ca",
            r#"{"key_type":"ed25519"}"#,
            "ca-key-exists",
            "keys are already configured; delete them before reconfiguring",
        ),
        (
            "POST",
            "issuers/import",
            r#"{"key_type":"ed25519","set_default":true}"#,
            "rotation-unsafe",
            "not safe to make the new issuer the default: no host trusts its key yet",
        ),
        (
            "POST",
            "rotate",
            r#"{"step":"jump"}"#,
            "field-invalid",
            "step is one of",
        ),
        (
            "POST",
            "rotate",
            r#"{"step":"remove"}"#,
            "rotation-step",
            "no issuer of",
        ),
    ] {
        let answer = desk.root(method, &format!("{MOUNT}/{path}"), body).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{method} {path}: {}",
            answer.text
        );
        assert_eq!(answer.code(), code, "{method} {path}: {}", answer.text);
        assert!(
            answer.first_error().starts_with(text),
            "{method} {path}: {}",
            answer.text
        );
    }
    let absent = desk.root("DELETE", &format!("{MOUNT}/issuer/no"), "").await;
    assert_eq!(
        absent.status,
        StatusCode::NO_CONTENT,
        "a repeated request does not fail"
    );
    let deleted = desk.root("DELETE", &format!("{MOUNT}/issuer/default"), "").await;
    assert_eq!(deleted.code(), "rotation-unsafe");
}

#[tokio::test]
async fn issuers_and_rotation_are_for_those_whom_a_policy_permits() {
    let desk = Desk::with_role(&[]).await;
    import(&desk, "/next", r#"{"key_type":"ed25519"}"#).await;
    let token = desk.plain_token().await;
    for (method, path) in [
        ("LIST", "issuers"),
        ("GET", "rotate"),
        ("POST", "rotate"),
        ("GET", "issuer/next"),
    ] {
        let answer = desk.ask(method, &format!("{MOUNT}/{path}"), Some(&token), "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
}

#[tokio::test]
async fn a_role_s_issuer_ref_decides_who_signs_and_keeps_the_issuer_from_retiring() {
    let desk = Desk::with_role(&[]).await;
    import(&desk, "/blue", r#"{"key_type":"ed25519"}"#).await;
    let blue = fingerprint(&public_key(&desk, "issuer/blue/public_key").await);
    let mut role: Value = serde_json::from_str(SLIDE_ROLE).unwrap();
    role["issuer_ref"] = "blue".into();
    desk.root("POST", &format!("{MOUNT}/roles/by-blue"), &role.to_string())
        .await;
    let read = desk.root("GET", &format!("{MOUNT}/roles/by-blue"), "").await;
    assert_eq!(read.json()["data"]["issuer_ref"], "blue");
    let read = desk.root("GET", &format!("{MOUNT}/roles/my-role"), "").await;
    assert!(read.json()["data"].get("issuer_ref").is_none(), "as on Vault");
    assert_eq!(signer(&desk, "by-blue").await, blue);
    assert_ne!(signer(&desk, "my-role").await, blue);
    let retire = rotate(&desk, json!({"step": "retire", "issuer": "blue"})).await;
    assert_eq!(retire.code(), "rotation-unsafe");
    assert!(
        retire.first_error().contains("1 role(s) sign with it: by-blue"),
        "{}",
        retire.text
    );
    role["issuer_ref"] = "gone".into();
    desk.root("POST", &format!("{MOUNT}/roles/by-gone"), &role.to_string())
        .await;
    let body = json!({ "public_key": KEY }).to_string();
    let refused = desk.root("POST", &format!("{MOUNT}/sign/by-gone"), &body).await;
    assert_eq!(refused.code(), "issuer-invalid");
    assert_eq!(refused.first_error(), "unable to find issuer for reference: gone");
}

#[tokio::test]
async fn a_whole_rotation_refuses_each_unsafe_step_and_says_why() {
    let desk = Desk::with_role(&[]).await;
    let old_line = public_key(&desk, "public_key").await;
    let old = fingerprint(&old_line);
    assert_eq!(next(&desk).await["step"], "stage");

    let staged = rotate(&desk, json!({"step": "stage", "issuer_name": "next"})).await;
    assert_eq!(staged.status, StatusCode::OK, "{}", staged.text);
    assert_eq!(states(&desk).await, ["default", "staged"]);
    assert_eq!(public_key(&desk, "public_key").await, old_line, "nobody is told");
    assert_eq!(rotate(&desk, json!({"step": "stage"})).await.code(), "rotation-step");
    assert_eq!(rotate(&desk, json!({"step": "promote"})).await.code(), "rotation-step");
    let staged_default = desk
        .root("POST", &format!("{MOUNT}/config/issuers"), r#"{"default":"next"}"#)
        .await;
    assert_eq!(staged_default.code(), "rotation-step");

    assert_eq!(rotate(&desk, json!({})).await.json()["data"]["done"], "publish");
    let new_line = public_key(&desk, "issuer/next/public_key").await;
    assert_eq!(public_key(&desk, "public_key").await, format!("{old_line}{new_line}"));
    assert_eq!(signer(&desk, "my-role").await, old);
    for fields in [json!({}), json!({"step": "promote"})] {
        let early = rotate(&desk, fields).await;
        assert_eq!(early.code(), "rotation-unsafe");
        assert!(early.first_error().contains("published since"), "{}", early.text);
    }
    let around = desk
        .root("POST", &format!("{MOUNT}/config/issuers"), r#"{"default":"next"}"#)
        .await;
    assert_eq!(around.code(), "rotation-unsafe", "no way around");
    let outlook = next(&desk).await;
    assert_eq!(outlook["safe"], false);
    assert_eq!(
        outlook["safe_at"],
        UnixTime::from_secs(START + DAY).to_string().as_str()
    );

    desk.clock.advance(DAY);
    assert_eq!(signer(&desk, "my-role").await, old);
    assert_eq!(rotate(&desk, json!({})).await.json()["data"]["done"], "promote");
    assert_eq!(states(&desk).await, ["published", "default"]);
    assert_eq!(signer(&desk, "my-role").await, fingerprint(&new_line));
    assert_eq!(public_key(&desk, "public_key").await, format!("{new_line}{old_line}"));

    assert_eq!(rotate(&desk, json!({})).await.json()["data"]["done"], "retire");
    assert_eq!(states(&desk).await, ["retired", "default"]);
    desk.clock.advance(60);
    let living = rotate(&desk, json!({})).await;
    assert_eq!(living.code(), "rotation-unsafe");
    assert!(
        living.first_error().contains("1 certificate(s) that it signed live"),
        "{}",
        living.text
    );
    assert_eq!(public_key(&desk, "public_key").await, format!("{new_line}{old_line}"));

    desk.clock.advance(1800);
    assert_eq!(rotate(&desk, json!({})).await.json()["data"]["done"], "remove");
    assert_eq!(public_key(&desk, "public_key").await, new_line);
    assert_eq!(next(&desk).await["step"], "stage");
}

#[tokio::test]
async fn what_is_forced_is_recorded_with_what_spoke_against_it() {
    let desk = Desk::with_role(&[]).await;
    rotate(&desk, json!({"step": "stage"})).await;
    rotate(&desk, json!({"step": "publish"})).await;
    let forced = rotate(&desk, json!({"step": "promote", "force": true})).await;
    assert_eq!(forced.status, StatusCode::OK, "{}", forced.text);
    for text in ["ca-stage", "ca-publish", "ca-promote", "forced_against"] {
        assert!(crate::desk::holds(&desk.ledger_file(), text), "{text}");
    }
}

#[tokio::test]
async fn every_step_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let clock = Clock::fixed(UnixTime::from_secs(START));
    let open = || Desk::open(Some(data.clone()), clock.clone(), &[]);
    let desk = open();
    desk.make_role().await;
    desk.close();
    for (step, wanted) in [
        ("stage", vec!["default", "staged"]),
        ("publish", vec!["default", "published"]),
        ("promote", vec!["published", "default"]),
        ("retire", vec!["retired", "default"]),
        ("remove", vec!["default"]),
    ] {
        let desk = open();
        clock.advance(2 * DAY);
        let done = rotate(&desk, json!({})).await;
        assert_eq!(done.json()["data"]["done"], step, "{}", done.text);
        assert_eq!(states(&desk).await, wanted);
        let keys = public_key(&desk, "public_key").await;
        desk.close();
        let desk = open();
        assert_eq!(states(&desk).await, wanted, "after {step}");
        assert_eq!(public_key(&desk, "public_key").await, keys, "after {step}");
        desk.close();
    }
}

#[tokio::test]
async fn a_standing_revocation_reaches_the_next_ca_key() {
    let desk = Desk::with_role(&[]).await;
    let revoked = desk
        .root(
            "POST",
            &format!("{MOUNT}/revoke"),
            r#"{"key_id":"gone","reason":"job was stolen"}"#,
        )
        .await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.text);
    rotate(&desk, json!({"step": "stage", "issuer_name": "next"})).await;
    let new = SubjectKey::parse(&public_key(&desk, "issuer/next/public_key").await).unwrap();
    let krl = Krl::parse(&desk.ask("GET", &format!("{MOUNT}/krl"), None, "").await.bytes).unwrap();
    assert!(krl.authorities[new.blob()].key_ids.contains("gone"));
    assert_eq!(krl.authorities.len(), 2);
}

#[tokio::test]
async fn the_trust_bundle_has_all_trusted_keys() {
    let desk = Desk::with_role(&[]).await;
    let keys = async |desk: &Desk| {
        let text = desk.ask("GET", &format!("{MOUNT}/trust-bundle"), None, "").await.text;
        let bundle: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        bundle["user_ca_keys"].as_array().unwrap().len()
    };
    assert_eq!(keys(&desk).await, 1);
    rotate(&desk, json!({"step": "stage"})).await;
    assert_eq!(keys(&desk).await, 1);
    rotate(&desk, json!({"step": "publish"})).await;
    assert_eq!(keys(&desk).await, 2);
    desk.clock.advance(DAY);
    rotate(&desk, json!({"step": "promote"})).await;
    rotate(&desk, json!({"step": "retire"})).await;
    assert_eq!(keys(&desk).await, 2);
    let taken = desk.sign(ROOT, json!({})).await;
    assert_eq!(taken.status, StatusCode::OK);
    desk.clock.advance(60);
    rotate(&desk, json!({"step": "remove"})).await;
    assert_eq!(keys(&desk).await, 1);
}

/// A key file by the real ssh-keygen, with what encrypts it; the line of its public half.
fn key_file(folder: &std::path::Path, name: &str, passphrase: &str) -> (String, String) {
    let path = folder.join(name);
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-a", "4", "-C", "", "-N", passphrase, "-f"])
        .arg(&path)
        .output()
        .expect("ssh-keygen is missing: apt-get install openssh-client");
    assert!(made.status.success(), "{made:?}");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    (read(&path), read(&path.with_extension("pub")).trim().to_owned())
}

#[tokio::test]
async fn an_encrypted_ca_key_is_imported_by_its_passphrase_and_nothing_tells_of_it() {
    const PASSPHRASE: &str = "canary-of-the-passphrase";
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = key_file(folder.path(), "ca", PASSPHRASE);
    let (plain, plain_public) = key_file(folder.path(), "plain", "");
    let desk = Desk::with_role(&[]).await;
    let ask = async |fields: Value| import(&desk, "", &fields.to_string()).await;
    for (fields, code) in [
        (json!({"private_key": private}), "ca-key-passphrase"),
        (
            json!({"private_key": private, "private_key_passphrase": "wrong"}),
            "ca-key-passphrase",
        ),
        (
            json!({"private_key": plain, "private_key_passphrase": PASSPHRASE}),
            "ca-key-invalid",
        ),
        (json!({"private_key_passphrase": PASSPHRASE}), "ca-key-invalid"),
        (
            json!({"private_key": private, "private_key_passphrase": PASSPHRASE, "public_key": plain_public}),
            "ca-key-mismatch",
        ),
        (
            json!({"private_key": private.split_at(200).0, "private_key_passphrase": PASSPHRASE}),
            "ca-key-invalid",
        ),
        (json!({"key_holder": "hsm", "key_label": "x"}), "key-holder-unknown"),
        (
            json!({"key_holder": "hsm", "key_label": "x", "private_key": plain}),
            "ca-key-invalid",
        ),
    ] {
        let answer = ask(fields).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, code),
            "{}",
            answer.text
        );
        assert!(!answer.text.contains(PASSPHRASE), "{}", answer.text);
        assert!(
            answer.json()["hint"].as_str().is_none_or(|hint| !hint.is_empty()),
            "{}",
            answer.text
        );
    }
    let made = ask(json!({"private_key": private, "private_key_passphrase": PASSPHRASE})).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    assert_eq!(made.json()["data"]["public_key"].as_str().unwrap().trim(), public);
    let alone = rotate(&desk, json!({"step": "stage", "private_key": plain})).await;
    assert_eq!(alone.status, StatusCode::OK, "{}", alone.text);
    let issuers = alone.json()["data"]["issuers"].clone();
    assert_eq!(issuers[2]["public_key"].as_str().unwrap().trim(), plain_public);
    assert_eq!(issuers[2]["state"], "staged");
}

#[tokio::test]
async fn of_two_that_begin_a_rotation_at_the_same_moment_one_does() {
    let desk = Desk::with_role(&[]).await;
    let stage = async || rotate(&desk, json!({"step": "stage", "key_type": "ed25519"})).await;
    let (one, other) = tokio::join!(stage(), stage());
    let mut outcomes = [one, other].map(|answer| (answer.status, answer.code()));
    outcomes.sort_by_key(|(status, _)| *status);
    assert_eq!(
        outcomes,
        [
            (StatusCode::OK, String::new()),
            (StatusCode::BAD_REQUEST, "rotation-step".to_owned())
        ]
    );
    assert_eq!(states(&desk).await, ["default", "staged"]);
}

#[tokio::test]
async fn no_certificate_leaves_under_a_key_that_is_removed_at_the_same_moment() {
    let desk = Desk::with_role(&[]).await;
    let (mut signed, mut removed) = (0, 0);
    for round in 0..40 {
        let name = format!("next-{round}");
        import(&desk, &format!("/{name}"), r#"{"key_type":"ed25519"}"#).await;
        let role =
            format!(r#"{{"key_type":"ca","allow_user_certificates":true,"allowed_users":"*","issuer_ref":"{name}"}}"#);
        let sign = async {
            desk.root("POST", &format!("{MOUNT}/roles/racing"), &role).await;
            let body = json!({"public_key": KEY, "valid_principals": "ubuntu"}).to_string();
            desk.root("POST", &format!("{MOUNT}/sign/racing"), &body).await.status
        };
        let delete = async {
            // Later and later into the other's way.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            desk.root("DELETE", &format!("{MOUNT}/issuer/{name}"), "").await.status
        };
        let outcome = tokio::join!(sign, delete);
        assert_ne!(outcome, (StatusCode::OK, StatusCode::NO_CONTENT), "round {round}");
        signed += usize::from(outcome.0 == StatusCode::OK);
        removed += usize::from(outcome.1 == StatusCode::NO_CONTENT);
    }
    assert!(signed + removed > 0, "one of both goes through");
}

#[tokio::test]
async fn of_many_that_promote_at_the_same_moment_one_is_on_record() {
    let desk = Desk::with_role(&[]).await;
    for step in ["stage", "publish"] {
        rotate(&desk, json!({"step": step, "key_type": "ed25519"})).await;
    }
    let promote = async || rotate(&desk, json!({"step": "promote", "force": true})).await.status;
    let outcomes = tokio::join!(promote(), promote(), promote(), promote());
    let outcomes: [StatusCode; 4] = outcomes.into();
    let done = outcomes.iter().filter(|status| **status == StatusCode::OK).count();
    assert_eq!(done, 1, "{outcomes:?}");
    assert_eq!(records(&desk.dev.authority, "ca-promote").len(), 1);
}

#[tokio::test]
async fn an_issuer_whose_removal_fails_is_no_longer_held() {
    let desk = Desk::with_role(&[]).await;
    import(&desk, "/next", r#"{"key_type":"ed25519"}"#).await;
    let mount = desk.dev.authority.mounts.get(MOUNT).unwrap();
    desk.dev.authority.ledger.close();
    let failed = desk.root("DELETE", &format!("{MOUNT}/issuer/next"), "").await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE, "{}", failed.text);
    assert!(mount.issuer("next").unwrap().signs());
}
