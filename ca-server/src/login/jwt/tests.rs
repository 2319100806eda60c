//! Attacks on the login with a token, each beside the login that works. Signatures are real.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::BTreeSet;

use super::super::claims::ClaimRules;
use super::super::jose::JWT_BYTES_MAX;
use super::super::test_issuer::{IssuerKey, KeyServer, key_set};
use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
static RSA: LazyLock<IssuerKey> = LazyLock::new(|| IssuerKey::new(Algorithm::RS256, "rsa-1"));

fn claims() -> Value {
    json!({
        "iss": "https://id.example.com", "aud": "signet", "sub": "repo:acme/app:ref:refs/heads/main",
        "exp": 1_800_000_300, "iat": 1_799_999_990, "repository": "acme/app", "groups": ["deployers"],
    })
}

fn role() -> JwtRole {
    JwtRole {
        rules: ClaimRules {
            issuer: "https://id.example.com".to_owned(),
            audiences: BTreeSet::from(["signet".to_owned()]),
            age_secs_max: None,
            bound_claims: BTreeMap::from([("repository".to_owned(), BTreeSet::from(["acme/app".to_owned()]))]),
            user_claim: "sub".to_owned(),
            groups_claim: Some("groups".to_owned()),
        },
        groups: BTreeSet::from(["ci".to_owned()]),
        policies: BTreeSet::from(["deploy".to_owned()]),
        ttl_secs: 600,
        max_ttl_secs: 600,
    }
}

fn method(algorithms: &[Algorithm], keys: KeySource) -> JwtLogin {
    JwtLogin::new(JwtAuth {
        mount: "gitlab".to_owned(),
        issuer: "https://id.example.com".to_owned(),
        algorithms: algorithms.to_vec(),
        keys,
        roles: BTreeMap::from([("deploy".to_owned(), role())]),
    })
}

fn pem_keys(keys: &[&IssuerKey]) -> KeySource {
    let mut set = KeySet::default();
    for key in keys {
        set.add_pem(key.public_pem.as_bytes()).unwrap();
    }
    KeySource::Files(Arc::new(set))
}

fn rsa_method() -> JwtLogin {
    method(&[Algorithm::RS256], pem_keys(&[&RSA]))
}

async fn prove(jwt: &str) -> Result<Login, JwtRefusal> {
    rsa_method().prove("deploy", jwt, NOW).await
}

#[tokio::test]
async fn a_good_token_logs_its_subject_in_under_the_mounts_own_names() {
    let login = prove(&RSA.sign(&claims())).await.unwrap();
    assert_eq!(login.person(), "gitlab/repo:acme/app:ref:refs/heads/main");
    assert_eq!(login.display_name(), "gitlab-repo:acme/app:ref:refs/heads/main");
    assert_eq!(
        login.groups(),
        &BTreeSet::from(["ci".to_owned(), "deployers".to_owned()])
    );
    assert_eq!(login.policies(), &BTreeSet::from(["deploy".to_owned()]));
    assert_eq!(
        (login.method(), login.mount(), login.ttl_secs()),
        (AuthMethod::Jwt, "gitlab", 600)
    );
    assert_eq!(login.metadata()["role"], "deploy");
}

#[tokio::test]
async fn each_configured_algorithm_works_with_its_own_keys_only() {
    let all = [
        Algorithm::RS256,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];
    let keys: Vec<IssuerKey> = all
        .iter()
        .map(|algorithm| IssuerKey::new(*algorithm, &format!("{algorithm:?}")))
        .collect();
    let everybody: Vec<&IssuerKey> = keys.iter().collect();
    let jwks = KeySource::Files(Arc::new(KeySet::from_jwks(key_set(&everybody).as_bytes()).unwrap()));
    for source in [pem_keys(&everybody), jwks] {
        for key in &keys {
            let token = key.sign(&claims());
            assert!(
                method(&all, source.clone()).prove("deploy", &token, NOW).await.is_ok(),
                "{:?}",
                key.algorithm
            );
            let others: Vec<Algorithm> = all
                .into_iter()
                .filter(|algorithm| *algorithm != key.algorithm)
                .collect();
            let refused = method(&others, source.clone()).prove("deploy", &token, NOW).await;
            assert!(matches!(refused, Err(JwtRefusal::Algorithm(_))), "{:?}", key.algorithm);
        }
    }
}

