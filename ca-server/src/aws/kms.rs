//! KMS: one key, and the four calls that the seal and the signer need. Each is one signed POST of JSON.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials as Identity;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;
use zeroize::{Zeroize as _, Zeroizing};

use super::AwsError;
use super::credentials::{Chain, Credentials, region};
use super::transport::{Answer, send, service_client, xml_text};
use crate::clock::Clock;
use crate::config::{AwsConfig, AwsEnvironment, region_of_arn, service_endpoint};

/// Attempts at a call that KMS throttles or fails at.
const ATTEMPTS: u32 = 3;
/// Before the second attempt; doubled before each further one.
const BACK_OFF: Duration = Duration::from_millis(100);
const JSON: &str = "application/x-amz-json-1.1";

/// One key in KMS, and how to reach it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kms(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: AwsConfig,
    region: String,
    endpoint: Url,
    http: Client,
    chain: Chain,
    clock: Clock,
}

/// A new data key: in the clear, and as KMS keeps it.
#[derive(Debug)]
pub struct DataKey {
    /// 32 bytes.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Opens through [`Kms::decrypt`] only.
    pub ciphertext: Vec<u8>,
    /// ARN of the key that encrypted it.
    pub key_arn: String,
}

/// A key pair's public half.
#[derive(Debug)]
pub struct PublicKey {
    /// `SubjectPublicKeyInfo` in DER.
    pub spki: Vec<u8>,
    /// `SIGN_VERIFY` for keys that sign.
    pub usage: String,
    /// ARN of the key, or its id.
    pub key: String,
}

