//! From the top section of `signet.toml` to a [`Config`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use signet_core::serial::NodeId;
use signet_core::signer::CaKeyType;
use signet_core::sshsig::LoginAddress;
use signet_core::toml_reader::TableReader;

use super::{
    Auth, CaKeyConfig, Config, Hosts, KeyHolder, Limits, Listen, MountConfig, Rotation, SYSTEM_TTL_SECS, SealConfig,
    Tls,
};

const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8200);

pub(super) fn config(top: &TableReader<'_>, base: &Path) -> Config {
    let data = base.join(top.required("data").unwrap_or_default());
    let name = top.string("name").unwrap_or_else(|| "signet".to_owned());
    Config {
        addresses: addresses(top),
        node: NodeId(
            top.number("node", 0..=65_535)
                .and_then(|node| u16::try_from(node).ok())
                .unwrap_or(1),
        ),
        policies: top.string("policies").map(|folder| base.join(folder)),
        listen: listen(top),
        tls: tls(top, base),
        seal: SealConfig::read(top, base, &data, &name),
        data,
        name,
        mounts: mounts(top, base),
        key_holders: KeyHolder::read_all(top, base),
        sinks: sinks(top, base),
        limits: Limits::read(top),
        strict_empty_principals: top
            .word("empty_principals", &[("strict", true), ("legacy", false)])
            .unwrap_or(true),
        auth: Auth::read(top, base),
        hosts: Hosts::read(top, base),
        rotation: Rotation::read(top),
    }
}

/// Login signatures are bound to one of these, so each must be spelt as clients compute it.
fn addresses(top: &TableReader<'_>) -> Vec<String> {
    let mut canonical = Vec::new();
    for (address, place) in top.strings("addresses") {
        match LoginAddress::parse(&address) {
            Ok(parsed) => canonical.push(parsed.to_string()),
            Err(error) => top.wrong_at(place, error.to_string()),
        }
    }
    canonical
}

fn listen(top: &TableReader<'_>) -> Listen {
    let Some(section) = top.table("listen") else {
        return Listen {
            address: DEFAULT_ADDRESS,
            metrics: None,
        };
    };
    let socket = |key| {
        section.parsed(key, "an address with its port such as 127.0.0.1:8200", |text| {
            text.parse().ok()
        })
    };
    Listen {
        address: socket("address").unwrap_or(DEFAULT_ADDRESS),
        metrics: socket("metrics"),
    }
}

fn tls(top: &TableReader<'_>, base: &Path) -> Tls {
    let Some(section) = top.table("tls") else {
        return Tls::SelfSigned;
    };
    match (section.string("certificate"), section.string("key")) {
        (Some(certificate), Some(key)) => Tls::Files {
            certificate: base.join(certificate),
            key: base.join(key),
        },
        (None, None) => {
            section.wrong_hint(
                "tls",
                "[tls] needs `certificate` and `key`",
                "leave the whole section out for a self-signed certificate",
            );
            Tls::SelfSigned
        }
        (Some(_), None) | (None, Some(_)) => {
            section.wrong("certificate", "[tls] needs both `certificate` and `key`");
            Tls::SelfSigned
        }
    }
}

fn mounts(top: &TableReader<'_>, base: &Path) -> Vec<MountConfig> {
    let mut mounts: Vec<MountConfig> = Vec::new();
    for section in top.tables("mount") {
        let mount = mount(&section, base);
        if mounts
            .iter()
            .any(|other| crate::mounts::overlap(&other.path, &mount.path))
        {
            section.wrong("path", format!("mount `{}` overlaps another mount's path", mount.path));
        }
        mounts.push(mount);
    }
    mounts
}

fn mount(section: &TableReader<'_>, base: &Path) -> MountConfig {
    let path = section
        .required("path")
        .unwrap_or_default()
        .trim_matches('/')
        .to_owned();
    if let Err(reason) = crate::mounts::check_path(&path)
        && section.has("path")
    {
        section.wrong("path", reason.to_string());
    }
    let max_ttl = section
        .duration_secs("max_ttl", 1..=SYSTEM_TTL_SECS)
        .unwrap_or(SYSTEM_TTL_SECS);
    let default_ttl = section
        .duration_secs("default_ttl", 1..=SYSTEM_TTL_SECS)
        .unwrap_or(max_ttl);
    if default_ttl > max_ttl {
        section.wrong(
            "default_ttl",
            format!("`default_ttl` is {default_ttl} s, more than `max_ttl`, {max_ttl} s"),
        );
    }
    let ca_key = section.table("ca_key").map(|key| CaKeyConfig::read(&key, base));
    if ca_key.is_some() && section.has("ca_key_type") {
        section.wrong(
            "ca_key_type",
            "give `ca_key_type` for a key in the store or `ca_key`, not both",
        );
    }
    MountConfig {
        path,
        ca_key,
        description: section.string("description").unwrap_or_default(),
        ca_key_type: section.string("ca_key_type").and_then(|word| {
            let parsed = CaKeyType::parse(&word, 0);
            if let Err(error) = &parsed {
                section.wrong_hint("ca_key_type", error.to_string(), "ed25519 is the one to take");
            }
            parsed.ok()
        }),
        default_ttl,
        max_ttl,
    }
}

fn sinks(top: &TableReader<'_>, base: &Path) -> Vec<PathBuf> {
    let Some(audit) = top.table("audit") else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    for section in audit.tables("sink") {
        section.only_word("type", "file");
        let path = base.join(section.required("path").unwrap_or_default());
        if paths.contains(&path) {
            section.wrong("path", "two sinks write the same file");
        }
        paths.push(path);
    }
    paths
}
