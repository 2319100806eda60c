//! Reading key sets, and fetching them from a real web server on loopback.

use std::sync::Arc;

use serde_json::json;
use signet_core::time::UnixTime;

use super::super::test_issuer::{IssuerKey, KeyServer, key_set};
use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn es256(key_id: &str) -> IssuerKey {
    IssuerKey::new(Algorithm::ES256, key_id)
}

fn count(set: &KeySet, algorithm: Algorithm, key_id: Option<&str>) -> usize {
    set.candidates(algorithm, key_id).count()
}

#[test]
fn a_key_is_chosen_by_algorithm_and_key_id() {
    let (one, two) = (es256("one"), es256("two"));
    let ed = IssuerKey::new(Algorithm::EdDSA, "one");
    let set = KeySet::from_jwks(key_set(&[&one, &two, &ed]).as_bytes()).unwrap();
    assert_eq!(count(&set, Algorithm::ES256, Some("one")), 1);
    assert_eq!(count(&set, Algorithm::ES256, None), 2);
    assert_eq!(count(&set, Algorithm::ES256, Some("three")), 0);
    assert_eq!(count(&set, Algorithm::EdDSA, Some("one")), 1);
    assert_eq!(count(&set, Algorithm::ES384, Some("one")), 0);
    assert_eq!(count(&set, Algorithm::RS256, None), 0);
    assert_eq!(count(&set, Algorithm::HS256, None), 0);
}

#[test]
fn keys_that_must_not_verify_are_left_out_or_refused() {
    let good = es256("good").jwk();
    let with = |name: &str, value: serde_json::Value| {
        let mut key = es256("x").jwk();
        key[name] = value;
        KeySet::from_jwks(json!({"keys": [good, key]}).to_string().as_bytes())
    };
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("ES384")),
        ("alg", json!("HS256")),
        ("kty", json!("XX")),
        ("crv", json!("P-521")),
        ("x", json!(7)),
    ] {
        assert_eq!(
            count(&with(name, value.clone()).unwrap(), Algorithm::ES256, None),
            1,
            "{name} {value}"
        );
    }
    assert_eq!(with("d", json!("AAAA")).err(), Some(KeySetError::PrivateKey));
    let symmetric = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "s"}]}).to_string();
    assert_eq!(
        KeySet::from_jwks(symmetric.as_bytes()).err(),
        Some(KeySetError::NoUsableKey)
    );
    let no_key_id = {
        let mut key = es256("x").jwk();
        key.as_object_mut().unwrap().remove("kid");
        KeySet::from_jwks(json!({"keys": [key]}).to_string().as_bytes()).unwrap()
    };
    assert_eq!(count(&no_key_id, Algorithm::ES256, None), 1);
    assert_eq!(count(&no_key_id, Algorithm::ES256, Some("x")), 0);
}

#[test]
fn texts_that_are_no_key_sets_are_refused() {
    for odd in ["", "{}", "[]", r#"{"keys":7}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert!(
            matches!(KeySet::from_jwks(odd.as_bytes()), Err(KeySetError::NotAKeySet(_))),
            "{odd}"
        );
    }
    assert_eq!(
        KeySet::from_jwks(br#"{"keys":[]}"#).err(),
        Some(KeySetError::NoUsableKey)
    );
    let many = json!({"keys": vec![json!({}); KEYS_MAX + 1]}).to_string();
    assert_eq!(KeySet::from_jwks(many.as_bytes()).err(), Some(KeySetError::TooManyKeys));
}

#[test]
fn pem_files_hold_one_public_key() {
    let key = es256("x");
    let mut set = KeySet::default();
    set.add_pem(key.public_pem.as_bytes()).unwrap();
    assert_eq!(count(&set, Algorithm::ES256, Some("any")), 1, "a file's key has no id");
    let private = key.public_pem.replace("PUBLIC", "PRIVATE");
    assert_eq!(set.add_pem(private.as_bytes()), Err(KeySetError::PrivateKey));
    let certificate = key.public_pem.replace("PUBLIC KEY", "CERTIFICATE");
    let two = format!("{0}{0}", key.public_pem);
    for odd in ["", "x", &certificate, &two] {
        assert_eq!(set.add_pem(odd.as_bytes()), Err(KeySetError::NotAPublicKeyPem), "{odd}");
    }
    let broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(set.add_pem(broken.as_bytes()), Err(KeySetError::NoUsableKey));
}

