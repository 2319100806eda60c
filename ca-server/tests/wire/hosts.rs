//! Hosts enrol and renew, and what they must not get: another's name, another's pin, a second use.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use ssh_key::Certificate;

use crate::host_site::{Host, NOW, Site, document};
use crate::signer::{Recipe, base64};

const ONE: &str = "i-0123456789abcdef0";
const TWO: &str = "i-0fedcba9876543210";
const ONE_NAME: &str = "i-0123456789abcdef0.web.example.com";

fn refused(answer: &crate::desk::Answer) -> bool {
    (answer.status, answer.code().as_str()) == (StatusCode::FORBIDDEN, "host-refused")
}

#[tokio::test]
async fn an_instance_gets_its_names_from_policy_and_renews_by_its_key_alone() {
    let site = Site::new().await;
    let host = Host::new(1);
    let answer = site.enroll_instance(&host, ONE, "10.1.2.3").await;
    assert_eq!(answer.status, StatusCode::OK, "{} {}", answer.text, site.last_refusal());
    let data = &answer.json()["data"];
    assert_eq!(data["host"], ONE_NAME);
    assert_eq!(data["tags"], json!(["web"]));
    assert_eq!(data["valid_before"], NOW + 86_400);
    assert_eq!(data["renew_after"], NOW + 57_600);
    assert_eq!(data["mount"], "ssh-client-signer");
    for key in ["bundle_public_key", "host_ca_key"] {
        assert!(data[key].as_str().unwrap().starts_with("ssh-ed25519 "), "{data}");
    }
    let certificate = Certificate::from_openssh(data["signed_key"].as_str().unwrap()).unwrap();
    assert!(certificate.cert_type().is_host());
    let mut principals = certificate.valid_principals().to_vec();
    principals.sort();
    assert_eq!(principals, [ONE_NAME, "ip-10-1-2-3.eu-central-1.compute.internal"]);

    site.clock.advance(60_000);
    let renewed = site.renew(&host, ONE_NAME).await;
    assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.text);
    assert_eq!(renewed.json()["data"]["valid_before"], NOW + 60_000 + 86_400);
    let issued = site.records("issue");
    let last = issued.last().unwrap();
    assert_eq!(
        (last["method"].as_str(), last["person"].as_str()),
        (Some("host-key"), Some(&*format!("host/{ONE_NAME}")))
    );
    assert_eq!(issued[0]["method"], "ec2");
    assert_eq!(site.records("host-enroll").len(), 1);
}

#[tokio::test]
async fn the_host_ca_key_of_an_answer_is_the_one_that_signed() {
    let site = Site::new().await;
    let host = Host::new(1);
    let signed_with = |data: &Value| {
        let certificate = Certificate::from_openssh(data["signed_key"].as_str().unwrap()).unwrap();
        let key = ssh_key::PublicKey::from(certificate.signature_key().clone());
        key.to_openssh().unwrap().trim().to_owned()
    };
    let answer = site.enroll_instance(&host, ONE, "10.1.2.3").await.json();
    let first = answer["data"]["host_ca_key"].as_str().unwrap().to_owned();
    assert_eq!(signed_with(&answer["data"]), first);
    // Another issuer, which the role names while it is not the default yet, and which is promoted then.
    let made = site
        .root(
            "POST",
            "ssh-host-signer/issuers/import/next",
            json!({"key_type": "ed25519"}),
        )
        .await;
    assert!(made.status.is_success(), "{}", made.text);
    site.set_policies(|files| {
        let role = files.get_mut("roles/hosts.toml").unwrap();
        role.push_str("issuer_ref = \"next\"\n");
    });
    let named = site.renew(&host, ONE_NAME).await.json();
    let second = named["data"]["host_ca_key"].as_str().unwrap().to_owned();
    assert_ne!(second, first);
    assert_eq!(signed_with(&named["data"]), second);
    site.set_policies(|_| {});
    let back = site.renew(&host, ONE_NAME).await.json();
    assert_eq!(back["data"]["host_ca_key"], first.as_str());
    let promoted = site
        .root(
            "POST",
            "ssh-host-signer/config/issuers",
            json!({"default": "next", "force": true}),
        )
        .await;
    assert!(promoted.status.is_success(), "{}", promoted.text);
    let after = site.renew(&host, ONE_NAME).await.json();
    assert_eq!(after["data"]["host_ca_key"], second.as_str());
    assert_eq!(signed_with(&after["data"]), second);
}

