//! The real `ssh-agent` with keys in it, for logins that sign a challenge.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::binaries::system;
use crate::keys::KeyFile;
use crate::wait::until;

/// A running agent; it ends with the value.
#[derive(Debug)]
pub struct SshAgent {
    child: Child,
    socket: PathBuf,
}

impl SshAgent {
    /// Starts an agent that listens in this folder.
    pub fn start(folder: &Path) -> Self {
        let socket = folder.join("ssh-agent");
        let child = Command::new(system("ssh-agent"))
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent starts");
        // The file is there a moment before anybody listens.
        until("ssh-agent to listen", || {
            std::os::unix::net::UnixStream::connect(&socket).ok().map(drop)
        });
        Self { child, socket }
    }

    /// Gives the agent a key.
    pub fn add(&self, key: &KeyFile) {
        let added = Command::new(system("ssh-add"))
            .arg("-q")
            .arg(key.path())
            .env("SSH_AUTH_SOCK", &self.socket)
            .status()
            .expect("ssh-add starts");
        assert!(added.success(), "ssh-add takes {}", key.path().display());
    }

    /// The value of `SSH_AUTH_SOCK`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
