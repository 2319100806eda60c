//! Roles as people write them in `policies/roles/*.toml`. Absent means nothing allowed, the star never covers `root`,
//! critical options of the role always stay, and the key ID is the server's.

use std::collections::{BTreeMap, BTreeSet};

use super::{AlgorithmSigner, NameRule, OptionRule, Role, RoleSource, Star};
use crate::mistake::Mistake;
use crate::options;
use crate::principal::Principal;
use crate::template::is_template;
use crate::toml_reader::{self, Place, TableReader};

/// The mount of a role file that names none.
pub(super) const DEFAULT_MOUNT: &str = "ssh";

const RSA_BITS_MIN_FILE: u32 = 3072;
const BACKDATE_SECS: u64 = 30;
const BACKDATE_SECS_MAX: u64 = 300;
/// A certificate of less may be over before the login is made.
const TTL_SECS_MIN: u64 = 60;

impl Role {
    /// Reads a role file.
    ///
    /// # Errors
    /// Every mistake in it, each with its line and the nearest right word.
    pub fn from_toml(name: &str, file: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        toml_reader::read(file, text, |table| RoleFile { table }.role(name, file))
    }
}

struct RoleFile<'r, 'a> {
    table: &'r TableReader<'a>,
}

impl RoleFile<'_, '_> {
    fn role(&self, name: &str, file: &str) -> Role {
        self.check_name(name);
        let (user_certificates, host_certificates) = self.certificates();
        let default_extensions = self.extensions();
        let mut allowed_extensions = self.listed("allowed_extensions");
        allowed_extensions.extend(default_extensions.keys().cloned());
        let (ttl_secs, max_ttl_secs) = self.lifetimes();
        let flag = |key: &str| self.table.bool(key).unwrap_or_default();
        let role = Role {
            name: name.to_owned(),
            mount: self.table.string("mount").unwrap_or_else(|| DEFAULT_MOUNT.to_owned()),
            source: RoleSource::File(file.to_owned()),
            description: self.table.string("description").unwrap_or_default(),
            user_certificates,
            host_certificates,
            allowed_users: self.users("allowed_users"),
            default_user: self.default_user(),
            default_user_templated: true,
            allowed_domains: self.domains(),
            bare_domains: flag("allow_bare_domains"),
            subdomains: flag("allow_subdomains"),
            ttl_secs,
            max_ttl_secs,
            backdate_secs: self.backdate(),
            default_extensions,
            default_extensions_templated: true,
            allowed_extensions: OptionRule::Listed(allowed_extensions),
            default_critical_options: self.critical_options(),
            critical_options_forced: true,
            allowed_critical_options: OptionRule::Listed(self.listed("allowed_critical_options")),
            caller_chooses_key_id: false,
            key_id_format: self.key_id_format(),
            key_lengths: self.key_lengths(),
            rsa_bits_min: RSA_BITS_MIN_FILE,
            security_key_required: flag("security_key_required"),
            verify_required: flag("verify_required"),
            algorithm_signer: self.algorithm_signer(),
            empty_principals_allowed: false,
            issuer_ref: self.issuer_ref(),
        };
        self.check_whole(&role);
        role
    }

    fn check_name(&self, name: &str) {
        if !super::is_role_name(name) {
            self.table.wrong_here(format!(
                "`{name}` is not a role name: letters, digits, `_`, and inside also `-`, `.`, `@`"
            ));
        }
        if let Some(written) = self.table.string("name").filter(|written| written != name) {
            self.table.wrong(
                "name",
                format!("the role is called `{written}` but the file `{name}`: make them agree"),
            );
        }
    }

    fn certificates(&self) -> (bool, bool) {
        let wanted = "`user` or `host`: one role does not serve both";
        let both = self.table.parsed("certificates", wanted, |word| match word {
            "user" => Some((true, false)),
            "host" => Some((false, true)),
            _ => None,
        });
        both.unwrap_or((true, false))
    }

    fn users(&self, key: &str) -> NameRule {
        let mut rule = NameRule {
            names: Vec::new(),
            star: Star::None,
            templated: true,
        };
        for (name, place) in self.table.strings(key) {
            if name == "*" {
                rule.star = Star::AllButRoot;
            } else {
                self.check_user(key, &name, place);
                rule.names.push(name);
            }
        }
        rule
    }

    fn check_user(&self, key: &str, name: &str, place: Place) {
        if !is_template(name)
            && let Err(why) = Principal::parse(name)
        {
            self.table
                .wrong_at(place, format!("`{key}`: {name:?} cannot be a principal: {why}"));
        }
    }

    fn default_user(&self) -> Vec<String> {
        let name = self.table.string("default_user");
        if let Some(name) = &name {
            self.check_user("default_user", name, self.table.place_of("default_user"));
        }
        name.into_iter().collect()
    }

    fn domains(&self) -> NameRule {
        let names = self.table.strings("allowed_domains");
        for (name, place) in &names {
            if Principal::parse_host(name).is_err() {
                self.table.wrong_at(
                    *place,
                    format!("`allowed_domains`: {name:?} is not a domain or host name"),
                );
            }
        }
        NameRule {
            names: names.into_iter().map(|(name, _)| name).collect(),
            star: Star::None,
            templated: false,
        }
    }

    fn lifetimes(&self) -> (Option<u64>, Option<u64>) {
        let ttl = self.table.duration_secs("ttl", TTL_SECS_MIN..=u64::MAX);
        let max_ttl = self.table.duration_secs("max_ttl", TTL_SECS_MIN..=u64::MAX);
        if ttl.zip(max_ttl).is_some_and(|(ttl, max)| ttl > max) {
            self.table.wrong("ttl", "`ttl` is longer than `max_ttl`");
        }
        // A file that gives only one of the two means it for both: nothing may live longer than it says.
        (ttl.or(max_ttl), max_ttl.or(ttl))
    }

