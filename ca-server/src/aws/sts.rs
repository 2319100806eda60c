//! STS: from a web identity's token to credentials. The request is not signed: the token is the proof.

use std::path::PathBuf;

use reqwest::Client;
use signet_core::time::UnixTime;
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::AwsError;
use super::credentials::Credentials;
use super::kms::Fault;
use super::transport::{send, xml_text};

/// A role to take on by the token in a file, as Kubernetes gives it to a pod (IRSA).
#[derive(Debug, Clone)]
pub(super) struct WebIdentity {
    pub(super) role_arn: String,
    pub(super) session_name: String,
    /// Read anew each time: kubelet replaces it.
    pub(super) token_file: PathBuf,
    pub(super) endpoint: Url,
    pub(super) http: Client,
}

impl WebIdentity {
    /// `AssumeRoleWithWebIdentity`.
    pub(super) async fn load(&self) -> Result<Credentials, AwsError> {
        let file = self.token_file.display();
        let token = std::fs::read_to_string(&self.token_file)
            .map(Zeroizing::new)
            .map_err(|error| {
                AwsError::Unavailable(format!("the web identity token `{file}` cannot be read: {error}"))
            })?;
        let form = Zeroizing::new(
            Serializer::new(String::new())
                .append_pair("Action", "AssumeRoleWithWebIdentity")
                .append_pair("Version", "2011-06-15")
                .append_pair("RoleArn", &self.role_arn)
                .append_pair("RoleSessionName", &self.session_name)
                .append_pair("WebIdentityToken", token.trim())
                .finish(),
        );
        let request = self
            .http
            .post(self.endpoint.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.as_bytes().to_vec());
        let answer = send("STS", request).await?;
        if !answer.status.is_success() {
            return Err(Fault::of(&answer).into_error("STS", "AssumeRoleWithWebIdentity"));
        }
        credentials(&answer.body).ok_or_else(|| AwsError::Unavailable("STS answered without credentials".to_owned()))
    }
}

fn credentials(body: &[u8]) -> Option<Credentials> {
    let xml = std::str::from_utf8(body).ok()?;
    let (_, xml) = xml.split_once("<Credentials>")?;
    let expires = UnixTime::parse_rfc3339(xml_text(xml, "Expiration")?).ok()?;
    Some(Credentials::new(
        xml_text(xml, "AccessKeyId")?,
        xml_text(xml, "SecretAccessKey")?.to_owned().into(),
        Some(xml_text(xml, "SessionToken")?.to_owned().into()),
        Some(expires),
        "the web identity",
    ))
}
