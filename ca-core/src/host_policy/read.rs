//! Reads `hosts.toml`. What is absent allows nothing, so a list that would allow nothing is taken for a slip.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::names::{Piece, fill_in, is_host_name, pieces};
use super::{BREAKGLASS_ACCOUNT, EnrollProof, EnrollRule, HostPolicy, HostRule};
use crate::mistake::Mistake;
use crate::principal::Principal;
use crate::toml_reader::{self, Place, TableReader};

const TAG_BYTES_MAX: usize = 32;

/// What the file says.
#[derive(Default)]
pub(super) struct Read {
    pub(super) policy: HostPolicy,
    /// The line on which each rule starts.
    pub(super) rule_lines: Vec<usize>,
}

pub(super) fn read(file: &str, text: &str) -> (Read, Vec<Mistake>) {
    toml_reader::read_beside_mistakes(file, text, |top| {
        let mut read = Read::default();
        for table in top.tables("rule") {
            let rule = read_rule(&table);
            let line_of_twin = || {
                let twin = read.policy.rules.iter().position(|other| other.tags == rule.tags)?;
                read.rule_lines.get(twin)
            };
            if let Some(line) = line_of_twin() {
                table.wrong_here(format!(
                    "the rule on line {line} has the same tags: write all their accounts there"
                ));
            }
            read.rule_lines.push(table.line());
            read.policy.rules.push(rule);
        }
        for table in top.tables("enroll") {
            let Some(rule) = read_enroll(&table) else { continue };
            if matches!(rule.proof, EnrollProof::Jwt { .. })
                && read.policy.enroll.iter().any(|other| other.proof == rule.proof)
            {
                table.wrong_here("another `[[enroll]]` is for this mount and role already");
            }
            read.policy.enroll.push(rule);
        }
        read
    })
}

fn read_rule(table: &TableReader<'_>) -> HostRule {
    let tags = tags(table);
    require(table, "accounts");
    let mut accounts = BTreeMap::new();
    if let Some(opened) = table.table("accounts") {
        for account in opened.free_keys() {
            let principals = filled(&opened, &account, &|principal| fault(Principal::parse(principal)));
            check_account(&opened, &account);
            accounts.insert(account, principals);
        }
        if accounts.is_empty() {
            table.wrong("accounts", "`accounts` is empty, so this rule opens nothing");
        }
    }
    HostRule { tags, accounts }
}

fn check_account(opened: &TableReader<'_>, account: &str) {
    if account == BREAKGLASS_ACCOUNT {
        let text = format!("`{account}` is the break-glass account, which no certificate of this authority opens");
        return opened.wrong_hint(account, text, "its keys stand in breakglass.keys");
    }
    if let Some(reason) = fault(Principal::parse(account)) {
        opened.wrong(account, format!("{account:?} cannot be an account: {reason}"));
    }
}

fn read_enroll(table: &TableReader<'_>) -> Option<EnrollRule> {
    const METHODS: [(&str, Method); 3] = [("ec2", Method::Ec2), ("jwt", Method::Jwt), ("token", Method::Token)];
    const KEYS: [&str; 8] = [
        "accounts", "regions", "images", "subnets", "mount", "role", "names", "domains",
    ];
    require(table, "method");
    let tags = tags(table);
    let Some(method) = table.word("method", &METHODS) else {
        // Which keys belong here only the method would say.
        let _asked_for = KEYS.map(|key| table.has(key));
        return None;
    };
    let proof = match method {
        Method::Ec2 => EnrollProof::Ec2 {
            accounts: filled(table, "accounts", &|account| {
                (!is_aws_account(account)).then(|| "it needs 12 digits".to_owned())
            }),
            regions: filled(table, "regions", &|region| {
                (!is_region(region)).then(|| "it looks like \"eu-central-1\"".to_owned())
            }),
            images: filled(table, "images", &|image| {
                (!is_image(image)).then(|| "it looks like \"ami-0123456789abcdef0\"".to_owned())
            }),
            subnets: subnets(table),
        },
        Method::Jwt => EnrollProof::Jwt {
            mount: table.required("mount").unwrap_or_default(),
            role: table.required("role").unwrap_or_default(),
        },
        Method::Token => EnrollProof::Token,
    };
    let names = match proof {
        EnrollProof::Token => list(table, "domains", &|domain| {
            let address = domain.parse::<std::net::IpAddr>().is_ok();
            (address || !is_host_name(domain)).then(|| "it looks like \"internal.example.com\"".to_owned())
        }),
        EnrollProof::Ec2 { .. } | EnrollProof::Jwt { .. } => {
            list(table, "names", &|pattern| pattern_fault(pattern, &proof))
        }
    };
    Some(EnrollRule { proof, tags, names })
}