#[tokio::test]
async fn cve_2026_39388_a_pinned_instance_is_not_taken_over_by_its_document() {
    let site = Site::new().await;
    let (host, thief) = (Host::new(1), Host::new(2));
    assert_eq!(
        site.enroll_instance(&host, ONE, "10.1.2.3").await.status,
        StatusCode::OK
    );
    // The document is readable to every process on the instance.
    assert!(refused(&site.enroll_instance(&thief, ONE, "10.1.2.3").await));
    assert!(
        site.last_refusal().contains("is pinned to the host key"),
        "{}",
        site.last_refusal()
    );
    let alarms = site.records("alarm");
    assert_eq!((alarms.len(), &alarms[0]["alarm"]), (1, &json!("host-key-changed")));
    assert!(refused(&site.renew(&thief, ONE_NAME).await));
    // The host itself may ask again, also when the window has passed.
    site.clock.advance(3_600);
    let again = site.enroll_instance(&host, ONE, "10.1.2.3").await;
    assert_eq!(again.status, StatusCode::OK, "{}", site.last_refusal());
    assert_eq!(site.records("host-enroll").last().unwrap()["again"], true);
    let shown = site
        .root("GET", &format!("sys/signet/hosts/{ONE_NAME}"), json!({}))
        .await
        .json();
    assert_eq!(shown["data"]["public_key"].as_str().unwrap().trim(), host.line().trim());
}

#[tokio::test]
async fn a_document_enrols_only_whom_the_rules_are_for() {
    let site = Site::new().await;
    let good = || document(ONE, "10.1.2.3");
    let rows: Vec<(&str, String, &str)> = vec![
        (
            "another account",
            good().replace("123456789012", "210987654321"),
            "no [[enroll]]",
        ),
        (
            "another image",
            good().replace("ami-0123456789abcdef0", "ami-0123456789abcdef1"),
            "no [[enroll]]",
        ),
        (
            "another subnet",
            good().replace("10.1.2.3", "10.2.2.3"),
            "no [[enroll]]",
        ),
        (
            "a region without certificate",
            good().replace("eu-central-1", "eu-west-3"),
            "no certificate is configured",
        ),
        (
            "a region of another key",
            good().replace("eu-central-1", "us-east-1"),
            "not signed by the key",
        ),
        (
            "started long ago",
            good().replace("2026", "2025"),
            "more than 600 s ago",
        ),
        ("started tomorrow", good().replace("2026", "2027"), "in the future"),
        (
            "a key twice",
            good().replace("\"region\"", "\"region\":\"us-east-1\",\"region\""),
            "each key once",
        ),
        (
            "no instance",
            good().replace("instanceId", "x"),
            "`instanceId` is missing",
        ),
    ];
    for (name, content, want) in rows {
        let evidence = site.keys.frankfurt.document(&content);
        assert!(refused(&site.enroll(&Host::new(1), "ec2", &evidence).await), "{name}");
        assert!(site.last_refusal().contains(want), "{name}: {}", site.last_refusal());
    }
    // A region that has a certificate, but that no rule names.
    let virginia = site
        .keys
        .virginia
        .document(&good().replace("eu-central-1", "us-east-1"));
    assert!(refused(&site.enroll(&Host::new(1), "ec2", &virginia).await));
    assert!(site.last_refusal().contains("no [[enroll]]"));
    let (content, mallory) = (good(), &site.keys.mallory);
    let recipe = Recipe {
        embedded: Some(mallory),
        ..Recipe::good(mallory, content.as_bytes())
    };
    assert!(
        refused(&site.enroll(&Host::new(1), "ec2", &base64(&recipe.der())).await),
        "a forger's own certificate inside"
    );
    assert!(refused(&site.enroll(&Host::new(1), "ec3", "x").await));
    // After the pinned certificate's end nobody knows who has its key.
    site.clock.advance(200 * 365 * 86_400);
    assert!(refused(&site.enroll_instance(&Host::new(1), ONE, "10.1.2.3").await));
    assert!(site.last_refusal().contains("has ended on"), "{}", site.last_refusal());
    assert!(site.records("host-enroll").is_empty() && site.records("issue").is_empty());
}

