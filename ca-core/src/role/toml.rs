//! Roles as people write them in `policies/roles/*.toml`. Absent means nothing allowed, the star never covers `root`,
//! critical options of the role always stay, and the key ID is the server's.

use std::collections::{BTreeMap, BTreeSet};

use super::{AlgorithmSigner, NameRule, OptionRule, Role, RoleSource, Star};
use crate::mistake::Mistake;
use crate::options;
use crate::principal::Principal;
use crate::template::is_template;
use crate::toml_reader::{TableReader, TomlReader};

const KEYS: &[&str] = &[
    "name",
    "mount",
    "description",
    "certificates",
    "allowed_users",
    "default_user",
    "allowed_domains",
    "allow_bare_domains",
    "allow_subdomains",
    "ttl",
    "max_ttl",
    "not_before_duration",
    "default_extensions",
    "allowed_extensions",
    "default_critical_options",
    "allowed_critical_options",
    "key_id_format",
    "allowed_user_key_lengths",
    "security_key_required",
    "verify_required",
    "algorithm_signer",
];

/// The mount of a role file that names none.
pub(super) const DEFAULT_MOUNT: &str = "ssh";

const RSA_BITS_MIN_FILE: u32 = 3072;
const BACKDATE_SECS: u64 = 30;
const BACKDATE_SECS_MAX: u64 = 300;
const TTL_SECS_MIN: u64 = 60;

impl Role {
    /// Reads a role file.
    ///
    /// # Errors
    /// Every mistake in it, each with its line and the nearest right word.
    pub fn from_toml(name: &str, file: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        let reader = TomlReader::new(file, text);
        let root = reader.parse();
        let table = reader.table(&root);
        table.only(KEYS);
        let role = RoleFile { table }.role(name, file);
        reader.finish(role)
    }
}

struct RoleFile<'r, 'a> {
    table: TableReader<'r, 'a>,
}

impl RoleFile<'_, '_> {
    fn role(&self, name: &str, file: &str) -> Role {
        self.check_name(name);
        let (user_certificates, host_certificates) = self.certificates();
        let default_extensions = self.extensions();
        let mut allowed_extensions = self.listed("allowed_extensions");
        if let OptionRule::Listed(names) = &mut allowed_extensions {
            names.extend(default_extensions.keys().cloned());
        }
        let (ttl_secs, max_ttl_secs) = self.lifetimes();
        let role = Role {
            name: name.to_owned(),
            mount: self
                .table
                .string("mount")
                .map_or_else(|| DEFAULT_MOUNT.to_owned(), |(mount, _)| mount),
            source: RoleSource::File(file.to_owned()),
            description: self
                .table
                .string("description")
                .map(|(text, _)| text)
                .unwrap_or_default(),
            user_certificates,
            host_certificates,
            allowed_users: self.users("allowed_users"),
            default_user: self.default_user(),
            default_user_templated: true,
            allowed_domains: self.domains(),
            bare_domains: self.table.bool("allow_bare_domains").unwrap_or_default(),
            subdomains: self.table.bool("allow_subdomains").unwrap_or_default(),
            ttl_secs,
            max_ttl_secs,
            backdate_secs: self.backdate(),
            default_extensions,
            default_extensions_templated: true,
            allowed_extensions,
            default_critical_options: self.critical_options(),
            critical_options_forced: true,
            allowed_critical_options: self.listed("allowed_critical_options"),
            caller_chooses_key_id: false,
            key_id_format: self.key_id_format(),
            key_lengths: self.key_lengths(),
            rsa_bits_min: RSA_BITS_MIN_FILE,
            security_key_required: self.table.bool("security_key_required").unwrap_or_default(),
            verify_required: self.table.bool("verify_required").unwrap_or_default(),
            algorithm_signer: self.algorithm_signer(),
            empty_principals_allowed: false,
        };
        self.check_whole(&role);
        role
    }

    fn mistake(&self, place: usize, text: impl Into<String>) {
        self.table.reader().mistake(place, text);
    }

    fn check_name(&self, name: &str) {
        if !super::is_role_name(name) {
            self.mistake(
                0,
                format!("`{name}` is not a role name: letters, digits, `_`, and inside also `-`, `.`, `@`"),
            );
        }
        if let Some((written, place)) = self.table.string("name").filter(|(written, _)| written != name) {
            self.mistake(
                place,
                format!("the role is called `{written}` but the file `{name}`: make them agree"),
            );
        }
    }

