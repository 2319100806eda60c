//! The sshd of a host: where it is, which version, what its configuration comes to, and how it is told to read it again.
//! With another root everything runs through `chroot`, so that an image is judged by its own sshd.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ssh_key::private::{Ed25519Keypair, PrivateKey};

use super::config_text;
use super::layout::Layout;

const PROGRAMS: [&str; 4] = ["usr/sbin/sshd", "usr/local/sbin/sshd", "sbin/sshd", "usr/bin/sshd"];
/// Debian's sshd refuses to test anything without it; its unit makes it.
const PRIVSEP_FOLDER: &str = "run/sshd";

/// sshd is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SshdError {
    /// Not installed.
    #[error("there is no sshd under `{}`", .0.display())]
    Absent(PathBuf),
    /// It does not run.
    #[error("`{program}` cannot be run")]
    Run {
        /// Which program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It refuses its configuration.
    #[error("sshd refuses its configuration: {0}")]
    Config(String),
    /// A key for testing cannot be made.
    #[error("no host key for testing can be made")]
    HostKey(#[source] std::io::Error),
    /// It cannot be told to read its files again.
    #[error("sshd cannot be told to read its configuration again: {0}")]
    Reload(String),
}

/// The version of an sshd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshdVersion {
    /// `10.0p2`.
    pub text: String,
    /// 10 of `10.0p2`.
    pub major: u32,
    /// 0 of `10.0p2`.
    pub minor: u32,
}

impl SshdVersion {
    /// Reads the version out of what `sshd -V` or its usage text says.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("OpenSSH_")?;
        let word: &str = rest.split([' ', ',', '\n']).next()?;
        let mut numbers = word.split(|c: char| !c.is_ascii_digit());
        Some(Self {
            text: word.to_owned(),
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }

    /// Whether it is this version or a newer one.
    #[must_use]
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

impl fmt::Display for SshdVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

/// What the configuration comes to for one login (`sshd -T -C …`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effective(BTreeMap<String, Vec<String>>);

impl Effective {
    /// Reads sshd's answer. Keywords are in mixed case from OpenSSH 10.5 on.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            let (keyword, value) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            let values = lines.entry(keyword.to_ascii_lowercase()).or_default();
            values.push(value.trim().to_owned());
        }
        Self(lines)
    }

    /// The first value of a keyword (lower case); empty when sshd does not say.
    #[must_use]
    pub fn one(&self, keyword: &str) -> &str {
        self.all(keyword).first().map_or("", String::as_str)
    }

    /// All values of a keyword (lower case).
    #[must_use]
    pub fn all(&self, keyword: &str) -> &[String] {
        self.0.get(keyword).map_or(&[], Vec::as_slice)
    }

    /// All words of all values of a keyword.
    pub fn words<'a>(&'a self, keyword: &str) -> impl Iterator<Item = &'a str> {
        self.all(keyword)
            .iter()
            .flat_map(|value| value.split_ascii_whitespace())
    }
}

/// How sshd was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// It was told, and by which way.
    Told(String),
    /// There is nothing to tell, and why.
    NothingToTell(String),
}

/// The sshd of a host.
#[derive(Debug)]
pub struct Sshd {
    root: PathBuf,
    /// The path inside the root.
    program: PathBuf,
    options: Vec<String>,
    config: Option<PathBuf>,
    host_key: Option<ThrowAwayHostKey>,
}

impl Sshd {
    /// Finds sshd. `options` are those (`Keyword=value`) that its unit gives it with `-o`, for they win over every file.
    ///
    /// # Errors
    /// [`SshdError::Absent`], and [`SshdError::HostKey`] where the host keys cannot be read and none can be made for tests.
    pub fn find(layout: &Layout, options: &[String]) -> Result<Self, SshdError> {
        let root = layout.root().to_owned();
        let program = PROGRAMS.iter().find(|program| root.join(program).is_file());
        let program = Path::new("/").join(program.ok_or_else(|| SshdError::Absent(root.clone()))?);
        if rustix::process::geteuid().is_root() {
            // Where it cannot be made, sshd says so itself.
            drop(
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(root.join(PRIVSEP_FOLDER)),
            );
        }
        let host_key = if has_readable_host_key(layout) {
            None
        } else {
            Some(ThrowAwayHostKey::make(&root).map_err(SshdError::HostKey)?)
        };
        Ok(Self {
            root,
            program,
            options: options.to_vec(),
            config: None,
            host_key,
        })
    }

    /// The same sshd with another configuration file (a path inside the root).
    #[must_use]
    pub fn with_config(mut self, config: Option<&Path>) -> Self {
        self.config = config.map(Path::to_owned);
        self
    }

    /// Its path inside the root.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The options that its unit gives it.
    #[must_use]
    pub fn options(&self) -> &[String] {
        &self.options
    }

    /// Another program of the host, in the host's root.
    #[must_use]
    pub fn host_command(root: &Path, program: &str) -> Command {
        let mut command = if root == Path::new("/") {
            Command::new(program)
        } else {
            let mut command = Command::new("chroot");
            command.arg(root).arg(program);
            command
        };
        command.stdin(Stdio::null());
        command
    }

