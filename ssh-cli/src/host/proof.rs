//! The proof at bake time: this host's own sshd, on loopback, with its own files, must let in whom it should and nobody else,
//! also with the KRL gone and the CA file damaged. A throw-away CA and a throw-away break-glass key stand in for the real
//! ones, in copies of the files; a first pass with the real files shows that they open nothing there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Serialize;
use signet_core::krl::{Krl, KrlError};
use signet_core::subject_key::SubjectKey;

use super::accounts::{self, Account};
use super::config_text;
use super::configure::{self, ORDINARY, Wish};
use super::files::{self, FOLDER, FileError, Files, PRIVATE, PUBLIC};
use super::layout::{BREAKGLASS_ACCOUNT, Layout};
use super::sshd::{Sshd, SshdError, private_key_text};

const GOOD_SERIAL: &str = "1";
const REVOKED_SERIAL: u64 = 2;
const NOBODYS_PRINCIPAL: &str = "signet-proof-nobody";
const STEP: Duration = Duration::from_millis(20);
const STEPS_TO_LISTEN: u32 = 500;
const STEPS_TO_LOG_IN: u32 = 1_500;

/// The proof could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// sshd cannot be used.
    #[error(transparent)]
    Sshd(#[from] SshdError),
    /// A program or port cannot be used.
    #[error("{0}")]
    Io(&'static str, #[source] std::io::Error),
    /// ssh-keygen refuses to work.
    #[error("ssh-keygen: {0}")]
    Keygen(String),
    /// The KRL in place is none.
    #[error("the KRL in place cannot be used")]
    Krl(#[from] KrlError),
    /// sshd does not listen.
    #[error("the sshd under proof does not listen: {0}")]
    NotListening(String),
}

/// How a check came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Not as it should be, with sshd's words.
    Failed(String),
    /// There was nothing to check, and why.
    Skipped(String),
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What should be, as a sentence.
    pub name: String,
    /// How it came out.
    pub outcome: Outcome,
}

impl Check {
    /// The sentence of a failure.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Failed(why) => Some(format!("it is not so that {} ({why})", self.name)),
            Outcome::Passed | Outcome::Skipped(_) => None,
        }
    }
}

/// Runs the proof on a host that is baked. Everything that it makes is gone afterwards.
///
/// # Errors
/// [`ProofError`] when it cannot be run; a check that fails is no error.
pub fn prove(files: &Files, layout: &Layout, options: &[String], wish: &Wish) -> Result<Vec<Check>, ProofError> {
    let bench = Bench::set_up(files, layout, options, wish)?;
    let mut checks = Vec::new();
    bench.real_files(&mut checks)?;
    bench.with_throw_away_ca(&mut checks)?;
    if wish.breakglass {
        bench.without_krl(&mut checks)?;
        bench.with_damaged_ca_file(&mut checks)?;
    }
    Ok(checks)
}

/// The folder with keys, certificates and copies.
struct Bench<'a> {
    files: &'a Files,
    layout: &'a Layout,
    options: &'a [String],
    wish: &'a Wish,
    inside: PathBuf,
    outside: PathBuf,
    /// An account that certificates open, with one of its principals.
    account: Option<(Account, String)>,
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.outside));
    }
}

/// Which files the sshd under proof reads.
struct Pass {
    config: Option<PathBuf>,
}

impl<'a> Bench<'a> {
    fn set_up(files: &'a Files, layout: &'a Layout, options: &'a [String], wish: &'a Wish) -> Result<Self, ProofError> {
        let nonce = crate::random::seed().map_err(|error| ProofError::Io("there is no random number", error))?;
        let nonce = data_encoding::HEXLOWER.encode(nonce.get(..8).unwrap_or_default());
        // Below /tmp sshd's StrictModes would refuse the copies.
        let inside = Path::new("/run").join(format!("signet-proof-{nonce}"));
        let outside = config_text::outside(layout, &inside);
        files.folder(&outside, FOLDER)?;
        let mut bench = Self {
            files,
            layout,
            options,
            wish,
            inside,
            outside,
            account: None,
        };
        for name in ["ca", "host", "good", "other", "revoked", "glass", "stray", "sealed"] {
            bench.make_key(name)?;
        }
        bench.account = bench.account_to_open()?;
        let principal = bench
            .account
            .as_ref()
            .map_or(NOBODYS_PRINCIPAL, |(_, principal)| principal);
        bench.certify("good", principal, GOOD_SERIAL)?;
        bench.certify("other", NOBODYS_PRINCIPAL, "3")?;
        bench.certify("revoked", principal, &REVOKED_SERIAL.to_string())?;
        bench.certify("glass", &format!("{BREAKGLASS_ACCOUNT},root,{principal}"), "4")?;
        Ok(bench)
    }

