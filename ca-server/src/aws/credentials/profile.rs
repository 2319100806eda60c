//! Profiles of `~/.aws/credentials` and `~/.aws/config`: keys, and a role by web identity. What would start a program
//! or needs a browser is refused by name.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::Client;
use secrecy::SecretString;
use url::Url;
use zeroize::Zeroizing;

use super::Credentials;
use crate::aws::AwsError;
use crate::aws::sts::WebIdentity;
use crate::config::{AwsConfig, AwsEnvironment};
use crate::secret_file;

const SOURCE: &str = "the profile";
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Ways to credentials that are not gone, with what to do instead.
const REFUSED: &[(&str, &str)] = &[
    (
        "credential_process",
        "a server that holds a CA does not start programs named in a file",
    ),
    ("sso_session", "a person's sign-in is not for servers"),
    ("sso_start_url", "a person's sign-in is not for servers"),
    (
        "source_profile",
        "roles are taken on by web identity only; give the profile's own keys",
    ),
    (
        "credential_source",
        "roles are taken on by web identity only; leave `profile` out and the chain finds the source by itself",
    ),
    ("mfa_serial", "nobody is there to type a code"),
];

type Settings = BTreeMap<String, Zeroizing<String>>;

/// One profile of the two files.
#[derive(Debug)]
pub(in crate::aws) struct Profile {
    name: String,
    /// Whether somebody named it, so that it has to be there.
    is_named: bool,
    credentials_file: Option<PathBuf>,
    config_file: Option<PathBuf>,
    session_name: String,
    sts: Url,
    http: Client,
}

impl Profile {
    pub(super) fn new(
        config: &AwsConfig,
        environment: &AwsEnvironment,
        session_name: &str,
        http: &Client,
        sts: &Url,
    ) -> Self {
        let named = config.profile.clone().or_else(|| environment.profile.clone());
        Self {
            is_named: named.is_some(),
            name: named.unwrap_or_else(|| "default".to_owned()),
            credentials_file: environment.credentials_file.clone(),
            config_file: environment.config_file.clone(),
            session_name: session_name.to_owned(),
            sts: sts.clone(),
            http: http.clone(),
        }
    }

    /// Reads the files anew; `None` where there is no such profile, or one without credentials, and nobody named it.
    pub(super) async fn load(&self) -> Result<Option<Credentials>, AwsError> {
        let settings = self.settings()?;
        let credentials = match &settings {
            Some(settings) => self.credentials(settings).await?,
            None => None,
        };
        if credentials.is_none() && self.is_named {
            let (name, what) = (
                &self.name,
                if settings.is_some() {
                    "holds no keys"
                } else {
                    "is not there"
                },
            );
            return Err(AwsError::Setup(format!("the AWS profile `{name}` {what}")));
        }
        Ok(credentials)
    }

    async fn credentials(&self, settings: &Settings) -> Result<Option<Credentials>, AwsError> {
        let text = |key: &str| settings.get(key).map(|value| value.as_str());
        if let Some((id, secret)) = text("aws_access_key_id").zip(text("aws_secret_access_key"))
            && text("role_arn").is_none()
        {
            let token = text("aws_session_token").map(|token| SecretString::from(token.to_owned()));
            return Ok(Some(Credentials::new(
                id,
                secret.to_owned().into(),
                token,
                None,
                SOURCE,
            )));
        }
        if let Some((key, why)) = REFUSED.iter().find(|(key, _)| settings.contains_key(*key)) {
            return Err(AwsError::Setup(format!(
                "the AWS profile `{}` uses `{key}`, which is not supported: {why}",
                self.name
            )));
        }
        let Some((role_arn, token_file)) = text("role_arn").zip(text("web_identity_token_file")) else {
            return Ok(None);
        };
        let identity = WebIdentity {
            role_arn: role_arn.to_owned(),
            session_name: text("role_session_name").unwrap_or(&self.session_name).to_owned(),
            token_file: token_file.into(),
            endpoint: self.sts.clone(),
            http: self.http.clone(),
        };
        identity.load().await.map(Some)
    }

    /// What both files say of the profile, the credentials file's words first.
    fn settings(&self) -> Result<Option<Settings>, AwsError> {
        let mut found: Option<Settings> = None;
        // In the config file all profiles but the default one are `[profile NAME]`.
        let in_config = if self.name == "default" {
            vec!["default".to_owned(), "profile default".to_owned()]
        } else {
            vec![format!("profile {}", self.name)]
        };
        for (file, headers) in [
            (&self.config_file, in_config),
            (&self.credentials_file, vec![self.name.clone()]),
        ] {
            let Some(file) = file else { continue };
            if let Some(settings) = section(file, &headers)? {
                if settings.contains_key("aws_secret_access_key") {
                    secret_file::assert_private(file)
                        .map_err(|error| AwsError::Setup(error.of("the AWS profile file")))?;
                }
                found.get_or_insert_default().extend(settings);
            }
        }
        Ok(found)
    }
}

/// The region that the profile names, if it can be read.
pub(in crate::aws) fn region(config: &AwsConfig, environment: &AwsEnvironment) -> Option<String> {
    let name = config.profile.as_deref().or(environment.profile.as_deref());
    let name = name.unwrap_or("default");
    let headers = [name.to_owned(), format!("profile {name}")];
    let settings = section(environment.config_file.as_deref()?, &headers).ok()??;
    settings.get("region").map(|region| region.to_string())
}

fn section(file: &Path, headers: &[String]) -> Result<Option<Settings>, AwsError> {
    let unusable = |error: &dyn std::fmt::Display| {
        AwsError::Unavailable(format!(
            "the AWS profile file `{}` cannot be read: {error}",
            file.display()
        ))
    };
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err(unusable(&"it is too long")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(&error)),
    }
    let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|error| unusable(&error))?);
    Ok(parse(&text, headers))
}

/// INI as AWS's tools write it; nested settings (indented lines) are for other services.
fn parse(text: &str, headers: &[String]) -> Option<Settings> {
    let mut found: Option<Settings> = None;
    let mut is_ours = false;
    for line in text.lines() {
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let words: Vec<&str> = header.split_whitespace().collect();
            is_ours = headers.contains(&words.join(" ").replace('"', ""));
            if is_ours {
                found.get_or_insert_default();
            }
        } else if let Some((key, value)) = line.split_once('=')
            && is_ours
            && !is_nested
        {
            // A comment begins after white space only: secrets may hold a `#`.
            let value = value.trim();
            let end = value.find(" #").or_else(|| value.find(" ;")).unwrap_or(value.len());
            let value = value.get(..end).unwrap_or(value).trim();
            let kept = Zeroizing::new(value.to_owned());
            found
                .get_or_insert_default()
                .insert(key.trim().to_ascii_lowercase(), kept);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_under_its_header_and_nested_settings_are_left_out() {
        let text = "# comment\n[default]\nregion = eu-west-1\n[profile  ci]\naws_access_key_id=AKID ; a comment\n\
                    s3 =\n  aws_access_key_id = nested\naws_secret_access_key = se#cr=et\n";
        let of = |header: &str| parse(text, &[header.to_owned()]);
        let ci = of("profile ci").unwrap();
        assert_eq!(ci.get("aws_access_key_id").map(|v| v.as_str()), Some("AKID"));
        assert_eq!(ci.get("aws_secret_access_key").map(|v| v.as_str()), Some("se#cr=et"));
        assert_eq!(
            of("default").unwrap().get("region").map(|v| v.as_str()),
            Some("eu-west-1")
        );
        assert!(of("profile x").is_none());
    }
}
