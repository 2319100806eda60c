//! A host in a temporary folder, and a stub of its authority that verifies what the host signs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use signet_core::enrollment::{
    ENROLL_NAMESPACE, HostReport, RENEW_NAMESPACE, REPORT_NAMESPACE, enroll_message, renew_message, report_message,
};
use signet_core::host_policy::HostRule;
use signet_core::krl::Krl;
use signet_core::sshsig::{LoginAddress, SshSignature};
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;
use signet_core::trust_bundle::{BUNDLE_NAMESPACE, TrustBundle};
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey};

use crate::stub::{now, read_request};

pub(crate) const NAME: &str = "web-1.example.com";
const NONCE: &str = "ab12";

/// A key by its seed.
pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// Its public line.
pub(crate) fn line(seed: u8) -> String {
    key(seed).public_key().to_openssh().unwrap().trim().to_owned()
}

pub(crate) const USER_CA: u8 = 1;
pub(crate) const HOST_CA: u8 = 2;
pub(crate) const BUNDLE_KEY: u8 = 3;
pub(crate) const HOST_KEY: u8 = 4;

/// A bundle of this version as the authority would make it.
pub(crate) fn bundle(version: u64) -> TrustBundle {
    let mut bundle = TrustBundle {
        authority: "test".to_owned(),
        mount: "ssh".to_owned(),
        version,
        issued: now() - 10,
        valid_until: now() + 3600,
        user_ca_keys: vec![line(USER_CA)],
        host_ca_keys: vec![line(HOST_CA)],
        krl_version: 0,
        krl: String::new(),
        rules: vec![HostRule {
            tags: BTreeSet::from(["web".to_owned()]),
            accounts: BTreeMap::from([("ubuntu".to_owned(), BTreeSet::from(["backend".to_owned()]))]),
        }],
        breakglass: String::new(),
        bundle_keys: vec![line(BUNDLE_KEY)],
    };
    let krl = Krl::new(version, UnixTime::from_secs(now()), "test").encode();
    bundle.set_krl(version, &krl);
    bundle
}

/// Its text, signed by a key.
pub(crate) fn signed(bundle: &TrustBundle, seed: u8) -> String {
    let text = bundle.signed_text().unwrap();
    let signature = key(seed)
        .sign(BUNDLE_NAMESPACE, HashAlg::Sha512, text.as_bytes())
        .unwrap();
    let signature = SshSignature::from_armor(&signature.to_pem(LineEnding::LF).unwrap()).unwrap();
    TrustBundle::with_signature(&text, &signature).unwrap()
}

/// How the stub behaves, to be set by tests.
pub(crate) struct Book {
    pub(crate) bundle: String,
    pub(crate) down: bool,
    /// Answer everything with this status and this `Retry-After`.
    pub(crate) status: Option<(u16, u64)>,
    /// Cut the bundle off after so many bytes.
    pub(crate) cut: Option<usize>,
    /// Validity of certificates around now, and who signs them.
    pub(crate) life: (u64, u64),
    pub(crate) certificate_ca: u8,
    pub(crate) certificate_names: Vec<String>,
    pub(crate) newest_report: u64,
    /// Refuse this many reports, as a proxy in trouble would.
    pub(crate) report_troubles: u32,
    pub(crate) reports: Vec<HostReport>,
    pub(crate) requests: Vec<String>,
    pub(crate) evidence: Vec<(String, String)>,
    pub(crate) bundle_key: u8,
}

/// The stub and the host.
pub(crate) struct HostWorld {
    folder: tempfile::TempDir,
    pub(crate) address: String,
    pub(crate) book: Arc<Mutex<Book>>,
}

