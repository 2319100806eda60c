//! The host's syslog: `/dev/log` read by a thread of the test, `/var/log/auth.log` written as the release's rsyslog writes
//! it (RFC 3339 times since Debian 12, the traditional ones before).

use std::fs::File;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::SystemTime;

use signet_core::time::UnixTime;

use super::Host;

/// A listening syslog; it ends with the value.
#[derive(Debug)]
pub(super) struct Syslog(UnixDatagram);

impl Syslog {
    pub(super) fn start(host: &Host) -> Self {
        let path = host.path("/dev/log");
        // A path of a socket may be 107 bytes long; `/proc/PID/root/dev/log` is.
        let socket = UnixDatagram::bind(&path).expect("/dev/log");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("its mode");
        let log = File::options()
            .create(true)
            .append(true)
            .open(host.path("/var/log/auth.log"))
            .expect("auth.log");
        let writer = Writer {
            socket: socket.try_clone().expect("the socket"),
            log,
            name: host.name.clone(),
            traditional: host.tree.suite() == "bullseye",
        };
        std::thread::spawn(move || writer.run());
        Self(socket)
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.0.shutdown(Shutdown::Both).ok();
    }
}

struct Writer {
    socket: UnixDatagram,
    log: File,
    name: String,
    traditional: bool,
}

impl Writer {
    fn run(mut self) {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if let Some(line) = self.line(&text) {
                // A full disk loses log lines here as it does on any host.
                self.log.write_all(line.as_bytes()).ok();
            }
        }
    }

    /// `<38>Nov 26 04:50:00 sshd[7]: text` as the log has it.
    fn line(&self, datagram: &str) -> Option<String> {
        let (_, message) = datagram.split_once('>')?;
        let (time, message) = message.split_at_checked(16)?;
        let (name, message) = (&self.name, message.trim_end());
        if self.traditional {
            return Some(format!("{time}{name} {message}\n"));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let seconds = UnixTime::from_secs(now.as_secs()).to_string();
        let seconds = seconds.trim_end_matches('Z');
        let micros = now.subsec_micros();
        Some(format!("{seconds}.{micros:06}+00:00 {name} {message}\n"))
    }
}
