//! A private network for the hosts of one test: a bridge of this machine with an address of its own, on which the test's
//! authority listens. Nothing leaves the machine, and no two tests share one.

use std::fmt::Write as _;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::binaries::system;

/// Where the numbers of networks in use are locked, each by the process that uses it.
const LOCKS: &str = "/run/signet-tests";

/// A bridge named `signet-N` with the address 10.213.N.1; its hosts have those that follow.
#[derive(Debug)]
pub struct Network {
    number: u8,
    last_host: AtomicU8,
    known: Mutex<Vec<(String, Ipv4Addr)>>,
    _lock: File,
}

impl Network {
    /// Makes a network. What a killed process has left of one is taken away first.
    ///
    /// # Panics
    /// All numbers are taken, or this machine does not let root make a bridge.
    #[expect(clippy::new_without_default, reason = "making a network is an effect, not a default")]
    pub fn new() -> Self {
        std::fs::create_dir_all(LOCKS).expect("the folder of the locks");
        let (number, lock) = (0..=u8::MAX)
            .find_map(|number| Some((number, lock(number)?)))
            .expect("a network number that is free");
        let (bridge, address) = (bridge(number), format!("10.213.{number}.1/24"));
        forget(&bridge);
        ip(&["link", "add", &bridge, "type", "bridge"]);
        ip(&["address", "add", &address, "dev", &bridge]);
        ip(&["link", "set", &bridge, "up"]);
        Self {
            number,
            last_host: AtomicU8::new(1),
            known: Mutex::new(Vec::new()),
            _lock: lock,
        }
    }

    /// The address of this machine's end: where an authority for these hosts listens.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 1)
    }

    /// An address for one more host.
    pub fn next_address(&self) -> Ipv4Addr {
        let last = self.last_host.fetch_add(1, Ordering::Relaxed);
        Ipv4Addr::new(10, 213, self.number, last.checked_add(1).expect("fewer than 250 hosts"))
    }

    /// Remembers a host's name, and gives all names so far for `/etc/hosts`.
    pub(crate) fn introduce(&self, name: &str, address: Ipv4Addr) -> String {
        let mut known = self.known.lock().expect("the names");
        known.push((name.to_owned(), address));
        known.iter().fold(String::new(), |mut text, (name, address)| {
            writeln!(text, "{address} {name}").expect("text");
            text
        })
    }

    /// Connects the network namespace of a process under the name `eth0`.
    pub(crate) fn connect(&self, process: &str, address: Ipv4Addr) {
        let wire = format!("sg{}-{}", self.number, address.octets()[3]);
        // The kernel takes a dead host's end away when it finds the time.
        forget(&wire);
        ip(&[
            "link", "add", &wire, "type", "veth", "peer", "name", "eth0", "netns", process,
        ]);
        ip(&["link", "set", &wire, "master", &bridge(self.number), "up"]);
        let inside = |words: &[&str]| {
            let mut command = Command::new(system("nsenter"));
            command
                .arg(format!("--net=/proc/{process}/ns/net"))
                .arg(system("ip"))
                .args(words);
            done(command);
        };
        inside(&["link", "set", "lo", "up"]);
        inside(&["address", "add", &format!("{address}/24"), "dev", "eth0"]);
        inside(&["link", "set", "eth0", "up"]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The hosts' ends go with their namespaces. A bridge that stays is taken away by whoever gets its number next.
        forget(&bridge(self.number));
    }
}

fn bridge(number: u8) -> String {
    format!("signet-{number}")
}

/// The lock on a number, unless another process or test holds it.
fn lock(number: u8) -> Option<File> {
    let path = PathBuf::from(LOCKS).join(format!("network-{number}"));
    let file = File::create(path).expect("a lock file");
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

/// Takes a link away, if there is one: its number is ours, so it is of nobody who lives.
fn forget(link: &str) {
    if Path::new("/sys/class/net").join(link).exists() {
        // It may go by itself meanwhile.
        drop(Command::new(system("ip")).args(["link", "delete", link]).output());
    }
}

fn ip(words: &[&str]) {
    let mut command = Command::new(system("ip"));
    command.args(words);
    done(command);
}

fn done(mut command: Command) {
    let output = command.output().expect("iproute2 and util-linux are installed");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