    /// sshd with its unit's options, and with the configuration file that is to be used.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Self::host_command(&self.root, &self.program.to_string_lossy());
        if let Some(config) = &self.config {
            command.arg("-f").arg(config);
        }
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Its version.
    ///
    /// # Errors
    /// [`SshdError::Run`]; [`SshdError::Config`] when it does not say.
    pub fn version(&self) -> Result<SshdVersion, SshdError> {
        // Up to 9.1 `-V` is unknown, and the usage text has the version.
        let mut command = Self::host_command(&self.root, &self.program.to_string_lossy());
        let output = self.output(command.arg("-V"))?;
        let said = [output.stderr, output.stdout].concat();
        SshdVersion::find(&String::from_utf8_lossy(&said))
            .ok_or_else(|| SshdError::Config("it does not say its version".to_owned()))
    }

    /// Has sshd check its configuration (`sshd -t`).
    ///
    /// # Errors
    /// [`SshdError::Config`] with its words.
    pub fn test(&self) -> Result<(), SshdError> {
        self.checked(self.command().arg("-t")).map(drop)
    }

    /// What the configuration comes to for a login as `user` from `address` (`sshd -T -C …`).
    ///
    /// # Errors
    /// [`SshdError::Config`] with its words.
    pub fn effective(&self, user: &str, address: &str) -> Result<Effective, SshdError> {
        let connection = format!("user={user},host=localhost,addr={address}");
        let output = self.checked(self.command().args(["-T", "-C", &connection]))?;
        Ok(Effective::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Tells a running sshd to read its configuration again: `pid` by SIGHUP, else the active unit. A daemon that is started
    /// for each connection (`ssh.socket`) reads everything anyway.
    ///
    /// # Errors
    /// [`SshdError::Reload`]; callers test the configuration first.
    pub fn reload(&self, pid: Option<u32>) -> Result<Reload, SshdError> {
        if let Some(number) = pid {
            let pid = i32::try_from(number).ok().and_then(rustix::process::Pid::from_raw);
            let pid = pid.ok_or_else(|| SshdError::Reload(format!("{number} is no process")))?;
            rustix::process::kill_process(pid, rustix::process::Signal::HUP)
                .map_err(|error| SshdError::Reload(format!("process {number}: {error}")))?;
            return Ok(Reload::Told(format!("SIGHUP to {number}")));
        }
        if self.root != Path::new("/") {
            return Ok(Reload::NothingToTell("it is an image, not a running host".to_owned()));
        }
        if !Path::new("/run/systemd/system").is_dir() {
            return Ok(Reload::NothingToTell(
                "systemd does not run here: an sshd that runs wants SIGHUP (-sshd-pid)".to_owned(),
            ));
        }
        for unit in ["ssh.service", "sshd.service"] {
            if !systemctl(&["is-active", "--quiet", unit]).is_ok_and(|output| output.status.success()) {
                continue;
            }
            let output = systemctl(&["reload", unit]).map_err(|error| SshdError::Reload(error.to_string()))?;
            if output.status.success() {
                return Ok(Reload::Told(format!("systemctl reload {unit}")));
            }
            return Err(SshdError::Reload(words(&output)));
        }
        Ok(Reload::NothingToTell(
            "no sshd runs: the next one reads the new files".to_owned(),
        ))
    }

    fn checked(&self, command: &mut Command) -> Result<Output, SshdError> {
        if let Some(key) = &self.host_key {
            command.arg("-h").arg(&key.inside);
        }
        let output = self.output(command)?;
        if output.status.success() {
            Ok(output)
        } else {
            Err(SshdError::Config(words(&output)))
        }
    }

    fn output(&self, command: &mut Command) -> Result<Output, SshdError> {
        command.output().map_err(|source| SshdError::Run {
            program: self.program.display().to_string(),
            source,
        })
    }
}

/// The `-o` options that sshd's unit and its defaults file give it, as `Keyword=value`. EC2 Instance Connect sets some.
#[must_use]
pub fn unit_options(layout: &Layout) -> Vec<String> {
    let mut options = Vec::new();
    for unit in ["ssh.service", "sshd.service"] {
        let mut command_line = String::new();
        for file in unit_files(layout, unit) {
            for line in file.replace("\\\n", " ").lines() {
                // `ExecStart=` on its own clears what came before; the next one takes its place.
                if let Some(value) = line.trim().strip_prefix("ExecStart=") {
                    value.trim().clone_into(&mut command_line);
                }
            }
        }
        options.extend(dash_o(&command_line.replace("%%", "%")));
    }
    for (file, variable) in [("etc/default/ssh", "SSHD_OPTS="), ("etc/sysconfig/sshd", "OPTIONS=")] {
        let text = std::fs::read_to_string(layout.root().join(file)).unwrap_or_default();
        let value = text.lines().rev().find_map(|line| line.trim().strip_prefix(variable));
        if let Some(value) = value {
            let value = value.trim().trim_matches(['"', '\'']);
            options.extend(dash_o(value));
        }
    }
    options
}

/// A unit's text with those of its drop-ins, in systemd's order.
fn unit_files(layout: &Layout, unit: &str) -> Vec<String> {
    const FOLDERS: [&str; 4] = [
        "etc/systemd/system",
        "run/systemd/system",
        "usr/lib/systemd/system",
        "lib/systemd/system",
    ];
    let folders = FOLDERS.map(|folder| layout.root().join(folder));
    let main = folders
        .iter()
        .find_map(|folder| std::fs::read_to_string(folder.join(unit)).ok());
    let mut drop_ins: BTreeMap<String, String> = BTreeMap::new();
    for folder in folders.iter().rev() {
        for path in config_text::glob(&folder.join(format!("{unit}.d")), "*.conf") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            drop_ins.insert(name, std::fs::read_to_string(&path).unwrap_or_default());
        }
    }
    main.into_iter().chain(drop_ins.into_values()).collect()
}

fn dash_o(command_line: &str) -> Vec<String> {
    let mut options = Vec::new();
    let mut words = config_text::shell_words(command_line).into_iter();
    while let Some(word) = words.next() {
        let option = match word.strip_prefix("-o") {
            Some("") => words.next(),
            Some(rest) => Some(rest.to_owned()),
            None => None,
        };
        options.extend(option);
    }
    options
}

fn systemctl(words: &[&str]) -> std::io::Result<Output> {
    Command::new("systemctl").args(words).stdin(Stdio::null()).output()
}

/// What a program said, on one line.
fn words(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        output.status.to_string()
    } else {
        lines.join("; ")
    }
}

