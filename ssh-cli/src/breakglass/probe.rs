//! One login by the real ssh, to see whether a key opens a host: with a key that is only in memory, and nothing of this
//! person's own configuration, agent or keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ssh_key::PrivateKey;

use super::memory_agent::MemoryAgent;
use crate::agent::runtime_dir::PrivateFolder;
use crate::report::{Exit, Failure};

/// Where, and how ssh gets there.
#[derive(Debug, Clone)]
pub struct Target {
    /// The ssh to run.
    pub ssh: String,
    /// `user@host`.
    pub destination: String,
    /// The port.
    pub port: u16,
    /// `-o` options of the person who drills, such as a `ProxyCommand`.
    pub options: Vec<String>,
    /// The known hosts.
    pub known_hosts: Option<PathBuf>,
    /// `yes`, `accept-new`, `no`.
    pub strict_host_key_checking: String,
    /// How long ssh may take to connect.
    pub connect_timeout_secs: u16,
}

/// What a login ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A command ran on the host.
    LetIn,
    /// sshd said no to the key.
    Refused,
    /// Neither: no route, an unknown host key, a broken sshd.
    Unclear(String),
}

impl Seen {
    /// One word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::LetIn => "let in",
            Self::Refused => "refused",
            Self::Unclear(_) => "unclear",
        }
    }
}

/// Who knocks.
#[derive(Debug)]
pub enum Identity {
    /// A key in memory, with its certificate's file.
    Memory(Box<PrivateKey>, Option<PathBuf>),
    /// A key that ssh must read itself, since it lives in a token, with its certificate's file.
    Token(PathBuf, Option<PathBuf>),
}

/// Logs in once, and says how it ended and how long it took.
///
/// # Errors
/// [`Failure`] when ssh cannot be run or the folder not be used.
pub fn knock(target: &Target, identity: Identity, folder: &PrivateFolder) -> Result<(Seen, Duration), Failure> {
    let io = |error: std::io::Error| Failure::from_error(Exit::Failed, &error);
    // A word that only a command on the host can send back: a banner cannot.
    let word = data_encoding::HEXLOWER.encode(crate::random::seed().map_err(io)?.as_slice());
    let mut command = command(target);
    let (serving, certificate) = match identity {
        Identity::Memory(key, certificate) => {
            let public = folder.join("key.pub");
            let line = key
                .public_key()
                .to_openssh()
                .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            std::fs::write(&public, line).map_err(io)?;
            let agent = MemoryAgent::serve(folder.join("agent.sock"), *key).map_err(io)?;
            command.arg("-oBatchMode=yes");
            command.arg(format!("-oIdentityAgent={}", agent.path().display()));
            // IdentitiesOnly and the public half: exactly this key of the agent is offered.
            command.arg("-i").arg(&public);
            (Some(agent), certificate)
        }
        Identity::Token(path, certificate) => {
            // No BatchMode: the token wants a touch, and perhaps its PIN.
            command.arg("-oIdentityAgent=none").arg("-i").arg(path);
            (None, certificate)
        }
    };
    if let Some(certificate) = certificate {
        // A copy in our own folder, whose path holds nothing that ssh would expand or split.
        let copy = folder.join("key-cert.pub");
        std::fs::copy(&certificate, &copy).map_err(io)?;
        command.arg(format!("-oCertificateFile={}", copy.display()));
    }
    command.arg("--").arg(&target.destination).arg(format!("echo {word}"));
    let started = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::from_error(Exit::Failed, &error).cause(format!("`{}` cannot be run", target.ssh)))?;
    let took = started.elapsed();
    drop(serving);
    let said = String::from_utf8_lossy(&output.stderr);
    let seen = if String::from_utf8_lossy(&output.stdout).contains(&word) {
        Seen::LetIn
    } else if said.contains("Permission denied") || said.contains("Too many authentication failures") {
        Seen::Refused
    } else {
        let last = said
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("ssh said nothing");
        Seen::Unclear(last.trim().to_owned())
    };
    Ok((seen, took))
}

fn command(target: &Target) -> Command {
    let mut command = Command::new(&target.ssh);
    command.args(["-F", "/dev/null", "-T", "-x"]);
    // Ours first: in ssh the first value wins, and a drill that could be talked out of these would prove nothing.
    for option in [
        "IdentitiesOnly=yes",
        "PreferredAuthentications=publickey",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "GSSAPIAuthentication=no",
        "HostbasedAuthentication=no",
        "ControlMaster=no",
        "ControlPath=none",
        "ClearAllForwardings=yes",
        "UpdateHostKeys=no",
        "LogLevel=ERROR",
    ] {
        command.arg(format!("-o{option}"));
    }
    command.arg(format!("-oStrictHostKeyChecking={}", target.strict_host_key_checking));
    command.arg(format!("-oConnectTimeout={}", target.connect_timeout_secs));
    if let Some(file) = &target.known_hosts {
        command.arg(format!("-oUserKnownHostsFile={}", quoted(file)));
    }
    for option in &target.options {
        command.arg(format!("-o{option}"));
    }
    command.args(["-p", &target.port.to_string()]);
    command
}

/// ssh splits this option's value at blanks.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
