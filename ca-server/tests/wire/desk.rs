//! An authority to send requests to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use secrecy::SecretString;
use serde_json::{Value, json};
use signet_ca::authority::Authority;
use signet_ca::clock::Clock;
use signet_ca::dev::{Dev, DevOptions, open};
use signet_ca::http::{PeerAddress, router};
use signet_ca::ledger::Reader;
use signet_core::policy_set::PolicySet;
use signet_core::time::UnixTime;
use tower::ServiceExt as _;

/// The root token of all these tests.
pub(crate) const ROOT: &str = "wire-root";
/// The slides' mount, made by [`Desk::with_role`].
pub(crate) const MOUNT: &str = "ssh-client-signer";
/// An Ed25519 key whose private half nobody kept.
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICkfIJ02iFsTrsJsj4NvDfaQ5XFUC1VTzYKbqBJHfYI+ wire@test";
/// The role of the slides, as it is.
pub(crate) const SLIDE_ROLE: &str = r#"{"allow_user_certificates":true,"allowed_users":"*","default_extensions":[{"permit-pty":""}],"key_type":"ca","default_user":"ubuntu","ttl":"30m0s"}"#;

/// An authority and its router.
pub(crate) struct Desk {
    pub(crate) dev: Dev,
    pub(crate) router: Router,
    pub(crate) clock: Clock,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn first_error(&self) -> String {
        self.json()["errors"][0].as_str().unwrap_or_default().to_owned()
    }
}

impl Desk {
    /// No mounts, no policies: everybody but root is refused everything.
    pub(crate) fn new() -> Self {
        Self::with_policies(&[])
    }

    pub(crate) fn with_policies(files: &[(&str, &str)]) -> Self {
        Self::open(None, Clock::fixed(UnixTime::from_secs(1_795_000_000)), files)
    }

    /// On a data folder of one's own, which can be opened again when [`Desk::close`] has returned.
    pub(crate) fn open(data: Option<PathBuf>, clock: Clock, files: &[(&str, &str)]) -> Self {
        let options = DevOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            root_token: Some(SecretString::from(ROOT)),
            policies: None,
            data,
        };
        // In a thread of its own: opening brings its own runtime, which must not end inside another.
        let opening = clock.clone();
        let dev = std::thread::spawn(move || open(options, opening).unwrap())
            .join()
            .unwrap();
        let files: BTreeMap<String, String> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        dev.authority.set_policy(PolicySet::from_files(&files).unwrap());
        let router = router(std::sync::Arc::clone(&dev.authority));
        Self { dev, router, clock }
    }

    /// The slides' three requests.
    pub(crate) async fn with_role(files: &[(&str, &str)]) -> Self {
        let desk = Self::with_policies(files);
        desk.make_role().await;
        desk
    }

    pub(crate) async fn make_role(&self) {
        let desk = self;
        desk.root("POST", &format!("sys/mounts/{MOUNT}"), r#"{"type":"ssh"}"#)
            .await;
        desk.root(
            "POST",
            &format!("{MOUNT}/config/ca"),
            r#"{"generate_signing_key":true,"key_type":"ed25519"}"#,
        )
        .await;
        desk.root("POST", &format!("{MOUNT}/roles/my-role"), SLIDE_ROLE).await;
    }

    /// Ends everything that holds the data folder.
    pub(crate) fn close(self) {
        let authority = std::sync::Arc::clone(&self.dev.authority);
        drop(self);
        authority.ledger.close();
        assert_eq!(
            std::sync::Arc::strong_count(&authority),
            1,
            "somebody still holds the authority"
        );
    }

    pub(crate) async fn root(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask(method, path, Some(ROOT), body).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/v1/{path}"));
        if let Some(token) = token {
            request = request.header("x-vault-token", token);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        request
            .extensions_mut()
            .insert(PeerAddress(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
            bytes,
        }
    }

    /// A token with no policies but `default`.
    pub(crate) async fn plain_token(&self) -> String {
        let answer = self
            .root("POST", "auth/token/create", r#"{"policies":["nothing"],"ttl":"1h"}"#)
            .await;
        answer.json()["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn sign(&self, token: &str, fields: Value) -> Answer {
        let mut body = json!({"public_key": KEY});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        self.ask("POST", &format!("{MOUNT}/sign/my-role"), Some(token), &body.to_string())
            .await
    }

    /// Every line of the ledger so far.
    pub(crate) fn ledger_file(&self) -> Vec<u8> {
        let folder = &self.dev.authority.config.data;
        let mut bytes = Vec::new();
        for name in ["ledger.db", "ledger.db-wal", "store.db", "store.db-wal"] {
            bytes.extend(std::fs::read(folder.join(name)).unwrap_or_default());
        }
        bytes
    }
}

/// All records of a kind.
pub(crate) fn records(authority: &Authority, kind: &str) -> Vec<Value> {
    let reader = Reader::open(&authority.config.data.join("ledger.db")).unwrap();
    let records = reader.after(0, 100_000).unwrap();
    let records = records
        .into_iter()
        .map(|(_, line)| serde_json::from_str::<Value>(&line).unwrap());
    records.filter(|record| record["event"] == kind).collect()
}

/// Whether `text` occurs in `bytes`.
pub(crate) fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
