//! Running ssh: the user's own, with their own configuration, no shell in between.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::destination::Destination;

/// ssh could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The program is missing or cannot be started.
    #[error("`{program}` cannot be run")]
    Start {
        /// What was tried.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Waiting for it failed.
    #[error("ssh cannot be waited for")]
    Wait(#[source] std::io::Error),
}

/// One ssh run, before it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshCommand {
    program: String,
    args: Vec<OsString>,
}

impl SshCommand {
    /// Starts with the program's name; found by `PATH` as the shell would.
    #[must_use]
    pub fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
        }
    }

    /// Adds `-o <name>=<value>`. Ours come first, and the first value wins in ssh.
    pub fn option(&mut self, name: &str, value: &str) -> &mut Self {
        self.args.push("-o".into());
        self.args.push(format!("{name}={value}").into());
        self
    }

    /// Lets ssh take its identities from this socket: ours has exactly one. `IdentitiesOnly` in somebody's configuration
    /// would hide a certificate that is in no file.
    pub fn identity_agent(&mut self, socket: &Path) -> &mut Self {
        self.option("IdentityAgent", &socket.display().to_string())
            .option("IdentitiesOnly", "no")
    }

    /// Uses a key and its certificate from files, as Vault does.
    pub fn identity_files(&mut self, key: &Path, certificate: &Path) -> &mut Self {
        self.args.push("-i".into());
        self.args.push(key.into());
        self.option("CertificateFile", &certificate.display().to_string())
    }

    /// Uses a key from its file.
    pub fn identity_file(&mut self, key: &Path) -> &mut Self {
        self.args.push("-i".into());
        self.args.push(key.into());
        self
    }

    /// Adds the person's own words.
    pub fn destination(&mut self, destination: &Destination) -> &mut Self {
        self.args.extend(destination.words().map(OsString::from));
        self
    }

    /// The arguments.
    #[must_use]
    pub fn args(&self) -> &[OsString] {
        &self.args
    }

    /// Becomes ssh. Returns only when that failed.
    #[must_use]
    pub fn exec(&self) -> SshError {
        let source = Command::new(&self.program).args(&self.args).exec();
        SshError::Start {
            program: self.program.clone(),
            source,
        }
    }

    /// Runs ssh as a child, hands SIGTERM and SIGHUP on to it, and gives the exit code a shell would give.
    ///
    /// # Errors
    /// [`SshError`].
    pub fn run(&self) -> Result<u8, SshError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(SshError::Wait)?;
        runtime.block_on(self.wait())
    }

    async fn wait(&self) -> Result<u8, SshError> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(SshError::Wait);
        let mut terminate = listen(SignalKind::terminate())?;
        let mut hangup = listen(SignalKind::hangup())?;
        // The terminal sends these to ssh itself; we only must not die of them before we have tidied up.
        let (mut interrupt, mut quit) = (listen(SignalKind::interrupt())?, listen(SignalKind::quit())?);
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.args)
            .spawn()
            .map_err(|source| SshError::Start {
                program: self.program.clone(),
                source,
            })?;
        let pid = child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        let forward = |signal| {
            if let Some(pid) = pid {
                rustix::process::kill_process(pid, signal).ok();
            }
        };
        loop {
            tokio::select! {
                status = child.wait() => return status.map(exit_code).map_err(SshError::Wait),
                _ = terminate.recv() => forward(rustix::process::Signal::TERM),
                _ = hangup.recv() => forward(rustix::process::Signal::HUP),
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
            }
        }
    }
}

/// The code a shell reports: 128 + n after signal n.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
