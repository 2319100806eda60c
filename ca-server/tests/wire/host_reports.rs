//! What hosts report: believed once and only from the host itself, and a certificate that was never issued shows.

use http::StatusCode;
use serde_json::{Value, json};
use signet_core::enrollment::{AcceptedLogin, HostReport, LOGINS_PER_REPORT_MAX};
use ssh_key::{Certificate, HashAlg};

use crate::desk::{KEY, MOUNT, SLIDE_ROLE};
use crate::host_site::{Host, NOW, Site};

const NAME: &str = "i-0123456789abcdef0.web.example.com";

async fn enrolled() -> (Site, Host) {
    let site = Site::new().await;
    let host = Host::new(1);
    let answer = site.enroll_instance(&host, "i-0123456789abcdef0", "10.1.2.3").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    (site, host)
}

fn report(sequence: u64) -> HostReport {
    HostReport {
        host: NAME.to_owned(),
        sequence,
        time: NOW,
        sshd_version: "10.0".to_owned(),
        bundle_version: 3,
        user_ca_keys: vec!["SHA256:one".to_owned(), "SHA256:two".to_owned()],
        ..HostReport::default()
    }
}

#[tokio::test]
async fn a_report_is_kept_once_and_only_forwards() {
    let (site, host) = enrolled().await;
    let answer = site.report(&host, &report(7)).await;
    assert_eq!(answer.status, StatusCode::OK, "{} {}", answer.text, site.last_refusal());
    assert_eq!(
        answer.json()["data"],
        json!({"accepted": true, "renew_after": NOW + 57_600, "alarms": []})
    );
    let site = site.restart();
    for sequence in [7, 6, 0] {
        let answer = site.report(&host, &report(sequence)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, "report-stale"),
            "{sequence}"
        );
        assert_eq!(answer.json()["hint"], "the newest sequence is 7");
    }
    assert_eq!(site.report(&host, &report(8)).await.status, StatusCode::OK);
    // Another host's signature, another host's report, a host that is none.
    assert_eq!(site.report(&Host::new(2), &report(9)).await.code(), "host-refused");
    let others = serde_json::to_string(&HostReport {
        host: "other".to_owned(),
        ..report(9)
    })
    .unwrap();
    assert_eq!(site.report_text(&host, NAME, &others).await.code(), "report-invalid");
    assert_eq!(site.report_text(&host, "other", &others).await.code(), "host-refused");
    let twice = serde_json::to_string(&report(9))
        .unwrap()
        .replacen('{', "{\"sequence\":100,", 1);
    assert_eq!(site.report_text(&host, NAME, &twice).await.code(), "report-invalid");
    let long = AcceptedLogin {
        key_id: "k".repeat(256),
        serial: u64::MAX.to_string(),
        fingerprint: "f".repeat(50),
        ca_fingerprint: "c".repeat(50),
        ..AcceptedLogin::default()
    };
    let full = HostReport {
        logins: vec![long; LOGINS_PER_REPORT_MAX],
        ..report(9)
    };
    assert_eq!(
        site.report(&host, &full).await.status,
        StatusCode::OK,
        "as full as it gets"
    );
    let many = HostReport {
        logins: vec![AcceptedLogin::default(); LOGINS_PER_REPORT_MAX + 1],
        ..report(10)
    };
    assert_eq!(site.report(&host, &many).await.code(), "report-invalid");
}

