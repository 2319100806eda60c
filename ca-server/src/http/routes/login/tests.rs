//! Logins over the wire: what comes back, what is recorded, and that a refusal tells nothing and leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use signet_core::policy_set::PolicySet;
use signet_core::sshsig::{LOGIN_NAMESPACE, LoginAddress, login_message};
use signet_core::time::UnixTime;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use tower::ServiceExt as _;

use crate::authority::Authority;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::auth::{JwtAuth, JwtRole, KeySource};
use crate::http::{PeerAddress, router};
use crate::ledger::Reader;
use crate::login::claims::ClaimRules;
use crate::login::jwks::KeySet;
use crate::login::test_issuer::{IssuerKey, KeyServer};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const HERE: &str = "http://127.0.0.1:8200";

struct Site {
    authority: Arc<Authority>,
    clock: Clock,
    issuer: IssuerKey,
    _data: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    body: Value,
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn line(key: &PrivateKey) -> String {
    key.public_key().to_openssh().unwrap()
}

fn people(text: &str) -> PolicySet {
    PolicySet::from_files(&BTreeMap::from([("people.toml".to_owned(), text.to_owned())])).unwrap()
}

fn alice() -> PolicySet {
    people(&format!("[people.alice]\nkeys = [\"{}\"]\n", line(&key(1))))
}

fn jwt_auth(mount: &str, keys: KeySource) -> JwtAuth {
    let rules = ClaimRules {
        issuer: "https://id.example.com".to_owned(),
        audiences: BTreeSet::from(["signet".to_owned()]),
        age_secs_max: None,
        bound_claims: BTreeMap::new(),
        user_claim: "sub".to_owned(),
        groups_claim: None,
    };
    let role = JwtRole {
        rules,
        groups: BTreeSet::from(["ci".to_owned()]),
        policies: BTreeSet::from(["deploy".to_owned()]),
        ttl_secs: 600,
        max_ttl_secs: 600,
    };
    JwtAuth {
        mount: mount.to_owned(),
        issuer: "https://id.example.com".to_owned(),
        algorithms: vec![Algorithm::ES256],
        keys,
        roles: BTreeMap::from([("deploy".to_owned(), role)]),
    }
}

impl Site {
    fn open() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let issuer = IssuerKey::new(Algorithm::ES256, "one");
        let mut keys = KeySet::default();
        keys.add_pem(issuer.public_pem.as_bytes()).unwrap();
        let mut config = Config::dev("127.0.0.1:8200".parse().unwrap(), data.path().join("data"), None);
        config.auth.jwt = vec![jwt_auth("ci", KeySource::Files(Arc::new(keys)))];
        change(&mut config);
        let clock = Clock::fixed(NOW);
        // Opening waits for the disk, which a runtime's thread must not.
        let for_it = clock.clone();
        let authority = std::thread::spawn(move || Authority::open(config, alice(), for_it).unwrap())
            .join()
            .unwrap();
        Self {
            authority,
            clock,
            issuer,
            _data: data,
        }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let mut request = Request::post(format!("/v1/{path}"))
            .body(Body::from(body.to_string()))
            .unwrap();
        request
            .extensions_mut()
            .insert(PeerAddress("192.0.2.7".parse().unwrap()));
        let response = router(Arc::clone(&self.authority)).oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer {
            status,
            body: serde_json::from_slice(&bytes).unwrap(),
        }
    }

    async fn nonce(&self) -> String {
        let answer = self.post("auth/ssh-key/challenge", json!({})).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.body["data"]["expires_in"], 60);
        answer.body["data"]["nonce"].as_str().unwrap().to_owned()
    }

    async fn ssh_key_login(&self, body: Value) -> Answer {
        self.post("auth/ssh-key/login", body).await
    }

    async fn whoami(&self, token: &str) -> Value {
        let request = Request::get("/v1/sys/signet/whoami").header("x-vault-token", token);
        let response = router(Arc::clone(&self.authority))
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&bytes).unwrap()["data"].clone()
    }

    async fn jwt_login(&self, claims: &Value) -> Answer {
        self.post(
            "auth/ci/login",
            json!({"role": "deploy", "jwt": self.issuer.sign(claims)}),
        )
        .await
    }

    /// All records, oldest first.
    fn ledger(&self) -> Vec<String> {
        let file = self.authority.config.data.join(crate::ledger::FILE);
        let records = Reader::open(&file).unwrap().after(0, 1_000).unwrap();
        records.into_iter().map(|(_, record)| record).collect()
    }

    fn last_record(&self) -> Value {
        serde_json::from_str(self.ledger().last().unwrap()).unwrap()
    }
}