    fn make_key(&self, name: &str) -> Result<(), ProofError> {
        let io = |error| ProofError::Io("a throw-away key cannot be made", error);
        let text = private_key_text().map_err(io)?;
        let key =
            ssh_key::PrivateKey::from_openssh(text.as_bytes()).map_err(|error| io(std::io::Error::other(error)))?;
        let line = key
            .public_key()
            .to_openssh()
            .map_err(|error| io(std::io::Error::other(error)))?;
        self.files.put(&self.outside.join(name), text.as_bytes(), PRIVATE)?;
        self.files.put(
            &self.outside.join(format!("{name}.pub")),
            format!("{line}\n").as_bytes(),
            PUBLIC,
        )?;
        Ok(())
    }

    fn certify(&self, name: &str, principals: &str, serial: &str) -> Result<(), ProofError> {
        let output = Sshd::host_command(self.layout.root(), "ssh-keygen")
            .arg("-q")
            .arg("-s")
            .arg(self.inside.join("ca"))
            .args([
                "-I",
                &format!("signet-proof-{name}"),
                "-n",
                principals,
                "-z",
                serial,
                "-V",
                "-5m:+30m",
            ])
            .arg(self.inside.join(format!("{name}.pub")))
            .output()
            .map_err(|error| ProofError::Io("ssh-keygen cannot be run", error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(ProofError::Keygen(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }

    /// The first account of the principals files that exists, has a shell and is not kept out.
    fn account_to_open(&self) -> Result<Option<(Account, String)>, ProofError> {
        let sshd = Sshd::find(self.layout, self.options)?;
        for path in config_text::glob(&self.layout.principals(), "*") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = files::read_text(&path)?.unwrap_or_default();
            let Some(principal) = text
                .lines()
                .map(str::trim)
                .find(|line| !line.is_empty() && !line.starts_with('#'))
            else {
                continue;
            };
            let Some(account) = accounts::find(self.layout, &name).filter(Account::has_shell) else {
                continue;
            };
            let effective = sshd.effective(&name, "127.0.0.1")?;
            let groups: Vec<&str> = account.groups.iter().map(String::as_str).collect();
            let is_root_shut = account.uid == 0 && effective.one("permitrootlogin") == "no";
            if configure::kept_out(&effective, &name, &groups).is_none() && !is_root_shut {
                return Ok(Some((account, principal.to_owned())));
            }
        }
        Ok(None)
    }

    /// The real configuration and the real files: what was made for the proof opens nothing.
    fn real_files(&self, checks: &mut Vec<Check>) -> Result<(), ProofError> {
        let door = self.open(&Pass { config: None })?;
        if let Some((account, _)) = &self.account {
            checks.push(door.refuses(
                "a certificate of a CA that this host does not know is refused",
                &account.name,
                "good",
            )?);
        }
        if self.wish.breakglass {
            checks.push(door.refuses(
                "a key that is not in the break-glass file is refused for `breakglass`",
                BREAKGLASS_ACCOUNT,
                "sealed",
            )?);
        }
        for account in self.accounts() {
            checks.push(door.refuses(
                &format!("a key that nobody put on this host does not open `{account}`"),
                &account,
                "stray",
            )?);
        }
        Ok(())
    }

    fn accounts(&self) -> Vec<String> {
        let mut names = vec!["root".to_owned()];
        names.extend(self.account.iter().map(|(account, _)| account.name.clone()));
        names.dedup();
        names
    }

    /// Copies of the CA file, the KRL and the break-glass keys, each with a throw-away line.
    fn with_throw_away_ca(&self, checks: &mut Vec<Check>) -> Result<(), ProofError> {
        let door = self.open(&self.copies(true, true)?)?;
        match &self.account {
            Some((account, principal)) => {
                let account = &account.name;
                checks.push(door.accepts(
                    &format!("a certificate with the principal `{principal}` opens `{account}`"),
                    account,
                    "good",
                )?);
                checks.push(door.refuses(
                    &format!("a certificate with another principal does not open `{account}`"),
                    account,
                    "other",
                )?);
                checks.push(door.refuses("a revoked certificate is refused", account, "revoked")?);
                checks.push(door.refuses("a key without a certificate is refused", account, "stray")?);
            }
            None => checks.push(self.no_account()),
        }
        if self.wish.breakglass {
            checks.push(door.accepts(
                "a key in the break-glass file opens `breakglass`",
                BREAKGLASS_ACCOUNT,
                "sealed",
            )?);
            checks.push(door.refuses(
                "a certificate of the online CA for `breakglass` is refused",
                BREAKGLASS_ACCOUNT,
                "glass",
            )?);
        } else {
            checks.push(Check {
                name: "a key in the break-glass file opens `breakglass`".to_owned(),
                outcome: Outcome::Skipped("there is no break-glass key".to_owned()),
            });
        }
        Ok(())
    }

    fn no_account(&self) -> Check {
        let listed = config_text::glob(&self.layout.principals(), "*");
        let name = "a certificate opens an account of this host".to_owned();
        let outcome = if listed.is_empty() {
            Outcome::Skipped("no account lists a principal".to_owned())
        } else {
            Outcome::Failed("no account with principals exists here, has a shell and may log in".to_owned())
        };
        Check { name, outcome }
    }

    fn without_krl(&self, checks: &mut Vec<Check>) -> Result<(), ProofError> {
        let door = self.open(&self.copies(false, true)?)?;
        checks.push(door.accepts(
            "a break-glass key opens `breakglass` with the KRL gone",
            BREAKGLASS_ACCOUNT,
            "sealed",
        )?);
        if let Some((account, _)) = &self.account {
            checks.push(door.refuses("no certificate is accepted with the KRL gone", &account.name, "good")?);
        }
        Ok(())
    }

    fn with_damaged_ca_file(&self, checks: &mut Vec<Check>) -> Result<(), ProofError> {
        let door = self.open(&self.copies(true, false)?)?;
        checks.push(door.accepts(
            "a break-glass key opens `breakglass` with the CA file damaged",
            BREAKGLASS_ACCOUNT,
            "sealed",
        )?);
        Ok(())
    }

    fn copies(&self, has_krl: bool, has_sound_ca_file: bool) -> Result<Pass, ProofError> {
        let public = |name: &str| files::read_text(&self.outside.join(format!("{name}.pub")));
        let ca_line = public("ca")?.unwrap_or_default();
        let ca_text = if has_sound_ca_file {
            files::read_text(&self.layout.user_ca_keys())?.unwrap_or_default() + &ca_line
        } else {
            format!("-----damaged-----\n{ca_line}")
        };
        self.files
            .put(&self.outside.join("user_ca.pub"), ca_text.as_bytes(), PUBLIC)?;
        let krl = self.outside.join("revoked.krl");
        if has_krl {
            let bytes = files::read(&self.layout.krl())?.unwrap_or_default();
            let mut list = Krl::parse(&bytes)?;
            if let Ok(ca) = SubjectKey::parse(ca_line.trim()) {
                list.authority(&ca).serials.insert(REVOKED_SERIAL);
            }
            self.files.put(&krl, &list.encode(), PUBLIC)?;
        } else {
            self.files.remove(&krl)?;
        }
        let mut wish = self.wish.clone();
        wish.paths.user_ca_keys = self.inside.join("user_ca.pub");
        wish.paths.krl = self.inside.join("revoked.krl");
        if wish.breakglass {
            let held = files::read_text(&self.layout.breakglass_keys())?.unwrap_or_default();
            let sealed = public("sealed")?.unwrap_or_default();
            let text = format!("{held}restrict,pty {sealed}");
            self.files
                .put(&self.outside.join("breakglass_keys"), text.as_bytes(), PUBLIC)?;
            wish.paths.breakglass_keys = self.inside.join("breakglass_keys");
        }
        let config = configure::write_copy(self.files, self.layout, &self.inside, &wish)?;
        Ok(Pass { config: Some(config) })
    }

    /// Starts sshd on loopback. Where the host's own `ListenAddress` lines would make it listen elsewhere too, each login
    /// gets an sshd of its own behind a pipe instead (`sshd -i`).
    fn open(&self, pass: &Pass) -> Result<Door<'_>, ProofError> {
        let sshd = Sshd::find(self.layout, self.options)?.with_config(pass.config.as_deref());
        sshd.test()?;
        let version = sshd.version()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| ProofError::Io("there is no free port on loopback", error))?;
        let log = self.outside.join("log");
        self.files.put(&log, b"", PRIVATE)?;
        let mut words: Vec<String> = vec![
            "-h".into(),
            self.inside.join("host").display().to_string(),
            "-o".into(),
            "PidFile=none".into(),
        ];
        if configure::knows_penalties(&version) {
            // The refusals of the proof must not shut loopback out of the checks behind them.
            words.extend(["-o".into(), "PerSourcePenalties=no".into()]);
        }
        let own_addresses = config_text::ConfigText::read(self.layout)?;
        let listens_elsewhere = own_addresses
            .directives
            .iter()
            .any(|line| line.keyword == "listenaddress");
        let mut command = sshd.command();
        command.args(&words).arg("-E").arg(self.inside.join("log"));
        if listens_elsewhere {
            let program = std::iter::once(command.get_program()).chain(command.get_args());
            let quoted: Vec<String> = program.map(|word| shell_quoted(&word.to_string_lossy())).collect();
            // ssh runs it inside the host's root already.
            let inside = if self.layout.root() == Path::new("/") { 0 } else { 2 };
            let inner = quoted.get(inside..).unwrap_or_default().join(" ");
            return Ok(Door {
                bench: self,
                log,
                way: vec!["-o".into(), format!("ProxyCommand={} -i", inner.replace('%', "%%"))],
                child: None,
            });
        }
        let port = listener.port().to_string();
        command.args([
            "-D",
            "-o",
            &format!("Port={port}"),
            "-o",
            &format!("ListenAddress=127.0.0.1:{port}"),
        ]);
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| ProofError::Io("sshd cannot be started", error))?;
        let door = Door {
            bench: self,
            log,
            way: vec!["-p".into(), port],
            child: Some(child),
        };
        door.wait_until_it_listens(listener)?;
        Ok(door)
    }
}

