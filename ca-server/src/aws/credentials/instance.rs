//! Credentials of an EC2 instance's role, from its metadata service in version 2. Version 1 is not spoken: it answers to
//! whoever makes the server fetch an address.

use reqwest::Client;
use reqwest::header::HeaderValue;
use url::{Host, Url};

use super::{Credentials, document};
use crate::aws::AwsError;
use crate::aws::transport::{Answer, send};

const SOURCE: &str = "the instance metadata";
const ADDRESS: &str = "http://169.254.169.254";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// Seconds that a session with the service lasts; one is begun for each fetch.
const SESSION_SECS: &str = "60";

#[derive(Debug)]
pub(super) struct Instance {
    base: Url,
    http: Client,
}

impl Instance {
    pub(super) fn new(address: Option<&str>, http: Client) -> Result<Self, AwsError> {
        let base = Url::parse(address.unwrap_or(ADDRESS))
            .ok()
            .filter(is_near)
            .ok_or_else(|| {
                AwsError::Setup(
                    "AWS_EC2_METADATA_SERVICE_ENDPOINT must be http on a loopback or link-local address".to_owned(),
                )
            })?;
        Ok(Self { base, http })
    }

    /// `None` where nothing answers, or the instance has no role.
    pub(super) async fn load(&self) -> Result<Option<Credentials>, AwsError> {
        let begin = self
            .http
            .put(self.at("/latest/api/token")?)
            .header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECS);
        // Elsewhere than on EC2 nothing answers at this address.
        let Ok(answer) = send("the instance metadata service", begin).await else {
            return Ok(None);
        };
        let mut session = HeaderValue::from_bytes(&expect(&answer)?.body)
            .map_err(|_| AwsError::Unavailable("the instance metadata service gave no session".to_owned()))?;
        session.set_sensitive(true);
        let list = self.get(ROLES, &session).await?;
        if list.status == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let names = String::from_utf8_lossy(&expect(&list)?.body).into_owned();
        let role = names.lines().next().unwrap_or_default().trim();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
        if role.is_empty() || !role.bytes().all(known) {
            return Err(AwsError::Unavailable(
                "the instance metadata service named no role".to_owned(),
            ));
        }
        let answer = self.get(&format!("{ROLES}{role}"), &session).await?;
        document(&expect(&answer)?.body, SOURCE).map(Some)
    }

    async fn get(&self, path: &str, session: &HeaderValue) -> Result<Answer, AwsError> {
        let request = self
            .http
            .get(self.at(path)?)
            .header("x-aws-ec2-metadata-token", session.clone());
        send("the instance metadata service", request).await
    }

    fn at(&self, path: &str) -> Result<Url, AwsError> {
        self.base
            .join(path)
            .map_err(|error| AwsError::Setup(format!("no address of the instance metadata: {error}")))
    }
}

fn expect(answer: &Answer) -> Result<&Answer, AwsError> {
    match answer.status.as_u16() {
        200 => Ok(answer),
        status => Err(AwsError::Unavailable(format!(
            "the instance metadata service answered {status}"
        ))),
    }
}

fn is_near(url: &Url) -> bool {
    let near = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.segments().starts_with(&[0xfd00, 0xec2]),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    };
    url.scheme() == "http" && near
}
