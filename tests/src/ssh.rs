//! Running the real `ssh` against a throw-away host, untouched by whatever configuration this machine has.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::agent::SshAgent;
use crate::binaries::system;
use crate::keys::KeyFile;
use crate::sshd::Sshd;
use crate::workdir::login_name;

/// A login to be tried.
#[derive(Debug)]
pub struct Ssh<'a> {
    sshd: &'a Sshd,
    user: String,
    options: Vec<String>,
    port: Option<u16>,
    tty: bool,
}

/// How a login ended.
#[derive(Debug)]
pub struct Login {
    /// Whether the remote command ran and exited with 0.
    pub accepted: bool,
    /// What the remote command printed.
    pub stdout: String,
    /// What ssh itself had to say.
    pub stderr: String,
}

/// Options that keep this machine's own ssh configuration, keys and agent out of a test. The key exchange is the cheap
/// one: Debian's default takes 0.13 s of CPU, and the exchange is not what is tested.
pub const HERMETIC: &[&str] = &[
    "-F/dev/null",
    "-oBatchMode=yes",
    "-oGlobalKnownHostsFile=/dev/null",
    "-oStrictHostKeyChecking=yes",
    "-oKexAlgorithms=curve25519-sha256",
    "-oLogLevel=ERROR",
];

impl<'a> Ssh<'a> {
    /// A login to the test's own account over a pipe.
    pub fn to(sshd: &'a Sshd) -> Self {
        let known_hosts = format!("-oUserKnownHostsFile={}", sshd.known_hosts().display());
        Self {
            sshd,
            user: login_name(),
            options: vec![known_hosts],
            port: None,
            tty: false,
        }
    }

    /// Uses this key file and the certificate beside it, and nothing else.
    #[must_use]
    pub fn key(mut self, key: &KeyFile) -> Self {
        self.options.push("-oIdentitiesOnly=yes".to_owned());
        self.options.push("-oIdentityAgent=none".to_owned());
        self.options.push(format!("-i{}", key.path().display()));
        self
    }

    /// Uses the keys and certificates of this agent.
    #[must_use]
    pub fn agent(mut self, agent: &SshAgent) -> Self {
        self.options
            .push(format!("-oIdentityAgent={}", agent.socket().display()));
        self
    }

    /// Trusts another `known_hosts` file than the one with this host's plain key.
    #[must_use]
    pub fn known_hosts(mut self, file: &Path) -> Self {
        // First value wins on ssh's command line.
        self.options
            .insert(0, format!("-oUserKnownHostsFile={}", file.display()));
        self
    }

    /// Connects to the listening daemon instead of a pipe, so that it sees the address 127.0.0.1.
    #[must_use]
    pub fn over_tcp(mut self) -> Self {
        self.port = Some(self.sshd.port());
        self
    }

    /// Logs in to another account.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        name.clone_into(&mut self.user);
        self
    }

    /// Asks for a terminal.
    #[must_use]
    pub fn tty(mut self) -> Self {
        self.tty = true;
        self
    }

    /// Adds an option.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Runs a command on the host.
    pub fn run(self, remote: &str) -> Login {
        let mut command = Command::new(system("ssh"));
        command.args(&self.options).args(HERMETIC).stdin(Stdio::null());
        match self.port {
            Some(port) => command.args(["-p", &port.to_string()]),
            None => command.arg(format!("-oProxyCommand={}", self.sshd.proxy_command())),
        };
        if self.tty {
            command.arg("-tt");
        }
        Login::from(
            command
                .arg(format!("{}@127.0.0.1", self.user))
                .arg(remote)
                .output()
                .expect("ssh starts"),
        )
    }
}

impl From<Output> for Login {
    fn from(output: Output) -> Self {
        Self {
            accepted: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