fn signed(key: &PrivateKey, nonce: &str) -> Value {
    signed_for(key, nonce, HERE, LOGIN_NAMESPACE)
}

fn signed_for(key: &PrivateKey, nonce: &str, address: &str, namespace: &str) -> Value {
    let message = login_message(&LoginAddress::parse(address).unwrap(), nonce);
    let signature = key.sign(namespace, HashAlg::Sha512, message.as_bytes()).unwrap();
    json!({
        "nonce": nonce, "address": address, "public_key": line(key),
        "signature": signature.to_pem(LineEnding::LF).unwrap(),
    })
}

fn claims() -> Value {
    json!({"iss": "https://id.example.com", "aud": "signet", "sub": "repo:acme/app", "exp": NOW.secs() + 300})
}

#[tokio::test]
async fn a_login_with_an_ssh_key_gives_a_token_and_a_record() {
    let site = Site::open();
    let answer = site.ssh_key_login(signed(&key(1), &site.nonce().await)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let auth = &answer.body["auth"];
    assert_eq!(
        (&auth["lease_duration"], &auth["renewable"]),
        (&json!(28_800), &json!(true))
    );
    assert_eq!(auth["metadata"]["person"], "alice");
    let token = auth["client_token"].as_str().unwrap();
    let entry = site.authority.tokens.check(token, NOW).unwrap();
    assert_eq!(
        (entry.person.as_str(), entry.display_name.as_str()),
        ("alice", "ssh-key-alice")
    );
    assert!(entry.groups.is_empty() && entry.policies.is_empty());

    let record = site.last_record();
    assert_eq!(record["event"], "login");
    assert_eq!(
        (&record["person"], &record["method"]),
        (&json!("alice"), &json!("ssh-key"))
    );
    assert_eq!(
        (&record["address"], &record["path"]),
        (&json!("192.0.2.7"), &json!("auth/ssh-key/login"))
    );
    assert_eq!(record["accessor"], auth["accessor"]);
    let fingerprint = key(1).public_key().fingerprint(HashAlg::Sha256).to_string();
    assert_eq!(record["metadata"]["key_fingerprint"], json!(fingerprint));
    assert!(site.ledger().iter().all(|record| !record.contains(token)));
}

#[tokio::test]
async fn every_refused_login_reads_the_same_and_only_the_ledger_knows_why() {
    let site = Site::open();
    let old = site.nonce().await;
    site.clock.advance(61);
    let nonce = site.nonce().await;
    let mut other_key = signed(&key(2), &nonce);
    other_key["public_key"] = json!(line(&key(1)));
    let mut no_key = signed(&key(1), &nonce);
    no_key["public_key"] = json!("ssh-ed25519 AAAA");
    let mut no_signature = signed(&key(1), &nonce);
    no_signature["signature"] = json!("x");
    let evil = "https://evil.example.com";
    let rows = [
        ("auth/ssh-key/login", signed(&key(2), &nonce), "nobody in people.toml"),
        ("auth/ssh-key/login", other_key, "another key than the one offered"),
        ("auth/ssh-key/login", signed(&key(1), &old), "expired"),
        (
            "auth/ssh-key/login",
            signed(&key(1), &"0".repeat(80)),
            "not made by this server",
        ),
        (
            "auth/ssh-key/login",
            signed_for(&key(1), &nonce, evil, LOGIN_NAMESPACE),
            "none of this server's",
        ),
        (
            "auth/ssh-key/login",
            signed_for(&key(1), &nonce, HERE, "git"),
            "namespace `git`",
        ),
        ("auth/ssh-key/login", no_key, "public key is not usable"),
        ("auth/ssh-key/login", no_signature, "not an armored SSH signature"),
        ("auth/ci/login", json!({"role": "deploy", "jwt": "x"}), "not a compact"),
        (
            "auth/ci/login",
            json!({"role": "other", "jwt": site.issuer.sign(&claims())}),
            "no role \"other\"",
        ),
        (
            "auth/ci/login",
            json!({"role": "deploy", "jwt": format!("{}A", site.issuer.sign(&claims()))}),
            "token",
        ),
    ];
    let mut answers = BTreeSet::new();
    for (path, body, reason) in rows {
        let mut answer = site.post(path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{reason}: {}", answer.body);
        answer.body["request_id"] = json!("");
        answers.insert(answer.body.to_string());
        let record = site.last_record();
        assert_eq!(record["event"], "login-failed", "{reason}");
        assert!(
            record["reason"].as_str().unwrap().contains(reason),
            "{reason}: {record}"
        );
        assert_eq!(record["address"], "192.0.2.7");
        let text = record.to_string();
        for secret in ["signature", "jwt"]
            .iter()
            .filter_map(|name| body[name].as_str())
            .filter(|text| text.len() > 9)
        {
            assert!(!text.contains(secret), "{reason}");
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(site.authority.tokens.count(), 0);
    // The nonce is still good for the person it was given to.
    assert_eq!(site.ssh_key_login(signed(&key(1), &nonce)).await.status, StatusCode::OK);
    assert_eq!(
        site.ssh_key_login(signed(&key(1), &nonce)).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(site.last_record()["reason"], "the nonce was used before");
}

#[tokio::test]
async fn a_key_taken_out_of_people_toml_is_out_at_once() {
    let site = Site::open();
    let nonce = site.nonce().await;
    site.authority.set_policy(people(""));
    assert_eq!(
        site.ssh_key_login(signed(&key(1), &nonce)).await.status,
        StatusCode::FORBIDDEN
    );
    site.authority.set_policy(alice());
    assert_eq!(site.ssh_key_login(signed(&key(1), &nonce)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_port_that_dev_mode_got_is_an_address_once_it_is_known() {
    let site = Site::with(|config| config.addresses = vec!["http://127.0.0.1:0".to_owned()]);
    let here = "http://localhost:43210";
    let body = signed_for(&key(1), &site.nonce().await, here, LOGIN_NAMESPACE);
    assert_eq!(site.ssh_key_login(body.clone()).await.status, StatusCode::FORBIDDEN);
    site.authority
        .login
        .listen_at("127.0.0.1:43210".parse().unwrap())
        .unwrap();
    assert_eq!(site.ssh_key_login(body).await.status, StatusCode::OK);
    assert!(site.authority.login.listen_at("127.0.0.1:0".parse().unwrap()).is_err());
}

#[tokio::test]
async fn two_logins_with_one_nonce_at_the_same_moment_give_one_token() {
    let site = Site::open();
    let body = signed(&key(1), &site.nonce().await);
    let answers = tokio::join!(
        site.ssh_key_login(body.clone()),
        site.ssh_key_login(body.clone()),
        site.ssh_key_login(body.clone())
    );
    let granted = [answers.0, answers.1, answers.2]
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .count();
    assert_eq!((granted, site.authority.tokens.count()), (1, 1));
}

#[tokio::test]
async fn a_login_with_a_jwt_gives_a_token_under_the_issuers_own_names() {
    let site = Site::open();
    let answer = site.jwt_login(&claims()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let auth = &answer.body["auth"];
    assert_eq!(
        (&auth["lease_duration"], &auth["renewable"]),
        (&json!(600), &json!(false))
    );
    assert_eq!(auth["token_policies"], json!(["deploy"]));
    let entry = site
        .authority
        .tokens
        .check(auth["client_token"].as_str().unwrap(), NOW)
        .unwrap();
    assert_eq!(
        (entry.person.as_str(), entry.display_name.as_str()),
        ("ci/repo:acme/app", "ci-repo:acme/app")
    );
    assert_eq!(entry.groups, BTreeSet::from(["ci".to_owned()]));
    let record = site.last_record();
    assert_eq!(
        (&record["event"], &record["person"]),
        (&json!("login"), &json!("ci/repo:acme/app"))
    );
    assert_eq!(record["metadata"]["issuer"], "https://id.example.com");
}

#[tokio::test]
async fn a_claim_cannot_join_a_group_whose_members_people_toml_lists() {
    let data = |config: &mut Config| {
        for auth in &mut config.auth.jwt {
            for role in auth.roles.values_mut() {
                role.rules.groups_claim = Some("groups".to_owned());
            }
        }
    };
    let site = Site::with(data);
    site.authority.set_policy(people(
        "groups = [\"admins\", \"both\"]\nlogin_groups = [\"ci\", \"both\"]\n",
    ));
    let mut claims = claims();
    claims["groups"] = json!(["admins", "both", "unheard-of"]);
    let answer = site.jwt_login(&claims).await;
    let token = answer.body["auth"]["client_token"].as_str().unwrap();
    let whoami = site.whoami(token).await;
    assert_eq!(whoami["groups"], json!(["both", "ci", "unheard-of"]));
}

#[tokio::test]
async fn metadata_of_people_toml_is_the_persons_now_and_never_instead_of_what_was_proved() {
    let site = Site::open();
    let answer = site.ssh_key_login(signed(&key(1), &site.nonce().await)).await;
    let token = answer.body["auth"]["client_token"].as_str().unwrap();
    let entry = site.authority.tokens.check(token, NOW).unwrap();
    site.authority.set_policy(people(&format!(
        "[people.alice]\nkeys = [\"{}\"]\nmetadata = {{ unix = \"al\", key_fingerprint = \"x\" }}\n",
        line(&key(1))
    )));
    let policy = site.authority.policy();
    let address = "192.0.2.7".parse().unwrap();
    let session =
        crate::http::authenticate::authenticate(&site.authority.tokens, &policy, Some(token), address, NOW).unwrap();
    assert_eq!(session.caller.metadata()["unix"], "al");
    assert_eq!(
        session.caller.metadata()["key_fingerprint"],
        entry.metadata["key_fingerprint"]
    );
}

#[tokio::test]
async fn a_refused_jwt_is_recorded_with_issuer_and_subject() {
    let site = Site::open();
    let mut expired = claims();
    expired["exp"] = json!(NOW.secs() - 60);
    assert_eq!(site.jwt_login(&expired).await.status, StatusCode::FORBIDDEN);
    let record = site.last_record();
    assert_eq!(
        (&record["event"], &record["role"]),
        (&json!("login-failed"), &json!("deploy"))
    );
    assert_eq!(
        (&record["issuer"], &record["subject"]),
        (&json!("https://id.example.com"), &json!("repo:acme/app"))
    );
    assert!(
        record["reason"]
            .as_str()
            .unwrap()
            .starts_with("the token expired at 2027-")
    );
}

#[tokio::test]
async fn cve_2026_46405_an_error_leaves_no_token_behind() {
    let site = Site::open();
    let body = signed(&key(1), &site.nonce().await);
    site.authority.ledger.close();
    let answer = site.ssh_key_login(body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    assert!(answer.body.get("auth").is_none());
    assert_eq!(site.jwt_login(&claims()).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(site.authority.tokens.count(), 0);
}

#[tokio::test]
async fn an_issuer_that_is_down_is_no_refusal() {
    let server = KeyServer::start().await;
    server.answer("500 No", "", "");
    let source = KeySource::Url {
        url: server.url.clone(),
        roots: None,
    };
    let site = Site::with(|config| config.auth.jwt = vec![jwt_auth("ci", source)]);
    let answer = site.jwt_login(&claims()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    assert_eq!(answer.body["code"], "login-unavailable");
    assert!(site.last_record()["reason"].as_str().unwrap().contains("answered 500"));
}

#[tokio::test]
async fn a_request_without_its_fields_or_for_a_method_that_is_off_says_so() {
    let site = Site::with(|config| config.auth.ssh_key = None);
    for path in ["auth/ssh-key/challenge", "auth/ssh-key/login"] {
        let answer = site.post(path, json!({})).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (StatusCode::BAD_REQUEST, &json!("not-offered"))
        );
    }
    let site = Site::open();
    for (path, body, text) in [
        ("auth/ssh-key/login", json!({}), "missing nonce"),
        (
            "auth/ssh-key/login",
            json!({"nonce": "x", "address": "x", "public_key": "x"}),
            "missing signature",
        ),
        ("auth/ci/login", json!({"jwt": "x"}), "missing role"),
        ("auth/ci/login", json!({"role": "deploy", "jwt": ""}), "missing jwt"),
    ] {
        let answer = site.post(path, body).await;
        assert_eq!(
            (answer.status, &answer.body["errors"]),
            (StatusCode::BAD_REQUEST, &json!([text])),
            "{text}"
        );
    }
    assert_eq!(
        site.post("auth/nowhere/login", json!({"role": "a", "jwt": "b"}))
            .await
            .status,
        StatusCode::NOT_FOUND
    );
}
