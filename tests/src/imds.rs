//! EC2's instance metadata service as an instance sees it: version 2 alone, at 169.254.169.254 inside a host's network
//! namespace, with identity documents signed by a region's certificates that the test has made.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, shutdown};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use crate::binaries::system;
use crate::host::Host;
use crate::issuing::now;
use crate::workdir::Workdir;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The header with the token's life, and that with the token.
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";

/// The keys that sign a region's identity documents: RSA-2048 for `rsa2048`, RSA-1024 for `signature`, DSA for `pkcs7`.
#[derive(Debug)]
pub struct Region {
    name: String,
    folder: Workdir,
}

impl Region {
    /// Makes a region's keys and certificates with openssl.
    pub fn new(name: &str) -> Self {
        let region = Self {
            name: name.to_owned(),
            folder: Workdir::new(),
        };
        for (kind, words) in [("rsa2048", &["rsa:2048"][..]), ("signature", &["rsa:1024"])] {
            region.certify(kind, &[&["-newkey"], words].concat());
        }
        let parameters = region.file("parameters");
        openssl(
            Command::new(system("openssl"))
                .args(["dsaparam", "-out"])
                .arg(&parameters)
                .arg("1024"),
        );
        region.certify("pkcs7", &["-newkey", &format!("dsa:{}", parameters.display())]);
        region
    }

    /// The region's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The certificate that a server pins to verify `rsa2048`.
    pub fn certificate(&self) -> PathBuf {
        self.file("rsa2048.crt")
    }

    /// What `rsa2048` says for a document: PKCS#7 in base64, the document inside, the certificate not.
    pub fn rsa2048(&self, document: &str) -> String {
        self.pkcs7("rsa2048", "sha256", document)
    }

    fn pkcs7(&self, kind: &str, digest: &str, document: &str) -> String {
        let mut command = Command::new(system("openssl"));
        command.args([
            "smime",
            "-sign",
            "-binary",
            "-nodetach",
            "-nocerts",
            "-outform",
            "DER",
            "-md",
            digest,
        ]);
        command.arg("-signer").arg(self.file(&format!("{kind}.crt")));
        command.arg("-inkey").arg(self.file(&format!("{kind}.key")));
        in_lines(&openssl(command.arg("-in").arg(self.written(document))))
    }

    fn signature(&self, document: &str) -> String {
        let mut command = Command::new(system("openssl"));
        command
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.file("signature.key"));
        in_lines(&openssl(command.arg(self.written(document))))
    }

    fn written(&self, document: &str) -> PathBuf {
        let file = tempfile::Builder::new()
            .tempfile_in(self.folder.path())
            .expect("a file");
        let (mut file, path) = file.keep().expect("a file");
        file.write_all(document.as_bytes()).expect("the document");
        path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn certify(&self, kind: &str, key: &[&str]) {
        let subject = "/C=US/ST=Washington State/L=Seattle/O=Amazon Web Services LLC";
        let mut command = Command::new(system("openssl"));
        command
            .args(["req", "-x509", "-nodes", "-days", "3650", "-sha256", "-subj", subject])
            .args(key);
        command.arg("-keyout").arg(self.file(&format!("{kind}.key")));
        openssl(command.arg("-out").arg(self.file(&format!("{kind}.crt"))));
    }
}

/// The identity document of an instance that has just started, in Amazon's layout.
pub fn document(region: &str, instance: &str, address: Ipv4Addr) -> Value {
    json!({
        "accountId": "123456789012",
        "architecture": "x86_64",
        "availabilityZone": format!("{region}a"),
        "billingProducts": null,
        "devpayProductCodes": null,
        "marketplaceProductCodes": null,
        "imageId": "ami-0123456789abcdef0",
        "instanceId": instance,
        "instanceType": "t3.micro",
        "kernelId": null,
        "pendingTime": now().to_string(),
        "privateIp": address.to_string(),
        "ramdiskId": null,
        "region": region,
        "version": "2017-09-30",
    })
}

/// The running service of one host; it ends with the value.
#[derive(Debug)]
pub struct Imds {
    listener: TcpListener,
    service: Arc<Service>,
}

#[derive(Debug)]
struct Service {
    documents: Mutex<HashMap<&'static str, String>>,
    tokens: Mutex<HashMap<String, Instant>>,
    requests: Mutex<Vec<String>>,
}