#[test]
fn cve_2026_49478_key_sets_come_from_https_or_loopback_only() {
    for (text, good) in [
        ("https://id.example.com/keys", true),
        ("https://10.0.0.7/keys", true),
        ("http://127.0.0.1:8080/keys", true),
        ("http://localhost/keys", true),
        ("http://[::1]/keys", true),
        ("http://id.example.com/keys", false),
        ("http://localhost.evil.com/keys", false),
        ("http://10.0.0.7/keys", false),
        ("https://169.254.169.254/latest", false),
        ("https://[fe80::1]/keys", false),
        ("https://[::ffff:169.254.169.254]/", false),
        ("https://user:pass@id.example.com/keys", false),
        ("ftp://id.example.com/keys", false),
        ("file:///etc/passwd", false),
        ("data:application/json,{}", false),
    ] {
        assert_eq!(is_acceptable_url(&text.parse().unwrap()), good, "{text}");
    }
}

struct Remote {
    server: KeyServer,
    keys: RemoteKeys,
}

impl Remote {
    async fn start() -> Self {
        let server = KeyServer::start().await;
        let keys = RemoteKeys::new(server.url.clone(), None);
        Self { server, keys }
    }

    async fn knows(&self, key_id: &str, now: UnixTime) -> bool {
        let set = self.keys.keys_for(Algorithm::ES256, Some(key_id), now).await.unwrap();
        count(&set, Algorithm::ES256, Some(key_id)) > 0
    }

    fn fetches(&self) -> usize {
        self.server.requests().len()
    }
}

#[tokio::test]
async fn a_set_is_kept_as_long_as_the_issuer_says_within_bounds() {
    for (header, fresh_secs) in [
        ("", 60),
        ("cache-control: max-age=600\r\n", 600),
        ("cache-control: public, Max-Age=600, must-revalidate\r\n", 600),
        ("cache-control: max-age=1\r\n", 60),
        ("cache-control: max-age=99999999999999999999\r\n", 60),
        ("cache-control: max-age=86400\r\n", 3600),
        ("cache-control: no-store, max-age=600\r\n", 60),
    ] {
        let remote = Remote::start().await;
        remote.server.answer("200 OK", header, &key_set(&[&es256("one")]));
        assert!(remote.knows("one", NOW).await);
        assert!(remote.knows("one", NOW.plus(fresh_secs - 1)).await);
        assert_eq!(remote.fetches(), 1, "{header}");
        assert!(remote.knows("one", NOW.plus(fresh_secs)).await);
        assert_eq!(remote.fetches(), 2, "{header}");
    }
}

#[tokio::test]
async fn an_unknown_key_id_fetches_once_a_minute_and_finds_a_rotated_key() {
    let remote = Remote::start().await;
    let old = es256("old");
    remote
        .server
        .answer("200 OK", "cache-control: max-age=3600\r\n", &key_set(&[&old]));
    assert!(remote.knows("old", NOW).await);
    remote.server.answer(
        "200 OK",
        "cache-control: max-age=3600\r\n",
        &key_set(&[&old, &es256("new")]),
    );
    for second in [1, 30, 59] {
        assert!(!remote.knows("new", NOW.plus(second)).await, "too early at {second}");
    }
    assert_eq!(remote.fetches(), 1);
    assert!(remote.knows("new", NOW.plus(60)).await);
    assert_eq!(remote.fetches(), 2);
    for second in 61..119 {
        assert!(!remote.knows("made-up", NOW.plus(second)).await);
    }
    assert_eq!(remote.fetches(), 2, "made-up key ids cannot make us fetch more");
}

