//! What `signet ssh`'s flags ask of the authority and of ssh.

use std::collections::BTreeMap;
use std::path::Path;

use super::SshArgs;
use crate::agent::control::{CertificateRequest, HostKeys};
use crate::cli::value;
use crate::config::Environment;
use crate::destination::{Destination, check_principals};
use crate::report::Failure;
use crate::ssh_command::SshCommand;
use crate::ssh_config;

const CHECKING: [&str; 5] = ["yes", "no", "ask", "off", "accept-new"];

/// Options that ssh gets from us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SshOptions {
    pub(super) ssh: String,
    strict_host_key_checking: Option<String>,
    user_known_hosts_file: Option<String>,
}

impl SshOptions {
    pub(super) fn read(args: &SshArgs, environment: &Environment) -> Result<Self, Failure> {
        let or_setting = |flag: &Option<String>, name: &str| {
            flag.clone()
                .or_else(|| environment.setting(name))
                .filter(|text| !text.is_empty())
        };
        let strict = or_setting(&args.strict_host_key_checking, "SSH_STRICT_HOST_KEY_CHECKING");
        if let Some(word) = &strict
            && !CHECKING.contains(&word.as_str())
        {
            return Err(
                Failure::usage(format!("`{word}` is not a value of -strict-host-key-checking"))
                    .hint(format!("there are: {}", CHECKING.join(", "))),
            );
        }
        let known_hosts = or_setting(&args.user_known_hosts_file, "SSH_USER_KNOWN_HOSTS_FILE");
        if known_hosts
            .as_deref()
            .is_some_and(|path| path.chars().any(char::is_control))
        {
            return Err(Failure::usage("-user-known-hosts-file holds control characters"));
        }
        Ok(Self {
            ssh: or_setting(&args.ssh_executable, "SSH_EXECUTABLE").unwrap_or_else(|| "ssh".to_owned()),
            strict_host_key_checking: strict,
            user_known_hosts_file: known_hosts,
        })
    }

    /// With a host CA asked for, nothing but its certificates is believed: `ask` and `accept-new` would fall back to a
    /// plain key when the certificate is expired or for another name.
    pub(super) fn apply(&self, command: &mut SshCommand, host_ca: Option<&Path>) {
        if let Some(path) = host_ca {
            command.option("StrictHostKeyChecking", "yes");
            command.option("UserKnownHostsFile", &path.display().to_string());
            return;
        }
        if let Some(word) = &self.strict_host_key_checking {
            command.option("StrictHostKeyChecking", word);
        }
        if let Some(path) = &self.user_known_hosts_file {
            command.option("UserKnownHostsFile", path);
        }
    }
}

/// Only Vault's CA mode is spoken.
pub(super) fn check_mode(args: &SshArgs) -> Result<(), Failure> {
    match args.mode.as_deref() {
        None | Some("" | "ca") => Ok(()),
        Some(mode @ ("otp" | "dynamic")) => Err(Failure::usage(format!("mode `{mode}` is not supported"))
            .hint("signet logs in by certificate only: leave -mode out, or use -mode=ca")),
        Some(mode) => Err(Failure::usage(format!("`{mode}` is not a mode")).hint("leave -mode out, or use -mode=ca")),
    }
}

/// The role, or the advice to name one.
pub(super) fn role(args: &SshArgs) -> Result<&str, Failure> {
    args.role.as_deref().ok_or_else(|| {
        Failure::usage("no role is given").hint("add -role=…; `signet roles` lists the roles you may use")
    })
}

/// The smallest certificate that does: one principal, no extensions unless asked (the role's own then apply).
pub(super) fn certificate(
    args: &SshArgs,
    environment: &Environment,
    destination: &Destination,
    options: &SshOptions,
) -> Result<CertificateRequest, Failure> {
    let role = role(args)?.to_owned();
    let asked = args.valid_principals.as_ref().filter(|list| !list.trim().is_empty());
    let principals = match asked {
        Some(list) => list.clone(),
        None => match &destination.user {
            Some(user) => user.clone(),
            None => ssh_config::user(&options.ssh, destination, environment.home())
                .ok_or_else(|| Failure::usage("nobody knows who logs in").hint("write user@host"))?,
        },
    };
    check_principals(&principals)?;
    Ok(CertificateRequest {
        endpoint: args.connect.endpoint(environment)?,
        mount: args.mount_point.clone(),
        role,
        principals,
        or_default_user: asked.is_none(),
        ttl_secs: args.ttl,
        extensions: args.extension.iter().cloned().collect::<BTreeMap<_, _>>(),
        host_keys: host_keys(args, environment)?,
    })
}

fn host_keys(args: &SshArgs, environment: &Environment) -> Result<Option<HostKeys>, Failure> {
    let mount = args
        .host_key_mount_point
        .clone()
        .or_else(|| environment.setting("SSH_HOST_KEY_MOUNT_POINT"));
    let Some(mount) = mount.filter(|mount| !mount.is_empty()) else {
        return Ok(None);
    };
    let mount = value::mount(&mount).map_err(|why| Failure::usage(format!("-host-key-mount-point: {why}")))?;
    let hostnames = args
        .host_key_hostnames
        .clone()
        .or_else(|| environment.setting("SSH_HOST_KEY_HOSTNAMES"));
    let hostnames = hostnames.unwrap_or_else(|| "*".to_owned());
    // The patterns become one word of a known_hosts line.
    let fine = |c: char| c.is_ascii_alphanumeric() || ".-_:*?!,[]".contains(c);
    if hostnames.is_empty() || !hostnames.chars().all(fine) {
        return Err(Failure::usage(format!("`{hostnames}` are not host patterns"))
            .hint("write -host-key-hostnames='*.example.com,10.0.0.*'"));
    }
    Ok(Some(HostKeys { mount, hostnames }))
}
