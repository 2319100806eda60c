//! What `lint` and `diff` try a role with: people who could match its policies, and the situations that the policies speak
//! of (addresses, login methods, hours). A sample, not a proof: it follows the literals in the policies.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::Value;

use super::PolicySet;
use super::ask::Ask;
use crate::access::{Kind, Scope, Written, role_id};
use crate::caller::AuthMethod;
use crate::role::Role;
use crate::time::UnixTime;

/// A person whom no file knows.
pub(crate) const STRANGER: &str = "signet-stranger";

/// A principal that no file names.
pub(crate) const ODD_PRINCIPAL: &str = "signet-odd-name";

/// What the conditions of policies speak of.
#[derive(Debug, Default, Clone)]
pub(crate) struct Mentions {
    /// Texts: principals, methods.
    pub(crate) texts: BTreeSet<String>,
    /// Groups.
    pub(crate) groups: BTreeSet<String>,
    networks: BTreeSet<String>,
    attributes: BTreeSet<String>,
    /// Whether a condition looks at who asks.
    pub(crate) principal: bool,
}

impl Mentions {
    /// Reads the conditions of policies.
    pub(crate) fn of<'a>(policies: impl IntoIterator<Item = &'a Written>) -> Self {
        let mut mentions = Self::default();
        for policy in policies {
            if let Ok(json) = policy.policy.to_json()
                && let Some(conditions) = json.get("conditions")
            {
                mentions.walk(conditions);
            }
        }
        mentions
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(fields) => fields.iter().for_each(|(key, value)| self.field(key, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn field(&mut self, key: &str, value: &Value) {
        match (key, value) {
            ("Value", Value::String(text)) => self.text(text),
            ("Var", Value::String(name)) => self.principal |= name == "principal",
            ("attr", Value::String(name)) => {
                self.attributes.insert(name.clone());
            }
            ("__entity", Value::Object(entity)) => {
                let part = |key: &str| entity.get(key).and_then(Value::as_str);
                if part("type") == Some("Group") {
                    self.groups.extend(part("id").map(str::to_owned));
                }
            }
            _ => self.walk(value),
        }
    }

    fn text(&mut self, text: &str) {
        let is_network = text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok();
        let texts = if is_network {
            &mut self.networks
        } else {
            &mut self.texts
        };
        texts.insert(text.to_owned());
    }

    /// Every combination of address, method and time that the policies tell apart.
    pub(crate) fn situations(&self) -> Vec<Situation> {
        let mut situations = Vec::new();
        for from in self.addresses() {
            for method in self.methods() {
                situations.extend(self.times().into_iter().map(|at| Situation { from, method, at }));
            }
        }
        situations
    }

    fn addresses(&self) -> Vec<IpAddr> {
        const ADDRESSES_MAX: usize = 16;
        let outside = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let inside = |text: &String| {
            let network = text
                .parse::<IpNet>()
                .ok()
                .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
            network.hosts().next()
        };
        std::iter::once(outside)
            .chain(self.networks.iter().filter_map(inside))
            .take(ADDRESSES_MAX)
            .collect()
    }

    fn methods(&self) -> Vec<AuthMethod> {
        let all = [
            AuthMethod::SshKey,
            AuthMethod::Jwt,
            AuthMethod::Token,
            AuthMethod::Ec2,
            AuthMethod::HostToken,
            AuthMethod::HostKey,
        ];
        let told_apart = self.attributes.contains("method");
        all.into_iter().take(if told_apart { all.len() } else { 1 }).collect()
    }

    /// Each hour of a Monday, and noon and three o'clock of a Sunday.
    fn times(&self) -> Vec<UnixTime> {
        let monday_noon = Ask::new(STRANGER, "").at;
        if !self.attributes.contains("hour") && !self.attributes.contains("weekday") {
            return vec![monday_noon];
        }
        let monday = monday_noon.minus(12 * 3600);
        let sunday = monday.minus(24 * 3600);
        let hours = (0..24).map(|hour| monday.plus(hour * 3600));
        hours.chain([sunday.plus(3 * 3600), sunday.plus(12 * 3600)]).collect()
    }
}

/// Where, how and when somebody asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    from: IpAddr,
    method: AuthMethod,
    at: UnixTime,
}

impl Situation {
    /// Puts a question into this situation.
    pub(crate) fn apply(self, ask: &Ask) -> Ask {
        Ask {
            from: self.from,
            method: self.method,
            at: self.at,
            ..ask.clone()
        }
    }
}

/// A question by whomever the head of a permit is for.
pub(crate) fn somebody_permitted(policy: &Written, mentions: &Mentions, role: &Role) -> Ask {
    let mut ask = Ask::new(STRANGER, &role_id(role.mount(), role.name()));
    match &policy.principal {
        Scope::Entity(Kind::Person, name) => ask.person.clone_from(name),
        Scope::Entity(Kind::Group, group) => ask.groups = BTreeSet::from([group.clone()]),
        Scope::Entity(Kind::Policy, policy) => ask.policies = BTreeSet::from([policy.clone()]),
        Scope::Any | Scope::Entity(Kind::Role | Kind::Mount | Kind::Path, _) => {}
    }
    ask.groups.extend(mentions.groups.iter().cloned());
    ask
}

/// Principals worth asking a role for: those it names and those the policies name. Templates are left out, as they are
/// different for each person.
pub(crate) fn principals_of(role: &Role, mentions: &Mentions) -> BTreeSet<String> {
    let named = role
        .allowed_users()
        .names
        .iter()
        .chain(&role.allowed_domains().names)
        .chain(role.default_user());
    let named = named
        .chain(&mentions.texts)
        .filter(|name| !crate::template::is_template(name));
    named.cloned().chain(["root".to_owned()]).collect()
}

impl PolicySet {
    /// The policies that grant this in some situation; `None` when none does. The second part says whether it is granted in
    /// every situation that was tried.
    pub(crate) fn granted_in_some(&self, ask: &Ask, situations: &[Situation]) -> Option<(Vec<String>, bool)> {
        let mut granted = None;
        let mut always = true;
        for situation in situations {
            match self.ask(&situation.apply(ask)) {
                Ok(grant) => granted = granted.or_else(|| Some(grant.policies().to_vec())),
                Err(_) => always = false,
            }
        }
        granted.map(|policies| (policies, always))
    }
}
