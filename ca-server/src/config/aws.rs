//! AWS: how a key in KMS is found (`[seal] type = "awskms"`, `[[mount]] ca_key = { type = "awskms" }`), and what the
//! environment says about credentials, in the names that all of AWS's tools know.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use signet_core::toml_reader::TableReader;
use url::Url;

use super::environment;
use crate::login::jwks::is_acceptable_url;

/// A key in KMS and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsConfig {
    /// Key id, key ARN, `alias/NAME` or alias ARN.
    pub key_id: String,
    /// The region; else the ARN's, the environment's or the profile's.
    pub region: Option<String>,
    /// Another address of KMS, such as a VPC endpoint.
    pub endpoint: Option<Url>,
    /// Another address of STS.
    pub sts_endpoint: Option<Url>,
    /// Credentials come from this profile and from nowhere else.
    pub profile: Option<String>,
    /// What KMS binds to each ciphertext and writes into its log; not secret.
    pub encryption_context: BTreeMap<String, String>,
}

impl AwsConfig {
    /// Reads what leads to the key.
    #[must_use]
    pub fn read(section: &TableReader<'_>) -> Self {
        let way = Self::read_way(section);
        let key_id = section
            .required("key_id")
            .filter(|key_id| {
                let known = is_key_id(key_id);
                if !known {
                    section.wrong(
                        "key_id",
                        format!("`key_id` is `{key_id}`, but must be a key's id or ARN, or `alias/NAME` or its ARN"),
                    );
                }
                known
            })
            .unwrap_or_default();
        if let (Some(of_arn), Some(region)) = (region_of_arn(&key_id), &way.region)
            && of_arn != region
        {
            section.wrong(
                "region",
                format!("`region` is `{region}`, but the key's ARN says `{of_arn}`"),
            );
        }
        Self { key_id, ..way }
    }

    /// Reads what leads to KMS, for keys that are named later.
    #[must_use]
    pub fn read_way(section: &TableReader<'_>) -> Self {
        Self {
            key_id: String::new(),
            region: section.parsed("region", "a region's name such as eu-west-1", |text| {
                is_region(text).then(|| text.to_owned())
            }),
            endpoint: endpoint(section, "endpoint"),
            sts_endpoint: endpoint(section, "sts_endpoint"),
            profile: section.string("profile"),
            encryption_context: BTreeMap::new(),
        }
    }

    /// Reads what leads to the key of a seal. The context names the server, so that another server's root key does not
    /// open here though both may use the key; `signet` in the context given replaces that name.
    #[must_use]
    pub fn read_seal(section: &TableReader<'_>, server: &str) -> Self {
        let mut context = section.string_map("encryption_context");
        context.entry("signet".to_owned()).or_insert_with(|| server.to_owned());
        if context.values().any(String::is_empty) {
            section.wrong("encryption_context", "`encryption_context` holds an empty text");
        }
        Self {
            encryption_context: context,
            ..Self::read(section)
        }
    }
}

/// A mount's CA key in KMS, and how much is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsCaKey {
    /// The key.
    pub key: AwsConfig,
    /// Signatures that are asked for at once, at most.
    pub parallel: usize,
    /// Requests that wait for their turn, at most.
    pub queue: usize,
    /// How long one signature may take, waiting included.
    pub timeout: Duration,
}

impl Default for AwsCaKey {
    fn default() -> Self {
        Self {
            key: AwsConfig {
                key_id: String::new(),
                region: None,
                endpoint: None,
                sts_endpoint: None,
                profile: None,
                encryption_context: BTreeMap::new(),
            },
            parallel: 32,
            queue: 64,
            timeout: Duration::from_secs(5),
        }
    }
}

impl AwsCaKey {
    /// Reads a mount's `ca_key = { type = "awskms", … }`.
    #[must_use]
    pub fn read(section: &TableReader<'_>) -> Self {
        Self {
            key: AwsConfig::read(section),
            ..Self::read_way(section)
        }
    }

    /// Reads what leads to KMS and how much is asked of it, for keys that are named later.
    #[must_use]
    pub fn read_way(section: &TableReader<'_>) -> Self {
        let usual = Self::default();
        let count = |key, usual| {
            let written = section.number(key, 1..=256);
            written.and_then(|number| usize::try_from(number).ok()).unwrap_or(usual)
        };
        Self {
            key: AwsConfig::read_way(section),
            parallel: count("parallel", usual.parallel),
            queue: count("queue", usual.queue),
            timeout: section
                .duration_secs("timeout", 1..=120)
                .map_or(usual.timeout, Duration::from_secs),
        }
    }
}

