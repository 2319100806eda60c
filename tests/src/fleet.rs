//! Simulated hosts: each with a key of its own, enrolled over the real API, asking and reporting as `signet host sync` does,
//! one new TLS connection for each sync. What a real host does besides (sshd, files) costs the server nothing.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use signet_core::enrollment::{ENROLL_NAMESPACE, HostReport, REPORT_NAMESPACE, enroll_message, report_message};
use signet_core::sshsig::{HashAlgorithm, LoginAddress, SshSignature, signed_data};

use crate::api::Api;
use crate::issuing::now;
use crate::load::connection::{Connection, Target};

/// One simulated host.
#[derive(Debug)]
pub struct FleetHost {
    name: String,
    address: LoginAddress,
    key: Ed25519KeyPair,
    etag: Option<String>,
    sequence: u64,
}

/// What one sync moved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Synced {
    /// Whether the bundle came whole rather than "not modified".
    pub whole: bool,
    /// Bytes of HTTP sent.
    pub sent: usize,
    /// Bytes of HTTP received in bodies.
    pub received: usize,
}

impl FleetHost {
    /// Enrols a host by its one-time token.
    pub fn enroll(api: &Api, address: &str, token: &str) -> Self {
        let mut host = Self {
            name: String::new(),
            address: LoginAddress::parse(address).expect("an address"),
            key: Ed25519KeyPair::generate().expect("a key"),
            etag: None,
            sequence: 0,
        };
        let challenge = api.write("sys/signet/host/challenge", &json!({}));
        let nonce = challenge.body["data"]["nonce"].as_str().expect("a nonce");
        let message = enroll_message(&host.address, nonce, "token", token);
        let body = json!({
            "method": "token",
            "evidence": token,
            "address": host.address.as_str(),
            "nonce": nonce,
            "public_key": host.public_line(),
            "signature": host.sign(ENROLL_NAMESPACE, &message),
        });
        let admitted = api.write("sys/signet/host/enroll", &body);
        let name = admitted.body["data"]["host"].as_str();
        name.unwrap_or_else(|| panic!("not enrolled: {}", admitted.text))
            .clone_into(&mut host.name);
        host
    }

    /// One sync: the bundle if it is newer, then a signed report.
    ///
    /// # Errors
    /// The server is not there, or refuses.
    pub async fn sync(&mut self, target: &Target, bundle_path: &str) -> std::io::Result<Synced> {
        let mut synced = Synced::default();
        let mut connection = Connection::open(target).await?;
        let condition = self
            .etag
            .as_ref()
            .map_or_else(String::new, |etag| format!("If-None-Match: {etag}\r\n"));
        let ask = format!("GET /v1/{bundle_path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{condition}\r\n").into_bytes();
        let (head, body) = connection.exchange_all(&ask).await?;
        match head.split(' ').nth(1) {
            Some("200") => {
                synced.whole = true;
                self.etag = header(&head, "etag").map(str::to_owned);
            }
            Some("304") => {}
            _ => return Err(std::io::Error::other(format!("the bundle: {head}"))),
        }
        synced.received += head.len() + body.len();
        let report = self.report();
        let (head, body) = connection.exchange_all(&report).await?;
        if !head.starts_with("HTTP/1.1 200") {
            let body = String::from_utf8_lossy(&body);
            return Err(std::io::Error::other(format!("the report: {head} {body}")));
        }
        synced.received += head.len() + body.len();
        synced.sent = ask.len() + report.len();
        Ok(synced)
    }

    /// The request with the next report.
    fn report(&mut self) -> Vec<u8> {
        self.sequence += 1;
        let fingerprint = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned();
        let report = HostReport {
            host: self.name.clone(),
            sequence: self.sequence,
            time: now().secs(),
            sshd_version: "9.2".to_owned(),
            signet_version: env!("CARGO_PKG_VERSION").to_owned(),
            user_ca_keys: vec![fingerprint.clone()],
            breakglass_keys: vec![fingerprint.clone(), fingerprint],
            ..HostReport::default()
        };
        let text = serde_json::to_string(&report).expect("JSON");
        let body = json!({
            "host": self.name,
            "address": self.address.as_str(),
            "report": text,
            "signature": self.sign(REPORT_NAMESPACE, &report_message(&self.address, &text)),
        })
        .to_string();
        format!(
            "POST /v1/sys/signet/host/report HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn key_blob(&self) -> Vec<u8> {
        fields(&[b"ssh-ed25519", self.key.public_key().as_ref()])
    }

    fn public_line(&self) -> String {
        format!("ssh-ed25519 {}", STANDARD.encode(self.key_blob()))
    }

    fn sign(&self, namespace: &str, message: &str) -> String {
        let hash = HashAlgorithm::Sha512;
        let data = signed_data(namespace, hash, message.as_bytes()).expect("a namespace");
        let signature = fields(&[b"ssh-ed25519", self.key.sign(&data).as_ref()]);
        let signature = SshSignature::new(&self.key_blob(), namespace, hash, &signature).expect("a signature");
        signature.to_armor().expect("a signature")
    }
}

/// Strings as RFC 4251 lays them out, one after the other.
fn fields(fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().fold(Vec::new(), |mut blob, field| {
        blob.extend(u32::try_from(field.len()).expect("a short field").to_be_bytes());
        blob.extend(*field);
        blob
    })
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}
