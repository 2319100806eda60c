//! What a clean machine lacks: finds the programs a chore needs and installs the missing ones from Debian's packages.
//! Without root it says the exact command instead; nothing is ever skipped in silence.

use std::path::{Path, PathBuf};

use crate::process::{environment, output, run, succeeds};
use crate::report::line;

/// A program and the Debian package that brings it.
pub(crate) type Need = (&'static str, &'static str);

/// What the end-to-end tests and the demo start.
pub(crate) const OPENSSH: &[Need] = &[
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("curl", "curl"),
];

/// What the tests on hosts in namespaces start besides; only root can run them.
pub(crate) const NAMESPACES: &[Need] = &[
    ("debootstrap", "debootstrap"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("packer", "packer"),
    ("ansible-playbook", "ansible-core"),
    ("openssl", "openssl"),
];

/// A token in software, and the spy that counts what is asked of it.
pub(crate) const TOKENS: &[Need] = &[("softhsm2-util", "softhsm2"), ("pkcs11-tool", "opensc")];

/// What compiles the C and C++ parts of the build (aws-lc, SQLite, libFuzzer).
pub(crate) const COMPILERS: &[Need] = &[("cc", "gcc libc6-dev"), ("c++", "g++"), ("make", "make")];

/// Makes sure that every needed program is there.
///
/// # Errors
/// One is missing and cannot be installed; the text holds the command to type.
pub(crate) fn provide(needs: &[&[Need]]) -> crate::Chore {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let install = format!("apt-get install --no-install-recommends {packages}");
    if find("apt-get").is_none() {
        return Err(format!(
            "missing here: {packages} (Debian's names); install them with this system's package manager"
        ));
    }
    if output(&["id", "-u"]) != "0" {
        return Err(format!("missing here: {packages}; type: sudo {install}"));
    }
    line(&format!("installing {packages}"));
    let _quiet = NoServices::begin()?;
    install_packages(&missing).map_err(|reason| format!("{reason}; type: {install}"))
}

fn missing(needs: &[&[Need]]) -> Vec<&'static str> {
    let mut packages: Vec<&'static str> = needs
        .iter()
        .copied()
        .flatten()
        .filter(|(program, _)| find(program).is_none())
        .flat_map(|(_, package)| package.split(' '))
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn install_packages(packages: &[&str]) -> crate::Chore {
    run(&["apt-get", "update", "-qq"])?;
    let mut words = vec![
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "-qq",
        "-y",
    ];
    words.push("--no-install-recommends");
    words.extend(packages);
    run(&words)
}

/// Finds a program on the PATH or where Debian keeps daemons.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = environment("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Whether a cargo subcommand is installed.
pub(crate) fn has_cargo_command(name: &str) -> bool {
    succeeds(&["cargo", name, "--version"])
}

/// While this value lives, Debian's packages do not start the services they bring: a machine that runs our tests has not
/// asked for a listening sshd.
#[derive(Debug)]
struct NoServices {
    made: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn begin() -> Result<Self, String> {
        if Path::new(POLICY).exists() {
            return Ok(Self { made: false });
        }
        let write = || -> std::io::Result<()> {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
            std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755))
        };
        write().map_err(|error| format!("cannot write {POLICY}: {error}"))?;
        Ok(Self { made: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            crate::report::failure(&format!("cannot remove {POLICY}: {error}"));
        }
    }
}