#[tokio::test]
async fn the_last_good_set_serves_while_the_issuer_is_down_but_not_for_ever() {
    let remote = Remote::start().await;
    remote.server.answer("200 OK", "", &key_set(&[&es256("one")]));
    assert!(remote.knows("one", NOW).await);
    for (status, body) in [
        ("500 No", ""),
        ("200 OK", "<html>"),
        ("200 OK", r#"{"keys":[]}"#),
        ("404 No", ""),
    ] {
        remote.server.answer(status, "", body);
        assert!(remote.knows("one", NOW.plus(100)).await, "{status} {body}");
    }
    let day = 24 * 3600;
    assert!(remote.knows("one", NOW.plus(day - 1)).await);
    let gone = remote.keys.keys_for(Algorithm::ES256, Some("one"), NOW.plus(day)).await;
    assert!(gone.is_err(), "a withdrawn key cannot be kept alive for longer");
    remote.server.answer("200 OK", "", &key_set(&[&es256("two")]));
    assert!(remote.knows("two", NOW.plus(day + 100)).await);
    assert!(!remote.knows("one", NOW.plus(day + 100)).await, "rotated away");
}

#[tokio::test]
async fn an_issuer_that_was_never_reachable_is_an_error_and_is_not_hammered() {
    let remote = Remote::start().await;
    remote.server.answer("503 Busy", "", "");
    let first = remote.keys.keys_for(Algorithm::ES256, None, NOW).await;
    assert!(matches!(first, Err(FetchError::Status(503))));
    let second = remote.keys.keys_for(Algorithm::ES256, None, NOW.plus(1)).await;
    assert!(matches!(second, Err(FetchError::FailedJustNow)));
    assert_eq!(remote.fetches(), 1);
    remote.server.answer("200 OK", "", &key_set(&[&es256("one")]));
    assert!(remote.knows("one", NOW.plus(60)).await);
}

#[tokio::test]
async fn cve_2026_22772_a_redirect_is_not_followed() {
    let (remote, elsewhere) = (Remote::start().await, KeyServer::start().await);
    elsewhere.answer("200 OK", "", &key_set(&[&es256("evil")]));
    for status in ["301 Moved", "302 Found", "303 See", "307 There", "308 There"] {
        remote.server.answer(
            status,
            &format!("location: {}\r\n", elsewhere.url),
            &key_set(&[&es256("evil")]),
        );
        let keys = RemoteKeys::new(remote.server.url.clone(), None);
        let refused = keys.keys_for(Algorithm::ES256, Some("evil"), NOW).await;
        assert!(matches!(refused, Err(FetchError::Status(_))), "{status}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_huge_key_set_is_refused_while_it_is_read() {
    let remote = Remote::start().await;
    let padding = " ".repeat(300 * 1024);
    remote
        .server
        .answer("200 OK", "", &format!("{padding}{}", key_set(&[&es256("one")])));
    let refused = remote.keys.keys_for(Algorithm::ES256, None, NOW).await;
    assert!(matches!(refused, Err(FetchError::TooLarge)));
}

#[tokio::test]
async fn cve_2026_4525_a_fetch_carries_no_credential() {
    let remote = Remote::start().await;
    remote
        .server
        .answer("200 OK", "set-cookie: a=b\r\n", &key_set(&[&es256("one")]));
    assert!(remote.knows("one", NOW).await);
    assert!(remote.knows("one", NOW.plus(100)).await);
    for request in remote.server.requests() {
        let request = request.to_ascii_lowercase();
        assert!(request.starts_with("get /keys http/1.1\r\n"), "{request}");
        for name in [
            "authorization",
            "cookie",
            "x-vault-token",
            "referer",
            "proxy-authorization",
        ] {
            assert!(!request.contains(&format!("\r\n{name}:")), "{request}");
        }
    }
}

#[tokio::test]
async fn many_logins_at_once_make_one_fetch() {
    let remote = Arc::new(Remote::start().await);
    remote.server.answer("200 OK", "", &key_set(&[&es256("one")]));
    let logins = (0..50).map(|_| {
        let remote = Arc::clone(&remote);
        tokio::spawn(async move { remote.knows("one", NOW).await })
    });
    for login in logins.collect::<Vec<_>>() {
        assert!(login.await.unwrap());
    }
    assert_eq!(remote.fetches(), 1);
}