impl Kms {
    /// The key that `config` names. Nothing is asked yet.
    ///
    /// # Errors
    /// [`AwsError::Setup`]
    pub fn new(config: &AwsConfig, environment: &AwsEnvironment, clock: Clock) -> Result<Self, AwsError> {
        let region = config
            .region
            .clone()
            .or_else(|| region_of_arn(&config.key_id).map(str::to_owned))
            .or_else(|| environment.region.clone())
            .or_else(|| region(config, environment))
            .ok_or_else(|| {
                AwsError::Setup("no AWS region: set `region`, AWS_REGION, or give the key's ARN".to_owned())
            })?;
        let address = |service, own: Option<&Url>, environment: Option<&str>| {
            service_endpoint(service, own, environment, &region).map_err(AwsError::Setup)
        };
        let endpoint = address("kms", config.endpoint.as_ref(), environment.kms_endpoint.as_deref())?;
        let sts = address("sts", config.sts_endpoint.as_ref(), environment.sts_endpoint.as_deref())?;
        let http = service_client(environment.ca_bundle.as_deref())?;
        let chain = Chain::new(config, environment, &http, &sts)?;
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            region,
            endpoint,
            http,
            chain,
            clock,
        })))
    }

    /// The key as configured.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.0.config.key_id
    }

    /// The region that is asked.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// The encryption context as configured.
    #[must_use]
    pub fn context(&self) -> &std::collections::BTreeMap<String, String> {
        &self.0.config.encryption_context
    }

    /// Makes an AES-256 key under this one.
    ///
    /// # Errors
    /// [`AwsError`]
    pub async fn generate_data_key(&self) -> Result<DataKey, AwsError> {
        let request = json!({
            "KeyId": self.key_id(), "KeySpec": "AES_256", "EncryptionContext": self.context(),
        });
        let answer: CipherAnswer = self.call("GenerateDataKey", &request).await?;
        let ciphertext = answer
            .ciphertext_blob
            .as_deref()
            .ok_or_else(|| odd("GenerateDataKey"))?;
        Ok(DataKey {
            ciphertext: STANDARD.decode(ciphertext).map_err(|_| odd("GenerateDataKey"))?,
            plaintext: answer.plaintext("GenerateDataKey")?,
            key_arn: answer.key_id.clone(),
        })
    }

    /// Opens what this key encrypted under the configured context; also the ARN of the key that did it.
    ///
    /// # Errors
    /// [`AwsError::WrongKey`] when another key or another context did it.
    pub async fn decrypt(&self, ciphertext: &[u8]) -> Result<(Zeroizing<Vec<u8>>, String), AwsError> {
        // SECURITY: the key is named, so that whoever can write the store cannot have us take a key of theirs.
        let request = json!({
            "KeyId": self.key_id(), "CiphertextBlob": STANDARD.encode(ciphertext), "EncryptionContext": self.context(),
        });
        let answer: CipherAnswer = self.call("Decrypt", &request).await?;
        Ok((answer.plaintext("Decrypt")?, answer.key_id.clone()))
    }

    /// Fetches the public key.
    ///
    /// # Errors
    /// [`AwsError`]
    pub async fn public_key(&self) -> Result<PublicKey, AwsError> {
        let answer: PublicKeyAnswer = self.call("GetPublicKey", &json!({"KeyId": self.key_id()})).await?;
        Ok(PublicKey {
            spki: STANDARD.decode(answer.public_key).map_err(|_| odd("GetPublicKey"))?,
            usage: answer.key_usage,
            key: answer.key_id,
        })
    }

    /// Signs a digest with KMS's word for the algorithm. Nothing vouches for the answer.
    ///
    /// # Errors
    /// [`AwsError`]
    pub async fn unverified_signature(&self, digest: &[u8], algorithm: &str) -> Result<Vec<u8>, AwsError> {
        let request = json!({
            "KeyId": self.key_id(), "Message": STANDARD.encode(digest), "MessageType": "DIGEST",
            "SigningAlgorithm": algorithm,
        });
        let answer: SignAnswer = self.call("Sign", &request).await?;
        STANDARD.decode(answer.signature).map_err(|_| odd("Sign"))
    }

    async fn call<T: DeserializeOwned>(&self, action: &'static str, request: &Value) -> Result<T, AwsError> {
        let body = request.to_string();
        let mut credentials = self.0.chain.credentials(self.0.clock.now()).await?;
        let mut renewed = false;
        let mut attempt = 1;
        loop {
            let fault = match self.post(action, &body, &credentials).await {
                Ok(answer) if answer.status.is_success() => {
                    return serde_json::from_slice(&answer.body).map_err(|_| odd(action));
                }
                Ok(answer) => Fault::of(&answer),
                Err(error @ AwsError::Unavailable(_)) if attempt < ATTEMPTS => {
                    tracing::debug!(%error, action, attempt, "KMS is asked again");
                    Fault::away(error.to_string())
                }
                Err(error) => return Err(error),
            };
            if fault.is_about_old_credentials() && !renewed && self.0.chain.can_renew() {
                renewed = true;
                credentials = self.0.chain.renew(&credentials, self.0.clock.now()).await?;
            } else if fault.is_transient() && attempt < ATTEMPTS {
                tokio::time::sleep(back_off(attempt)).await;
                attempt += 1;
            } else {
                return Err(fault.into_error("KMS", action));
            }
        }
    }

    async fn post(&self, action: &str, body: &str, credentials: &Credentials) -> Result<Answer, AwsError> {
        let target = format!("TrentService.{action}");
        let request = self
            .0
            .http
            .post(self.0.endpoint.clone())
            .header("content-type", JSON)
            .header("x-amz-target", &target);
        let signed = self.signed(request, &target, body, credentials.identity())?;
        send("KMS", signed.body(body.to_owned())).await
    }

    /// Signature Version 4 over method, address, the two headers and the body.
    fn signed(
        &self,
        mut request: RequestBuilder,
        target: &str,
        body: &str,
        identity: Identity,
    ) -> Result<RequestBuilder, AwsError> {
        let failed = |error: &dyn std::fmt::Display| AwsError::Setup(format!("the request cannot be signed: {error}"));
        let identity = identity.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.0.region)
            .name("kms")
            .time(UNIX_EPOCH + Duration::from_millis(self.0.clock.now_millis()))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| failed(&error))?
            .into();
        let headers = [("content-type", JSON), ("x-amz-target", target)].into_iter();
        let signable = SignableRequest::new(
            "POST",
            self.0.endpoint.as_str(),
            headers,
            SignableBody::Bytes(body.as_bytes()),
        );
        let signable = signable.map_err(|error| failed(&error))?;
        let (instructions, _) = sign(signable, &parameters)
            .map_err(|error| failed(&error))?
            .into_parts();
        for (name, value) in instructions.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| failed(&error))?;
            let mut value = HeaderValue::from_str(value).map_err(|error| failed(&error))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        Ok(request)
    }
}