#[tokio::test]
async fn cve_2026_27962_the_token_does_not_choose_how_it_is_checked() {
    let payload = claims().to_string();
    let unsigned = |header: &str| {
        format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(&payload)
        )
    };
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"nOnE","typ":"JWT"}"#,
    ] {
        assert!(prove(&unsigned(header)).await.is_err(), "{header} without a signature");
        let with_bytes = format!("{}AAAA", unsigned(header));
        assert!(
            matches!(prove(&with_bytes).await, Err(JwtRefusal::Algorithm(_))),
            "{header}"
        );
    }
    // HS256 with the RSA public key, in each form an attacker could guess, as the shared secret.
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT","kid":"rsa-1"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(&payload));
    for secret in [RSA.public_pem.as_bytes(), RSA.public_pem.trim().as_bytes()] {
        let key = jsonwebtoken::EncodingKey::from_secret(secret);
        let tag = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
        let refused = prove(&format!("{signed}.{tag}")).await;
        assert!(matches!(refused, Err(JwtRefusal::Algorithm(name)) if name == "HS256"));
    }
    // Another RSA algorithm than the configured one, rightly signed.
    let other = RSA.sign_raw(r#"{"alg":"RS512"}"#, &payload);
    assert!(matches!(prove(&other).await, Err(JwtRefusal::Algorithm(_))));
    for header in [r#"{"alg":7}"#, r#"{"alg":null}"#, r#"{"alg":["RS256"]}"#, "{}"] {
        let refused = prove(&RSA.sign_raw(header, &payload)).await;
        assert!(
            matches!(refused, Err(JwtRefusal::Jose(JoseError::NoAlgorithm))),
            "{header}"
        );
    }
}

