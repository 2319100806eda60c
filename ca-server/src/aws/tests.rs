//! The client against a service that answers whatever a test wants, and metadata services of our own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signet_core::time::UnixTime;
use zeroize::Zeroizing;

use super::AwsError;
use super::kms::Kms;
use crate::clock::Clock;
use crate::config::{AwsConfig, AwsEnvironment, ContainerAddress, EnvironmentKeys};
use crate::seal::aws_kms::AwsKmsSeal;
use crate::seal::{RootKey, Seal as _, SealError};

const SECRET: &str = "canary-secret-access-key";
const SESSION: &str = "canary-session-token";

/// A request as the fake service got it.
#[derive(Debug, Clone)]
struct Seen {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn access_key(&self) -> &str {
        let credential = self.header("authorization").split("Credential=").nth(1).unwrap_or("");
        credential.split('/').next().unwrap_or("")
    }
}

type Script = dyn Fn(&Seen, usize) -> (u16, String) + Send + Sync;

/// A service on loopback that keeps what it is asked.
struct Fake {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// Answers with what `script` makes of a request and the number of those with the same path before it.
    async fn new(script: impl Fn(&Seen, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (kept, script): (_, Arc<Script>) = (Arc::clone(&seen), Arc::new(script));
        let router = axum::Router::new().fallback(move |request: Request| {
            let (kept, script) = (Arc::clone(&kept), Arc::clone(&script));
            async move { answer(request, &kept, script.as_ref()).await }
        });
        tokio::spawn(async move { axum_serve(listener, router).await });
        Self { address, seen }
    }

    fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.path == path).cloned().collect()
    }
}

async fn answer(request: Request, kept: &Mutex<Vec<Seen>>, script: &Script) -> Response {
    let (parts, body) = request.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap(),
    };
    let before = {
        let mut all = kept.lock().unwrap();
        let before = all.iter().filter(|other| other.path == seen.path).count();
        all.push(seen.clone());
        before
    };
    let (status, body) = script(&seen, before);
    let builder = Response::builder().status(status);
    let builder = if (300..400).contains(&status) {
        builder.header("location", body.clone())
    } else {
        builder
    };
    builder.body(Body::from(body)).unwrap()
}

async fn axum_serve(listener: tokio::net::TcpListener, router: axum::Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
            drop(connection.await);
        });
    }
}

fn config(kms: &Fake) -> AwsConfig {
    AwsConfig {
        key_id: "1234".to_owned(),
        region: Some("eu-west-1".to_owned()),
        endpoint: Some(kms.address.parse().unwrap()),
        sts_endpoint: Some(kms.address.parse::<url::Url>().unwrap().join("/sts").unwrap()),
        profile: None,
        encryption_context: BTreeMap::from([("signet".to_owned(), "ca".to_owned())]),
    }
}

/// Nothing but what a test adds; no metadata service of the machine is asked.
fn nothing() -> AwsEnvironment {
    AwsEnvironment {
        instance_metadata_disabled: true,
        ..AwsEnvironment::default()
    }
}

fn keys() -> AwsEnvironment {
    AwsEnvironment {
        keys: Some(EnvironmentKeys {
            id: "AKIDENVIRONMENT".to_owned(),
            secret: SECRET.to_owned().into(),
            token: Some(SESSION.to_owned().into()),
        }),
        ..nothing()
    }
}

fn opened() -> (u16, String) {
    (
        200,
        r#"{"KeyId":"arn:aws:kms:eu-west-1:1:key/1234","Plaintext":"AAAA"}"#.to_owned(),
    )
}

fn document(id: &str, end: &str) -> String {
    format!(
        r#"{{"Code":"Success","AccessKeyId":"{id}","SecretAccessKey":"{SECRET}","Token":"{SESSION}","Expiration":"{end}"}}"#
    )
}

fn noon() -> (Clock, UnixTime) {
    let now = UnixTime::parse_rfc3339("2026-11-26T12:00:00Z").unwrap();
    (Clock::fixed(now), now)
}

async fn decrypt(kms: &Kms) -> Result<(), AwsError> {
    kms.decrypt(b"x").await.map(drop)
}