    fn certificates(&self) -> (bool, bool) {
        let Some((word, place)) = self.table.string("certificates") else {
            return (true, false);
        };
        match word.as_str() {
            "user" => (true, false),
            "host" => (false, true),
            other => {
                let mistake = self.table.reader().at(place, format!("`certificates` is `{other}`"));
                self.table
                    .reader()
                    .keep(mistake.hint("use \"user\" or \"host\"; one role does not serve both"));
                (true, false)
            }
        }
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

    fn check_user(&self, key: &str, name: &str, place: usize) {
        if !is_template(name)
            && let Err(why) = Principal::parse(name)
        {
            self.mistake(place, format!("`{key}`: {name:?} cannot be a principal: {why}"));
        }
    }

    fn default_user(&self) -> Vec<String> {
        self.table
            .string("default_user")
            .map(|(name, place)| {
                self.check_user("default_user", &name, place);
                name
            })
            .into_iter()
            .collect()
    }

    fn domains(&self) -> NameRule {
        let names = self.table.strings("allowed_domains");
        for (name, place) in &names {
            if Principal::parse_host(name).is_err() {
                self.mistake(
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
        let ttl = self.table.duration_secs("ttl");
        let max_ttl = self.table.duration_secs("max_ttl");
        for (key, value) in [("ttl", ttl), ("max_ttl", max_ttl)] {
            if let Some((secs, place)) = value.filter(|(secs, _)| *secs < TTL_SECS_MIN) {
                self.mistake(
                    place,
                    format!("`{key}` is {secs} s, at least {TTL_SECS_MIN} s are needed to log in"),
                );
            }
        }
        if let (Some((ttl, place)), Some((max, _))) = (ttl, max_ttl)
            && ttl > max
        {
            self.mistake(place, "`ttl` is longer than `max_ttl`");
        }
        let secs = |value: Option<(u64, usize)>| value.map(|(secs, _)| secs);
        // A file that gives only one of the two means it for both: nothing may live longer than it says.
        (secs(ttl).or(secs(max_ttl)), secs(max_ttl).or(secs(ttl)))
    }

    fn backdate(&self) -> u64 {
        let Some((secs, place)) = self.table.duration_secs("not_before_duration") else {
            return BACKDATE_SECS;
        };
        if secs > BACKDATE_SECS_MAX {
            self.mistake(
                place,
                format!("`not_before_duration` is {secs} s, at most {BACKDATE_SECS_MAX} s are allowed"),
            );
        }
        secs
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
        if self.table.is_array(key) {
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
                let place = self.table.place_of(key);
                let mistake = self.table.reader().at(place, format!("`{key}`: {problem}"));
                self.table.reader().keep(if unknown {
                    mistake.did_you_mean(name, known.iter().copied())
                } else {
                    mistake
                });
            }
        }
    }

    fn listed(&self, key: &str) -> OptionRule {
        let known = [options::EXTENSIONS, options::CRITICAL_OPTIONS].concat();
        let mut names = BTreeSet::new();
        for (name, place) in self.table.strings(key) {
            if !name.contains('@') && !known.contains(&name.as_str()) {
                let mistake = self
                    .table
                    .reader()
                    .at(place, format!("`{key}`: OpenSSH knows no option `{name}`"));
                self.table
                    .reader()
                    .keep(mistake.did_you_mean(&name, known.iter().copied()));
            }
            names.insert(name);
        }
        OptionRule::Listed(names)
    }

    fn key_id_format(&self) -> String {
        let Some((format, place)) = self.table.string("key_id_format") else {
            return String::new();
        };
        if let Err(why) = crate::plan::check_key_id_format(&format) {
            self.mistake(place, format!("`key_id_format`: {why}"));
        }
        format
    }

    fn key_lengths(&self) -> BTreeMap<String, Vec<u32>> {
        let Some((table, _)) = self.table.subtable("allowed_user_key_lengths") else {
            return BTreeMap::new();
        };
        let known = crate::plan::KEY_LENGTH_KINDS;
        table.only(known);
        table
            .keys()
            .into_iter()
            .map(|(kind, _)| (kind.clone(), table.numbers(&kind)))
            .collect()
    }

    fn algorithm_signer(&self) -> AlgorithmSigner {
        let Some((word, place)) = self.table.string("algorithm_signer") else {
            return AlgorithmSigner::Default;
        };
        AlgorithmSigner::parse(&word).unwrap_or_else(|| {
            let mistake = self.table.reader().at(place, format!("`algorithm_signer` is `{word}`"));
            self.table
                .reader()
                .keep(mistake.hint("use \"default\", \"rsa-sha2-256\" or \"rsa-sha2-512\""));
            AlgorithmSigner::Default
        })
    }

    /// What can only be said of the role as a whole.
    fn check_whole(&self, role: &Role) {
        if role.user_certificates {
            if role.allowed_users.allows_nothing() {
                let place = self.table.place_of("allowed_users");
                self.mistake(place, "`allowed_users` is empty: nobody could log in with this role");
            }
            let allowed = |name: &String| {
                role.allowed_users.names.contains(name) || (role.allowed_users.star != Star::None && name != "root")
            };
            if let Some(name) = role.default_user.iter().find(|name| !allowed(name)) {
                let place = self.table.place_of("default_user");
                self.mistake(
                    place,
                    format!("`default_user` is `{name}`, which `allowed_users` does not list"),
                );
            }
        }
        if role.host_certificates && (role.allowed_domains.allows_nothing() || !(role.bare_domains || role.subdomains))
        {
            let place = self.table.place_of("allowed_domains");
            self.mistake(
                place,
                "a host role needs `allowed_domains`, and `allow_bare_domains` or `allow_subdomains`: it would allow no name",
            );
        }
        if role.verify_required && !role.security_key_required {
            let place = self.table.place_of("verify_required");
            self.mistake(
                place,
                "`verify_required` needs `security_key_required = true`: OpenSSH ignores it on plain keys",
            );
        }
    }
}