impl Imds {
    /// Starts the service for a host whose identity is this document.
    pub fn start(host: &Host, region: &Region, document: &Value) -> Self {
        let loopback = ["address", "add", "169.254.169.254/32", "dev", "lo"];
        let added = host.beside(&system("ip")).args(loopback).status().expect("ip starts");
        assert!(added.success(), "the service's address");
        let service = Arc::new(Service {
            documents: Mutex::new(HashMap::new()),
            tokens: Mutex::new(HashMap::new()),
            requests: Mutex::new(Vec::new()),
        });
        let namespace = File::open(format!("/proc/{}/ns/net", host.process())).expect("the host's network");
        let (ready, listener) = mpsc::channel();
        let serving = service.clone();
        // Only this thread moves; what it binds stays in the host's network.
        std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("the host's network");
            let listener = TcpListener::bind((ADDRESS, 80)).expect("the service's port");
            ready
                .send(listener.try_clone().expect("the listener"))
                .expect("the test waits");
            while let Ok((stream, _)) = listener.accept() {
                // Whoever hangs up in the middle is of no interest.
                serving.answer(&stream).ok();
            }
        });
        let imds = Self {
            listener: listener.recv().expect("the service listens"),
            service,
        };
        imds.tell(region, document);
        imds
    }

    /// Changes what the service says of the instance.
    pub fn tell(&self, region: &Region, document: &Value) {
        let text = serde_json::to_string_pretty(document).expect("JSON");
        let of = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
        let documents = [
            ("/latest/dynamic/instance-identity/rsa2048", region.rsa2048(&text)),
            (
                "/latest/dynamic/instance-identity/pkcs7",
                region.pkcs7("pkcs7", "sha1", &text),
            ),
            ("/latest/dynamic/instance-identity/signature", region.signature(&text)),
            ("/latest/dynamic/instance-identity/document", text),
            ("/latest/meta-data/ami-id", of("imageId")),
            ("/latest/meta-data/instance-id", of("instanceId")),
            ("/latest/meta-data/instance-type", of("instanceType")),
            ("/latest/meta-data/local-ipv4", of("privateIp")),
            ("/latest/meta-data/placement/availability-zone", of("availabilityZone")),
            ("/latest/meta-data/placement/region", of("region")),
        ];
        *self.service.documents.lock().expect("the documents") = documents.into();
    }

    /// Ends the life of every token given out so far.
    pub fn expire_tokens(&self) {
        self.service.tokens.lock().expect("the tokens").clear();
    }

    /// What was asked for so far: method, path and status.
    pub fn requests(&self) -> Vec<String> {
        self.service.requests.lock().expect("the requests").clone()
    }
}

impl Drop for Imds {
    fn drop(&mut self) {
        // Ends the thread's wait, and so its hold on the host's network.
        shutdown(&self.listener, Shutdown::Both).ok();
    }
}

impl Service {
    fn answer(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut reader = BufReader::new(stream).take(16 * 1024);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = HashMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let (status, body) = self.respond(method, path, &headers);
        self.requests
            .lock()
            .expect("the requests")
            .push(format!("{method} {path} {status}"));
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 {status} -\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nServer: EC2ws\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn respond(&self, method: &str, path: &str, headers: &HashMap<String, String>) -> (u16, String) {
        match (method, path) {
            // A request that came through a proxy is none of the instance's own.
            ("PUT", "/latest/api/token") if headers.contains_key("x-forwarded-for") => (403, String::new()),
            ("PUT", "/latest/api/token") => match headers.get(TTL_HEADER).and_then(|ttl| ttl.parse().ok()) {
                Some(seconds @ 1..=21_600) => (200, self.new_token(Duration::from_secs(seconds))),
                _ => (400, String::new()),
            },
            ("GET" | "HEAD", _) if !self.knows(headers.get(TOKEN_HEADER)) => (401, String::new()),
            ("GET", _) => {
                let documents = self.documents.lock().expect("the documents");
                documents
                    .get(path)
                    .map_or((404, String::new()), |text| (200, text.clone()))
            }
            _ => (405, String::new()),
        }
    }

    fn new_token(&self, life: Duration) -> String {
        let mut bytes = [0; 24];
        aws_lc_rs::rand::fill(&mut bytes).expect("randomness");
        let token = bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("text");
            text
        });
        self.tokens
            .lock()
            .expect("the tokens")
            .insert(token.clone(), Instant::now() + life);
        token
    }

    fn knows(&self, token: Option<&String>) -> bool {
        let tokens = self.tokens.lock().expect("the tokens");
        token
            .and_then(|token| tokens.get(token))
            .is_some_and(|ends| *ends > Instant::now())
    }
}

/// Base64 in lines of 64, without a frame, as the service gives it.
fn in_lines(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    lines.collect::<Vec<_>>().join("\n")
}

fn openssl(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("openssl starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    output.stdout
}

/// Whether openssl verifies a PKCS#7 text with this certificate, and what is inside it: the other opinion in tests.
pub fn verified(pkcs7: &str, certificate: &Path) -> Option<String> {
    let folder = Workdir::new();
    let framed = folder.write(
        "framed",
        &format!("-----BEGIN PKCS7-----\n{pkcs7}\n-----END PKCS7-----\n"),
    );
    let mut command = Command::new(system("openssl"));
    command
        .args([
            "smime",
            "-verify",
            "-inform",
            "PEM",
            "-noverify",
            "-nointern",
            "-certfile",
        ])
        .arg(certificate);
    let output = command.arg("-in").arg(framed).output().expect("openssl starts");
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
