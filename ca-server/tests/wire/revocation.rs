//! Revoking: what is shown is what is revoked, by whom it may be, and what OpenSSH says of the list.

use std::path::Path;
use std::process::Command;

use http::StatusCode;
use serde_json::{Value, json};
use signet_ca::clock::Clock;
use signet_core::krl::{Krl, Subject};
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;

use crate::desk::{Answer, Desk, KEY, MOUNT, ROOT, holds};

const START: u64 = 1_795_000_000;

async fn revoke(desk: &Desk, fields: Value) -> Answer {
    let mut body = json!({"reason": "laptop lost"});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    desk.root("POST", &format!("{MOUNT}/revoke"), &body.to_string()).await
}

/// Issues a certificate by root; its serial, decimal.
async fn issue(desk: &Desk, fields: Value) -> String {
    let answer = desk.sign(ROOT, fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let hex = answer.json()["data"]["serial_number"].as_str().unwrap().to_owned();
    u64::from_str_radix(&hex, 16).unwrap().to_string()
}

async fn krl(desk: &Desk) -> Krl {
    let answer = desk.ask("GET", &format!("{MOUNT}/krl"), None, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    Krl::parse(&answer.bytes).unwrap()
}

fn ca_key(desk: &Desk) -> SubjectKey {
    let mount = desk.dev.authority.mounts.get(MOUNT).unwrap();
    mount.signer().unwrap().public_key().clone()
}

async fn is_revoked(desk: &Desk, serial: &str) -> bool {
    let ca = ca_key(desk);
    let key = SubjectKey::parse(KEY).unwrap();
    let subject = Subject {
        ca_key: ca.blob(),
        serial: serial.parse().unwrap(),
        key_id: "",
        subject_key: key.blob(),
    };
    krl(desk).await.hit(subject).is_some()
}

fn serials(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let hits = json["data"]["hits"].as_array().unwrap();
    hits.iter()
        .map(|hit| hit["serial"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_dry_run_shows_what_the_same_request_revokes_and_changes_nothing() {
    let desk = Desk::with_role(&[]).await;
    let (one, two) = (issue(&desk, json!({})).await, issue(&desk, json!({})).await);
    let before = krl(&desk).await;
    for fields in [
        json!({"serial": one}),
        json!({"person": "root"}),
        json!({"role": "my-role", "issued_since": START}),
        json!({"key_id": "vault-root-x"}),
        json!({"public_key": KEY}),
        json!({"issuer": ca_key(&desk).fingerprint()}),
    ] {
        let mut dry = fields.clone();
        dry["dry_run"] = json!(true);
        let shown = revoke(&desk, dry).await;
        assert_eq!(shown.status, StatusCode::OK, "{fields}: {}", shown.text);
        assert_eq!(shown.json()["data"]["entries"], json!([]), "{fields}");
        assert_eq!(krl(&desk).await, before, "{fields}");
        assert!(!holds(&desk.ledger_file(), "\"event\":\"revoke\""), "{fields}");
    }
    let list = desk.root("LIST", &format!("{MOUNT}/revocations"), "").await;
    assert_eq!(list.status, StatusCode::NOT_FOUND);
    let shown = revoke(&desk, json!({"person": "root", "dry_run": true})).await;
    let done = revoke(&desk, json!({"person": "root"})).await;
    assert_eq!(serials(&shown), serials(&done));
    assert_eq!(serials(&done), [two.clone(), one.clone()]);
    assert!(is_revoked(&desk, &one).await && is_revoked(&desk, &two).await);
    let later = issue(&desk, json!({})).await;
    assert!(!is_revoked(&desk, &later).await, "only what was shown");
    assert!(holds(&desk.ledger_file(), "\"event\":\"revoke\""));
}

#[tokio::test]
async fn selectors_narrow_each_other() {
    let desk = Desk::with_role(&[]).await;
    let ubuntu = issue(&desk, json!({})).await;
    desk.clock.advance(100);
    let later = issue(&desk, json!({})).await;
    for (fields, want) in [
        (
            json!({"person": "root", "role": "my-role", "issued_until": START + 50}),
            vec![&ubuntu],
        ),
        (json!({"issued_since": START + 50}), vec![&later]),
        (
            json!({"serial": [&ubuntu, &later], "issued_since": START + 50}),
            vec![&later],
        ),
        (json!({"person": "root", "role": "other"}), vec![]),
        (json!({"person": "roo"}), vec![]),
        (
            json!({"fingerprint": SubjectKey::parse(KEY).unwrap().fingerprint(), "issued_since": START + 50}),
            vec![&later],
        ),
    ] {
        let mut dry = fields.clone();
        dry["dry_run"] = json!(true);
        let answer = revoke(&desk, dry).await;
        assert_eq!(
            serials(&answer).iter().collect::<Vec<_>>(),
            want,
            "{fields}: {}",
            answer.text
        );
    }
    let nothing = revoke(&desk, json!({"person": "roo"})).await;
    assert_eq!(nothing.status, StatusCode::OK);
    assert_eq!(nothing.json()["data"]["entries"], json!([]));
    assert!(nothing.text.contains("nothing to revoke"), "{}", nothing.text);
}

#[tokio::test]
async fn an_unknown_serial_is_revoked_with_a_warning_and_serial_0_never() {
    let desk = Desk::with_role(&[]).await;
    let answer = revoke(&desk, json!({"serial": "4711"})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(
        answer.json()["warnings"][0]
            .as_str()
            .unwrap()
            .contains("no certificate 4711")
    );
    assert!(is_revoked(&desk, "4711").await);
    let answer = revoke(&desk, json!({"serial": "0"})).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::BAD_REQUEST, "revocation-invalid")
    );
}

#[tokio::test]
async fn a_key_id_of_person_and_key_is_not_revoked_beside_the_serial() {
    let desk = Desk::with_role(&[]).await;
    let serial = issue(&desk, json!({})).await;
    revoke(&desk, json!({"serial": serial})).await;
    let list = krl(&desk).await;
    let of_ca = &list.authorities[ca_key(&desk).blob()];
    assert!(
        of_ca.key_ids.is_empty(),
        "the next certificate of the same person and key has it too"
    );
    let role = r#"{"allow_user_certificates":true,"allow_user_key_ids":true,"allowed_users":"*","key_type":"ca","default_user":"ubuntu"}"#;
    desk.root("POST", &format!("{MOUNT}/roles/my-role"), role).await;
    let job = issue(&desk, json!({"key_id": "job-4711"})).await;
    revoke(&desk, json!({"serial": job})).await;
    let list = krl(&desk).await;
    assert!(list.authorities[ca_key(&desk).blob()].key_ids.contains("job-4711"));
}

#[tokio::test]
async fn cve_2025_66406_who_may_revoke_here_revokes_nothing_elsewhere() {
    let policy = r#"@id("revokers") permit(principal, action == Action::"update", resource in Path::"other/revoke");"#;
    let desk = Desk::with_role(&[("access/revokers.cedar", policy)]).await;
    desk.root("POST", "sys/mounts/other", r#"{"type":"ssh"}"#).await;
    let key = r#"{"generate_signing_key":true,"key_type":"ed25519"}"#;
    desk.root("POST", "other/config/ca", key).await;
    let serial = issue(&desk, json!({})).await;
    let token = desk.plain_token().await;
    let body = json!({"serial": serial, "reason": "x", "mount": MOUNT, "path": format!("{MOUNT}/revoke")}).to_string();
    let refused = desk.ask("POST", &format!("{MOUNT}/revoke"), Some(&token), &body).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
    let elsewhere = desk.ask("POST", "other/revoke", Some(&token), &body).await;
    assert_eq!(elsewhere.code(), "revocation-invalid", "{}", elsewhere.text);
    assert!(
        elsewhere
            .first_error()
            .contains("was issued by the mount `ssh-client-signer`")
    );
    for path in ["revocations", "certificates"] {
        let method = if path == "revocations" { "LIST" } else { "GET" };
        let answer = desk.ask(method, &format!("other/{path}"), Some(&token), "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(!is_revoked(&desk, &serial).await);
    // By person, the other mount has nothing of that person's.
    let body = json!({"person": "root", "reason": "x"}).to_string();
    let answer = desk.ask("POST", "other/revoke", Some(&token), &body).await;
    assert_eq!(answer.json()["data"]["hits"], json!([]));
    assert!(!is_revoked(&desk, &serial).await);
}

#[tokio::test]
async fn hostile_fields_are_refused_and_leave_the_list_as_it_is() {
    let desk = Desk::with_role(&[]).await;
    issue(&desk, json!({})).await;
    let before = krl(&desk).await;
    let long = "x".repeat(400);
    for fields in [
        json!({}),
        json!({"serial": ""}),
        json!({"serial": "*"}),
        json!({"serial": "-1"}),
        json!({"serial": "1e3"}),
        json!({"serial": {"$gt": 0}}),
        json!({"serial": "18446744073709551616"}),
        json!({"key_id": "a\nb"}),
        json!({"key_id": long}),
        json!({"person": long}),
        json!({"person": "a\u{1b}[0m"}),
        json!({"person": ["root", "alice"]}),
        json!({"public_key": "ssh-ed25519 AAAA"}),
        json!({"public_key": format!("{KEY}\n{KEY}")}),
        json!({"fingerprint": "SHA256:"}),
        json!({"issuer": "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
        json!({"issuer": KEY}),
        json!({"issuer": ca_key(&desk).fingerprint(), "serial": "7"}),
        json!({"person": "root", "reason": ""}),
        json!({"person": "root", "reason": long}),
        json!({"person": "root", "dry_run": "perhaps"}),
    ] {
        let answer = revoke(&desk, fields.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{fields}: {}", answer.text);
    }
    assert_eq!(krl(&desk).await, before);
}

#[tokio::test]
async fn revocations_are_listed_and_can_be_removed() {
    let desk = Desk::with_role(&[]).await;
    let (one, two) = (issue(&desk, json!({})).await, issue(&desk, json!({})).await);
    let first = revoke(&desk, json!({"serial": one})).await.json()["data"]["entries"][0].clone();
    desk.clock.advance(5);
    revoke(&desk, json!({"serial": two, "reason": "gone"})).await;
    let list = desk.root("LIST", &format!("{MOUNT}/revocations"), "").await.json();
    assert_eq!(list["data"]["total"], 2);
    assert_eq!(list["data"]["keys"][1], first, "the newest first");
    let info = &list["data"]["key_info"][first.as_str().unwrap()];
    assert_eq!((&info["by"], &info["reason"]), (&json!("root"), &json!("laptop lost")));
    assert_eq!(info["selector"], json!({"serial": one}));
    assert_eq!(info["until"], "2026-11-18T11:36:40Z");
    let path = format!("{MOUNT}/revocations/{}", first.as_str().unwrap());
    assert_eq!(desk.root("DELETE", &path, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(desk.root("DELETE", &path, "").await.status, StatusCode::NOT_FOUND);
    assert!(!is_revoked(&desk, &one).await && is_revoked(&desk, &two).await);
    assert!(holds(&desk.ledger_file(), "\"removed\":true"));
    assert_eq!(krl(&desk).await.version, 4);
}

#[tokio::test]
async fn cve_2021_29653_what_is_revoked_and_lives_is_in_the_list_at_every_hour() {
    let desk = Desk::with_role(&[]).await;
    let mut issued = Vec::new();
    for minutes in [1_u64, 10, 30, 60, 120, 300] {
        let role = format!(
            r#"{{"allow_user_certificates":true,"allowed_users":"*","key_type":"ca","default_user":"ubuntu","ttl":"{minutes}m"}}"#
        );
        desk.root("POST", &format!("{MOUNT}/roles/my-role"), &role).await;
        let serial = issue(&desk, json!({})).await;
        revoke(&desk, json!({"serial": serial})).await;
        issued.push((serial, START + minutes * 60));
    }
    let mut pruned = false;
    for _ in 0..60 {
        let now = desk.clock.now().secs();
        for (serial, ends) in &issued {
            let revoked = is_revoked(&desk, serial).await;
            assert!(revoked || now >= ends + 3600, "{serial} ends {ends}, now {now}");
            pruned |= !revoked;
        }
        desk.clock.advance(613);
    }
    assert!(pruned);
    for (serial, _) in &issued {
        assert!(!is_revoked(&desk, serial).await, "at last it is small again");
    }
    assert!(holds(&desk.ledger_file(), "\"event\":\"krl-prune\""));
    let list = desk.root("LIST", &format!("{MOUNT}/revocations"), "").await;
    assert_eq!(list.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_never_ends_is_never_pruned() {
    let desk = Desk::with_role(&[]).await;
    issue(&desk, json!({})).await;
    revoke(&desk, json!({"serial": "4711"})).await;
    revoke(&desk, json!({"public_key": KEY})).await;
    revoke(&desk, json!({"key_id": "vault-root-x"})).await;
    let before = krl(&desk).await;
    desk.clock.advance(400 * 86_400);
    assert_eq!(krl(&desk).await, before);
}

#[tokio::test]
async fn a_restart_serves_the_same_list_and_a_replaced_ca_key_keeps_its_entries() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let clock = Clock::fixed(UnixTime::from_secs(START));
    let desk = Desk::open(Some(data.clone()), clock.clone(), &[]);
    desk.make_role().await;
    let empty = desk.ask("GET", &format!("{MOUNT}/krl"), None, "").await;
    desk.close();
    clock.advance(1000);
    let desk = Desk::open(Some(data.clone()), clock.clone(), &[]);
    let again = desk.ask("GET", &format!("{MOUNT}/krl"), None, "").await;
    assert_eq!(again.headers["etag"], empty.headers["etag"], "an empty list too");
    let serial = issue(&desk, json!({})).await;
    let late = issue(&desk, json!({})).await;
    revoke(&desk, json!({"serial": serial})).await;
    let old_ca = ca_key(&desk);
    let key = r#"{"generate_signing_key":true,"key_type":"ed25519"}"#;
    desk.root("DELETE", &format!("{MOUNT}/config/ca"), "").await;
    desk.root("POST", &format!("{MOUNT}/config/ca"), key).await;
    assert_ne!(ca_key(&desk), old_ca);
    let list = krl(&desk).await;
    desk.close();
    let desk = Desk::open(Some(data), clock, &[]);
    assert_eq!(krl(&desk).await, list);
    // A certificate of the old key lives on, and can still be revoked.
    revoke(&desk, json!({"serial": late})).await;
    let list = krl(&desk).await;
    for serial in [serial, late] {
        assert!(
            list.authorities[old_ca.blob()]
                .serials
                .contains(serial.parse().unwrap())
        );
    }
    assert_eq!(list.version, 3);
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn ssh_keygen_reads_the_list_and_its_signature() {
    let desk = Desk::with_role(&[]).await;
    let revoked = desk.sign(ROOT, json!({})).await.json()["data"]["signed_key"].clone();
    let serial = serials(&revoke(&desk, json!({"person": "root"})).await).remove(0);
    let fine = desk.sign(ROOT, json!({})).await.json()["data"]["signed_key"].clone();
    let folder = tempfile::tempdir().unwrap();
    let answer = desk.ask("GET", &format!("{MOUNT}/krl"), None, "").await;
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    assert_eq!(answer.headers["x-signet-krl-version"], "2");
    let krl = write(folder.path(), "krl", &answer.bytes);
    for (line, code) in [(&revoked, 1), (&fine, 0)] {
        let certificate = write(folder.path(), "x-cert.pub", line.as_str().unwrap().as_bytes());
        let output = Command::new("ssh-keygen")
            .args(["-Q", "-f", &krl, &certificate])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{serial}: {output:?}");
    }
    let signature = desk.ask("GET", &format!("{MOUNT}/krl/signature"), None, "").await;
    let signature = write(folder.path(), "krl.sig", &signature.bytes);
    let key = desk
        .ask("GET", &format!("{MOUNT}/trust-bundle/public_key"), None, "")
        .await
        .text;
    let signers = write(folder.path(), "signers", format!("signet {key}").as_bytes());
    let verify = [
        "-Y",
        "verify",
        "-n",
        "krl.signet",
        "-I",
        "signet",
        "-f",
        &signers,
        "-s",
        &signature,
    ];
    let output = Command::new("ssh-keygen")
        .args(verify)
        .stdin(std::fs::File::open(&krl).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}
