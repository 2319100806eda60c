//! An authority at which hosts enrol, hosts with their keys, and what proves who they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use secrecy::SecretString;
use serde_json::{Value, json};
use signet_ca::authority::Authority;
use signet_ca::clock::Clock;
use signet_ca::config::Config;
use signet_ca::http::{PeerAddress, router};
use signet_core::enrollment::{
    ENROLL_NAMESPACE, HostReport, RENEW_NAMESPACE, REPORT_NAMESPACE, enroll_message, renew_message, report_message,
};
use signet_core::policy_set::PolicySet;
use signet_core::sshsig::LoginAddress;
use signet_core::time::UnixTime;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use tower::ServiceExt as _;

use crate::desk::{Answer, ROOT, records};
use crate::signer::RegionKey;

pub(crate) const HERE: &str = "https://ca.example.com:8200";
pub(crate) const NOW: u64 = 1_795_000_000;

const CONFIG: &str = r#"
data = "data"
addresses = ["https://ca.example.com:8200"]

[hosts]
host_mount = "ssh-host-signer"
stale_after = "15m"

[hosts.ec2]
pending_time_window = "10m"

[hosts.ec2.certificates]
eu-central-1 = "frankfurt.pem"
us-east-1 = "virginia.pem"

[[auth.jwt]]
mount = "k8s"
issuer = "https://k8s.example.com"
audiences = ["signet"]
algorithms = ["ES256"]
public_key_files = ["issuer.pem"]

[[auth.jwt.role]]
name = "node"
bound_claims = { kind = "node" }
user_claim = "sub"
groups = []
policies = []
ttl = "10m"
"#;

const HOSTS: &str = r#"
[[enroll]]
method = "ec2"
accounts = ["123456789012"]
regions = ["eu-central-1"]
images = ["ami-0123456789abcdef0"]
subnets = ["10.1.0.0/16"]
tags = ["web"]
names = ["{instance_id}.web.example.com", "{private_dns}"]

[[enroll]]
method = "jwt"
mount = "k8s"
role = "node"
tags = ["node"]
names = ["{user}.k8s.example.com"]

[[enroll]]
method = "token"
domains = ["internal.example.com"]
tags = ["web", "db"]
"#;

const HOST_ROLE: &str = r#"
mount = "ssh-host-signer"
certificates = "host"
allowed_domains = ["web.example.com", "eu-central-1.compute.internal", "k8s.example.com", "internal.example.com"]
allow_subdomains = true
ttl = "24h"
max_ttl = "24h"
"#;

const ACCESS: &str = r#"
permit (principal in Group::"enrolled-hosts", action == Action::"sign", resource == Role::"ssh-host-signer/hosts")
when { context.cert_type == "host" };
"#;

/// A policies folder in which hosts may enrol.
pub(crate) fn policies() -> BTreeMap<String, String> {
    let files = [
        ("hosts.toml", HOSTS),
        ("roles/hosts.toml", HOST_ROLE),
        ("access/hosts.cedar", ACCESS),
    ];
    files.map(|(path, text)| (path.to_owned(), text.to_owned())).into()
}

pub(crate) struct Keys {
    pub(crate) frankfurt: RegionKey,
    pub(crate) virginia: RegionKey,
    pub(crate) mallory: RegionKey,
    issuer: rcgen::KeyPair,
}

/// The authority.
pub(crate) struct Site {
    pub(crate) authority: Arc<Authority>,
    pub(crate) router: Router,
    pub(crate) clock: Clock,
    pub(crate) keys: Keys,
    folder: tempfile::TempDir,
}

/// A host with its key.
pub(crate) struct Host(PrivateKey);

impl Host {
    pub(crate) fn new(seed: u8) -> Self {
        Self(PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32])))
    }

    pub(crate) fn line(&self) -> String {
        self.0.public_key().to_openssh().unwrap()
    }

    pub(crate) fn sign(&self, namespace: &str, message: &str) -> String {
        let signature = self.0.sign(namespace, HashAlg::Sha512, message.as_bytes()).unwrap();
        signature.to_pem(LineEnding::LF).unwrap()
    }
}

/// A document of an instance in Frankfurt, started a minute ago.
pub(crate) fn document(instance: &str, ip: &str) -> String {
    format!(
        r#"{{"accountId":"123456789012","imageId":"ami-0123456789abcdef0","instanceId":"{instance}","pendingTime":"{}","privateIp":"{ip}","region":"eu-central-1"}}"#,
        UnixTime::from_secs(NOW - 60)
    )
}

pub(crate) fn address() -> LoginAddress {
    LoginAddress::parse(HERE).unwrap()
}

impl Site {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys {
            frankfurt: RegionKey::new(),
            virginia: RegionKey::new(),
            mallory: RegionKey::new(),
            issuer: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
        };
        for (file, text) in [
            ("frankfurt.pem", &keys.frankfurt.pem),
            ("virginia.pem", &keys.virginia.pem),
            ("issuer.pem", &keys.issuer.public_key_pem()),
        ] {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let clock = Clock::fixed(UnixTime::from_secs(NOW));
        let authority = open(&folder, &clock);
        authority
            .tokens
            .create_root(&SecretString::from(ROOT), UnixTime::from_secs(NOW))
            .await
            .unwrap();
        let site = Self {
            router: router(Arc::clone(&authority)),
            authority,
            clock,
            keys,
            folder,
        };
        for mount in ["ssh-client-signer", "ssh-host-signer"] {
            site.root("POST", &format!("sys/mounts/{mount}"), json!({"type": "ssh"}))
                .await;
            let ca = site
                .root("POST", &format!("{mount}/config/ca"), json!({"key_type": "ed25519"}))
                .await;
            assert!(ca.status.is_success(), "{}", ca.text);
        }
        site
    }

