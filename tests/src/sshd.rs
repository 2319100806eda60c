//! A throw-away sshd of this machine: stock binary, its own configuration, keys, trust files and log. It answers over a
//! pipe (`sshd -i` as ssh's proxy command: no port, no daemon) or, where the peer's address counts, on a loopback port.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::binaries::{openssh_version, system};
use crate::keys::KeyFile;
use crate::wait::until;
use crate::workdir::{Workdir, is_root};

/// What a host trusts, before it is set up.
#[derive(Debug, Default)]
pub struct SshdSetup {
    user_ca: String,
    principals: Vec<String>,
    lines: Vec<String>,
}

impl SshdSetup {
    /// A host that trusts the user CA of these lines (`TrustedUserCAKeys`).
    pub fn trusting(user_ca: &str) -> Self {
        Self {
            user_ca: user_ca.to_owned(),
            ..Self::default()
        }
    }

    /// Lists a principal for every account (`AuthorizedPrincipalsFile`); without any, the account's own name counts.
    #[must_use]
    pub fn principal(mut self, name: &str) -> Self {
        self.principals.push(name.to_owned());
        self
    }

    /// Adds a line to sshd's configuration.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Writes keys, trust files and configuration.
    pub fn build(self) -> Sshd {
        let folder = Workdir::new();
        if is_root() {
            std::fs::create_dir_all("/run/sshd").expect("sshd's privilege separation folder");
        }
        let host_key = KeyFile::ed25519(folder.path(), "host_key");
        folder.write("user_ca.pub", &self.user_ca);
        folder.write("known_hosts", &format!("* {}\n", host_key.public_line()));
        let principals = self.principals_line(&folder);
        let sshd = Sshd {
            host_key,
            daemon: None,
            folder,
        };
        let config = format!(
            "HostKey {key}\nPidFile none\nUsePAM no\nStrictModes yes\nUseDNS no\nLogLevel VERBOSE\nPrintMotd no\n\
             AuthorizedKeysFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nTrustedUserCAKeys {ca}\n{principals}{penalties}{lines}\n",
            key = sshd.host_key.path().display(),
            ca = sshd.folder.path().join("user_ca.pub").display(),
            penalties = if openssh_version() >= (9, 8) {
                "PerSourcePenalties no\n"
            } else {
                ""
            },
            lines = self.lines.join("\n"),
        );
        sshd.folder.write("sshd_config", &config);
        sshd
    }

    fn principals_line(&self, folder: &Workdir) -> String {
        if self.principals.is_empty() {
            return String::new();
        }
        let file = folder.write("principals", &format!("{}\n", self.principals.join("\n")));
        format!("AuthorizedPrincipalsFile {}\n", file.display())
    }
}

/// A host that is set up. A listening daemon ends with the value.
#[derive(Debug)]
pub struct Sshd {
    host_key: KeyFile,
    daemon: Option<(Child, u16)>,
    folder: Workdir,
}

impl Sshd {
    /// The host key, to have it certified.
    pub fn host_key(&self) -> &KeyFile {
        &self.host_key
    }

    /// The folder with the host's files.
    pub fn folder(&self) -> &Workdir {
        &self.folder
    }

    /// A `known_hosts` file that names this host's plain key for every name.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("sshd_config")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Adds a line to the configuration of a host that is not listening yet.
    pub fn configure(&self, line: &str) {
        let text = std::fs::read_to_string(self.config()).expect("the configuration");
        // First value wins in sshd_config.
        self.folder.write("sshd_config", &format!("{line}\n{text}"));
    }

    /// The proxy command that reaches this host over a pipe.
    pub fn proxy_command(&self) -> String {
        format!(
            "{} -i -f {} -E {}",
            system("sshd").display(),
            self.config().display(),
            self.log_path().display()
        )
    }

    /// Listens on a free loopback port and gives its number.
    pub fn listen(&mut self) -> u16 {
        // Another process may take the port between the two binds; then sshd says so and the next port is tried.
        for _ in 0..10 {
            let port = free_port();
            if let Some(child) = self.try_listen(port) {
                self.daemon = Some((child, port));
                return port;
            }
        }
        panic!("sshd found no port to listen on: {}", self.log());
    }

    fn try_listen(&self, port: u16) -> Option<Child> {
        let mut child = Command::new(system("sshd"))
            .args(["-D", "-f"])
            .arg(self.config())
            .arg("-E")
            .arg(self.log_path())
            .args(["-o", "ListenAddress=127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("sshd starts");
        until("sshd to listen", || {
            if child.try_wait().expect("sshd's state").is_some() {
                return Some(false);
            }
            TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
        })
        .then_some(child)
    }

    /// The port of a listening host.
    pub fn port(&self) -> u16 {
        self.daemon.as_ref().expect("a listening sshd").1
    }

    /// Everything that sshd has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The first log line that contains the text, once it is there.
    pub fn log_line(&self, text: &str) -> String {
        until(&format!("sshd to log `{text}`"), || {
            let lines = BufReader::new(std::fs::File::open(self.log_path()).ok()?).lines();
            lines.map_while(Result::ok).find(|line| line.contains(text))
        })
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.daemon {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- sshd's log ---\n{}", self.log());
        }
    }
}

/// A loopback port that nobody listens on at the moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// A `known_hosts` file that trusts a host CA for every name.
pub fn known_hosts_of_ca(folder: &Path, ca_line: &str) -> PathBuf {
    let path = folder.join("known_hosts_ca");
    std::fs::write(&path, format!("@cert-authority * {}\n", ca_line.trim())).expect("known_hosts");
    path
}