    fn backdate(&self) -> u64 {
        self.table
            .duration_secs("not_before_duration", 0..=BACKDATE_SECS_MAX)
            .unwrap_or(BACKDATE_SECS)
    }

    /// `default_extensions = ["permit-pty"]`, or a table where one needs a value.
    fn extensions(&self) -> BTreeMap<String, String> {
        let given = self.option_map("default_extensions");
        self.check_options("default_extensions", &given, |map| {
            options::extensions(map, |_| true).err()
        });
        given
    }

    fn critical_options(&self) -> BTreeMap<String, String> {
        let given = self.option_map("default_critical_options");
        self.check_options("default_critical_options", &given, |map| {
            options::critical_options(map, |_| true).err()
        });
        given
    }

    fn option_map(&self, key: &str) -> BTreeMap<String, String> {
        if self.table.is_list(key) {
            return self
                .table
                .strings(key)
                .into_iter()
                .map(|(name, _)| (name, String::new()))
                .collect();
        }
        self.table.string_map(key)
    }

    fn check_options(
        &self,
        key: &str,
        given: &BTreeMap<String, String>,
        check: impl Fn(&BTreeMap<String, String>) -> Option<options::OptionError>,
    ) {
        let known = [options::EXTENSIONS, options::CRITICAL_OPTIONS].concat();
        for (name, value) in given.iter().filter(|(_, value)| !is_template(value)) {
            let problem = check(&BTreeMap::from([(name.clone(), value.clone())])).map(|error| error.to_string());
            let unknown = !name.contains('@') && !known.contains(&name.as_str());
            let problem = problem.or_else(|| unknown.then(|| format!("OpenSSH knows no option `{name}`")));
            if let Some(problem) = problem {
                let mistake = self
                    .table
                    .mistake(self.table.place_of(key), format!("`{key}`: {problem}"));
                self.table.keep(if unknown {
                    mistake.did_you_mean(name, known.iter().copied())
                } else {
                    mistake
                });
            }
        }
    }

    fn listed(&self, key: &str) -> BTreeSet<String> {
        let known = [options::EXTENSIONS, options::CRITICAL_OPTIONS].concat();
        let mut names = BTreeSet::new();
        for (name, place) in self.table.strings(key) {
            if !name.contains('@') && !known.contains(&name.as_str()) {
                let text = format!("`{key}`: OpenSSH knows no option `{name}`");
                let mistake = self.table.mistake(place, text);
                self.table.keep(mistake.did_you_mean(&name, known.iter().copied()));
            }
            names.insert(name);
        }
        names
    }

    fn key_id_format(&self) -> String {
        let Some(format) = self.table.string("key_id_format") else {
            return String::new();
        };
        if let Err(why) = crate::plan::check_key_id_format(&format) {
            self.table.wrong("key_id_format", format!("`key_id_format`: {why}"));
        }
        format
    }

    fn issuer_ref(&self) -> String {
        let wanted = "the id or name of an issuer of the role's mount, or `default`";
        let named = self.table.parsed("issuer_ref", wanted, |text| {
            super::is_role_name(text).then(|| text.to_owned())
        });
        named.unwrap_or_else(|| super::DEFAULT_ISSUER.to_owned())
    }

    fn key_lengths(&self) -> BTreeMap<String, Vec<u32>> {
        let Some(table) = self.table.table("allowed_user_key_lengths") else {
            return BTreeMap::new();
        };
        let bits = |(bits, place): (u64, Place)| {
            let fitting = u32::try_from(bits).ok();
            if fitting.is_none() {
                table.wrong_at(place, format!("no key has {bits} bits"));
            }
            fitting
        };
        let lengths = |kind: &str| table.numbers(kind).into_iter().filter_map(bits).collect();
        let kinds = crate::plan::KEY_LENGTH_KINDS.iter().filter(|kind| table.has(kind));
        kinds.map(|kind| ((*kind).to_owned(), lengths(kind))).collect()
    }

    fn algorithm_signer(&self) -> AlgorithmSigner {
        let wanted = "`default`, `rsa-sha2-256` or `rsa-sha2-512`";
        self.table
            .parsed("algorithm_signer", wanted, AlgorithmSigner::parse)
            .unwrap_or(AlgorithmSigner::Default)
    }

    /// What can only be said of the role as a whole.
    fn check_whole(&self, role: &Role) {
        if role.user_certificates {
            if role.allowed_users.allows_nothing() {
                self.table.wrong(
                    "allowed_users",
                    "`allowed_users` is empty: nobody could log in with this role",
                );
            }
            let allowed = |name: &String| {
                role.allowed_users.names.contains(name) || (role.allowed_users.star != Star::None && name != "root")
            };
            if let Some(name) = role.default_user.iter().find(|name| !allowed(name)) {
                self.table.wrong(
                    "default_user",
                    format!("`default_user` is `{name}`, which `allowed_users` does not list"),
                );
            }
        }
        if role.host_certificates && (role.allowed_domains.allows_nothing() || !(role.bare_domains || role.subdomains))
        {
            self.table.wrong(
                "allowed_domains",
                "a host role needs `allowed_domains`, and `allow_bare_domains` or `allow_subdomains`: it would allow no name",
            );
        }
        if role.verify_required && !role.security_key_required {
            self.table.wrong(
                "verify_required",
                "`verify_required` needs `security_key_required = true`: OpenSSH ignores it on plain keys",
            );
        }
    }
}
