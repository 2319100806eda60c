//! A loopback server that speaks as much of Vault's HTTP API as the client needs, and counts.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use signet_core::sshsig::{LOGIN_NAMESPACE, LoginAddress, SshSignature, login_message};
use signet_core::subject_key::SubjectKey;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::{PrivateKey, PublicKey};

pub(crate) const TOKEN: &str = "hvs.good";

/// The stub.
pub(crate) struct Stub {
    pub(crate) address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    signs: AtomicUsize,
    down: AtomicBool,
    refusing: AtomicBool,
    knocks: AtomicUsize,
    /// Zero: the real clock.
    stands_at: AtomicU64,
    ttl: AtomicUsize,
    requests: Mutex<Vec<(String, String, Value)>>,
    login_key: Mutex<Option<String>>,
    is_vault: AtomicBool,
    address: Mutex<String>,
}

impl Stub {
    pub(crate) fn start() -> Self {
        Self::listen("http", serve)
    }

    /// The same behind TLS, with this certificate.
    pub(crate) fn start_tls(config: rustls::ServerConfig) -> Self {
        let config = Arc::new(config);
        Self::listen("https", move |stream, shared| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(rustls::StreamOwned::new(connection, stream), shared);
        })
    }

    fn listen(scheme: &str, talk: impl Fn(TcpStream, &Shared) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            ttl: AtomicUsize::new(600),
            ..Shared::default()
        });
        shared.address.lock().unwrap().clone_from(&address);
        let serving = Arc::clone(&shared);
        let talk = Arc::new(talk);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, talk) = (Arc::clone(&serving), Arc::clone(&talk));
                std::thread::spawn(move || talk(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// How many certificates were asked for.
    pub(crate) fn signs(&self) -> usize {
        self.shared.signs.load(Ordering::SeqCst)
    }

    /// From now on every connection is cut.
    pub(crate) fn go_down(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
    }

    /// From now on it answers, but nobody gets a certificate.
    pub(crate) fn refuse(&self) {
        self.shared.refusing.store(true, Ordering::SeqCst);
    }

    /// How many requests came, answered or cut.
    pub(crate) fn knocks(&self) -> usize {
        self.shared.knocks.load(Ordering::SeqCst)
    }

    /// From now on its clock goes only by `time_passes`.
    pub(crate) fn time_stands_at(&self, secs: u64) {
        self.shared.stands_at.store(secs, Ordering::SeqCst);
    }

    pub(crate) fn time_passes(&self, secs: u64) {
        self.shared.stands_at.fetch_add(secs, Ordering::SeqCst);
    }

    pub(crate) fn certificates_live(&self, secs: usize) {
        self.shared.ttl.store(secs, Ordering::SeqCst);
    }

    /// Only what a Vault has, nothing of ours.
    pub(crate) fn be_a_plain_vault(&self) {
        self.shared.is_vault.store(true, Ordering::SeqCst);
    }

    /// Accept logins with this public key.
    pub(crate) fn know(&self, public_line: &str) {
        *self.shared.login_key.lock().unwrap() = Some(public_line.trim().to_owned());
    }

    /// Method, path and body of each request.
    pub(crate) fn requests(&self) -> Vec<(String, String, Value)> {
        self.shared.requests.lock().unwrap().clone()
    }
}

pub(crate) fn ca() -> PrivateKey {
    PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[9; 32]))
}

pub(crate) fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "real ssh tools look at the real clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn serve(stream: impl Read + Write, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some((method, path, headers, body)) = read_request(&mut reader) {
        shared.knocks.fetch_add(1, Ordering::SeqCst);
        if shared.down.load(Ordering::SeqCst) {
            return;
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        shared
            .requests
            .lock()
            .unwrap()
            .push((method.clone(), path.clone(), body.clone()));
        let token = headers.get("x-vault-token").map(String::as_str);
        let (status, answer) = answer(shared, &method, &path, token, &body);
        let (kind, answer) = match answer {
            Value::String(text) => ("text/plain", text),
            Value::Null => ("application/json", String::new()),
            other => ("application/json", other.to_string()),
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        let stream = reader.get_mut();
        if stream
            .write_all((head + &answer).as_bytes())
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}

pub(crate) type Request = (String, String, BTreeMap<String, String>, Vec<u8>);

pub(crate) fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, path, headers, body))
}

