//! `[hosts]`: which mounts sign for hosts, how long a trust bundle counts as fresh, and what an EC2 host has to show.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use signet_core::ec2_document::RegionCertificate;
use signet_core::role::is_role_name;
use signet_core::time::UnixTime;
use signet_core::toml_reader::TableReader;

/// What hosts get and have to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// The mount that signs host certificates; hosts can enrol only if it is given.
    pub host_mount: Option<String>,
    /// The role there that a host's certificate is issued by.
    pub role: String,
    /// The mount whose trust bundle hosts fetch; when absent, the one mount that is not `host_mount`.
    pub user_mount: Option<String>,
    /// Seconds until a host counts as stale when no newer bundle came.
    pub bundle_ttl_secs: u64,
    /// Seconds without a report after which a host is listed as stale.
    pub stale_after_secs: u64,
    /// EC2 instances, where they may enrol.
    pub ec2: Option<Ec2>,
}

/// How EC2 instance identity documents are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2 {
    /// AWS's certificate for each region; a document of another region is refused.
    pub certificates: BTreeMap<String, RegionCertificate>,
    /// Seconds after `pendingTime` within which an instance may enrol first.
    pub pending_time_window_secs: u64,
}

impl Ec2 {
    /// The certificates that end within `secs` from `now`, each with its region: AWS will sign with other keys then.
    #[must_use]
    pub fn ending_within(&self, secs: u64, now: UnixTime) -> Vec<(&str, UnixTime)> {
        let ends = self
            .certificates
            .iter()
            .map(|(region, certificate)| (region.as_str(), certificate.ends()));
        ends.filter(|(_, ends)| *ends <= now.plus(secs)).collect()
    }
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            host_mount: None,
            role: "hosts".to_owned(),
            user_mount: None,
            bundle_ttl_secs: 7 * 86_400,
            stale_after_secs: 3_600,
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
        let hosts = Self {
            host_mount: mount(&section, "host_mount"),
            role: section
                .parsed(
                    "role",
                    "a role's name: letters, digits, `_`, `-`, `.` and `@`",
                    |name| is_role_name(name).then(|| name.to_owned()),
                )
                .unwrap_or(default.role),
            user_mount: mount(&section, "user_mount"),
            bundle_ttl_secs: section
                .duration_secs("bundle_ttl", 60..=365 * 86_400)
                .unwrap_or(default.bundle_ttl_secs),
            stale_after_secs: section
                .duration_secs("stale_after", 60..=365 * 86_400)
                .unwrap_or(default.stale_after_secs),
            ec2: section.table("ec2").map(|ec2| Ec2 {
                certificates: certificates(&ec2, base),
                pending_time_window_secs: ec2.duration_secs("pending_time_window", 1..=86_400).unwrap_or(600),
            }),
        };
        if hosts.host_mount.is_none() && hosts.ec2.is_some() && !section.has("host_mount") {
            section.wrong_hint(
                "ec2",
                "[hosts.ec2] lets instances enrol, but no `host_mount` signs their certificates",
                "write host_mount = \"ssh-host-signer\" into [hosts]",
            );
        }
        hosts
    }
}

fn mount(section: &TableReader<'_>, key: &str) -> Option<String> {
    let path = section.string(key)?.trim_matches('/').to_owned();
    match crate::mounts::check_path(&path) {
        Ok(()) => Some(path),
        Err(error) => {
            section.wrong(key, error.to_string());
            None
        }
    }
}

fn certificates(ec2: &TableReader<'_>, base: &Path) -> BTreeMap<String, RegionCertificate> {
    let Some(table) = ec2.table("certificates") else {
        if !ec2.has("certificates") {
            ec2.wrong(
                "certificates",
                "[hosts.ec2] needs `certificates`: a table of region = \"file.pem\"",
            );
        }
        return BTreeMap::new();
    };
    let read = |region: String| {
        let path = base.join(table.string(&region)?);
        match certificate(&path) {
            Ok(certificate) => Some((region, certificate)),
            Err(why) => {
                let text = format!("the certificate `{}` of region `{region}`: {why}", path.display());
                let hint = "AWS's page \"AWS public certificates for instance identity document signatures\" has them";
                table.wrong_hint(&region, text, hint);
                None
            }
        }
    };
    table.free_keys().into_iter().filter_map(read).collect()
}

fn certificate(path: &Path) -> Result<RegionCertificate, String> {
    let pem = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    RegionCertificate::from_pem(&pem).map_err(|error| error.to_string())
}