/// An sshd that can be logged in to. It ends with this value.
struct Door<'a> {
    bench: &'a Bench<'a>,
    log: PathBuf,
    way: Vec<String>,
    child: Option<Child>,
}

impl Drop for Door<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Door<'_> {
    fn wait_until_it_listens(&self, address: SocketAddr) -> Result<(), ProofError> {
        for _ in 0..STEPS_TO_LISTEN {
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(STEP);
        }
        Err(ProofError::NotListening(self.log_text().trim().replace('\n', "; ")))
    }

    fn accepts(&self, name: &str, account: &str, key: &str) -> Result<Check, ProofError> {
        let (is_accepted, said) = self.log_in(account, key)?;
        let outcome = if is_accepted {
            Outcome::Passed
        } else {
            Outcome::Failed(format!("sshd refused it: {said}"))
        };
        Ok(Check {
            name: name.to_owned(),
            outcome,
        })
    }

    fn refuses(&self, name: &str, account: &str, key: &str) -> Result<Check, ProofError> {
        let (is_accepted, said) = self.log_in(account, key)?;
        let outcome = if is_accepted {
            Outcome::Failed(format!("sshd accepted it: {said}"))
        } else {
            Outcome::Passed
        };
        Ok(Check {
            name: name.to_owned(),
            outcome,
        })
    }

    /// Tries to log in; answers what sshd's log says: "Accepted publickey" comes only after PAM's account rules too.
    fn log_in(&self, account: &str, key: &str) -> Result<(bool, String), ProofError> {
        let before = self.log_text().len();
        let mut command = Sshd::host_command(self.bench.layout.root(), "ssh");
        command
            .args(["-F", "/dev/null", "-n", "-T", "-i"])
            .arg(self.bench.inside.join(key));
        for option in [
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
            "PreferredAuthentications=publickey",
            "ConnectTimeout=10",
            "LogLevel=ERROR",
        ] {
            command.arg("-o").arg(option);
        }
        command
            .args(&self.way)
            .arg(format!("{account}@127.0.0.1"))
            .arg("exit 0");
        run_for_a_while(&mut command)?;
        let log = self.log_text();
        let new = log.get(before..).unwrap_or_default();
        let wanted = format!("Accepted publickey for {account} ");
        let is_accepted = new.lines().any(|line| line.contains(&wanted));
        let lines: Vec<&str> = new.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let said = lines.iter().rev().take(4).rev().copied().collect::<Vec<_>>().join("; ");
        Ok((
            is_accepted,
            if said.is_empty() {
                "its log says nothing".to_owned()
            } else {
                said
            },
        ))
    }

    fn log_text(&self) -> String {
        files::read_text(&self.log).ok().flatten().unwrap_or_default()
    }
}

/// A login that hangs, on a forced command for instance, is ended; sshd's log has said by then what it thinks of the key.
fn run_for_a_while(command: &mut Command) -> Result<(), ProofError> {
    let io = |error| ProofError::Io("ssh cannot be run", error);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(io)?;
    for _ in 0..STEPS_TO_LOG_IN {
        if child.try_wait().map_err(io)?.is_some() {
            return Ok(());
        }
        std::thread::sleep(STEP);
    }
    child.kill().map_err(io)?;
    child.wait().map_err(io)?;
    Ok(())
}

fn shell_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Whom the bill of trust asks sshd about.
#[must_use]
pub fn who_matters() -> [&'static str; 3] {
    ["root", BREAKGLASS_ACCOUNT, ORDINARY]
}