fn answer(shared: &Shared, method: &str, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let ours = !shared.is_vault.load(Ordering::SeqCst);
    match (method, path) {
        ("GET", "/v1/ssh/public_key" | "/v1/hosts/public_key") => {
            return (
                200,
                json!(format!("{} host CA\n", ca().public_key().to_openssh().unwrap())),
            );
        }
        ("GET", "/v1/evil/public_key") => {
            let key = ca().public_key().to_openssh().unwrap();
            return (200, json!(format!("{key}\n* {key}\n")));
        }
        ("PUT", "/v1/auth/ssh-key/challenge") => return (200, json!({"data": {"nonce": "ab12", "expires_in": 60}})),
        ("PUT", "/v1/auth/ssh-key/login") => return login(shared, body),
        ("PUT", "/v1/auth/jwt/login") if body["jwt"] == "good.jwt" && body["role"] == "ci" => {
            return (
                200,
                json!({"auth": {"client_token": TOKEN, "lease_duration": 3600, "policies": ["default"]}}),
            );
        }
        ("PUT", "/v1/auth/jwt/login") => return (400, json!({"errors": ["error validating token"]})),
        _ => {}
    }
    if !token.is_some_and(|token| token.starts_with(TOKEN)) {
        let errors = json!({"errors": ["permission denied", "invalid token"]});
        return (403, errors);
    }
    match (method, path) {
        ("PUT", path) if path.starts_with("/v1/ssh/sign/") => sign(shared, path, body),
        ("GET", "/v1/sys/signet/whoami") if ours => (200, json!({"data": {"person": "alice", "groups": ["backend"]}})),
        ("GET", "/v1/sys/signet/roles?mount=ssh") if ours => (
            200,
            json!({"data": {"roles": [{"mount": "ssh", "name": "my-role", "principals": ["ubuntu", "deploy"], "user_certificates": true,
                "default_principals": ["ubuntu"], "ttl": 1800, "max_ttl": null}]}}),
        ),
        ("GET", "/v1/auth/token/lookup-self") => (
            200,
            json!({"data": {"display_name": "token-x", "policies": ["default"], "path": "auth/token/create", "ttl": 60}}),
        ),
        ("GET", "/v1/ssh/roles?list=true") => (200, json!({"data": {"keys": ["my-role", "other"]}})),
        ("PUT", "/v1/ssh/revoke") => revoke(body),
        ("GET", "/v1/ssh/rotate") => (200, json!({"data": rotation(false)})),
        ("PUT", "/v1/ssh/rotate") if body["step"] == "promote" && body["force"] != true => (
            400,
            json!({"errors": ["not safe to promote issuer `next`: 1 of 2 enrolled hosts have not reported"],
                "code": "rotation-unsafe", "hint": "wait"}),
        ),
        ("PUT", "/v1/ssh/rotate") => (200, json!({"data": rotation(true)})),
        ("GET", "/v1/ssh/revocations?list=true") => (
            200,
            json!({"data": {"keys": ["e-1"], "key_info": {"e-1": {"by": "petra", "at": "2026-11-22T00:00:00Z",
                "reason": "lost\u{1b}[2J", "selector": "person alice", "certificates": 2, "until": "2026-11-22T02:00:00Z"}},
                "total": 1, "krl_version": 5}}),
        ),
        ("GET", "/v1/other/revocations?list=true") => (404, json!({"errors": []})),
        ("GET", "/v1/sys/signet/hosts?list=true") => (200, json!({"data": hosts()})),
        ("GET", "/v1/sys/signet/hosts/new.example.com") => (200, json!({"data": shown_host()})),
        ("DELETE", "/v1/sys/signet/hosts/old.example.com") => (
            200,
            json!({"data": null, "warnings": ["its host certificate stays valid until 2026-11-27T00:00:00Z"]}),
        ),
        ("PUT", "/v1/sys/signet/host-tokens") => (200, json!({"data": {"token": "hst.one", "host": body["host"]}})),
        ("GET", "/v1/sys/signet/reconcile") => (
            200,
            json!({"data": {"checked": 12, "since": "2026-10-27T00:00:00Z",
            "alarms": [{"host": "new.example.com", "time": "2026-11-26T00:00:00Z", "account": "root\u{1b}[2J", "address": "192.0.2.9",
                "serial": "281474976710999", "key_id": "x", "fingerprint": "SHA256:x", "reason": "no certificate with this serial was issued"}]}}),
        ),
        ("GET", "/v1/sys/signet/reconcile?since=7d") => (
            200,
            json!({"data": {"checked": 12, "since": "2026-11-19T00:00:00Z", "alarms": []}}),
        ),
        ("GET", "/v1/sys/signet/reconcile?since=1h") => (200, json!({"data": {}})),
        ("GET", path) if path.starts_with("/v1/ssh/certificates?") => certificates(path),
        ("DELETE", "/v1/ssh/revocations/e-1") | ("PUT", "/v1/auth/token/revoke-self") => (204, Value::Null),
        _ => (404, json!({"errors": []})),
    }
}