impl HostWorld {
    /// A baked host that is not enrolled.
    pub(crate) fn baked() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let book = Arc::new(Mutex::new(Book {
            bundle: signed(&bundle(5), BUNDLE_KEY),
            down: false,
            status: None,
            cut: None,
            life: (60, 3600),
            certificate_ca: HOST_CA,
            certificate_names: vec![NAME.to_owned()],
            newest_report: 0,
            report_troubles: 0,
            reports: Vec::new(),
            requests: Vec::new(),
            evidence: Vec::new(),
            bundle_key: BUNDLE_KEY,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (serving, at) = (Arc::clone(&book), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (book, at) = (Arc::clone(&serving), at.clone());
                std::thread::spawn(move || serve(stream, &book, &at));
            }
        });
        let world = Self { folder, address, book };
        std::fs::create_dir_all(world.path("etc/ssh/signet")).unwrap();
        std::fs::create_dir_all(world.path("var/log")).unwrap();
        let text = key(HOST_KEY).to_openssh(LineEnding::LF).unwrap();
        world.write("etc/ssh/ssh_host_ed25519_key", &text);
        world.write("etc/ssh/signet/bundle_keys.pub", &format!("{}\n", line(BUNDLE_KEY)));
        world.write("var/log/auth.log", "");
        world.settings("");
        world
    }

    /// An enrolled host with a certificate, which has not synced yet.
    pub(crate) fn enrolled() -> Self {
        let world = Self::baked();
        world.settings(&format!("host = \"{NAME}\"\ntags = [\"web\"]\n"));
        let (before, after) = world.book().life;
        let certificate = certify(&line(HOST_KEY), HOST_CA, &[NAME.to_owned()], (before, after));
        world.write("etc/ssh/signet/host-cert.pub", &certificate);
        world
    }

    /// `host.toml` with these lines and the usual ones.
    pub(crate) fn settings(&self, more: &str) {
        let log = self.path("var/log/auth.log").display().to_string();
        let text = format!(
            "address = \"{}\"\nmount = \"ssh\"\nlog = \"{log}\"\njitter = \"0s\"\n{more}",
            self.address
        );
        self.write("etc/ssh/signet/host.toml", &text);
    }

    pub(crate) fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// A path under the host's root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// `signet host …` on this host.
    pub(crate) fn host(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
        command
            .arg("host")
            .args(words)
            .arg("-files-only")
            .arg("-format=json")
            .arg(format!("-root={}", self.folder.path().display()))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Run {
        Run::of(&self.host(words).output().unwrap())
    }

    pub(crate) fn sync(&self) -> Run {
        self.run(&["sync", "-now"])
    }

    /// Version of the KRL that sshd would read.
    pub(crate) fn krl_version(&self) -> u64 {
        let bytes = std::fs::read(self.path("etc/ssh/signet/revoked.krl")).unwrap();
        Krl::parse(&bytes).unwrap().version
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.read("var/lib/signet-host/state.json")).unwrap()
    }
}

/// What a run said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) said: Value,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            said: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The one problem there is.
    pub(crate) fn problem(&self) -> &str {
        let problems = self.said["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{self:?}");
        problems[0].as_str().unwrap()
    }
}

/// A host certificate for the key in `public`.
pub(crate) fn certify(public: &str, ca: u8, names: &[String], (before, after): (u64, u64)) -> String {
    let subject = PublicKey::from_openssh(public).unwrap().key_data().clone();
    let mut builder = Builder::new(vec![1; 32], subject, now() - before, now() + after).unwrap();
    builder
        .serial(7)
        .unwrap()
        .key_id("host")
        .unwrap()
        .cert_type(CertType::Host)
        .unwrap();
    for name in names {
        builder.valid_principal(name).unwrap();
    }
    format!("{}\n", builder.sign(&key(ca)).unwrap().to_openssh().unwrap())
}

