//! One issuer of JSON web tokens, as `[[auth.jwt]]` describes it, and the roles that its tokens may log in as.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::Algorithm;
use signet_core::caller::ROOT_POLICY;
use signet_core::toml_reader::{Place, TableReader};
use url::Url;

use super::{HOUR_SECS, read_ttls};
use crate::config::SYSTEM_TTL_SECS;
use crate::login::claims::{ClaimRules, is_plain_name};
use crate::login::jwks::{KeySet, is_acceptable_url};

/// Where login methods of another kind live; `host/…` is what hosts are called in policies.
const MOUNTS_TAKEN: [&str; 3] = ["token", "ssh-key", "host"];
/// Signature algorithms, with a public key each. HMAC is none: its key could sign as well as verify, and a public key
/// used as one is the classic confusion (CVE-2026-27962).
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];
/// Issuers that sign for everybody in the world; there the audience is the requester's own choice.
pub(super) const PUBLIC_ISSUERS: [&str; 4] = [
    "https://token.actions.githubusercontent.com",
    "https://gitlab.com",
    "https://accounts.google.com",
    "https://api.bitbucket.org",
];

/// Login with tokens of one issuer.
#[derive(Debug, Clone)]
pub struct JwtAuth {
    /// `jwt` in `auth/jwt/login`.
    pub mount: String,
    /// What `iss` has to be.
    pub issuer: String,
    /// The algorithms the issuer signs with.
    pub algorithms: Vec<Algorithm>,
    /// Where its public keys come from.
    pub keys: KeySource,
    /// By name.
    pub roles: BTreeMap<String, JwtRole>,
}

/// Where an issuer's public keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Files, read at load.
    Files(Arc<KeySet>),
    /// Fetched and kept.
    Url {
        /// The key set's address: https, or loopback.
        url: Url,
        /// PEM of the only roots to trust for it; `None` means the system's.
        roots: Option<Vec<u8>>,
    },
}

/// Who may log in with a token, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRole {
    /// What the token has to say.
    pub rules: ClaimRules,
    /// Groups that every login gets.
    pub groups: BTreeSet<String>,
    /// Policies of the token.
    pub policies: BTreeSet<String>,
    /// Life of the token, seconds.
    pub ttl_secs: u64,
    /// Furthest that renewing can stretch it, seconds.
    pub max_ttl_secs: u64,
}

impl JwtAuth {
    pub(super) fn read(section: &TableReader<'_>, base: &Path, mounts: &mut BTreeSet<String>) -> Self {
        let mount = section.string("mount").unwrap_or_else(|| "jwt".to_owned());
        check_mount(section, &mount, mounts);
        let issuer = section.required("issuer").unwrap_or_default();
        if section.has("issuer") && (issuer.is_empty() || issuer.contains(char::is_whitespace) || issuer.contains('*'))
        {
            section.wrong(
                "issuer",
                format!("`issuer` is {issuer:?}: it is compared as a whole, write it as in `iss`"),
            );
        }
        let common = ClaimRules {
            audiences: read_audiences(section, &BTreeSet::new()),
            age_secs_max: section.duration_secs("token_age_max", 1..=SYSTEM_TTL_SECS),
            bound_claims: BTreeMap::new(),
            user_claim: String::new(),
            groups_claim: None,
            issuer,
        };
        let algorithms = read_algorithms(section);
        let keys = read_keys(section, base);
        let mut roles = BTreeMap::new();
        for role in section.tables("role") {
            let name = role.required("name").unwrap_or_default();
            let read = JwtRole::read(&role, &common);
            if roles.insert(name.clone(), read).is_some() {
                role.wrong("name", format!("role `{name}` stands here twice"));
            }
        }
        Self {
            mount,
            issuer: common.issuer,
            algorithms,
            keys,
            roles,
        }
    }
}

impl JwtRole {
    fn read(section: &TableReader<'_>, common: &ClaimRules) -> Self {
        let rules = ClaimRules {
            audiences: read_audiences(section, &common.audiences),
            bound_claims: read_bound_claims(section, &common.issuer),
            user_claim: section.string("user_claim").unwrap_or_else(|| "sub".to_owned()),
            groups_claim: section.string("groups_claim"),
            ..common.clone()
        };
        if rules.audiences.is_empty() {
            // Without one, a token that the person gave to any other service would log in here (CVE-2024-5798).
            section.wrong_here("a role needs `audiences`, its own or those of its [[auth.jwt]]");
        }
        let (ttl_secs, max_ttl_secs) = read_ttls(section, HOUR_SECS, HOUR_SECS);
        let groups = read_names(section, "groups");
        let policies = read_names(section, "policies");
        // The form that is compared is the form that is kept: no name can become `root` later on (CVE-2025-5999).
        if policies.iter().any(|name| name.eq_ignore_ascii_case(ROOT_POLICY)) {
            section.wrong_hint(
                "policies",
                "no login may carry the policy `root`",
                "write a Cedar policy for a group",
            );
        }
        Self {
            rules,
            groups,
            policies,
            ttl_secs,
            max_ttl_secs,
        }
    }
}

fn check_mount(section: &TableReader<'_>, mount: &str, mounts: &mut BTreeSet<String>) {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if mount.is_empty() || mount.len() > 64 || !mount.bytes().all(plain) {
        section.wrong("mount", format!("`mount` is {mount:?}; it may hold a-z, 0-9, - and _"));
    } else if MOUNTS_TAKEN.contains(&mount) || !mounts.insert(mount.to_owned()) {
        section.wrong(
            "mount",
            format!("`auth/{mount}` is taken; give each [[auth.jwt]] a `mount` of its own"),
        );
    }
}