#[tokio::test]
async fn a_call_is_signed_with_the_keys_of_the_environment_and_nothing_shows_them() {
    let fake = Fake::new(|_, _| opened()).await;
    let kms = Kms::new(&config(&fake), &keys(), noon().0).unwrap();
    decrypt(&kms).await.unwrap();
    let seen = fake.seen("/").remove(0);
    assert_eq!((seen.method.as_str(), seen.access_key()), ("POST", "AKIDENVIRONMENT"));
    assert_eq!(seen.header("x-amz-target"), "TrentService.Decrypt");
    assert_eq!(seen.header("x-amz-date"), "20261126T120000Z");
    assert_eq!(seen.header("x-amz-security-token"), SESSION);
    assert!(
        seen.header("authorization")
            .contains("/20261126/eu-west-1/kms/aws4_request")
    );
    let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(
        (&body["KeyId"], &body["EncryptionContext"]["signet"]),
        (&"1234".into(), &"ca".into())
    );
    let shown = format!("{kms:?} {:?}", keys());
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn instance_metadata_is_asked_in_version_2_and_again_before_the_end() {
    let metadata = Fake::new(|seen, before| match seen.path.as_str() {
        "/latest/api/token" => (200, "session-1".to_owned()),
        "/latest/meta-data/iam/security-credentials/" => (200, "signet-role".to_owned()),
        "/latest/meta-data/iam/security-credentials/signet-role" => match before {
            0 => (200, document("AKIDFIRST", "2026-11-26T12:10:00Z")),
            1 => (500, String::new()),
            _ => (200, document("AKIDSECOND", "2026-11-26T13:00:00Z")),
        },
        other => (404, other.to_owned()),
    })
    .await;
    let fake = Fake::new(|_, _| opened()).await;
    let environment = AwsEnvironment {
        instance_metadata: Some(metadata.address.clone()),
        ..AwsEnvironment::default()
    };
    let (clock, _) = noon();
    let kms = Kms::new(&config(&fake), &environment, clock.clone()).unwrap();
    let role = "/latest/meta-data/iam/security-credentials/signet-role";
    // Twice at noon; then in the last five minutes, where the first attempt fails; then ten seconds later.
    for (advance, fetches, key) in [
        (0, 1, "AKIDFIRST"),
        (0, 1, "AKIDFIRST"),
        (301, 2, "AKIDFIRST"),
        (1, 2, "AKIDFIRST"),
        (10, 3, "AKIDSECOND"),
    ] {
        clock.advance(advance);
        decrypt(&kms).await.unwrap();
        assert_eq!(metadata.seen(role).len(), fetches);
        assert_eq!(fake.seen("/").last().unwrap().access_key(), key);
    }
    let begin = metadata.seen("/latest/api/token").remove(0);
    assert_eq!(
        (
            begin.method.as_str(),
            begin.header("x-aws-ec2-metadata-token-ttl-seconds")
        ),
        ("PUT", "60")
    );
    assert_eq!(metadata.seen(role)[0].header("x-aws-ec2-metadata-token"), "session-1");
}

#[tokio::test]
async fn without_version_2_or_a_role_there_are_no_credentials_and_version_1_is_not_tried() {
    for refuses in ["/latest/api/token", "/latest/meta-data/iam/security-credentials/"] {
        let metadata = Fake::new(move |seen, _| {
            if seen.path == refuses {
                (404, String::new())
            } else {
                (200, "x".to_owned())
            }
        })
        .await;
        let fake = Fake::new(|_, _| opened()).await;
        let environment = AwsEnvironment {
            instance_metadata: Some(metadata.address.clone()),
            ..AwsEnvironment::default()
        };
        let kms = Kms::new(&config(&fake), &environment, noon().0).unwrap();
        let error = decrypt(&kms).await.unwrap_err();
        assert!(matches!(error, AwsError::Unavailable(_)), "{error}");
        let all = metadata.seen.lock().unwrap().clone();
        assert!(
            all.iter()
                .all(|seen| seen.method == "PUT" || seen.header("x-aws-ec2-metadata-token") == "x"),
            "{all:?}"
        );
        assert!(fake.seen("/").is_empty());
    }
}

#[tokio::test]
async fn a_containers_credentials_are_asked_for_with_the_token_that_lies_in_the_file_now() {
    let container = Fake::new(|_, before| match before {
        0 => (200, document("AKIDONE", "2026-11-26T12:06:00Z")),
        _ => (200, document("AKIDTWO", "2026-11-26T14:00:00Z")),
    })
    .await;
    let fake = Fake::new(|_, _| opened()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let environment = AwsEnvironment {
        container: Some(ContainerAddress::Full(format!("{}/v1/credentials", container.address))),
        container_token_file: Some(file.clone()),
        ..nothing()
    };
    let (clock, _) = noon();
    let kms = Kms::new(&config(&fake), &environment, clock.clone()).unwrap();
    decrypt(&kms).await.unwrap();
    std::fs::write(&file, "second\n").unwrap();
    clock.advance(120);
    decrypt(&kms).await.unwrap();
    let asked = container.seen("/v1/credentials");
    let tokens: Vec<&str> = asked.iter().map(|seen| seen.header("authorization")).collect();
    assert_eq!(tokens, ["first", "second"]);
    let used: Vec<String> = fake.seen("/").iter().map(|seen| seen.access_key().to_owned()).collect();
    assert_eq!(used, ["AKIDONE", "AKIDTWO"]);
}

#[tokio::test]
async fn a_web_identity_takes_on_its_role_and_again_when_aws_says_that_it_expired() {
    let fake = Fake::new(|seen, before| match (seen.path.as_str(), before) {
        ("/sts", number) => (
            200,
            format!(
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                 <AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
                 <SessionToken>{SESSION}</SessionToken><Expiration>2026-11-26T13:00:00Z</Expiration></Credentials>\
                 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ),
        ),
        (_, 0) => (400, r#"{"__type":"ExpiredTokenException","message":"old"}"#.to_owned()),
        _ => opened(),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "jwt.of.pod\n").unwrap();
    let environment = AwsEnvironment {
        web_identity: Some(("arn:aws:iam::1:role/signet".to_owned(), file)),
        ..nothing()
    };
    let kms = Kms::new(&config(&fake), &environment, noon().0).unwrap();
    decrypt(&kms).await.unwrap();
    let asked = fake.seen("/sts");
    assert_eq!(asked.len(), 2);
    assert!(
        asked[0].body.contains("WebIdentityToken=jwt.of.pod&")
            || asked[0].body.ends_with("WebIdentityToken=jwt.of.pod"),
        "{}",
        asked[0].body
    );
    assert!(asked[0].body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fsignet"));
    assert_eq!(asked[0].header("authorization"), "", "not signed");
    let used: Vec<String> = fake.seen("/").iter().map(|seen| seen.access_key().to_owned()).collect();
    assert_eq!(used, ["ASIA0", "ASIA1"]);
}

#[tokio::test]
async fn keys_that_stay_expired_are_an_error_after_one_renewal() {
    let expired = || (400, r#"{"__type":"ExpiredTokenException","message":"old"}"#.to_owned());
    let fake = Fake::new(move |_, _| expired()).await;
    let kms = Kms::new(&config(&fake), &keys(), noon().0).unwrap();
    let error = decrypt(&kms).await.unwrap_err();
    assert!(error.to_string().contains("give it new ones"), "{error}");
    assert_eq!(fake.seen("/").len(), 1, "the environment cannot be asked for others");
}

fn profile_environment(folder: &Path, text: &str) -> AwsEnvironment {
    let file = folder.join("credentials");
    crate::secret_file::write_new(&file, text.as_bytes()).unwrap();
    AwsEnvironment {
        credentials_file: Some(file),
        ..nothing()
    }
}

#[tokio::test]
async fn a_profiles_keys_are_used_and_what_would_start_a_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::new(|_, _| opened()).await;
    let text = format!(
        "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = {SECRET}\n[odd]\ncredential_process = /bin/x\n"
    );
    let environment = profile_environment(folder.path(), &text);
    let kms = Kms::new(&config(&fake), &environment, noon().0).unwrap();
    decrypt(&kms).await.unwrap();
    assert_eq!(fake.seen("/")[0].access_key(), "AKIDDEFAULT");
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder.path().join("credentials"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    let open = decrypt(&Kms::new(&config(&fake), &environment, noon().0).unwrap()).await;
    assert!(
        matches!(&open, Err(AwsError::Setup(text)) if text.contains("mode 0644")),
        "{open:?}"
    );
    mode(0o600);
    for (name, about) in [
        ("odd", "`credential_process`, which is not supported"),
        ("none", "is not there"),
    ] {
        let named = AwsConfig {
            profile: Some(name.to_owned()),
            ..config(&fake)
        };
        // A profile named in signet.toml comes before the environment's keys.
        let environment = AwsEnvironment {
            keys: keys().keys,
            ..environment.clone()
        };
        let error = decrypt(&Kms::new(&named, &environment, noon().0).unwrap())
            .await
            .unwrap_err();
        assert!(
            matches!(&error, AwsError::Setup(text) if text.contains(about)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn throttling_and_faults_are_tried_again_three_times_and_refusals_are_not() {
    let throttled = || {
        (
            400,
            r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#.to_owned(),
        )
    };
    let fake = Fake::new(move |_, before| if before < 2 { throttled() } else { opened() }).await;
    decrypt(&Kms::new(&config(&fake), &keys(), noon().0).unwrap())
        .await
        .unwrap();
    assert_eq!(fake.seen("/").len(), 3);

    let fake = Fake::new(|_, _| (503, "<html>".to_owned())).await;
    let error = decrypt(&Kms::new(&config(&fake), &keys(), noon().0).unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, AwsError::Unavailable(_)), "{error}");
    assert_eq!(fake.seen("/").len(), 3);

    let denied = || (400, r#"{"__type":"AccessDeniedException","Message":"no"}"#.to_owned());
    let fake = Fake::new(move |_, _| denied()).await;
    let error = decrypt(&Kms::new(&config(&fake), &keys(), noon().0).unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, AwsError::Refused(_)), "{error}");
    assert_eq!(fake.seen("/").len(), 1);
}

#[tokio::test]
async fn redirects_are_not_followed_and_long_answers_not_read() {
    let other = Fake::new(|_, _| opened()).await;
    let address = other.address.clone();
    let fake = Fake::new(move |_, _| (307, address.clone())).await;
    assert!(
        decrypt(&Kms::new(&config(&fake), &keys(), noon().0).unwrap())
            .await
            .is_err()
    );
    assert!(other.seen.lock().unwrap().is_empty(), "CVE-2026-22772's way");
    let fake = Fake::new(|_, _| (200, " ".repeat(70_000))).await;
    let error = decrypt(&Kms::new(&config(&fake), &keys(), noon().0).unwrap())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
}

fn sealed_with(fake: &Fake, clock: Clock) -> AwsKmsSeal {
    AwsKmsSeal::with(&config(fake), &keys(), clock).unwrap()
}

fn key_answer(number: u8, with_ciphertext: bool) -> (u16, String) {
    let mut body = serde_json::json!({
        "KeyId": "arn:aws:kms:eu-west-1:1:key/1234", "Plaintext": STANDARD.encode([number; 32]),
    });
    if with_ciphertext {
        body["CiphertextBlob"] = STANDARD.encode(b"ciphertext").into();
    }
    (200, body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_key_never_goes_to_kms_and_what_kms_says_decides_what_is_done() {
    let mode: Arc<Mutex<Option<(u16, &str)>>> = Arc::default();
    let says = Arc::clone(&mode);
    let fake = Fake::new(move |seen, _| match *says.lock().unwrap() {
        Some((status, code)) => (status, format!(r#"{{"__type":"{code}","message":"x"}}"#)),
        None => key_answer(7, seen.header("x-amz-target").ends_with("GenerateDataKey")),
    })
    .await;
    let seal = Arc::new(sealed_with(&fake, noon().0));
    let root = [0x5a; 32];
    let wrapping = Arc::clone(&seal);
    let wrapped = blocking(move || wrapping.wrap(&RootKey::new(Zeroizing::new(root))))
        .await
        .unwrap();
    let unwrap = |bytes: Vec<u8>| {
        let seal = Arc::clone(&seal);
        blocking(move || seal.unwrap(&bytes))
    };
    assert_eq!(unwrap(wrapped.clone()).await.unwrap().expose(), &root);
    for seen in fake.seen("/") {
        assert!(!seen.body.contains(&STANDARD.encode(root)), "{}", seen.body);
    }
    for (code, wanted) in [
        ("DisabledException", "Unavailable"),
        ("AccessDeniedException", "Unavailable"),
        ("NotFoundException", "Unavailable"),
        ("InvalidCiphertextException", "WrongKey"),
        ("IncorrectKeyException", "WrongKey"),
        ("KMSInternalException", "Unavailable"),
    ] {
        *mode.lock().unwrap() = Some((400, code));
        let error = unwrap(wrapped.clone()).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(wanted), "{code}: {error:?}");
    }
    // Nothing that was altered opens, and KMS's answers do not tell what.
    *mode.lock().unwrap() = None;
    let text = String::from_utf8(wrapped).unwrap();
    let mut damaged: serde_json::Value = serde_json::from_str(&text).unwrap();
    damaged["root_key"] = STANDARD.encode([1; 60]).into();
    for wrong in [
        damaged.to_string(),
        text.replace("key/1234", "key/5678"),
        text.replace("\"version\":1", "\"version\":2"),
        text.chars().take(40).collect(),
        String::new(),
    ] {
        let error = unwrap(wrong.into_bytes()).await.unwrap_err();
        assert!(matches!(error, SealError::WrongKey { .. }), "{error:?}");
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