#[tokio::test]
async fn evidence_shows_who_lags_and_who_trusts_which_key() {
    let (site, host) = enrolled().await;
    let second = Host::new(2);
    assert_eq!(
        site.enroll_instance(&second, "i-0fedcba9876543210", "10.1.2.4")
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(site.report(&host, &report(1)).await.status, StatusCode::OK);
    site.clock.advance(15 * 60 + 1);
    assert_eq!(site.report(&host, &report(2)).await.status, StatusCode::OK);
    let data = site.root("LIST", "sys/signet/hosts", json!({})).await.json()["data"].clone();
    let laggard = "i-0fedcba9876543210.web.example.com";
    assert_eq!(data["keys"], json!([laggard, NAME]), "the laggard first");
    assert_eq!(data["key_info"][laggard]["stale"], true);
    assert_eq!(data["key_info"][laggard]["bundle_version"], Value::Null);
    let info = &data["key_info"][NAME];
    assert_eq!((&info["stale"], &info["bundle_version"]), (&json!(false), &json!(3)));
    assert_eq!(info["trusts"], json!(["SHA256:one", "SHA256:two"]));
    let hosts = &site.authority.hosts;
    assert_eq!(
        hosts.trusts("SHA256:two"),
        (vec![NAME.to_owned()], vec![laggard.to_owned()])
    );
    assert_eq!(hosts.trusts("SHA256:three").0, Vec::<String>::new());
    let shown = site
        .root("GET", &format!("sys/signet/hosts/{NAME}"), json!({}))
        .await
        .json();
    assert_eq!(shown["data"]["identity"]["instance_id"], "i-0123456789abcdef0");
    assert_eq!(shown["data"]["report"]["sequence"], 2);
    assert_eq!(
        site.root("GET", "sys/signet/hosts/nobody", json!({})).await.status,
        StatusCode::NOT_FOUND
    );
}

/// A login by a certificate that the authority issues now.
async fn genuine(site: &Site) -> AcceptedLogin {
    site.root(
        "POST",
        &format!("{MOUNT}/roles/my-role"),
        serde_json::from_str(SLIDE_ROLE).unwrap(),
    )
    .await;
    let signed = site
        .root("POST", &format!("{MOUNT}/sign/my-role"), json!({"public_key": KEY}))
        .await;
    let line = signed.json()["data"]["signed_key"].as_str().unwrap().to_owned();
    let certificate = Certificate::from_openssh(&line).unwrap();
    AcceptedLogin {
        time: NOW,
        account: "ubuntu".to_owned(),
        address: "192.0.2.9".to_owned(),
        key_type: "ED25519-CERT".to_owned(),
        fingerprint: certificate.public_key().fingerprint(HashAlg::Sha256).to_string(),
        serial: certificate.serial().to_string(),
        key_id: certificate.key_id().to_owned(),
        ca_fingerprint: certificate.signature_key().fingerprint(HashAlg::Sha256).to_string(),
        breakglass: false,
    }
}

#[tokio::test]
async fn a_certificate_that_was_accepted_but_never_issued_is_an_alarm() {
    let (site, host) = enrolled().await;
    let good = genuine(&site).await;
    let with = |change: &dyn Fn(&mut AcceptedLogin)| {
        let mut login = good.clone();
        change(&mut login);
        login
    };
    let beyond = (good.serial.parse::<u64>().unwrap() + 1_000).to_string();
    let rows: Vec<(&str, AcceptedLogin, Option<&str>)> = vec![
        ("issued", good.clone(), None),
        (
            "a CA of others",
            with(&|login| login.ca_fingerprint = "SHA256:other".to_owned()),
            None,
        ),
        (
            "a plain key",
            with(&|login| {
                "ED25519".clone_into(&mut login.key_type);
                login.serial.clear();
                login.ca_fingerprint.clear();
                login.key_id.clear();
            }),
            None,
        ),
        (
            "a certificate whose key ID leaves the log no room for its serial",
            with(&|login| {
                login.serial.clear();
                login.ca_fingerprint.clear();
                login.key_id = "x".repeat(800);
            }),
            Some("its serial and CA are not in the host's log"),
        ),
        (
            "a serial of the future",
            with(&|login| login.serial.clone_from(&beyond)),
            Some("no certificate with this serial was issued"),
        ),
        (
            "a serial of another node",
            with(&|login| login.serial = "7".to_owned()),
            Some("no authority here gives such a serial"),
        ),
        (
            "another key",
            with(&|login| login.fingerprint = "SHA256:x".to_owned()),
            Some("issued for another key"),
        ),
        (
            "another key ID",
            with(&|login| login.key_id = "x".to_owned()),
            Some("issued with another key ID"),
        ),
    ];
    let logins = rows.iter().map(|(_, login, _)| login.clone()).collect();
    let answer = site.report(&host, &HostReport { logins, ..report(1) }).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let alarms = answer.json()["data"]["alarms"].as_array().unwrap().clone();
    let wanted: Vec<&str> = rows.iter().filter_map(|(_, _, reason)| *reason).collect();
    assert_eq!(alarms.len(), wanted.len(), "{alarms:?}");
    for (alarm, reason) in alarms.iter().zip(&wanted) {
        assert!(alarm["reason"].as_str().unwrap().contains(reason), "{alarm} {reason}");
    }
    assert_eq!(site.records("host-login").len(), rows.len());
    assert_eq!(site.records("alarm").len(), wanted.len());
    assert!(
        site.authority
            .metrics
            .render()
            .contains("signet_alarms_total{kind=\"certificate-never-issued\"} 5")
    );

    let newest = || site.records("host-login").len() + site.records("alarm").len();
    let before = newest();
    let again = site.root("GET", "sys/signet/reconcile", json!({})).await.json()["data"].clone();
    assert_eq!(again["checked"], rows.len());
    assert_eq!(again["alarms"].as_array().unwrap().len(), wanted.len());
    assert_eq!(newest(), before, "looking changes nothing");
    site.clock.advance(7_200);
    let later = site
        .root("GET", "sys/signet/reconcile?since=1h", json!({}))
        .await
        .json()["data"]
        .clone();
    assert_eq!(later["checked"], 0, "{later}");
    assert_eq!(
        site.root("GET", "sys/signet/reconcile?since=3h", json!({}))
            .await
            .json()["data"]["checked"],
        rows.len()
    );
    assert_eq!(
        site.root("GET", "sys/signet/reconcile?since=soon", json!({}))
            .await
            .code(),
        "field-invalid"
    );
}

#[tokio::test]
async fn break_glass_is_recorded_and_hostile_text_stays_text() {
    let (site, host) = enrolled().await;
    let hostile = "a\nAccepted publickey for root\u{1b}]0;x\u{7}\u{202e}";
    let logins = vec![AcceptedLogin {
        time: u64::MAX,
        account: hostile.to_owned(),
        fingerprint: "f".repeat(10_000),
        breakglass: true,
        ..AcceptedLogin::default()
    }];
    let report = HostReport {
        sshd_version: hostile.to_owned(),
        problems: vec![hostile.to_owned(); 200],
        logins,
        ..report(1)
    };
    let answer = site.report(&host, &report).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let used = site.records("breakglass");
    assert_eq!(used.len(), 1);
    assert_eq!(
        used[0]["account"],
        "a\\u{a}Accepted publickey for root\\u{1b}]0;x\\u{7}\\u{202e}"
    );
    assert!(used[0]["fingerprint"].as_str().unwrap().chars().count() <= 301);
    let shown = site.root("GET", &format!("sys/signet/hosts/{NAME}"), json!({})).await;
    assert!(
        !shown.text.contains("\\u001b") && !shown.text.contains('\u{202e}'),
        "{}",
        shown.text
    );
    assert_eq!(shown.json()["data"]["report"]["problems"].as_array().unwrap().len(), 64);
}

#[tokio::test]
async fn a_new_ca_key_signs_only_when_the_hosts_have_reported_that_they_trust_it() {
    let (site, host) = enrolled().await;
    let path = format!("{MOUNT}/rotate");
    for step in ["stage", "publish"] {
        let done = site.root("POST", &path, json!({ "step": step })).await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    }
    // However long it is published.
    site.clock.advance(30 * 86_400);
    let early = site.root("POST", &path, json!({"step": "promote"})).await;
    assert_eq!(early.code(), "rotation-unsafe");
    assert!(
        early.first_error().contains("1 of 1 enrolled hosts") && early.first_error().contains(NAME),
        "{}",
        early.text
    );
    let next = site.root("GET", &path, json!({})).await.json()["data"]["next"].clone();
    assert_eq!(next["laggards"], json!([NAME]));
    let mut trusting = report(1);
    trusting.time = NOW + 30 * 86_400;
    trusting.user_ca_keys = vec![next["ca_fingerprint"].as_str().unwrap().to_owned()];
    let answer = site.report(&host, &trusting).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let done = site.root("POST", &path, json!({"step": "promote"})).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
}
