//! A KMIP server on this machine: `PyKMIP`, with an authority of its own, clients, and keys that are made by its own client.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::python;
use crate::sshd::free_port;
use crate::wait::until;
use crate::workdir::Workdir;

const SCRIPT: &str = include_str!("kmip.py");

/// A KMIP server with its keys, running or stopped.
#[derive(Debug)]
pub struct Kmip {
    child: Option<Child>,
    port: u16,
    made: Value,
    folder: Workdir,
    /// KMIP 1's newest minor version there, if it is an older server.
    minor_max: Option<String>,
}

impl Kmip {
    /// One that speaks KMIP 1.4.
    #[expect(
        clippy::new_without_default,
        reason = "starting a server is an effect, not a default"
    )]
    pub fn new() -> Self {
        Self::of(None)
    }

    /// One that speaks KMIP 1.2 at most, as older servers do.
    pub fn older() -> Self {
        Self::of(Some("2".to_owned()))
    }

    fn of(minor_max: Option<String>) -> Self {
        let mut kmip = Self {
            child: None,
            port: free_port(),
            made: Value::Null,
            folder: Workdir::new(),
            minor_max,
        };
        kmip.run("certificates", &[]);
        kmip.start();
        kmip.made = serde_json::from_str(&kmip.run("keys", &[])).expect("the keys' names");
        kmip
    }

    /// Starts it, again if it ran before; its keys are kept.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("output.log"))
            .expect("PyKMIP's output");
        let child = Command::new(python::bin().join("python3"))
            .args(["-c", SCRIPT, "serve", &self.folder_name(), &self.port.to_string()])
            .args(&self.minor_max)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("python3 starts");
        let child = self.child.insert(child);
        until("PyKMIP to listen", || {
            assert!(child.try_wait().expect("its state").is_none(), "PyKMIP ended at once");
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    /// Ends it as a power cut would.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("a running server");
        child.kill().expect("SIGKILL");
        child.wait().expect("its end");
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The unique identifier of a key that was made: `seal`, `other_seal`, `inactive` (never activated), `short` (of 128
    /// bits).
    pub fn key(&self, name: &str) -> &str {
        self.made[name].as_str().expect("a key")
    }

    /// A file of its authority: `ca.pem`, and `.pem` and `.key` of `client`, `stranger` (whom the server knows) and
    /// `foreign` (whom it does not).
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a table of `signet.toml` has to say about a key here, reached over a port.
    pub fn settings(&self, table: &str, port: u16, key: &str) -> String {
        format!(
            "\n[{table}]\ntype = \"kmip\"\nendpoint = \"127.0.0.1:{port}\"\nca = \"{}\"\ncertificate = \"{}\"\n\
             key = \"{}\"\nkey_id = \"{}\"\n",
            self.file("ca.pem").display(),
            self.file("client.pem").display(),
            self.file("client.key").display(),
            self.key(key),
        )
    }

    /// Takes a key out of use.
    pub fn deactivate(&self, key: &str) {
        self.run("deactivate", &[self.key(key)]);
    }

    /// Destroys a key that is out of use.
    pub fn destroy(&self, key: &str) {
        self.run("destroy", &[self.key(key)]);
    }

    fn folder_name(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn run(&self, word: &str, more: &[&str]) -> String {
        let (folder, port) = (self.folder_name(), self.port.to_string());
        let ran = Command::new(python::bin().join("python3"))
            .args(["-c", SCRIPT, word, &folder, &port])
            .args(more)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .expect("python3 starts");
        assert!(
            ran.status.success(),
            "{word}: {}\n{}",
            String::from_utf8_lossy(&ran.stderr),
            self.log()
        );
        String::from_utf8(ran.stdout).expect("text")
    }

    fn log(&self) -> String {
        ["output.log", "pykmip.log"]
            .map(|name| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Kmip {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- PyKMIP's log ---\n{}", self.log());
        }
    }
}
