//! A machine of its own as far as OpenSSH can tell: an overlay of a Debian tree in namespaces (mount, process, network,
//! name), with its accounts, its syslog and its sshd on port 22. It dies with the value, and with the test's process.

mod syslog;

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::binaries::{static_client, system};
use crate::keys::KeyFile;
use crate::network::Network;
use crate::person::Ran;
use crate::tree::Tree;
use crate::wait::until;

use self::syslog::Syslog;

/// An empty folder to mount on. Each host sees its own file system there, and nobody else sees any.
const MOUNT_POINT: &str = "/var/lib/signet-tests/mount";

/// What a host's disk holds at most, unless a test is about a full one.
const DISK: &str = "1g";

/// Accounts that people log in to, besides root.
const ACCOUNTS: &[(&str, u32)] = &[("ubuntu", 1000), ("deploy", 1001)];

/// A running host.
#[derive(Debug)]
pub struct Host {
    name: String,
    tree: Tree,
    address: Ipv4Addr,
    process: String,
    syslog: Option<Syslog>,
    unshare: Child,
}

impl Host {
    /// Starts a host with accounts `ubuntu` and `deploy`, which have no password, and fresh host keys. No sshd yet.
    pub fn start(network: &Network, tree: Tree, name: &str) -> Self {
        Self::with_disk(network, tree, name, DISK)
    }

    /// As [`Self::start`], with a disk of this size (`"64m"`).
    pub fn with_disk(network: &Network, tree: Tree, name: &str, size: &str) -> Self {
        let (unshare, process) = spawn(tree, name, size);
        let address = network.next_address();
        network.connect(&process, address);
        let mut host = Self {
            name: name.to_owned(),
            tree,
            address,
            process,
            syslog: None,
            unshare,
        };
        host.syslog = Some(Syslog::start(&host));
        host.write("/etc/hostname", &format!("{name}\n"));
        let others = network.introduce(name, address);
        host.write("/etc/hosts", &format!("127.0.0.1 localhost\n{others}"));
        host.write("/etc/resolv.conf", "");
        host.add_accounts();
        host.make_host_keys();
        if tree.openssh() >= (9, 8) {
            // A test that knocks with wrong keys would shut out the next test's right one for 15 s and more.
            let main = host.read("/etc/ssh/sshd_config");
            host.write("/etc/ssh/sshd_config", &format!("{main}PerSourcePenalties no\n"));
        }
        host
    }

    /// As [`Self::start`], with sshd listening.
    pub fn with_sshd(network: &Network, tree: Tree, name: &str) -> Self {
        let host = Self::start(network, tree, name);
        host.start_sshd();
        host
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tree it was made of.
    pub fn tree(&self) -> Tree {
        self.tree
    }

    /// Its address, which this machine and the other hosts of its network reach.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its process id 1, as this machine numbers it.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// Where this machine sees a file of the host. Symbolic links to absolute paths would lead out of the host again.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc")
            .join(&self.process)
            .join("root")
            .join(path.trim_start_matches('/'))
    }