fn read_audiences(section: &TableReader<'_>, inherited: &BTreeSet<String>) -> BTreeSet<String> {
    let audiences = section.strings("audiences");
    if !section.has("audiences") {
        return inherited.clone();
    }
    for (audience, place) in &audiences {
        if audience.trim().is_empty() || audience == "*" {
            section.wrong_at(
                *place,
                "an audience is compared as a whole; write the one that tokens for this server name",
            );
        }
    }
    audiences.into_iter().map(|(audience, _)| audience).collect()
}

fn read_algorithms(section: &TableReader<'_>) -> Vec<Algorithm> {
    let written = section.strings("algorithms");
    if written.is_empty() {
        section.wrong(
            "algorithms",
            "`algorithms` is missing or empty; write those the issuer signs with: [\"RS256\"]",
        );
    }
    let known = || ALGORITHMS.map(|(name, _)| name).join(", ");
    let mut algorithms = Vec::new();
    for (name, place) in written {
        match ALGORITHMS.iter().find(|(known, _)| *known == name) {
            Some((_, algorithm)) => algorithms.push(*algorithm),
            None if name.starts_with("HS") => section.wrong_at(
                place,
                format!(
                    "{name} is not accepted: whoever can check it can also sign; known are {}",
                    known()
                ),
            ),
            None => section.wrong_at(place, format!("`{name}` is not accepted; known are {}", known())),
        }
    }
    algorithms
}

fn read_keys(section: &TableReader<'_>, base: &Path) -> KeySource {
    let url = section.string("jwks_url");
    let roots = section
        .string("jwks_ca_file")
        .map(|name| read_file(section, section.place_of("jwks_ca_file"), &base.join(name)));
    let jwks = section.string("jwks_file").map(|name| base.join(name));
    let pems = section.strings("public_key_files");
    let sources = [url.is_some(), jwks.is_some(), !pems.is_empty()];
    if sources.iter().filter(|source| **source).count() != 1 {
        section.wrong_here("write one of `jwks_url`, `jwks_file` and `public_key_files`");
    }
    if let Some(written) = url {
        return read_url(section, &written, roots);
    }
    if roots.is_some() {
        section.wrong("jwks_ca_file", "`jwks_ca_file` goes with `jwks_url`");
    }
    let mut keys = KeySet::default();
    if let Some(path) = jwks {
        match KeySet::from_jwks(&read_file(section, section.place_of("jwks_file"), &path)) {
            Ok(read) => keys = read,
            Err(error) => section.wrong("jwks_file", format!("{}: {error}", path.display())),
        }
    }
    for (name, place) in pems {
        let path = base.join(name);
        if let Err(error) = keys.add_pem(&read_file(section, place, &path)) {
            section.wrong_at(place, format!("{}: {error}", path.display()));
        }
    }
    KeySource::Files(Arc::new(keys))
}

fn read_url(section: &TableReader<'_>, written: &str, roots: Option<Vec<u8>>) -> KeySource {
    let placeholder = || KeySource::Files(Arc::default());
    let Ok(url) = Url::parse(written) else {
        section.wrong("jwks_url", format!("`{written}` is not a URL"));
        return placeholder();
    };
    if !is_acceptable_url(&url) {
        section.wrong(
            "jwks_url",
            format!("`{written}` is not fetched: it must be https (or loopback), not link-local, without a password"),
        );
        return placeholder();
    }
    if roots
        .as_ref()
        .is_some_and(|pem| reqwest::Certificate::from_pem_bundle(pem).is_ok_and(|all| all.is_empty()))
    {
        section.wrong("jwks_ca_file", "`jwks_ca_file` holds no PEM certificate");
    }
    KeySource::Url { url, roots }
}

fn read_file(section: &TableReader<'_>, place: Place, path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| {
        section.wrong_at(place, format!("{} cannot be read: {error}", path.display()));
        Vec::new()
    })
}

fn read_bound_claims(section: &TableReader<'_>, issuer: &str) -> BTreeMap<String, BTreeSet<String>> {
    let hint = "name who may log in: bound_claims = { repository = \"acme/app\" }";
    if !section.has("bound_claims") {
        section.wrong_hint(
            "bound_claims",
            "`bound_claims` is missing",
            format!("{hint}, or {{}} for all of the issuer"),
        );
    }
    let Some(claims) = section.table("bound_claims") else {
        return BTreeMap::new();
    };
    let mut bound = BTreeMap::new();
    for claim in claims.free_keys() {
        let Some(values) = claims.scalars(&claim) else {
            continue;
        };
        if values.is_empty() || values.iter().any(String::is_empty) {
            claims.wrong(&claim, format!("bound claim `{claim}` admits nothing"));
        }
        if values.iter().any(|value| value.contains('*')) {
            claims.wrong(
                &claim,
                format!("bound claim `{claim}` holds a `*`: values are compared as a whole"),
            );
        }
        bound.insert(claim, values.into_iter().collect());
    }
    if bound.is_empty() && PUBLIC_ISSUERS.contains(&issuer.trim_end_matches('/')) {
        section.wrong_hint("bound_claims", "this issuer signs for everybody in the world", hint);
    }
    bound
}

fn read_names(section: &TableReader<'_>, key: &str) -> BTreeSet<String> {
    let names = section.strings(key);
    for (name, place) in names.iter().filter(|(name, _)| !is_plain_name(name)) {
        section.wrong_at(*place, format!("{name:?} in `{key}` is not a name"));
    }
    names.into_iter().map(|(name, _)| name).collect()
}
