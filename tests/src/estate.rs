//! A company with hosts: an authority whose policies name roles, groups and host tags, an operator, and what an image of it
//! carries.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::api::Api;
use crate::authority::Authority;
use crate::binaries::{ours, static_client};
use crate::imds::Region;
use crate::issuer::Issuer;
use crate::keys::KeyFile;
use crate::network::Network;
use crate::person::Ran;
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

    /// As [`Self::local`], with more sections of `signet.toml`.
    pub fn local_with(config: &str) -> Self {
        Self::with(|change, config| Authority::serve(change, config), config, "")
    }

    /// An estate that the hosts of a network reach.
    pub fn on(network: &Network) -> Self {
        Self::new(|change, config| Authority::serve_hosts(network, change, config))
    }

    /// As [`Self::on`], where instances of this region enrol by their identity documents too.
    pub fn on_ec2(network: &Network, region: &Region) -> Self {
        let config = format!(
            "\n[hosts.ec2]\ncertificates = {{ {} = {:?} }}\npending_time_window = \"10m\"\n",
            region.name(),
            region.certificate().display().to_string()
        );
        let rule = format!(
            "\n[[enroll]]\nmethod = \"ec2\"\naccounts = [\"123456789012\"]\nregions = [\"{}\"]\n\
             images = [\"ami-0123456789abcdef0\"]\nsubnets = [\"10.213.0.0/16\"]\ntags = [\"web\"]\n\
             names = [\"{{instance_id}}.{DOMAIN}\"]\n",
            region.name()
        );
        Self::with(
            |change, config| Authority::serve_hosts(network, change, config),
            &config,
            &rule,
        )
    }

    fn new(serve: impl FnOnce(&dyn Fn(&Path), &str) -> Authority) -> Self {
        Self::with(serve, "", "")
    }

    fn with(serve: impl FnOnce(&dyn Fn(&Path), &str) -> Authority, more_config: &str, more_hosts: &str) -> Self {
        let (folder, issuer) = (Workdir::new(), Issuer::new());
        let people: Vec<_> = [("alice", "backend"), ("dana", "data")]
            .map(|(name, group)| (name, group, KeyFile::ed25519(folder.path(), name).public_line()))
            .into();
        let config = format!(
            "\n[[mount]]\npath = \"{HOST_MOUNT}\"\nca_key_type = \"ed25519\"\n\n[hosts]\nhost_mount = \"{HOST_MOUNT}\"\n\
             role = \"hosts\"\n{more_config}{}\n[limits]\nlogin_rate_per_minute = 1000000\n\
             host_rate_per_minute = 1000000\nfetch_rate_per_minute = 1000000\n",
            issuer.config(folder.path())
        );
        let authority = serve(&|policies| install(policies, &people, more_hosts), &config);
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

    /// A folder with what `ami/bake.sh` takes: what an image of this estate is to trust.
    pub fn inputs(&self) -> PathBuf {
        let folder = self.folder.path().join("inputs");
        std::fs::create_dir_all(&folder).expect("the folder of the inputs");
        let api = self.authority.anonymous();
        for (name, path) in [
            ("trust-bundle", "ssh/trust-bundle"),
            ("bundle_keys.pub", "ssh/trust-bundle/public_key"),
        ] {
            let answer = api.get(path);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            write(&folder.join(name), &answer.text);
        }
        let sealed = self.folder.path().join("sealed");
        if !sealed.exists() {
            let mut new = Command::new(ours("signet"));
            new.args(["breakglass", "new", "-kdf-rounds=16"])
                .arg(format!("-out={}", sealed.display()));
            Ran::from(new.env_clear().output().expect("signet starts")).succeeded();
        }
        for (from, name) in [
            (sealed.join("breakglass.keys"), "breakglass"),
            (self.authority.tls_certificate(), "ca_cert.pem"),
            (static_client(), "signet"),
        ] {
            std::fs::copy(&from, folder.join(name)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        folder
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
fn install(policies: &Path, people: &[(&str, &str, String)], more_hosts: &str) {
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
         tags = [\"web\", \"db\"]\n{more_hosts}"
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