fn endpoint(section: &TableReader<'_>, key: &str) -> Option<Url> {
    section.parsed(key, "an https address (http on loopback only)", parse_endpoint)
}

fn parse_endpoint(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(is_acceptable_url)
}

/// Whether it can be a key's name; KMS knows better.
pub(super) fn is_key_id(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/' | b':');
    !text.is_empty() && text.len() <= 2048 && text.bytes().all(known)
}

/// A region becomes part of a host's name, so it must not hold anything else.
fn is_region(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 32 && text.bytes().all(known)
}

/// The region in `arn:aws:kms:REGION:…`.
#[must_use]
pub fn region_of_arn(key_id: &str) -> Option<&str> {
    key_id.strip_prefix("arn:")?.split(':').nth(2)
}

/// What the environment says about AWS.
#[derive(Clone, Default)]
pub struct AwsEnvironment {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    pub keys: Option<EnvironmentKeys>,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `AWS_PROFILE`.
    pub profile: Option<String>,
    /// `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`.
    pub credentials_file: Option<PathBuf>,
    /// `AWS_CONFIG_FILE`, else `~/.aws/config`.
    pub config_file: Option<PathBuf>,
    /// `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`.
    pub web_identity: Option<(String, PathBuf)>,
    /// `AWS_ROLE_SESSION_NAME`.
    pub role_session_name: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub container: Option<ContainerAddress>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, read anew each time.
    pub container_token_file: Option<PathBuf>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    pub container_token: Option<SecretString>,
    /// `AWS_EC2_METADATA_DISABLED`.
    pub instance_metadata_disabled: bool,
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub instance_metadata: Option<String>,
    /// `AWS_ENDPOINT_URL_KMS`, else `AWS_ENDPOINT_URL`.
    pub kms_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_STS`, else `AWS_ENDPOINT_URL`.
    pub sts_endpoint: Option<String>,
    /// `AWS_CA_BUNDLE`: the only roots trusted for AWS, PEM.
    pub ca_bundle: Option<PathBuf>,
}

/// A long-term key, or a short-term one with its token.
#[derive(Clone)]
pub struct EnvironmentKeys {
    /// The access key's id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// The session's token.
    pub token: Option<SecretString>,
}

/// Where a container's credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerAddress {
    /// A path on ECS's own address.
    Relative(String),
    /// A whole address.
    Full(String),
}

/// Never anything of it: most of it is secret.
impl fmt::Debug for AwsEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsEnvironment")
    }
}

impl fmt::Debug for EnvironmentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvironmentKeys")
    }
}

impl AwsEnvironment {
    /// Reads it. A variable that is set to nothing counts as not set.
    #[must_use]
    pub fn read() -> Self {
        let text = |name: &str| environment(name).filter(|text| !text.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        let home = path("HOME");
        let in_home = |name: &str| home.as_ref().map(|home| home.join(".aws").join(name));
        let keys = text("AWS_ACCESS_KEY_ID")
            .zip(text("AWS_SECRET_ACCESS_KEY"))
            .map(|(id, secret)| EnvironmentKeys {
                id,
                secret: secret.into(),
                token: text("AWS_SESSION_TOKEN").map(SecretString::from),
            });
        let relative = text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(ContainerAddress::Relative);
        let disabled = text("AWS_EC2_METADATA_DISABLED");
        Self {
            keys,
            region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")),
            profile: text("AWS_PROFILE"),
            credentials_file: path("AWS_SHARED_CREDENTIALS_FILE").or_else(|| in_home("credentials")),
            config_file: path("AWS_CONFIG_FILE").or_else(|| in_home("config")),
            web_identity: text("AWS_ROLE_ARN").zip(path("AWS_WEB_IDENTITY_TOKEN_FILE")),
            role_session_name: text("AWS_ROLE_SESSION_NAME"),
            container: relative.or_else(|| text("AWS_CONTAINER_CREDENTIALS_FULL_URI").map(ContainerAddress::Full)),
            container_token_file: path("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            container_token: text("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(SecretString::from),
            instance_metadata_disabled: disabled.is_some_and(|word| word.eq_ignore_ascii_case("true")),
            instance_metadata: text("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
            kms_endpoint: text("AWS_ENDPOINT_URL_KMS").or_else(|| text("AWS_ENDPOINT_URL")),
            sts_endpoint: text("AWS_ENDPOINT_URL_STS").or_else(|| text("AWS_ENDPOINT_URL")),
            ca_bundle: path("AWS_CA_BUNDLE"),
        }
    }
}

/// Finds the address of a service: as configured, as the environment says, or the public one of the region.
///
/// # Errors
/// The environment's address, if it cannot be used.
pub fn service_endpoint(
    service: &str,
    configured: Option<&Url>,
    of_environment: Option<&str>,
    region: &str,
) -> Result<Url, String> {
    if let Some(url) = configured {
        return Ok(url.clone());
    }
    if let Some(text) = of_environment {
        return parse_endpoint(text).ok_or_else(|| {
            format!("the environment's address of {service}, `{text}`, is neither https nor on loopback")
        });
    }
    if !is_region(region) {
        return Err(format!("`{region}` is no region's name"));
    }
    let text = format!("https://{service}.{region}.{}/", domain_of(region));
    Url::parse(&text).map_err(|error| error.to_string())
}

/// The domain of a region's partition, as in AWS's list of partitions (`partitions.json` of its SDKs).
fn domain_of(region: &str) -> &'static str {
    const DOMAINS: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    let found = DOMAINS.iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("amazonaws.com", |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use signet_core::toml_reader;

    use super::*;

    fn read(text: &str) -> Result<AwsConfig, String> {
        toml_reader::read("signet.toml", text, |top| AwsConfig::read_seal(top, "ca"))
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_key_is_read_with_the_servers_name_in_its_context() {
        let config = read(
            "key_id = \"alias/signet\"\nregion = \"eu-west-1\"\nendpoint = \"https://vpce-1.kms.eu-west-1.vpce.amazonaws.com\"\n\
             encryption_context = { team = \"core\" }",
        )
        .unwrap();
        let context: Vec<_> = config.encryption_context.into_iter().collect();
        assert_eq!(
            context,
            [
                ("signet".to_owned(), "ca".to_owned()),
                ("team".to_owned(), "core".to_owned())
            ]
        );
        let renamed = read("key_id = \"1234\"\nencryption_context = { signet = \"old-name\" }").unwrap();
        assert_eq!(
            renamed.encryption_context.get("signet").map(String::as_str),
            Some("old-name")
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (wrong, about) in [
            ("region = \"eu-west-1\"", "`key_id` is missing"),
            ("key_id = \"a key\"", "must be a key's id"),
            ("key_id = \"k\"\nregion = \"evil.example.com/\"", "a region's name"),
            (
                "key_id = \"arn:aws:kms:eu-west-1:1:key/x\"\nregion = \"us-east-1\"",
                "ARN says",
            ),
            ("key_id = \"k\"\nendpoint = \"http://kms.example.com\"", "https"),
            ("key_id = \"k\"\nendpoint = \"http://169.254.169.254\"", "https"),
            ("key_id = \"k\"\nencryption_context = { a = \"\" }", "empty"),
            ("key_id = \"k\"\nkeyid = \"x\"", "keyid"),
        ] {
            let mistakes = read(wrong).unwrap_err();
            assert!(mistakes.contains(about), "{wrong}: {mistakes}");
        }
    }

    #[test]
    fn the_address_is_the_configured_one_the_environments_or_the_regions() {
        let at = |configured: Option<&Url>, environment, region| {
            service_endpoint("kms", configured, environment, region).map(|url| url.to_string())
        };
        let own = Url::parse("https://kms.internal/").unwrap();
        assert_eq!(
            at(Some(&own), Some("https://x/"), "eu-west-1").unwrap(),
            "https://kms.internal/"
        );
        assert_eq!(
            at(None, Some("http://127.0.0.1:5000"), "eu-west-1").unwrap(),
            "http://127.0.0.1:5000/"
        );
        assert!(at(None, Some("http://kms.example.com"), "eu-west-1").is_err());
        assert_eq!(
            at(None, None, "eu-west-1").unwrap(),
            "https://kms.eu-west-1.amazonaws.com/"
        );
        for (region, domain) in [
            ("cn-north-1", "amazonaws.com.cn"),
            ("us-gov-west-1", "amazonaws.com"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("eusc-de-east-1", "amazonaws.eu"),
        ] {
            assert_eq!(
                at(None, None, region).unwrap(),
                format!("https://kms.{region}.{domain}/")
            );
        }
    }
}