/// Doubled each time, with up to half of it more, so that many servers do not come back at once.
fn back_off(attempt: u32) -> Duration {
    let base = BACK_OFF * 2_u32.saturating_pow(attempt.saturating_sub(1));
    let mut random = [0; 1];
    // Without randomness they do come back at once; that is all.
    let jitter = crate::random::fill(&mut random).map_or(0, |()| u32::from(random[0]));
    base + base * jitter / 512
}

fn odd(action: &str) -> AwsError {
    AwsError::Unavailable(format!("KMS answered {action} with something else than documented"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CipherAnswer {
    key_id: String,
    plaintext: String,
    ciphertext_blob: Option<String>,
}

impl CipherAnswer {
    fn plaintext(&self, action: &str) -> Result<Zeroizing<Vec<u8>>, AwsError> {
        STANDARD
            .decode(&self.plaintext)
            .map(Zeroizing::new)
            .map_err(|_| odd(action))
    }
}

impl Drop for CipherAnswer {
    fn drop(&mut self) {
        self.plaintext.zeroize();
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublicKeyAnswer {
    key_id: String,
    public_key: String,
    key_usage: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SignAnswer {
    signature: String,
}

/// An error as AWS's services tell it, in JSON (KMS) or XML (STS).
#[derive(Debug)]
pub(super) struct Fault {
    status: u16,
    code: String,
    message: String,
}

/// What a fault means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Transient,
    OldCredentials,
    Clock,
    Signature,
    WrongKey,
    Refused,
}

impl Fault {
    pub(super) fn of(answer: &Answer) -> Self {
        let text = String::from_utf8_lossy(&answer.body);
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let word = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| json.get(*name)?.as_str().map(str::to_owned))
        };
        let code = word(["__type", "code"])
            .or_else(|| answer.error_type.clone())
            .or_else(|| xml_text(&text, "Code").map(str::to_owned))
            .unwrap_or_default();
        // `com.amazonaws.kms#NotFoundException`, `NotFoundException:http://…`
        let code = code.rsplit('#').next().unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        let message = word(["message", "Message"])
            .or_else(|| xml_text(&text, "Message").map(str::to_owned))
            .unwrap_or_default();
        Self {
            status: answer.status.as_u16(),
            code: code.chars().filter(char::is_ascii_alphanumeric).take(64).collect(),
            message: one_line(&message),
        }
    }

    fn away(message: String) -> Self {
        Self {
            status: 503,
            code: String::new(),
            message,
        }
    }

    fn meaning(&self) -> Meaning {
        match self.code.as_str() {
            "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => Meaning::OldCredentials,
            "InvalidSignatureException" | "SignatureDoesNotMatch" if self.is_about_time() => Meaning::Clock,
            "RequestTimeTooSkewed" => Meaning::Clock,
            "InvalidSignatureException" | "SignatureDoesNotMatch" => Meaning::Signature,
            "IncorrectKeyException" | "InvalidCiphertextException" => Meaning::WrongKey,
            // The key's store or its material is away for a moment.
            "ThrottlingException"
            | "Throttling"
            | "TooManyRequestsException"
            | "LimitExceededException"
            | "KeyUnavailableException"
            | "DependencyTimeoutException"
            | "KMSInternalException"
            | "IDPCommunicationError"
            | "InternalFailure"
            | "ServiceUnavailable" => Meaning::Transient,
            _ if self.status == 429 || self.status >= 500 => Meaning::Transient,
            _ => Meaning::Refused,
        }
    }

    fn is_about_time(&self) -> bool {
        self.message.starts_with("Signature expired") || self.message.starts_with("Signature not yet current")
    }

    fn is_transient(&self) -> bool {
        self.meaning() == Meaning::Transient
    }

    fn is_about_old_credentials(&self) -> bool {
        self.meaning() == Meaning::OldCredentials
    }

    /// The error for people: what `service` said to `action`, and what to do.
    pub(super) fn into_error(self, service: &str, action: &str) -> AwsError {
        let meaning = self.meaning();
        let answer = match self.code.as_str() {
            "" => format!("status {}", self.status),
            code => code.to_owned(),
        };
        // SECURITY: their text names accounts, roles and keys, and strangers are told why a server is sealed: it goes to the
        // log alone. The one to a bad signature quotes the request's headers, among them the session's token.
        if meaning != Meaning::Signature && !self.message.is_empty() {
            tracing::warn!(service, action, code = answer, message = self.message, "AWS refuses");
        }
        let text = format!("{service} answers {action} with {answer}");
        match meaning {
            Meaning::Transient => AwsError::Unavailable(text),
            Meaning::OldCredentials => {
                AwsError::Unavailable(format!("{text}; the AWS credentials have expired, give it new ones"))
            }
            Meaning::Clock => AwsError::Unavailable(format!(
                "{text}; this machine's clock is wrong by more than five minutes, set it"
            )),
            Meaning::WrongKey => AwsError::WrongKey(text),
            Meaning::Signature => AwsError::Refused(format!("{text}; the AWS secret access key is wrong")),
            Meaning::Refused => AwsError::Refused(text + advice(&self.code)),
        }
    }
}

fn advice(code: &str) -> &'static str {
    match code {
        "DisabledException" => "; enable the key",
        "NotFoundException" => "; the key is not in this account and region",
        "KMSInvalidStateException" => "; the key waits for its deletion or has no material",
        "InvalidKeyUsageException" => "; the key is made for something else",
        "AccessDeniedException" | "AccessDenied" => "; let these credentials use the key",
        "UnrecognizedClientException" | "InvalidClientTokenId" => "; the AWS access key is not known",
        _ => "",
    }
}

/// A message of theirs as it may stand in our log: one line of printable text, not too long.
fn one_line(message: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = message.chars().map(printable).take(300).collect();
    line.truncate(line.trim_end().len());
    line
}

/// A key's id without what says where it is: the last part of an ARN, else the text itself; `None` for aliases, which can
/// be moved to another key.
#[must_use]
pub fn bare_key_id(key_id: &str) -> Option<&str> {
    match key_id.strip_prefix("arn:") {
        Some(arn) => arn.rsplit(':').next()?.strip_prefix("key/"),
        None => (!key_id.starts_with("alias/")).then_some(key_id),
    }
}

/// What a ciphertext was made with, beside it in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeWith {
    /// ARN of the key.
    pub key: String,
    /// The context; not secret.
    pub context: std::collections::BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, code: &str, message: &str) -> AwsError {
        let body = json!({"__type": code, "message": message}).to_string();
        let answer = Answer {
            status: reqwest::StatusCode::from_u16(status).unwrap(),
            body: Zeroizing::new(body.into_bytes()),
            error_type: None,
        };
        Fault::of(&answer).into_error("KMS", "Decrypt")
    }

    #[test]
    fn each_error_of_theirs_says_what_is_to_be_done() {
        let snapshot: Vec<String> = [
            (
                400,
                "AccessDeniedException",
                "User: arn:aws:iam::1:user/x is not authorized",
            ),
            (
                400,
                "com.amazonaws.kms#DisabledException",
                "arn:aws:kms:…:key/x is disabled.",
            ),
            (400, "NotFoundException", ""),
            (400, "ThrottlingException", "Rate exceeded"),
            (500, "KMSInternalException", ""),
            (502, "", "<html>\nbad gateway"),
            (400, "InvalidCiphertextException", ""),
            (400, "IncorrectKeyException", ""),
            (
                400,
                "ExpiredTokenException",
                "The security token included in the request is expired",
            ),
            (
                400,
                "InvalidSignatureException",
                "Signature expired: 20261126T050000Z is now earlier than 20261126T055500Z",
            ),
            (403, "SignatureDoesNotMatch", "… x-amz-security-token:canary …"),
        ]
        .iter()
        .map(|(status, code, message)| format!("{:?}", fault(*status, code, message)))
        .collect();
        insta::assert_snapshot!(snapshot.join("\n"));
        assert!(!snapshot.join("").contains("canary"));
    }

    #[test]
    fn an_error_in_xml_is_read_too() {
        let xml =
            "<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>old</Message></Error></ErrorResponse>";
        let answer = Answer {
            status: reqwest::StatusCode::BAD_REQUEST,
            body: Zeroizing::new(xml.as_bytes().to_vec()),
            error_type: None,
        };
        assert!(Fault::of(&answer).is_about_old_credentials());
    }

    #[test]
    fn a_key_is_known_by_its_id_wherever_it_is() {
        assert_eq!(bare_key_id("arn:aws:kms:eu-west-1:1:key/mrk-12"), Some("mrk-12"));
        assert_eq!(bare_key_id("mrk-12"), Some("mrk-12"));
        assert_eq!(bare_key_id("alias/signet"), None);
        assert_eq!(bare_key_id("arn:aws:kms:eu-west-1:1:alias/signet"), None);
    }
}
