//! For tests: an issuer with real keys, and a web server on loopback that publishes them.

use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A key pair of an issuer.
pub(crate) struct IssuerKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: String,
    encoding: EncodingKey,
    /// PEM of the public half.
    pub(crate) public_pem: String,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

impl IssuerKey {
    pub(crate) fn new(algorithm: Algorithm, key_id: &str) -> Self {
        let random = SystemRandom::new();
        let (encoding, public) = match algorithm {
            Algorithm::ES256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::EdDSA => {
                let private = Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
                let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).unwrap();
                let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
                let pem_text = pem("PRIVATE KEY", private.as_ref());
                (
                    EncodingKey::from_ed_pem(pem_text.as_bytes()).unwrap(),
                    public.as_ref().to_vec(),
                )
            }
            _ => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
                let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
                let pem_text = pem("PRIVATE KEY", private.as_ref());
                (
                    EncodingKey::from_rsa_pem(pem_text.as_bytes()).unwrap(),
                    public.as_ref().to_vec(),
                )
            }
        };
        Self {
            algorithm,
            key_id: key_id.to_owned(),
            encoding,
            public_pem: pem("PUBLIC KEY", &public),
        }
    }

    /// The public half as an entry of a JWK set.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.encoding, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = json!(self.key_id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token with exactly this header and payload text.
    pub(crate) fn sign_raw(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.encoding, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }

    /// A token with the usual header.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT", "kid": self.key_id});
        self.sign_raw(&header.to_string(), &claims.to_string())
    }
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> (EncodingKey, Vec<u8>) {
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref()).unwrap();
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    let pem_text = pem("PRIVATE KEY", private.as_ref());
    (
        EncodingKey::from_ec_pem(pem_text.as_bytes()).unwrap(),
        public.as_ref().to_vec(),
    )
}

/// A JWK set of these keys.
pub(crate) fn key_set(keys: &[&IssuerKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

/// A web server on loopback that answers every request the same way, and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct KeyServer {
    pub(crate) url: url::Url,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answer: Vec<u8>,
    requests: Vec<String>,
}

impl KeyServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let server = Self {
            url,
            state: Arc::clone(&state),
        };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => request.push(byte),
                        Err(_) => break,
                    }
                }
                let answer = {
                    let mut state = state.lock().unwrap();
                    state.requests.push(String::from_utf8_lossy(&request).into_owned());
                    state.answer.clone()
                };
                // A client that has seen enough hangs up; that is part of what is tested.
                drop(stream.write_all(&answer).await);
                drop(stream.shutdown().await);
            }
        });
        server
    }

    /// Answers `status`, with header lines (each ended by CR LF) and a body, from now on.
    pub(crate) fn answer(&self, status: &str, headers: &str, body: &str) {
        let head = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        self.state.lock().unwrap().answer = [head.as_bytes(), body.as_bytes()].concat();
    }

    /// What it was asked so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}
