//! One person's machine in a temporary folder: HOME, runtime folder, a fake ssh that writes down how it was called.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::stub::{Stub, TOKEN};

/// The folder and what runs in it. The agent is ended with it.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) stub: Stub,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Stub::start())
    }

    pub(crate) fn with(stub: Stub) -> Self {
        let folder = tempfile::Builder::new().prefix("sg").tempdir_in("/tmp").unwrap();
        let world = Self { folder, stub };
        for (name, mode) in [("home", 0o755), ("run", 0o700)] {
            std::fs::create_dir(world.path(name)).unwrap();
            std::fs::set_permissions(world.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        world.script("ssh", "printf '%s\\0' \"$@\" > \"$OUT\"; exit 42");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts an executable shell script in the folder.
    pub(crate) fn script(&self, name: &str, body: &str) {
        let path = self.path(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `signet` with nothing in its environment but this world.
    pub(crate) fn signet(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
        command
            .args(words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("SIGNET_ADDR", &self.stub.address)
            .env("SIGNET_TOKEN", TOKEN)
            .env("SIGNET_SSH_EXECUTABLE", self.path("ssh"))
            .env("OUT", self.path("argv"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.signet(words).output().unwrap()
    }

    /// What the fake ssh was called with; `None` when it did not run.
    pub(crate) fn argv(&self) -> Option<Vec<String>> {
        let text = std::fs::read_to_string(self.path("argv")).ok()?;
        std::fs::remove_file(self.path("argv")).unwrap();
        Some(text.split_terminator('\0').map(str::to_owned).collect())
    }

    /// The socket that ssh was told to use.
    pub(crate) fn agent_socket(&self) -> PathBuf {
        let argv = self.argv().expect("ssh has run");
        let option = argv
            .iter()
            .find_map(|word| word.strip_prefix("IdentityAgent="))
            .expect("an agent is named");
        PathBuf::from(option)
    }

    /// Every regular file under a folder.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.path(folder), &mut found);
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.run(&["agent", "-stop"]));
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), found);
        } else if entry.file_type().unwrap().is_file() {
            found.push(entry.path());
        }
    }
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