#[tokio::test]
async fn without_the_host_key_no_evidence_is_worth_anything() {
    let site = Site::new().await;
    let host = Host::new(1);
    let evidence = site.keys.frankfurt.document(&document(ONE, "10.1.2.3"));
    let body = site.enrollment(&host, "ec2", &evidence).await;
    let with = |field: &str, value: Value| {
        let mut changed = body.clone();
        changed[field] = value;
        changed
    };
    let others = site.keys.frankfurt.document(&document(TWO, "10.1.2.4"));
    for (name, changed) in [
        ("another host's evidence", with("evidence", json!(others))),
        ("another method", with("method", json!("token"))),
        (
            "another server",
            with("address", json!("https://evil.example.com:8200")),
        ),
        ("another key", with("public_key", json!(Host::new(2).line()))),
        ("another nonce", with("nonce", json!(site.nonce().await))),
        ("a nonce of nobody", with("nonce", json!("00".repeat(40)))),
        ("no signature", with("signature", json!("x"))),
    ] {
        assert!(refused(&site.enroll_with(changed).await), "{name}");
    }
    assert_eq!(site.enroll_with(body.clone()).await.status, StatusCode::OK);
    assert!(refused(&site.enroll_with(body.clone()).await), "played again");
    let late = site.enrollment(&host, "ec2", &evidence).await;
    site.clock.advance(61);
    assert!(refused(&site.enroll_with(late).await), "an old nonce");
    let mut missing = body;
    missing.as_object_mut().unwrap().remove("signature");
    assert_eq!(site.enroll_with(missing).await.code(), "field-missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_keys_that_ask_for_one_instance_at_once_exactly_one_is_pinned() {
    let site = Arc::new(Site::new().await);
    let mut asking = tokio::task::JoinSet::new();
    for seed in 1..=16 {
        let site = Arc::clone(&site);
        asking.spawn(async move { site.enroll_instance(&Host::new(seed), ONE, "10.1.2.3").await.status });
    }
    let statuses = asking.join_all().await;
    assert_eq!(
        statuses.iter().filter(|status| **status == StatusCode::OK).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(site.authority.hosts.list().len(), 1);
    assert_eq!(site.records("host-enroll").len(), 1);
}

#[tokio::test]
async fn cve_2020_24359_no_host_gets_another_s_name() {
    let site = Site::new().await;
    assert_eq!(
        site.enroll_instance(&Host::new(1), ONE, "10.1.2.3").await.status,
        StatusCode::OK
    );
    // The same private address, as after a restart of the subnet: its DNS name belongs to the first.
    assert!(refused(&site.enroll_instance(&Host::new(2), TWO, "10.1.2.3").await));
    assert!(site.last_refusal().contains("belongs to"), "{}", site.last_refusal());
    // One host key on two machines: an image that carries host keys.
    assert!(refused(&site.enroll_instance(&Host::new(1), TWO, "10.1.2.4").await));
    assert!(site.last_refusal().contains("must not carry host keys"));
    let node = site.jwt("node-1");
    assert_eq!(
        site.enroll(&Host::new(3), "jwt", &node).await.status,
        StatusCode::OK,
        "{}",
        site.last_refusal()
    );
    assert!(
        refused(&site.enroll(&Host::new(4), "jwt", &site.jwt("NODE-1")).await),
        "another spelling"
    );
    assert!(
        refused(&site.enroll(&Host::new(4), "jwt", &site.jwt("node-1")).await),
        "another key"
    );
    for user in ["node-1,root", "*", "a.b/c", "node 2", ""] {
        assert!(
            refused(&site.enroll(&Host::new(5), "jwt", &site.jwt(user)).await),
            "{user}"
        );
    }
    assert_eq!(site.authority.hosts.list().len(), 2);
}

#[tokio::test]
async fn a_one_time_token_names_one_host_once_and_survives_a_restart() {
    let site = Site::new().await;
    let token = site.host_token("db-1.internal.example.com").await;
    let (host, thief) = (Host::new(1), Host::new(2));
    let mut wrong = site.enrollment(&host, "token", &token).await;
    wrong["public_key"] = json!(thief.line());
    assert!(
        refused(&site.enroll_with(wrong).await),
        "a wrong signature does not use it up"
    );
    let site = site.restart();
    let answer = site.enroll(&host, "token", &token).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", site.last_refusal());
    assert_eq!(answer.json()["data"]["tags"], json!(["db"]));
    assert!(refused(&site.enroll(&thief, "token", &token).await));
    let site = site.restart();
    assert!(refused(&site.enroll(&thief, "token", &token).await));
    assert_eq!(
        site.enroll(&host, "token", &token).await.status,
        StatusCode::OK,
        "its host may ask again"
    );
    let forgotten = site
        .root("DELETE", "sys/signet/hosts/db-1.internal.example.com", json!({}))
        .await;
    assert!(forgotten.text.contains("stays valid until"), "{}", forgotten.text);
    assert!(
        refused(&site.enroll(&thief, "token", &token).await),
        "forgetting the host does not revive its token"
    );
    assert!(site.last_refusal().contains("used before"));
    assert!(!crate::desk::holds(
        &std::fs::read(site.authority.config.data.join("store.db")).unwrap(),
        &token
    ));

    let late = site.host_token("db-2.internal.example.com").await;
    site.clock.advance(15 * 60);
    assert!(refused(&site.enroll(&host, "token", &late).await));
    assert!(refused(&site.enroll(&host, "token", "hst.guessed").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_hosts_with_one_token_exactly_one_enrols() {
    let site = Arc::new(Site::new().await);
    let token = site.host_token("db-1.internal.example.com").await;
    let mut asking = tokio::task::JoinSet::new();
    for seed in 1..=16 {
        let (site, token) = (Arc::clone(&site), token.clone());
        asking.spawn(async move { site.enroll(&Host::new(seed), "token", &token).await.status });
    }
    let statuses = asking.join_all().await;
    assert_eq!(
        statuses.iter().filter(|status| **status == StatusCode::OK).count(),
        1,
        "{statuses:?}"
    );
}

#[tokio::test]
async fn tokens_are_made_only_within_hosts_toml() {
    let site = Site::new().await;
    assert_eq!(
        site.enroll(&Host::new(1), "token", &site.host_token("a.internal.example.com").await)
            .await
            .status,
        StatusCode::OK
    );
    for (name, body, code) in [
        ("another domain", json!({"host": "a.example.org"}), "host-token-refused"),
        (
            "a domain that only ends alike",
            json!({"host": "a.evilinternal.example.com"}),
            "host-token-refused",
        ),
        (
            "another tag",
            json!({"host": "b.internal.example.com", "tags": "db,prod"}),
            "host-token-refused",
        ),
        (
            "too long",
            json!({"host": "b.internal.example.com", "ttl": "25h"}),
            "host-token-refused",
        ),
        (
            "a host that has enrolled",
            json!({"host": "A.internal.example.com"}),
            "host-token-refused",
        ),
        (
            "two names",
            json!({"host": "b.internal.example.com,c.internal.example.com"}),
            "field-invalid",
        ),
        ("a pattern", json!({"host": "*.internal.example.com"}), "field-invalid"),
        ("no name", json!({}), "field-missing"),
    ] {
        let answer = site.root("POST", "sys/signet/host-tokens", body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, code),
            "{name}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn what_policy_no_longer_gives_is_gone_at_the_next_renewal() {
    let site = Site::new().await;
    let host = Host::new(1);
    assert_eq!(
        site.enroll_instance(&host, ONE, "10.1.2.3").await.status,
        StatusCode::OK
    );
    let hosts = |files: &mut std::collections::BTreeMap<String, String>, from: &str, to: &str| {
        let text = files["hosts.toml"].replace(from, to);
        files.insert("hosts.toml".to_owned(), text);
    };
    site.set_policies(|files| hosts(files, ", \"{private_dns}\"", ""));
    let data = site.renew(&host, ONE_NAME).await.json()["data"].clone();
    assert_eq!(data["names"], json!([ONE_NAME]));
    site.set_policies(|files| hosts(files, "tags = [\"web\"]", "tags = [\"batch\"]"));
    assert_eq!(
        site.renew(&host, ONE_NAME).await.json()["data"]["tags"],
        json!(["batch"])
    );
    site.set_policies(|files| hosts(files, "10.1.0.0/16", "10.9.0.0/16"));
    assert!(refused(&site.renew(&host, ONE_NAME).await));
    // The role and the access policies have their say as for anybody.
    site.set_policies(|files| drop(files.remove("access/hosts.cedar")));
    assert!(refused(&site.renew(&host, ONE_NAME).await));
    assert!(refused(&site.enroll_instance(&Host::new(2), TWO, "10.1.2.4").await));
    assert_eq!(site.authority.hosts.list().len(), 1, "a denied enrolment pins nothing");
    site.set_policies(|_| ());
    assert_eq!(
        site.enroll_instance(&Host::new(3), TWO, "10.1.2.4").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn no_login_can_bring_the_group_of_hosts() {
    let site = Site::new().await;
    let mut files = crate::host_site::policies();
    for text in [
        "groups = [\"enrolled-hosts\"]\n",
        "login_groups = [\"enrolled-hosts\"]\n",
    ] {
        files.insert("people.toml".to_owned(), text.to_owned());
        let mistakes = signet_core::policy_set::PolicySet::from_files(&files).unwrap_err();
        assert!(
            mistakes[0].to_string().contains("group of enrolled hosts"),
            "{mistakes:?}"
        );
    }
    drop(site);
}

/// Makes every write into a table of a database fail, until it is called with `false`.
fn break_table(site: &Site, file: &str, table: &str, broken: bool) {
    let database = rusqlite::Connection::open(site.authority.config.data.join(file)).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    let change = if broken {
        format!("CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    } else {
        "DROP TRIGGER full".to_owned()
    };
    database.execute_batch(&change).unwrap();
}

#[tokio::test]
async fn a_full_disk_pins_nothing_and_the_same_host_may_try_again() {
    let site = Site::new().await;
    let host = Host::new(1);
    let token = site.host_token("db-1.internal.example.com").await;
    for (file, table) in [("ledger.db", "ledger"), ("store.db", "hosts")] {
        break_table(&site, file, table, true);
        for answer in [
            site.enroll(&host, "token", &token).await,
            site.enroll_instance(&Host::new(2), ONE, "10.1.2.3").await,
        ] {
            assert!(answer.status.is_server_error(), "{table}: {}", answer.text);
            assert!(!answer.text.contains("signed_key"), "{table}");
        }
        break_table(&site, file, table, false);
        assert!(site.authority.hosts.list().is_empty(), "{table}");
    }
    let site = site.restart();
    assert_eq!(
        site.enroll(&host, "token", &token).await.status,
        StatusCode::OK,
        "{}",
        site.last_refusal()
    );
    assert_eq!(
        site.enroll_instance(&Host::new(3), ONE, "10.1.2.3").await.status,
        StatusCode::OK,
        "pinned to nobody yet"
    );
    break_table(&site, "store.db", "hosts", true);
    assert!(
        site.renew(&host, "db-1.internal.example.com")
            .await
            .status
            .is_server_error()
    );
    break_table(&site, "store.db", "hosts", false);
    assert_eq!(
        site.renew(&host, "db-1.internal.example.com").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_site_behind_one_address_is_not_held_up_like_a_guesser() {
    let site = Site::new().await;
    let limits = &site.authority.config.limits;
    assert!(limits.host_rate_per_minute >= 10 * limits.login_rate_per_minute);
    for _ in 0..=limits.login_rate_per_minute {
        site.nonce().await;
    }
}

#[tokio::test]
async fn a_jwt_of_another_role_or_issuer_is_nobody() {
    let site = Site::new().await;
    let host = Host::new(1);
    let jwt = site.jwt("node-1");
    let mut other = site.enrollment(&host, "jwt", &jwt).await;
    other["role"] = json!("admin");
    assert!(refused(&site.enroll_with(other).await));
    assert!(site.last_refusal().contains("not one"), "{}", site.last_refusal());
    let (head, signature) = jwt.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    assert!(refused(&site.enroll(&host, "jwt", &forged).await));
    let mut named = site.enrollment(&host, "jwt", &jwt).await;
    named["role"] = json!("node");
    named["mount"] = json!("k8s");
    assert_eq!(
        site.enroll_with(named).await.status,
        StatusCode::OK,
        "{}",
        site.last_refusal()
    );
    site.clock.advance(3_600);
    assert!(refused(&site.enroll(&Host::new(2), "jwt", &jwt).await), "ended");
}
