//! A company with hosts: an authority whose policies name roles, groups and host tags, an operator, and what an image of it
//! carries.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::api::Api;
use crate::authority::Authority;
use crate::issuer::Issuer;
use crate::keys::KeyFile;
use crate::network::Network;
use crate::workdir::{Workdir, write};

/// The mount that signs for hosts; people's certificates come from `ssh`.
pub const HOST_MOUNT: &str = "ssh-host";
/// The role that people log in with.
pub const ROLE: &str = "backend";
/// The domain in which hosts have their names.
pub const DOMAIN: &str = "internal.example.com";

/// An authority for hosts, with the keys of the people who use it.
#[derive(Debug)]
pub struct Estate {
    /// The authority.
    pub authority: Authority,
    issuer: Issuer,
    folder: Workdir,
}

impl Estate {
    /// An estate on this machine's loopback.
    pub fn local() -> Self {
        Self::new(|change, config| Authority::serve(change, config))
    }

    /// An estate that the hosts of a network reach.
    pub fn on(network: &Network) -> Self {
        Self::new(|change, config| Authority::serve_hosts(network, change, config))
    }

    fn new(serve: impl FnOnce(&dyn Fn(&Path), &str) -> Authority) -> Self {
        let (folder, issuer) = (Workdir::new(), Issuer::new());
        let people: Vec<_> = [("alice", "backend"), ("dana", "data")]
            .map(|(name, group)| (name, group, KeyFile::ed25519(folder.path(), name).public_line()))
            .into();
        let config = format!(
            "\n[[mount]]\npath = \"{HOST_MOUNT}\"\nca_key_type = \"ed25519\"\n\n[hosts]\nhost_mount = \"{HOST_MOUNT}\"\n\
             role = \"hosts\"\n{}\n[limits]\nlogin_rate_per_minute = 1000000\n",
            issuer.config(folder.path())
        );
        let authority = serve(&|policies| install(policies, &people), &config);
        Self {
            authority,
            issuer,
            folder,
        }
    }

    /// The private key of `alice` (group `backend`) or `dana` (group `data`).
    pub fn key_of(&self, person: &str) -> PathBuf {
        self.folder.path().join(person)
    }

    /// The API as the operator, who may do everything.
    pub fn operator(&self) -> Api {
        self.authority.api(&self.authority.ci_token(&self.issuer))
    }

    /// A one-time token for a host of this name below [`DOMAIN`].
    pub fn host_token(&self, operator: &Api, name: &str, tags: &[&str]) -> String {
        let body = json!({"host": format!("{name}.{DOMAIN}"), "tags": tags});
        let answer = operator.write("sys/signet/host-tokens", &body);
        let token = answer.body["data"]["token"].as_str();
        token.unwrap_or_else(|| panic!("no token: {}", answer.text)).to_owned()
    }
}

/// Groups `backend` and `data`; principals named like them; hosts with the tag `web` open `ubuntu` to `backend` alone.
fn install(policies: &Path, people: &[(&str, &str, String)]) {
    let mut text = "groups = [\"backend\", \"data\"]\nlogin_groups = [\"ci\"]\n".to_owned();
    for (name, group, key) in people {
        write!(text, "\n[people.{name}]\ngroups = [\"{group}\"]\nkeys = [{key:?}]\n").expect("text");
    }
    write(&policies.join("people.toml"), &text);
    let role = |principal: &str| {
        format!(
            "allowed_users = [\"{principal}\"]\ndefault_user = \"{principal}\"\nttl = \"30m\"\nmax_ttl = \"1h\"\ndefault_extensions = [\"permit-pty\"]\n"
        )
    };
    write(&policies.join("roles/backend.toml"), &role("backend"));
    write(&policies.join("roles/data.toml"), &role("data"));
    let hosts = format!(
        "mount = \"{HOST_MOUNT}\"\ncertificates = \"host\"\nallowed_domains = [\"{DOMAIN}\"]\nallow_subdomains = true\n\
         ttl = \"24h\"\nmax_ttl = \"24h\"\n"
    );
    write(&policies.join("roles/hosts.toml"), &hosts);
    write(&policies.join("access/all.cedar"), ACCESS);
    let hosts = format!(
        "[[rule]]\ntags = [\"web\"]\naccounts = {{ ubuntu = [\"backend\"] }}\n\n[[rule]]\ntags = [\"db\"]\n\
         accounts = {{ ubuntu = [\"data\"] }}\n\n[[enroll]]\nmethod = \"token\"\ndomains = [\"{DOMAIN}\"]\n\
         tags = [\"web\", \"db\"]\n"
    );
    write(&policies.join("hosts.toml"), &hosts);
}

const ACCESS: &str = "\
@id(\"backend\") permit (principal in Group::\"backend\", action == Action::\"sign\", resource == Role::\"backend\");
@id(\"data\") permit (principal in Group::\"data\", action == Action::\"sign\", resource == Role::\"data\");
@id(\"hosts\") permit (principal in Group::\"enrolled-hosts\", action == Action::\"sign\", resource == Role::\"ssh-host/hosts\");
@id(\"operator\") permit (principal in Group::\"ci\", action in [Action::\"create\", Action::\"read\", Action::\"update\",
  Action::\"delete\", Action::\"list\", Action::\"sudo\"], resource);
";