fn serve(stream: TcpStream, book: &Mutex<Book>, address: &str) {
    let mut reader = BufReader::new(stream);
    while let Some((method, path, headers, body)) = read_request(&mut reader) {
        let mut book = book.lock().unwrap();
        if book.down {
            return;
        }
        book.requests.push(format!("{method} {path}"));
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut cut = None;
        let (status, answer, extra) = if let Some((status, wait)) = book.status {
            (
                status,
                json!({"errors": []}).to_string(),
                format!("Retry-After: {wait}\r\n"),
            )
        } else if matches!(
            path.as_str(),
            "/v1/ssh/trust-bundle" | "/v1/infra/trust-bundle" | "/elsewhere"
        ) {
            cut = book.cut;
            let etag = format!("\"{}\"", aws_digest(&book.bundle));
            let fresh = headers.get("if-none-match") == Some(&etag);
            let text = if fresh { String::new() } else { book.bundle.clone() };
            (if fresh { 304 } else { 200 }, text, format!("ETag: {etag}\r\n"))
        } else {
            let (status, answer) = answer(&mut book, &path, &body, address);
            (status, answer.to_string(), String::new())
        };
        let head = format!("HTTP/1.1 {status} X\r\n{extra}Content-Length: {}\r\n\r\n", answer.len());
        let sent = cut.map_or(answer.as_str(), |cut| &answer[..cut.min(answer.len())]);
        let stream = reader.get_mut();
        let written = stream.write_all((head + sent).as_bytes()).and_then(|()| stream.flush());
        if written.is_err() || cut.is_some() {
            return;
        }
    }
}

/// Any function of the text will do for an entity tag.
fn aws_digest(text: &str) -> String {
    let sum = text
        .bytes()
        .fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    format!("{sum:x}")
}

fn verify(body: &Value, key: &str, namespace: &str, message: &str) {
    let signature = SshSignature::from_armor(body["signature"].as_str().unwrap()).unwrap();
    let key = SubjectKey::parse(key).unwrap();
    signature.verify(&key, namespace, message.as_bytes()).unwrap();
}

fn answer(book: &mut Book, path: &str, body: &Value, address: &str) -> (u16, Value) {
    let address = LoginAddress::parse(address).unwrap();
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    if path != "/v1/sys/signet/host/challenge" {
        assert_eq!(text("address"), address.as_str());
    }
    match path {
        "/v1/sys/signet/host/challenge" => (200, json!({"data": {"nonce": NONCE, "expires_in": 60}})),
        "/v1/sys/signet/host/enroll" => {
            let (method, evidence) = (text("method"), text("evidence"));
            verify(
                body,
                text("public_key"),
                ENROLL_NAMESPACE,
                &enroll_message(&address, NONCE, method, evidence),
            );
            book.evidence.push((method.to_owned(), evidence.to_owned()));
            if evidence == "bad" {
                let refusal = json!({"errors": ["permission denied"], "code": "host-refused", "reason": "the token is not valid"});
                return (403, refusal);
            }
            (200, admission(book, text("public_key")))
        }
        "/v1/sys/signet/host/renew" => {
            assert_eq!(text("host"), NAME);
            verify(
                body,
                text("public_key"),
                RENEW_NAMESPACE,
                &renew_message(&address, NONCE, NAME),
            );
            (200, admission(book, text("public_key")))
        }
        "/v1/sys/signet/host/report" => {
            verify(
                body,
                &line(HOST_KEY),
                REPORT_NAMESPACE,
                &report_message(&address, text("report")),
            );
            let report: HostReport = serde_json::from_str(text("report")).unwrap();
            assert_eq!(report.host, text("host"));
            if book.report_troubles > 0 {
                book.report_troubles -= 1;
                return (502, json!({"errors": ["bad gateway"]}));
            }
            if report.sequence <= book.newest_report {
                let hint = format!("the newest report has the number {}", book.newest_report);
                return (
                    400,
                    json!({"errors": ["not newer"], "code": "report-stale", "hint": hint}),
                );
            }
            book.newest_report = report.sequence;
            book.reports.push(report);
            (200, json!({"data": {"accepted": true, "alarms": []}}))
        }
        _ => (404, json!({"errors": []})),
    }
}

fn admission(book: &Book, public_key: &str) -> Value {
    let certificate = certify(public_key, book.certificate_ca, &book.certificate_names, book.life);
    json!({"data": {
        "host": NAME, "names": [NAME], "tags": ["web"], "mount": "ssh", "signed_key": certificate,
        "bundle_public_key": line(book.bundle_key), "host_ca_key": line(HOST_CA),
    }})
}
