//! Which names and tags a host gets: from who it proved to be and from `hosts.toml` as it is now, and from nothing that the
//! host says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use signet_core::host_policy::{EnrollProof, EnrollRule, HostNameError, HostPolicy};

use super::entry::HostIdentity;

/// What `hosts.toml` gives to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// At least one name, the first of which the host is called by; none twice.
    pub names: Vec<String>,
    /// Tags.
    pub tags: BTreeSet<String>,
}

/// Why `hosts.toml` gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotGiven {
    /// No `[[enroll]]` is for such a host.
    #[error("no [[enroll]] of hosts.toml is for {0}")]
    NoRule(String),
    /// A pattern yields what cannot be a host's name.
    #[error("hosts.toml would give it the name {0:?}, which cannot be a host's")]
    Name(String),
    /// Its patterns give no name.
    #[error("hosts.toml gives it no name")]
    Pattern(#[from] HostNameError),
    /// It has no pattern.
    #[error("hosts.toml gives it no name")]
    NoName,
}

/// The names and tags of a host. The first `[[enroll]]` that fits counts.
///
/// # Errors
/// [`NotGiven`]
pub fn given(policy: &HostPolicy, identity: &HostIdentity) -> Result<Given, NotGiven> {
    let fitting = policy.enroll.iter().find(|rule| fits(rule, identity));
    let rule = fitting.ok_or_else(|| NotGiven::NoRule(described(identity)))?;
    let (names, tags) = match identity {
        HostIdentity::Token { host, tags } => (vec![host.clone()], tags.clone()),
        HostIdentity::Ec2 { .. } | HostIdentity::Jwt { .. } => (rule.names_for(&values(identity))?, rule.tags.clone()),
    };
    let mut checked: Vec<String> = Vec::new();
    for name in names {
        let name = host_name(&name).ok_or_else(|| NotGiven::Name(name.clone()))?;
        if !checked.contains(&name) {
            checked.push(name);
        }
    }
    if checked.is_empty() {
        return Err(NotGiven::NoName);
    }
    Ok(Given { names: checked, tags })
}

/// A host's name in the one form that is kept: lower case. `None` for what ssh would not take for one name: it compares in
/// lower case, and a pattern, a list or a path would be more than a name.
#[must_use]
pub fn host_name(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:".contains(&byte);
    let ends = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let fits = (1..=253).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(ends)
        && name.ends_with(ends)
        && !name.contains("..");
    fits.then_some(name)
}

fn fits(rule: &EnrollRule, identity: &HostIdentity) -> bool {
    match (&rule.proof, identity) {
        (
            EnrollProof::Ec2 {
                accounts,
                regions,
                images,
                subnets,
            },
            HostIdentity::Ec2 {
                account_id,
                region,
                image_id,
                private_ip,
                ..
            },
        ) => {
            accounts.contains(account_id)
                && regions.contains(region)
                && images.contains(image_id)
                && subnets.iter().any(|net: &IpNet| net.contains(&IpAddr::V4(*private_ip)))
        }
        (
            EnrollProof::Jwt { mount, role },
            HostIdentity::Jwt {
                mount: by,
                role: as_role,
                ..
            },
        ) => mount == by && role == as_role,
        (EnrollProof::Token, HostIdentity::Token { host, tags }) => rule.allows_name(host) && rule.allows_tags(tags),
        (EnrollProof::Ec2 { .. } | EnrollProof::Jwt { .. } | EnrollProof::Token, _) => false,
    }
}

/// What patterns may speak of.
fn values(identity: &HostIdentity) -> BTreeMap<&'static str, String> {
    match identity {
        HostIdentity::Ec2 {
            account_id,
            region,
            instance_id,
            private_ip,
            private_dns,
            ..
        } => BTreeMap::from([
            ("account_id", account_id.clone()),
            ("region", region.clone()),
            ("instance_id", instance_id.clone()),
            ("private_ip", private_ip.to_string()),
            ("private_dns", private_dns.clone()),
        ]),
        HostIdentity::Jwt { user, .. } => BTreeMap::from([("user", user.clone())]),
        HostIdentity::Token { .. } => BTreeMap::new(),
    }
}

fn described(identity: &HostIdentity) -> String {
    match identity {
        HostIdentity::Ec2 {
            account_id,
            region,
            image_id,
            private_ip,
            ..
        } => format!("an instance of account {account_id} in {region} from {image_id} at {private_ip}"),
        HostIdentity::Jwt { mount, role, .. } => format!("role {role:?} of the login auth/{mount}"),
        HostIdentity::Token { host, tags } => {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            format!("a token for {host:?} with the tags [{}]", tags.join(", "))
        }
    }
}
