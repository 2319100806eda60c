//! A CI system that vouches for its jobs: an issuer of JSON web tokens with an Ed25519 key of its own.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::issuing::now;

/// The issuer's name in its tokens.
pub const ISSUER: &str = "https://ci.example.com";

/// An issuer with its key.
pub struct Issuer {
    key: EncodingKey,
    jwks: Value,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Issuer({})", self.jwks)
    }
}

impl Issuer {
    /// An issuer with a new key.
    #[expect(clippy::new_without_default, reason = "making a key is an effect, not a default")]
    pub fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("the key");
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "ci-1", "x": x});
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(pkcs8.as_ref())
        );
        let signing = EncodingKey::from_ed_pem(pem.as_bytes()).expect("the key");
        Self {
            key: signing,
            jwks: json!({"keys": [key]}),
        }
    }

    /// The issuer's public keys as a JWKS document.
    pub fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// The token of a job on the main branch, after `change` has edited its claims.
    pub fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let at = now().secs();
        let mut claims = json!({
            "iss": ISSUER, "aud": "signet", "sub": "repo:acme/app", "iat": at, "nbf": at - 5, "exp": at + 600,
            "branch": "main"
        });
        change(&mut claims);
        let header = Header {
            kid: Some("ci-1".to_owned()),
            ..Header::new(Algorithm::EdDSA)
        };
        encode(&header, &claims, &self.key).expect("a token")
    }

    /// The lines of `signet.toml` that trust this issuer; its keys are written to a file in the folder. Jobs on the main
    /// branch log in with the role `deploy` and come with the group `ci`.
    pub fn config(&self, folder: &std::path::Path) -> String {
        let jwks = folder.join("jwks.json");
        std::fs::write(&jwks, self.jwks.to_string()).expect("the JWKS file");
        format!(
            "\n[[auth.jwt]]\nmount = \"jwt\"\nissuer = \"{ISSUER}\"\naudiences = [\"signet\"]\nalgorithms = [\"EdDSA\"]\n\
             jwks_file = \"{}\"\n\n[[auth.jwt.role]]\nname = \"deploy\"\nbound_claims = {{ branch = \"main\" }}\n\
             user_claim = \"sub\"\ngroups = [\"ci\"]\nttl = \"30m\"\n",
            jwks.display()
        )
    }
}
