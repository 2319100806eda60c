//! Credentials of a container: ECS's task role or EKS pod identity.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::{Credentials, document};
use crate::aws::AwsError;
use crate::aws::transport::send;
use crate::config::{AwsEnvironment, ContainerAddress};

const SOURCE: &str = "the container";
const ECS: &str = "http://169.254.170.2";
/// Where unencrypted HTTP is good enough besides loopback: ECS, and EKS pod identity in both families.
const LINK_LOCAL: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];

#[derive(Debug)]
pub(super) struct Container {
    url: Url,
    token_file: Option<PathBuf>,
    token: Option<SecretString>,
    http: Client,
}

impl Container {
    /// `None` outside of such a container.
    pub(super) fn new(environment: &AwsEnvironment, http: &Client) -> Result<Option<Self>, AwsError> {
        let text = match &environment.container {
            None => return Ok(None),
            Some(ContainerAddress::Relative(path)) if path.starts_with('/') => format!("{ECS}{path}"),
            Some(ContainerAddress::Relative(_)) => {
                return Err(AwsError::Setup(
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with a slash".to_owned(),
                ));
            }
            Some(ContainerAddress::Full(url)) => url.clone(),
        };
        let url = Url::parse(&text).ok().filter(is_allowed).ok_or_else(|| {
            AwsError::Setup(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http on loopback or an address of ECS or EKS"
                    .to_owned(),
            )
        })?;
        Ok(Some(Self {
            url,
            token_file: environment.container_token_file.clone(),
            token: environment.container_token.clone(),
            http: http.clone(),
        }))
    }

    pub(super) async fn load(&self) -> Result<Credentials, AwsError> {
        let mut request = self.http.get(self.url.clone());
        if let Some(token) = self.authorization()? {
            request = request.header(AUTHORIZATION, token);
        }
        let answer = send("the container's credentials service", request).await?;
        match answer.status.as_u16() {
            200 => document(&answer.body, SOURCE),
            status @ (401 | 403) => Err(AwsError::Refused(format!(
                "the container's credentials service answered {status}"
            ))),
            status => Err(AwsError::Unavailable(format!(
                "the container's credentials service answered {status}"
            ))),
        }
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, AwsError> {
        let text = match (&self.token_file, &self.token) {
            (Some(file), _) => Zeroizing::new(std::fs::read_to_string(file).map_err(|error| {
                AwsError::Unavailable(format!(
                    "the container's token `{}` cannot be read: {error}",
                    file.display()
                ))
            })?),
            (None, Some(token)) => Zeroizing::new(token.expose_secret().to_owned()),
            (None, None) => return Ok(None),
        };
        let mut value = HeaderValue::from_str(text.trim())
            .map_err(|_| AwsError::Setup("the container's token is not one line of text".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn is_allowed(url: &Url) -> bool {
    let anonymous = url.username().is_empty() && url.password().is_none();
    let near = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback() || LINK_LOCAL.contains(&IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => address.is_loopback() || LINK_LOCAL.contains(&IpAddr::V6(address)),
        None => false,
    };
    anonymous && (url.scheme() == "https" || (url.scheme() == "http" && near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_asked_for_nearby_or_under_tls_only() {
        for (url, allowed) in [
            ("http://169.254.170.2/v2/credentials", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://localhost:5000/", true),
            ("http://127.0.0.1:5000/", true),
            ("https://credentials.example.com/", true),
            ("http://credentials.example.com/", false),
            ("http://169.254.169.254/latest/meta-data/", false),
            ("http://10.0.0.1/", false),
            ("https://user@example.com/", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(is_allowed(&Url::parse(url).unwrap()), allowed, "{url}");
        }
    }
}