fn has_readable_host_key(layout: &Layout) -> bool {
    config_text::glob(&layout.root().join("etc/ssh"), "ssh_host_*_key")
        .iter()
        .any(|path| std::fs::File::open(path).is_ok())
}

/// sshd tests nothing without a host key, and an image has none.
#[derive(Debug)]
struct ThrowAwayHostKey {
    outside: PathBuf,
    inside: PathBuf,
}

impl ThrowAwayHostKey {
    fn make(root: &Path) -> std::io::Result<Self> {
        let folder = if rustix::process::geteuid().is_root() {
            Path::new("/run").to_owned()
        } else {
            std::env::temp_dir()
        };
        let nonce = data_encoding::HEXLOWER.encode(crate::random::seed()?.get(..8).unwrap_or_default());
        let inside = folder.join(format!("signet-test-host-key-{nonce}"));
        let outside = root.join(inside.strip_prefix("/").unwrap_or(&inside));
        let text = private_key_text()?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&outside)?;
        let key = Self { outside, inside };
        file.write_all(text.as_bytes())?;
        Ok(key)
    }
}

impl Drop for ThrowAwayHostKey {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.outside));
    }
}

/// A fresh private key in OpenSSH's format.
pub(super) fn private_key_text() -> std::io::Result<zeroize::Zeroizing<String>> {
    let seed = crate::random::seed()?;
    PrivateKey::from(Ed25519Keypair::from_seed(&seed))
        .to_openssh(ssh_key::LineEnding::LF)
        .map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_each_sshd_says() {
        let rows = [
            ("OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.1", (10, 0), "10.0p2"),
            (
                "unknown option -- V\nOpenSSH_8.4p1 Debian-5+deb11u5, OpenSSL 1.1.1w",
                (8, 4),
                "8.4p1",
            ),
            ("OpenSSH_7.4p1, OpenSSL 1.0.2k-fips", (7, 4), "7.4p1"),
        ];
        for (said, (major, minor), text) in rows {
            let version = SshdVersion::find(said).unwrap();
            assert_eq!(
                (version.major, version.minor, version.text.as_str()),
                (major, minor, text)
            );
        }
        assert!(SshdVersion::find("").is_none());
    }

    #[test]
    fn effective_options_are_read_in_any_case() {
        let effective = Effective::parse("TrustedUserCAKeys /a\nacceptenv LANG\nacceptenv LC_*\nusepam yes\n");
        assert_eq!(effective.one("trustedusercakeys"), "/a");
        assert_eq!(effective.all("acceptenv"), ["LANG", "LC_*"]);
        assert_eq!(effective.one("revokedkeys"), "");
    }

    #[test]
    fn options_of_the_unit_are_found_where_instance_connect_puts_them() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put(
            "lib/systemd/system/ssh.service",
            "[Service]\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\n",
        );
        put(
            "lib/systemd/system/ssh.service.d/ec2-instance-connect.conf",
            "[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -o \"AuthorizedKeysCommand /usr/share/eic %%u %%f\" -oUsePAM=no $SSHD_OPTS\n",
        );
        put("etc/default/ssh", "SSHD_OPTS=\"-o LogLevel=ERROR\"\n");
        assert_eq!(
            unit_options(&Layout::under(root.path())),
            [
                "AuthorizedKeysCommand /usr/share/eic %u %f",
                "UsePAM=no",
                "LogLevel=ERROR"
            ]
        );
    }
}
