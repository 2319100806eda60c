//! `[hosts]`: which mounts sign for hosts, how long a trust bundle counts as fresh, and what an EC2 host has to show.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use signet_core::toml_reader::TableReader;

/// What hosts get and have to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// The mount that signs host certificates; hosts can enrol only if it is given.
    pub host_mount: Option<String>,
    /// The role there that a host's certificate is issued by.
    pub role: String,
    /// Seconds until a host counts as stale when no newer bundle came.
    pub bundle_ttl_secs: u64,
    /// EC2 instances, where they may enrol.
    pub ec2: Option<Ec2>,
}

/// How EC2 instance identity documents are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2 {
    /// AWS's certificate for each region, PEM; a document of another region is refused.
    pub certificates: BTreeMap<String, PathBuf>,
    /// Seconds after `pendingTime` within which an instance may enrol first.
    pub pending_time_window_secs: u64,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            host_mount: None,
            role: "hosts".to_owned(),
            bundle_ttl_secs: 7 * 86_400,
            ec2: None,
        }
    }
}

impl Hosts {
    pub(super) fn read(top: &TableReader<'_>, base: &Path) -> Self {
        let default = Self::default();
        let Some(section) = top.table("hosts") else {
            return default;
        };
        Self {
            host_mount: section
                .string("host_mount")
                .map(|path| path.trim_matches('/').to_owned()),
            role: section.string("role").unwrap_or(default.role),
            bundle_ttl_secs: section
                .duration_secs("bundle_ttl", 60..=365 * 86_400)
                .unwrap_or(default.bundle_ttl_secs),
            ec2: section.table("ec2").map(|ec2| Ec2 {
                certificates: certificates(&ec2, base),
                pending_time_window_secs: ec2.duration_secs("pending_time_window", 1..=86_400).unwrap_or(600),
            }),
        }
    }
}

fn certificates(ec2: &TableReader<'_>, base: &Path) -> BTreeMap<String, PathBuf> {
    let Some(table) = ec2.table("certificates") else {
        ec2.wrong(
            "certificates",
            "[hosts.ec2] needs `certificates`: region = \"file.pem\"",
        );
        return BTreeMap::new();
    };
    let regions = table.free_keys();
    regions
        .into_iter()
        .filter_map(|region| Some((region.clone(), base.join(table.string(&region)?))))
        .collect()
}