    /// Stops the authority and opens it again on the same folder.
    pub(crate) fn restart(self) -> Self {
        let Self {
            authority,
            router,
            clock,
            keys,
            folder,
        } = self;
        authority.ledger.close();
        drop(router);
        drop(authority);
        let authority = open(&folder, &clock);
        Self {
            router: router_of(&authority),
            authority,
            clock,
            keys,
            folder,
        }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Value) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/v1/{path}"));
        if let Some(token) = token {
            request = request.header("x-vault-token", token);
        }
        let mut request = request.body(Body::from(body.to_string())).unwrap();
        request
            .extensions_mut()
            .insert(PeerAddress("192.0.2.7".parse().unwrap()));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        let text = String::from_utf8(bytes.clone()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            bytes,
            text,
        }
    }

    pub(crate) async fn root(&self, method: &str, path: &str, body: Value) -> Answer {
        self.ask(method, path, Some(ROOT), body).await
    }

    async fn host(&self, what: &str, body: Value) -> Answer {
        self.ask("POST", &format!("sys/signet/host/{what}"), None, body).await
    }

    pub(crate) async fn nonce(&self) -> String {
        let answer = self.host("challenge", json!({})).await;
        answer.json()["data"]["nonce"].as_str().unwrap().to_owned()
    }

    /// An enrolment's body, signed as it should be.
    pub(crate) async fn enrollment(&self, host: &Host, method: &str, evidence: &str) -> Value {
        let nonce = self.nonce().await;
        let message = enroll_message(&address(), &nonce, method, evidence);
        json!({"method": method, "evidence": evidence, "address": HERE, "nonce": nonce, "public_key": host.line(),
            "signature": host.sign(ENROLL_NAMESPACE, &message)})
    }

    pub(crate) async fn enroll_with(&self, body: Value) -> Answer {
        self.host("enroll", body).await
    }

    pub(crate) async fn enroll(&self, host: &Host, method: &str, evidence: &str) -> Answer {
        self.enroll_with(self.enrollment(host, method, evidence).await).await
    }

    /// Enrols an instance by the document that EC2 gives it.
    pub(crate) async fn enroll_instance(&self, host: &Host, instance: &str, ip: &str) -> Answer {
        let document = self.keys.frankfurt.document(&document(instance, ip));
        self.enroll(host, "ec2", &document).await
    }

    pub(crate) async fn renew(&self, host: &Host, name: &str) -> Answer {
        let nonce = self.nonce().await;
        let signature = host.sign(RENEW_NAMESPACE, &renew_message(&address(), &nonce, name));
        let body =
            json!({"host": name, "address": HERE, "nonce": nonce, "public_key": host.line(), "signature": signature});
        self.host("renew", body).await
    }

    pub(crate) async fn report(&self, host: &Host, report: &HostReport) -> Answer {
        self.report_text(host, &report.host, &serde_json::to_string(report).unwrap())
            .await
    }

    pub(crate) async fn report_text(&self, host: &Host, name: &str, text: &str) -> Answer {
        let signature = host.sign(REPORT_NAMESPACE, &report_message(&address(), text));
        let body = json!({"host": name, "address": HERE, "report": text, "signature": signature});
        self.host("report", body).await
    }

    /// A JWT of the cluster for a node.
    pub(crate) fn jwt(&self, node: &str) -> String {
        let key = jsonwebtoken::EncodingKey::from_ec_pem(self.keys.issuer.serialize_pem().as_bytes()).unwrap();
        let now = self.clock.now().secs();
        let claims = json!({"iss": "https://k8s.example.com", "aud": "signet", "sub": node, "kind": "node",
            "iat": now, "nbf": now, "exp": now + 600});
        jsonwebtoken::encode(
            &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256),
            &claims,
            &key,
        )
        .unwrap()
    }

    /// A one-time token.
    pub(crate) async fn host_token(&self, host: &str) -> String {
        let answer = self
            .root("POST", "sys/signet/host-tokens", json!({"host": host, "tags": ["db"]}))
            .await;
        assert!(answer.status.is_success(), "{}", answer.text);
        answer.json()["data"]["token"].as_str().unwrap().to_owned()
    }

    /// All records of a kind.
    pub(crate) fn records(&self, kind: &str) -> Vec<Value> {
        records(&self.authority, kind)
    }

    /// The reason of the newest refusal.
    pub(crate) fn last_refusal(&self) -> String {
        let refusals = self.records("host-refused");
        refusals
            .last()
            .map(|record| record["reason"].as_str().unwrap().to_owned())
            .unwrap_or_default()
    }

    pub(crate) fn set_policies(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        let mut files = policies();
        change(&mut files);
        self.authority.set_policy(PolicySet::from_files(&files).unwrap());
    }
}

fn router_of(authority: &Arc<Authority>) -> Router {
    router(Arc::clone(authority))
}

/// In a thread of its own: opening waits for the disk, which a runtime's thread must not.
fn open(folder: &tempfile::TempDir, clock: &Clock) -> Arc<Authority> {
    let (base, clock) = (folder.path().to_owned(), clock.clone());
    let opening = std::thread::spawn(move || {
        let config = Config::parse("signet.toml", CONFIG, &base).unwrap();
        let policy = PolicySet::from_files(&policies()).unwrap();
        Authority::open(config, policy, clock).unwrap()
    });
    opening.join().unwrap()
}
