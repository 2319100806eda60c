//! The authority's HTTP API as a client sees it: a status and a JSON body.

use std::time::Duration;

use serde_json::{Value, json};

/// An address and perhaps a token.
#[derive(Debug, Clone)]
pub struct Api {
    address: String,
    token: Option<String>,
    client: reqwest::blocking::Client,
}

/// An answer of the server.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body; null if there is none.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Api {
    /// Talks to an address. A test does not check the server's TLS certificate: the client's own tests do.
    pub fn new(address: &str, token: Option<&str>) -> Self {
        let client = reqwest::blocking::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .expect("an HTTP client");
        Self {
            address: address.to_owned(),
            token: token.map(str::to_owned),
            client,
        }
    }

    /// The same server with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// Sends a request; `None` if no answer came.
    pub fn try_send(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        self.try_send_text(method, path, body.map(Value::to_string))
    }

    fn try_send_text(&self, method: &str, path: &str, body: Option<String>) -> Option<Answer> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, format!("{}/v1/{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("X-Vault-Token", token);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().ok()?;
        let status = response.status().as_u16();
        let text = response.text().ok()?;
        Some(Answer {
            status,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        })
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_send(method, path, body)
            .unwrap_or_else(|| panic!("{method} {path} got no answer"))
    }

    /// GET; `None` if no answer came.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        self.try_send("GET", path, None)
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    /// The verb LIST.
    pub fn list(&self, path: &str) -> Answer {
        self.send("LIST", path, None)
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None)
    }

    /// POST of a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body))
    }

    /// POST of a body that may be no JSON at all.
    pub fn post_text(&self, path: &str, body: &str) -> Answer {
        let answer = self.try_send_text("POST", path, Some(body.to_owned()));
        answer.unwrap_or_else(|| panic!("POST {path} got no answer"))
    }

    /// POST that must succeed.
    pub fn write(&self, path: &str, body: &Value) -> Answer {
        let answer = self.post(path, body);
        assert!(
            (200..300).contains(&answer.status),
            "POST {path}: {} {}",
            answer.status,
            answer.text
        );
        answer
    }

    /// The public key of a mount's CA, as a host fetches it.
    pub fn ca_key(&self, mount: &str) -> String {
        let answer = self.get(&format!("{mount}/public_key"));
        assert_eq!(answer.status, 200, "public_key: {}", answer.text);
        answer.text
    }

    /// Has a public key signed for one principal.
    pub fn sign(&self, mount: &str, role: &str, public_key: &str, principal: &str) -> Answer {
        let body = json!({ "public_key": public_key, "valid_principals": principal });
        self.post(&format!("{mount}/sign/{role}"), &body)
    }

    /// Makes a token with these policies, for a person of this name.
    pub fn create_token(&self, body: &Value) -> String {
        let answer = self.write("auth/token/create", body);
        answer.body["auth"]["client_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }
}

impl Answer {
    /// The certificate's line of a `sign` answer.
    pub fn signed_key(&self) -> &str {
        assert_eq!(self.status, 200, "{}", self.text);
        self.body["data"]["signed_key"].as_str().expect("a signed key")
    }

    /// The serial of a `sign` answer, which travels as hexadecimal text on Vault's wire.
    pub fn serial(&self) -> u64 {
        let text = self.body["data"]["serial_number"].as_str().expect("a serial number");
        u64::from_str_radix(text, 16).expect("hexadecimal")
    }

    /// All texts of an error answer, joined.
    pub fn errors(&self) -> String {
        let errors = self.body["errors"].as_array().expect("errors");
        errors.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
    }
}