#[tokio::test]
async fn cve_2026_27962_keys_in_the_header_are_refused_and_nothing_is_fetched() {
    let evil = KeyServer::start().await;
    let attacker = IssuerKey::new(Algorithm::RS256, "evil");
    evil.answer("200 OK", "", &key_set(&[&attacker]));
    for (name, value) in [
        ("jwk", attacker.jwk()),
        ("jku", json!(evil.url.as_str())),
        ("x5u", json!(evil.url.as_str())),
        ("x5c", json!(["AAAA"])),
        ("b64", json!(false)),
        ("crit", json!(["b64"])),
        ("zip", json!("DEF")),
        ("p2c", json!(2_147_483_648_u64)),
        ("p2s", json!("AA")),
        ("enc", json!("A128GCM")),
    ] {
        let mut header = json!({"alg": "RS256", "kid": "evil"});
        header[name] = value;
        for key in [&attacker, &*RSA] {
            let refused = prove(&key.sign_raw(&header.to_string(), &claims().to_string())).await;
            let expected = JoseError::HeaderForbidden(name.to_owned());
            assert!(
                matches!(refused, Err(JwtRefusal::Jose(error)) if error == expected),
                "{name}"
            );
        }
    }
    assert!(evil.requests().is_empty());
    // `typ` may be anything.
    assert!(
        prove(&RSA.sign_raw(r#"{"alg":"RS256","typ":"at+jwt"}"#, &claims().to_string()))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn cve_2025_4658_only_three_parts_with_a_signature_are_a_token() {
    let good = RSA.sign(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let flattened = json!({"protected": header, "payload": payload, "signature": signature}).to_string();
    let general =
        json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]}).to_string();
    for (name, odd) in [
        ("empty", String::new()),
        ("two parts", format!("{header}.{payload}")),
        ("no signature", format!("{header}.{payload}.")),
        ("detached", format!("{header}..{signature}")),
        ("no header", format!(".{payload}.{signature}")),
        ("four parts", format!("{good}.{signature}")),
        ("five parts", format!("{good}.x.y")),
        ("leading dot", format!(".{good}")),
        ("trailing dot", format!("{good}.")),
        ("JSON, flattened", flattened),
        ("JSON, general", general),
        ("blank around", format!(" {good}")),
        ("padded", format!("{header}.{payload}.{signature}==")),
        ("new line", format!("{good}\n")),
        ("standard alphabet", good.replace(['-', '_'], "+")),
    ] {
        assert!(prove(&odd).await.is_err(), "{name}");
    }
    assert!(prove(&good).await.is_ok());
}

#[tokio::test]
async fn cve_2025_3757_what_is_said_twice_is_refused() {
    let payload = claims().to_string();
    for header in [
        r#"{"alg":"RS256","alg":"RS256"}"#,
        r#"{"alg":"none","alg":"RS256"}"#,
        r#"{"alg":"RS256","kid":"a","kid":"b"}"#,
    ] {
        assert!(
            matches!(prove(&RSA.sign_raw(header, &payload)).await, Err(JwtRefusal::Jose(_))),
            "{header}"
        );
    }
    let twice = payload.replacen('{', r#"{"aud":"other","#, 1);
    let nested = payload.replacen('{', r#"{"x":{"y":1,"y":2},"#, 1);
    for payload in [twice, nested] {
        assert!(matches!(
            prove(&RSA.sign_raw(r#"{"alg":"RS256"}"#, &payload)).await,
            Err(JwtRefusal::Jose(_))
        ));
    }
    for odd in ["[]", "7", "\"x\"", "null", "", "{", "{}x", "\u{0}"] {
        assert!(
            matches!(
                prove(&RSA.sign_raw(r#"{"alg":"RS256"}"#, odd)).await,
                Err(JwtRefusal::Jose(_))
            ),
            "{odd:?}"
        );
    }
}

#[tokio::test]
async fn cve_2025_30204_long_tokens_and_many_dots_are_refused_before_any_work() {
    let dots = ".".repeat(1024 * 1024);
    assert!(matches!(prove(&dots).await, Err(JwtRefusal::Jose(JoseError::TooLong))));
    let few_dots = ".".repeat(JWT_BYTES_MAX);
    assert!(matches!(
        prove(&few_dots).await,
        Err(JwtRefusal::Jose(JoseError::NotCompact))
    ));
    let deep = format!("{}1{}", "[".repeat(3_000), "]".repeat(3_000));
    let refused = prove(&RSA.sign_raw(r#"{"alg":"RS256"}"#, &format!(r#"{{"x":{deep}}}"#))).await;
    assert!(matches!(refused, Err(JwtRefusal::Jose(JoseError::NotAnObject { .. }))));
}

#[tokio::test]
async fn a_changed_token_or_another_issuers_key_is_refused() {
    let good = RSA.sign(&claims());
    let mut other_claims = claims();
    other_claims["sub"] = json!("root");
    let other = RSA.sign(&other_claims);
    let (good_parts, other_parts): (Vec<&str>, Vec<&str>) = (good.split('.').collect(), other.split('.').collect());
    let swapped = format!("{}.{}.{}", good_parts[0], other_parts[1], good_parts[2]);
    assert!(matches!(
        prove(&swapped).await,
        Err(JwtRefusal::Jose(JoseError::Mismatch))
    ));
    let stranger = IssuerKey::new(Algorithm::RS256, "rsa-1");
    assert!(matches!(
        prove(&stranger.sign(&claims())).await,
        Err(JwtRefusal::Jose(JoseError::Mismatch))
    ));
    let es256 = IssuerKey::new(Algorithm::ES256, "rsa-1");
    assert!(matches!(
        prove(&es256.sign(&claims())).await,
        Err(JwtRefusal::Algorithm(_))
    ));
}

#[tokio::test]
async fn cve_2026_25537_claims_of_the_wrong_type_do_not_pass_behind_a_good_signature() {
    for (name, value) in [
        ("exp", json!("9999999999")),
        ("exp", Value::Null),
        ("nbf", json!("9999999999")),
        ("nbf", Value::Null),
        ("iat", json!("1")),
        ("aud", json!([["signet"]])),
    ] {
        let mut odd = claims();
        odd[name] = value.clone();
        let refused = prove(&RSA.sign(&odd)).await;
        assert!(
            matches!(
                refused,
                Err(JwtRefusal::Claims {
                    broken: ClaimError::WrongType(_),
                    ..
                })
            ),
            "{name} {value}"
        );
    }
    let huge = claims().to_string().replace("1800000300", "1e400");
    assert!(matches!(
        prove(&RSA.sign_raw(r#"{"alg":"RS256"}"#, &huge)).await,
        Err(JwtRefusal::Jose(_))
    ));
}

#[tokio::test]
async fn the_role_is_one_that_exists_and_its_bounds_hold() {
    let method = rsa_method();
    let good = RSA.sign(&claims());
    for odd in ["", "Deploy", "deploy ", "deploy\n", "other"] {
        assert!(
            matches!(method.prove(odd, &good, NOW).await, Err(JwtRefusal::UnknownRole(_))),
            "{odd:?}"
        );
    }
    let mut fork = claims();
    fork["repository"] = json!("mallory/app");
    let refused = prove(&RSA.sign(&fork)).await;
    assert!(
        matches!(refused, Err(JwtRefusal::Claims { broken: ClaimError::NotBound(claim), .. }) if claim == "repository")
    );
}

#[tokio::test]
async fn a_key_set_at_a_url_serves_a_login() {
    let server = KeyServer::start().await;
    server.answer("200 OK", "", &key_set(&[&RSA]));
    let source = KeySource::Url {
        url: server.url.clone(),
        roots: None,
    };
    let method = method(&[Algorithm::RS256], source);
    assert!(method.prove("deploy", &RSA.sign(&claims()), NOW).await.is_ok());
    assert!(method.prove("deploy", &RSA.sign(&claims()), NOW).await.is_ok());
    assert_eq!(server.requests().len(), 1);
}