fn certificate(serial: &str, key_id: &str) -> Value {
    json!({"serial": serial, "key_id": key_id, "person": "alice", "role": "my-role", "mount": "ssh", "cert_type": "user",
        "principals": ["ubuntu", "deploy"], "time": "2026-11-22T03:00:00.123Z", "valid_after": "2026-11-22T02:59:30Z",
        "valid_before": "2026-11-22T03:30:00Z", "fingerprint": "SHA256:x", "address": "192.0.2.7", "live": true,
        "revoked": serial == "7"})
}

/// A rotation whose new key waits for a host.
fn rotation(done: bool) -> Value {
    let issuer = |name: &str, state: &str, key: &str| {
        json!({"issuer_id": format!("id-of-{key}"), "issuer_name": name, "is_default": state == "default",
            "state": state, "ca_fingerprint": format!("SHA256:{key}"), "since": "2026-11-26T00:00:00Z", "trusted_until": null})
    };
    json!({"mount": "ssh", "done": if done { json!("promote") } else { Value::Null },
        "issuers": [issuer("", "default", "old"), issuer("next", "published", "new")],
        "next": {"step": "promote", "issuer_id": "id-of-new", "ca_fingerprint": "SHA256:new", "safe": false,
            "reason": "1 of 2 enrolled hosts have not reported\u{1b}[2J", "hint": "wait", "safe_at": null, "trusting": 1,
            "laggards": ["old.example.com"], "live": 0}})
}

fn revoke(body: &Value) -> (u16, Value) {
    if body["person"] == "mallory" {
        let refused = json!({"errors": ["1 error occurred:\n\t* permission denied\n\n"], "code": "no-policy-permits",
            "reason": "no policy permits `alice` to update `ssh/revoke`"});
        return (403, refused);
    }
    let hits = match body["person"].as_str() {
        Some("nobody") => json!([]),
        _ => json!([certificate("8", "=cmd"), certificate("7", "k\u{1b}[0m")]),
    };
    let dry = body["dry_run"] == true;
    let entries = if dry || hits == json!([]) {
        json!([])
    } else {
        json!(["e-1"])
    };
    let total = hits.as_array().unwrap().len();
    let data = json!({"dry_run": dry, "hits": hits, "hits_total": total, "entries": entries, "krl_version": 5});
    (
        200,
        json!({"data": data, "warnings": ["only certificates that live now are revoked"]}),
    )
}

fn hosts() -> Value {
    let host = |stale: bool, version: Value| {
        json!({"tags": ["web"], "method": "ec2", "enrolled": "2026-11-01T00:00:00Z",
        "last_report": if stale { Value::Null } else { json!("2026-11-26T00:00:00Z") }, "stale": stale, "bundle_version": version,
        "current_bundle_version": 7, "trusts": ["SHA256:x"], "sshd_version": "10.0\u{1b}]0;x", "problems_count": 0,
        "host_certificate_ends": "2026-11-27T00:00:00Z"})
    };
    json!({"keys": ["old.example.com", "new.example.com"],
        "key_info": {"new.example.com": host(false, json!(5)), "old.example.com": host(true, Value::Null)}})
}

