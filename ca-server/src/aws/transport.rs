//! HTTP towards AWS: no redirects, bounded answers, bounded time.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use zeroize::Zeroizing;

use super::AwsError;

/// Longer than any answer of KMS, STS or a metadata service.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// An answer, whatever its status. The body may hold credentials or a data key.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// The error's code, where a header names it.
    pub(super) error_type: Option<String>,
}

/// For KMS and STS, through the proxy that the environment names, if any.
pub(super) fn service_client(ca_bundle: Option<&Path>) -> Result<Client, AwsError> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(3))
        .timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(50))
        .referer(false)
        .user_agent(concat!("signet-ca/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = ca_bundle {
        let unusable = |error: &dyn std::fmt::Display| {
            AwsError::Setup(format!("AWS_CA_BUNDLE, `{}`, cannot be used: {error}", path.display()))
        };
        let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&error))?;
        builder = builder.tls_certs_only(roots);
    }
    builder
        .build()
        .map_err(|error| AwsError::Setup(format!("no HTTP client: {error}")))
}

/// For the metadata addresses of instances and containers. They are next door, so a second is long; a proxy would be told
/// the credentials.
pub(super) fn metadata_client() -> Result<Client, AwsError> {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(1))
        .timeout(Duration::from_secs(2))
        .pool_max_idle_per_host(0)
        .referer(false)
        .no_proxy()
        .user_agent(concat!("signet-ca/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| AwsError::Setup(format!("no HTTP client: {error}")))
}

/// Sends a request to what people know as `name`.
///
/// # Errors
/// [`AwsError::Unavailable`] without an answer, or with one that is too long.
pub(super) async fn send(name: &str, request: RequestBuilder) -> Result<Answer, AwsError> {
    // SECURITY: the address stays out of the text, for it could hold what its author took for private.
    let away = |error: reqwest::Error| {
        let error = crate::command::chain(&error.without_url());
        AwsError::Unavailable(format!("{name} cannot be reached: {error}"))
    };
    let mut response = request.send().await.map_err(away)?;
    let error_type = response
        .headers()
        .get("x-amzn-errortype")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut body = Zeroizing::new(Vec::with_capacity(4096));
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(AwsError::Unavailable(format!(
                "{name} answered more than {BODY_BYTES_MAX} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status(),
        body,
        error_type,
    })
}

/// What lies between `<tag>` and `</tag>` the first time; STS answers in XML without attributes there.
pub(super) fn xml_text<'a>(xml: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{tag}>"))?;
    let (text, _) = rest.split_once(&format!("</{tag}>"))?;
    (!text.contains(['<', '&'])).then_some(text.trim())
}
