//! One question to a policy set, answered on the very path that a signing request takes: cases, lint, explain and diff all
//! ask here, so what they say is what the server does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::PolicySet;
use crate::access::split_role_id;
use crate::caller::{AuthMethod, Caller, CallerParts};
use crate::denial::Denial;
use crate::mistake::nearest;
use crate::plan::{Grant, MountLimits, resolve};
use crate::request::SigningRequest;
use crate::role::Role;
use crate::time::UnixTime;

/// Public keys of each kind that a role may ask for; their private halves were never kept.
const SAMPLE_KEYS: &[&str] = &[
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIa+WAsDQ1rqRRG6+nLT+gFN0ee/bipaztddk+RtZ5u3",
    "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIIa+WAsDQ1rqRRG6+nLT+gFN0ee/bipazt\
     ddk+RtZ5u3AAAABHNzaDo=",
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBI1M+BSMghR2O08BaRAweA+Bwe0AM68UJ\
     GUgeMqpOrW24F1AqSY6PHu02MwpL9R6EM/YdRCOajTX0PcaS7A2NnM=",
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDFOyt3lOdV+S+PaWAG3YhMAzLtFGmAVGUhk8UVYXvoeEZnn2Nn3j1QlV4hHJZMHa4oL\
     hp6vwgTFCJSV7Hw4V448asyA6/8BuMhQqzr1QOy1dAI/EkLiltGif8h/tNSHvo88zcDRDM3j5oWWvs2WjzZ5qIlHEjF3IdXTX5jwg3LCD\
     Q3SRkoEFsbLXhASADPV1O0lKMakQ6mLXBgzP8GtfZhfbyEzZIYMp+4ItvQ05l3NBLCHVu/KWocZYsv6G8m9XF3OprUiyeMEnTTCKpfpx4\
     84UAYA2prV09FSjvPOjtwOyGUATyD29Mgm77O9/OFl+Vxhtl4hUxyE5Ks1BxNI6im31lOCfm0DbN5UVzMqlj+diVM54pJwNOZ6MRHXy2E\
     hv4G1L71n3hulGu0GyZ1ZvQquiGEC8+YD7Bp93TeJRmf4d8EN8OToev+1f9KOmPBfN5rTKu7EEaoo+5BCoQ6OjaY6FW2KebVIvJ5g0JLh\
     1UFoHI7h204Dc7gFAKPrLrL4mE=",
];

/// Monday, 2026-01-05, 12:00 UTC: when a question is asked that says no time.
const MONDAY_NOON: UnixTime = UnixTime::from_secs(1_767_614_400);

/// A question: may this person have a certificate of this role?
#[derive(Debug, Clone)]
pub struct Ask {
    /// The person.
    pub person: String,
    /// Groups that come with the login, beside those of `people.toml`.
    pub groups: BTreeSet<String>,
    /// Token policies.
    pub policies: BTreeSet<String>,
    /// The mount.
    pub mount: String,
    /// The role's name.
    pub role: String,
    /// Principals; `None`: the role's default.
    pub principals: Option<Vec<String>>,
    /// Requested lifetime.
    pub ttl_secs: Option<u64>,
    /// The caller's address.
    pub from: IpAddr,
    /// How they logged in.
    pub method: AuthMethod,
    /// `user` or `host`; `None`: what the role issues.
    pub cert_type: Option<String>,
    /// When.
    pub at: UnixTime,
    /// Requested extensions.
    pub extensions: Vec<String>,
}

impl Ask {
    /// Asks for a role (by its id) with everything else as it usually is: the default principals, an address of RFC 5737,
    /// a login by SSH key, a Monday noon.
    #[must_use]
    pub fn new(person: &str, role_id: &str) -> Self {
        let (mount, role) = split_role_id(role_id);
        Self {
            person: person.to_owned(),
            groups: BTreeSet::new(),
            policies: BTreeSet::new(),
            mount: mount.to_owned(),
            role: role.to_owned(),
            principals: None,
            ttl_secs: None,
            from: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            method: AuthMethod::SshKey,
            cert_type: None,
            at: MONDAY_NOON,
            extensions: Vec::new(),
        }
    }

    fn request(&self, role: &Role, key: &str) -> SigningRequest {
        let own_type = if role.user_certificates() { "user" } else { "host" };
        SigningRequest {
            public_key: Some(key.to_owned()),
            ttl_secs: self.ttl_secs,
            valid_principals: self.principals.as_ref().map(|principals| principals.join(",")),
            or_default_user: false,
            cert_type: Some(self.cert_type.clone().unwrap_or_else(|| own_type.to_owned())),
            key_id: None,
            critical_options: BTreeMap::new(),
            extensions: self
                .extensions
                .iter()
                .map(|name| (name.clone(), String::new()))
                .collect(),
        }
    }
}

impl PolicySet {
    /// Answers a question as the server would.
    ///
    /// # Errors
    /// The [`Denial`] that the caller would get.
    pub fn ask(&self, ask: &Ask) -> Result<Grant, Denial> {
        let caller = self.caller(ask);
        let slice = self.access.slice(&caller, &ask.mount, &ask.role)?;
        let role = self
            .role(&ask.mount, &ask.role)
            .ok_or_else(|| self.unknown_role(&ask.mount, &ask.role))?;
        slice.grant(resolve_with_some_key(role, ask, &caller)?, ask.at)
    }

    /// The caller that the question is about, with the groups and metadata of `people.toml`.
    pub(crate) fn caller(&self, ask: &Ask) -> Caller {
        let person = self.people.person(&ask.person);
        let listed = person.map(|person| person.groups().clone()).unwrap_or_default();
        Caller::authenticated(CallerParts {
            person: ask.person.clone(),
            display_name: format!("{}-{}", ask.method.as_str(), ask.person),
            method: ask.method,
            groups: listed.into_iter().chain(ask.groups.iter().cloned()).collect(),
            policies: ask.policies.clone(),
            address: ask.from,
            accessor: String::new(),
            token_expires: None,
            metadata: person.map(|person| person.metadata().clone()).unwrap_or_default(),
        })
    }

    pub(crate) fn unknown_role(&self, mount: &str, role: &str) -> Denial {
        let names = self.roles(mount).map(|role| role.name());
        Denial::UnknownRole {
            mount: mount.to_owned(),
            role: role.to_owned(),
            nearest: nearest(role, names).map(str::to_owned),
        }
    }
}

/// Resolves with the first sample key of a kind that the role takes.
pub(crate) fn resolve_with_some_key(role: &Role, ask: &Ask, caller: &Caller) -> Result<crate::plan::Resolved, Denial> {
    let mut answer = Err(Denial::PublicKeyMissing);
    for key in SAMPLE_KEYS {
        answer = resolve(role, &ask.request(role, key), caller, &MountLimits::default());
        match &answer {
            Err(
                Denial::KeyTypeNotAllowed { .. }
                | Denial::KeySizeNotAllowed { .. }
                | Denial::SecurityKeyRequired { .. },
            ) => {}
            _ => break,
        }
    }
    answer
}
