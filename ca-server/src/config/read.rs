//! From the top section of `signet.toml` to a [`Config`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use signet_core::serial::NodeId;
use signet_core::signer::CaKeyType;
use signet_core::sshsig::LoginAddress;

use super::section::Section;
use super::{Auth, Config, Limits, Listen, MountConfig, SYSTEM_TTL_SECS, Tls};

/// The barrier key's file name in the data folder.
pub(super) const KEY_FILE: &str = "barrier.key";

const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8200);

pub(super) fn config(top: &Section<'_>, base: &Path) -> Config {
    let data = base.join(top.required_text("data"));
    Config {
        name: top.text("name").unwrap_or_else(|| "signet".to_owned()),
        addresses: addresses(top),
        node: NodeId(
            top.number("node", 0..=65_535)
                .and_then(|node| u16::try_from(node).ok())
                .unwrap_or(1),
        ),
        policies: top.text("policies").map(|folder| base.join(folder)),
        listen: listen(top),
        tls: tls(top, base),
        key_file: key_file(top, base, &data),
        data,
        mounts: mounts(top),
        sinks: sinks(top, base),
        limits: Limits::read(top),
        strict_empty_principals: top
            .word("empty_principals", &[("strict", true), ("legacy", false)])
            .unwrap_or(true),
        auth: Auth::read(top, base),
    }
}

/// Login signatures are bound to one of these, so each must be spelt as clients compute it.
fn addresses(top: &Section<'_>) -> Vec<String> {
    let mut canonical = Vec::new();
    for address in top.texts("addresses") {
        match LoginAddress::parse(&address) {
            Ok(parsed) => canonical.push(parsed.to_string()),
            Err(error) => top.wrong("addresses", error.to_string()),
        }
    }
    canonical
}

fn listen(top: &Section<'_>) -> Listen {
    let Some(section) = top.section("listen") else {
        return Listen {
            address: DEFAULT_ADDRESS,
            metrics: None,
        };
    };
    let socket = |key| {
        let text = section.text(key)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            section.wrong_hint(
                key,
                format!("`{text}` is not an address with a port"),
                "write it like 127.0.0.1:8200",
            );
        }
        parsed
    };
    let listen = Listen {
        address: socket("address").unwrap_or(DEFAULT_ADDRESS),
        metrics: socket("metrics"),
    };
    section.finish();
    listen
}

fn tls(top: &Section<'_>, base: &Path) -> Tls {
    let Some(section) = top.section("tls") else {
        return Tls::SelfSigned;
    };
    let tls = match (section.text("certificate"), section.text("key")) {
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
    };
    section.finish();
    tls
}

fn key_file(top: &Section<'_>, base: &Path, data: &Path) -> PathBuf {
    let default = data.join(KEY_FILE);
    let Some(section) = top.section("seal") else {
        return default;
    };
    section.only_word("type", "key-file");
    let path = section.text("path").map_or(default, |path| base.join(path));
    section.finish();
    path
}

fn mounts(top: &Section<'_>) -> Vec<MountConfig> {
    let mut mounts: Vec<MountConfig> = Vec::new();
    for section in top.sections("mount") {
        let mount = mount(&section);
        if mounts
            .iter()
            .any(|other| crate::mounts::overlap(&other.path, &mount.path))
        {
            section.wrong("path", format!("mount `{}` overlaps another mount's path", mount.path));
        }
        section.finish();
        mounts.push(mount);
    }
    mounts
}

fn mount(section: &Section<'_>) -> MountConfig {
    let path = section.required_text("path").trim_matches('/').to_owned();
    if let Err(reason) = crate::mounts::check_path(&path)
        && section.has("path")
    {
        section.wrong("path", reason.to_string());
    }
    let max_ttl = section
        .duration("max_ttl", 1..=SYSTEM_TTL_SECS)
        .unwrap_or(SYSTEM_TTL_SECS);
    let default_ttl = section.duration("default_ttl", 1..=SYSTEM_TTL_SECS).unwrap_or(max_ttl);
    if default_ttl > max_ttl {
        section.wrong(
            "default_ttl",
            format!("`default_ttl` is {default_ttl} s, more than `max_ttl`, {max_ttl} s"),
        );
    }
    MountConfig {
        path,
        description: section.text("description").unwrap_or_default(),
        ca_key_type: section.text("ca_key_type").and_then(|word| {
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

fn sinks(top: &Section<'_>, base: &Path) -> Vec<PathBuf> {
    let Some(audit) = top.section("audit") else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    for section in audit.sections("sink") {
        section.only_word("type", "file");
        let path = base.join(section.required_text("path"));
        if paths.contains(&path) {
            section.wrong("path", "two sinks write the same file");
        }
        section.finish();
        paths.push(path);
    }
    audit.finish();
    paths
}
