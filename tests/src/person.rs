//! Somebody at a terminal: a HOME and a runtime folder of their own, and the `signet` they run there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::binaries::ours;
use crate::workdir::Workdir;

/// A person's environment. Whatever agent `signet` started for them ends with the value.
#[derive(Debug)]
pub struct Person {
    folder: Workdir,
    variables: Vec<(String, String)>,
    session: u32,
}

impl Person {
    /// A person who uses the authority at this address.
    pub fn using(address: &str) -> Self {
        let folder = Workdir::new();
        folder.folder("home");
        folder.folder("run");
        Self {
            folder,
            variables: vec![("SIGNET_ADDR".to_owned(), address.to_owned())],
            session: 0,
        }
    }

    /// Adds a variable to the person's environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The home folder.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The runtime folder, where sockets belong.
    pub fn runtime(&self) -> PathBuf {
        let run = self.folder.path().join("run");
        if self.session == 0 {
            run
        } else {
            run.join(self.session.to_string())
        }
    }

    /// A scratch folder outside HOME.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// `signet` with these arguments in the person's environment and nothing of this machine's but the PATH.
    pub fn signet(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ours("signet"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.runtime())
            .env("XDG_CONFIG_HOME", self.home().join(".config"))
            .env("NO_COLOR", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs `signet` to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.signet(arguments).output().expect("signet starts"))
    }

    /// Moves to a new runtime folder, as a new login session does: no agent is found there.
    pub fn new_session(&mut self) {
        self.session += 1;
        self.folder.folder(&format!("run/{}", self.session));
    }

    /// The processes that `signet` left running for this person: their agents.
    pub fn agents(&self) -> Vec<rustix::process::Pid> {
        let mark = self.folder.path().join("run");
        let mark = mark.to_str().expect("a path");
        let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                String::from_utf8_lossy(&environment).contains(mark)
            })
            .filter_map(rustix::process::Pid::from_raw)
            .collect()
    }
}

impl Person {
    /// Ends every agent of this person.
    pub fn end_agents(&self) {
        for pid in self.agents() {
            // It may have ended by itself meanwhile.
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.end_agents();
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Insists on exit code 0.
    #[expect(
        clippy::return_self_not_must_use,
        reason = "an assertion; what it gives back is for reading on"
    )]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// Files below a folder that hold a private key in any form that is easy to recognise.
pub fn private_keys_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a file type");
        if kind.is_dir() {
            found.extend(private_keys_under(&path));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let marks: [&[u8]; 2] = [b"PRIVATE KEY", b"openssh-key-v1"];
            if marks
                .iter()
                .any(|mark| bytes.windows(mark.len()).any(|window| window == *mark))
            {
                found.push(path);
            }
        }
    }
    found
}