    /// A file's text; empty if there is none.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Writes a file, root's and 0644, making the folders above.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("the file's folder");
        std::fs::write(path, text).expect("the file's text");
    }

    /// As [`Self::write`], with a mode of its own.
    pub fn write_mode(&self, path: &str, text: &str, mode: u32) {
        self.write(path, text);
        std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(mode)).expect("the file's mode");
    }

    /// Copies a file of this machine in.
    pub fn copy_in(&self, from: &Path, to: &str, mode: u32) {
        let to = self.path(to);
        std::fs::create_dir_all(to.parent().expect("a parent")).expect("the file's folder");
        std::fs::copy(from, &to).expect("a copied file");
        std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode)).expect("the file's mode");
    }

    /// Puts the `signet` that ships, linked statically, at `/usr/local/bin/signet`.
    pub fn install_client(&self) {
        self.copy_in(&static_client(), "/usr/local/bin/signet", 0o755);
    }

    /// A command on the host, as root, with a clean environment and without standard input.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(system("nsenter"));
        command
            .args(["--target", &self.process])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--"])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command on the host to its end.
    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::from(self.command(words).output().expect("nsenter starts"))
    }

    /// Runs a shell script on the host to its end.
    pub fn shell(&self, script: &str) -> Ran {
        self.run(&["/bin/sh", "-euc", script])
    }

    /// Runs the host's own `signet`.
    pub fn signet(&self, words: &[&str]) -> Ran {
        self.run(&[&["/usr/local/bin/signet"], words].concat())
    }

    /// A program of this machine that sees the network from where the host stands.
    pub fn beside(&self, program: &Path) -> Command {
        let mut command = Command::new(system("nsenter"));
        command.arg(format!("--net=/proc/{}/ns/net", self.process)).arg(program);
        command
    }

    /// Starts sshd as Debian's unit does, but for systemd, and waits until it listens.
    pub fn start_sshd(&self) {
        let started = self.run(&["/usr/sbin/sshd"]);
        assert_eq!(started.code, Some(0), "sshd on {}: {}", self.name, started.stderr);
        self.await_sshd();
    }

    /// Waits until sshd listens, as after a reload, in which it takes its port away for a moment.
    pub fn await_sshd(&self) {
        until("the host's sshd to listen", || {
            TcpStream::connect((self.address, 22)).ok().map(drop)
        });
    }

    /// Ends sshd and every session it holds, and waits until the port is free for the next one.
    pub fn stop_sshd(&self) {
        // It is no error that none runs.
        self.run(&["pkill", "-9", "-x", "sshd|sshd-session|sshd-auth"]);
        let pid_file = self.path("/run/sshd.pid");
        if pid_file.exists() {
            std::fs::remove_file(pid_file).expect("sshd's pid file");
        }
        // The kernel takes its time to close a killed process's port.
        until("the host's sshd to be gone", || {
            TcpStream::connect((self.address, 22)).is_err().then_some(())
        });
    }

    /// Ends whatever process of the host has this name, as a power cut would.
    pub fn kill(&self, program: &str) {
        self.run(&["pkill", "-9", "-x", program]);
    }

    /// What an image does when a machine starts from it: host keys of its own, as cloud-init makes them, then sshd.
    pub fn first_boot(&self) {
        self.make_host_keys();
        self.start_sshd();
    }

    /// The public line of the host's Ed25519 key.
    pub fn host_key(&self) -> String {
        self.read("/etc/ssh/ssh_host_ed25519_key.pub").trim().to_owned()
    }

    /// What sshd and PAM have logged: the host's `/var/log/auth.log`.
    pub fn log(&self) -> String {
        self.read("/var/log/auth.log")
    }

    /// The first log line that contains the text, once it is there.
    pub fn log_line(&self, text: &str) -> String {
        until(&format!("{} to log `{text}`", self.name), || {
            let lines = BufReader::new(std::fs::File::open(self.path("/var/log/auth.log")).ok()?).lines();
            lines.map_while(Result::ok).find(|line| line.contains(text))
        })
    }

    /// Ends the host now. Its files are gone with it.
    pub fn end(self) {}

    fn add_accounts(&self) {
        let append = |path: &str, line: &str| self.write(path, &(self.read(path) + line));
        for &(name, id) in ACCOUNTS {
            append("/etc/passwd", &format!("{name}:x:{id}:{id}::/home/{name}:/bin/bash\n"));
            append("/etc/group", &format!("{name}:x:{id}:\n"));
            // `*`, not `!`: sshd takes an account with `!` for a locked one.
            append("/etc/shadow", &format!("{name}:*:19000:0:99999:7:::\n"));
            let home = self.path(&format!("/home/{name}"));
            std::fs::create_dir_all(&home).expect("a home");
            chown(&home, Some(id), Some(id)).expect("the home's owner");
        }
    }

    /// Fresh keys, and none of those that the package made when the tree was: a clone of an image has keys of its own too.
    fn make_host_keys(&self) {
        for kind in ["ed25519", "ecdsa", "rsa"] {
            let path = self.path(&format!("/etc/ssh/ssh_host_{kind}_key"));
            for file in [path.with_extension("pub"), path.clone()] {
                if file.exists() {
                    std::fs::remove_file(file).expect("the tree's key goes");
                }
            }
            // Making an RSA key takes a second, and no test needs one.
            if kind != "rsa" {
                KeyFile::generate(&self.path("/etc/ssh"), &format!("ssh_host_{kind}_key"), kind, None);
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}'s auth.log ---\n{}", self.name, self.log());
        }
        if let Some(pid) = self.process.parse().ok().and_then(Pid::from_raw) {
            // The first process of a process namespace takes all others with it.
            kill_process(pid, Signal::KILL).ok();
        }
        drop(self.unshare.wait());
    }
}

/// Starts the namespaces and gives the number of their first process.
fn spawn(tree: Tree, name: &str, size: &str) -> (Child, String) {
    std::fs::create_dir_all(MOUNT_POINT).expect("the mount point");
    let mut unshare = Command::new(system("unshare"))
        .args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--uts",
            "--ipc",
            "--net",
        ])
        .args([
            "--fork",
            "--",
            "/bin/sh",
            "-c",
            include_str!("host/start.sh"),
            "start.sh",
        ])
        .arg(tree.path())
        .args([MOUNT_POINT, name, size])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let mut line = String::new();
    let stdout = unshare.stdout.as_mut().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    if line.is_empty() {
        let output = unshare.wait_with_output().expect("its end");
        panic!("no host: {}", String::from_utf8_lossy(&output.stderr));
    }
    (unshare, line.trim().to_owned())
}