fn shown_host() -> Value {
    json!({"host": "new.example.com", "stale": false, "report": {"host": "new.example.com", "sequence": 3,
        "sshd_version": "10.0", "problems": ["a\u{1b}[31mb"], "logins": []}})
}

/// Two pages of one certificate each.
fn certificates(path: &str) -> (u16, Value) {
    let data = if path.contains("person=nobody") {
        json!({"certificates": [], "next": null})
    } else if path.contains("before=20") {
        json!({"certificates": [certificate("7", "k")], "next": null})
    } else {
        json!({"certificates": [certificate("8", "=cmd")], "next": 20})
    };
    (200, json!({"data": data}))
}

fn login(shared: &Shared, body: &Value) -> (u16, Value) {
    let known = shared.login_key.lock().unwrap().clone().unwrap_or_default();
    let known: Vec<&str> = known.split(' ').take(2).collect();
    let sent: Vec<&str> = body["public_key"].as_str().unwrap().split(' ').take(2).collect();
    if known != sent {
        return (403, json!({"errors": ["permission denied"], "code": "login-refused"}));
    }
    let address = LoginAddress::parse(&shared.address.lock().unwrap()).unwrap();
    assert_eq!(body["address"], address.as_str());
    let message = login_message(&address, body["nonce"].as_str().unwrap());
    let signature = SshSignature::from_armor(body["signature"].as_str().unwrap()).unwrap();
    let key = SubjectKey::parse(body["public_key"].as_str().unwrap()).unwrap();
    signature.verify(&key, LOGIN_NAMESPACE, message.as_bytes()).unwrap();
    (
        200,
        json!({"auth": {"client_token": TOKEN, "lease_duration": 3600, "policies": ["default"], "metadata": {"person": "alice"}}}),
    )
}

fn sign(shared: &Shared, path: &str, body: &Value) -> (u16, Value) {
    shared.signs.fetch_add(1, Ordering::SeqCst);
    if path.ends_with("/nobody") {
        return (400, json!({"errors": ["Unknown role: nobody"]}));
    }
    if body["valid_principals"] == "root" {
        return (
            400,
            json!({
                "errors": ["root is not a valid value for valid_principals"],
                "reason": "role `my-role` does not allow principal `root`",
                "code": "principal-not-allowed",
                "hint": "allowed here: ubuntu, deploy",
                "request_id": "r-1",
            }),
        );
    }
    if path.ends_with("/forbidden") || shared.refusing.load(Ordering::SeqCst) {
        return (
            403,
            json!({
                "errors": ["1 error occurred:\n\t* permission denied\n\n"],
                "code": "policy-forbids",
                "reason": "policy `no-contractors` forbids `alice` to sign `forbidden`",
            }),
        );
    }
    // Long enough that 200 askers are all waiting for it.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let key = PublicKey::from_openssh(body["public_key"].as_str().unwrap()).unwrap();
    let ttl = u64::try_from(shared.ttl.load(Ordering::SeqCst)).unwrap();
    let now = match shared.stands_at.load(Ordering::SeqCst) {
        0 => now(),
        standing => standing,
    };
    let mut builder = Builder::new(vec![1; 32], key.key_data().clone(), now - 30, now + ttl).unwrap();
    builder.serial(4711).unwrap().key_id("stub").unwrap();
    builder
        .cert_type(if body["cert_type"] == "host" {
            CertType::Host
        } else {
            CertType::User
        })
        .unwrap();
    builder
        .valid_principal(body["valid_principals"].as_str().unwrap_or("ubuntu"))
        .unwrap();
    builder.extension("permit-pty", "").unwrap();
    let line = builder.sign(&ca()).unwrap().to_openssh().unwrap();
    (
        200,
        json!({"request_id": "x", "data": {"serial_number": "1267", "signed_key": format!("{line}\n")}, "warnings": null}),
    )
}