#[derive(Clone, Copy)]
enum Method {
    Ec2,
    Jwt,
    Token,
}

fn tags(table: &TableReader<'_>) -> BTreeSet<String> {
    require(table, "tags");
    let is_tag = |tag: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=TAG_BYTES_MAX).contains(&tag.len()) && tag.chars().all(plain)
    };
    let wanted = || format!("it needs 1 to {TAG_BYTES_MAX} of a-z, 0-9 and -");
    let tags = each(table, "tags", &|tag| (!is_tag(tag)).then(wanted));
    tags.into_iter().map(|(tag, _)| tag).collect()
}

fn subnets(table: &TableReader<'_>) -> Vec<IpNet> {
    // Host bits would be a network that somebody did not mean; sshd refuses them in `source-address` too.
    let network = |text: &str| text.parse::<IpNet>().ok().filter(|network| network.trunc() == *network);
    let wanted = || "it looks like \"10.1.0.0/16\", with zeros behind the prefix".to_owned();
    let texts = list(table, "subnets", &|text| network(text).is_none().then(wanted));
    texts.iter().filter_map(|text| network(text)).collect()
}

/// Why a pattern gives no host names.
fn pattern_fault(pattern: &str, proof: &EnrollProof) -> Option<String> {
    let known = proof.placeholders();
    let Some(pieces) = pieces(pattern) else {
        return Some("its braces do not match".to_owned());
    };
    let unknown = pieces.iter().find_map(|piece| match piece {
        Piece::Placeholder(placeholder) => (!known.contains(placeholder)).then_some(placeholder),
        Piece::Text(_) => None,
    });
    if let Some(unknown) = unknown {
        let near = crate::mistake::nearest(unknown, known.iter().copied());
        let known = known.join("}, {");
        let near = near
            .map(|near| format!("; did you mean {{{near}}}?"))
            .unwrap_or_default();
        return Some(format!("known in braces: {{{known}}}{near}"));
    }
    let sample = known.iter().map(|placeholder| (*placeholder, "x".to_owned())).collect();
    let error = fill_in(pattern, &sample).err()?;
    Some(format!("filled in with `x`, {error}"))
}

fn is_aws_account(text: &str) -> bool {
    text.len() == 12 && text.chars().all(|c| c.is_ascii_digit())
}

fn is_region(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.contains('-') && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(plain)
}

fn is_image(text: &str) -> bool {
    let digits = text.strip_prefix("ami-").unwrap_or_default();
    matches!(digits.len(), 8 | 17) && digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

fn fault<T, E: std::fmt::Display>(checked: Result<T, E>) -> Option<String> {
    checked.err().map(|error| error.to_string())
}

fn require(table: &TableReader<'_>, key: &str) {
    if !table.has(key) {
        table.wrong_here(format!("`{key}` is missing"));
    }
}

type Fault<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A list that has to be there and to hold something, as a set.
fn filled(table: &TableReader<'_>, key: &str, fault: Fault<'_>) -> BTreeSet<String> {
    list(table, key, fault).into_iter().collect()
}

/// A list that has to be there and to hold something, in its order.
fn list(table: &TableReader<'_>, key: &str, fault: Fault<'_>) -> Vec<String> {
    require(table, key);
    let items = each(table, key, fault);
    if items.is_empty() && table.is_list(key) {
        table.wrong(key, format!("`{key}` is empty, which allows nothing"));
    }
    items.into_iter().map(|(item, _)| item).collect()
}

/// A list's items, each checked and none twice.
fn each(table: &TableReader<'_>, key: &str, fault: Fault<'_>) -> Vec<(String, Place)> {
    let items = table.strings(key);
    let mut seen = BTreeSet::new();
    for (item, place) in &items {
        if let Some(reason) = fault(item) {
            table.wrong_at(*place, format!("{item:?} cannot stand in `{key}`: {reason}"));
        }
        if !seen.insert(item) {
            table.wrong_at(*place, format!("`{key}` holds {item:?} twice"));
        }
    }
    items
}
