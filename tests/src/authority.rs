//! The real `signet-ca`, started, signalled, killed and started again.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::api::{Answer, Api};
use crate::binaries::ours;
use crate::issuer::Issuer;
use crate::network::Network;
use crate::sshd::free_port;
use crate::wait::until;
use crate::workdir::{Workdir, copy_folder, write};

/// The root token of every authority that these tests start with `dev`.
pub const ROOT_TOKEN: &str = "root-token-of-the-tests";

/// A running authority, its folder, and how to start it again.
#[derive(Debug)]
pub struct Authority {
    child: Option<Child>,
    start: Vec<String>,
    host: IpAddr,
    port: u16,
    tls: bool,
    /// Whether it may come up sealed or not initialised.
    sealed: bool,
    folder: Workdir,
    environment: Vec<(String, String)>,
}

impl Authority {
    /// `signet-ca dev` with the example policies.
    pub fn dev() -> Self {
        Self::dev_with(|_| {})
    }

    /// `signet-ca dev` with the example policies after `change` has edited the folder they lie in.
    pub fn dev_with(change: impl FnOnce(&Path)) -> Self {
        let folder = Workdir::new();
        let policies = folder.folder("policies");
        copy_folder(&example_policies(), &policies);
        change(&policies);
        let port = free_port();
        let data = folder.folder("data");
        let start = [
            "dev".to_owned(),
            format!("--listen=127.0.0.1:{port}"),
            format!("--root-token={ROOT_TOKEN}"),
            format!("--policies={}", policies.display()),
            format!("--data={}", data.display()),
        ];
        Self {
            child: None,
            start: start.into(),
            host: Ipv4Addr::LOCALHOST.into(),
            port,
            tls: false,
            sealed: false,
            folder,
            environment: Vec::new(),
        }
        .started()
    }

    /// `signet-ca serve` over TLS with mount `ssh` and a durable store, as in production. `change` fills the policy folder;
    /// `config` adds to `signet.toml` (sections only, they come last).
    pub fn serve(change: impl FnOnce(&Path), config: &str) -> Self {
        Self::serve_in(Workdir::new(), change, config)
    }

    /// As [`Self::serve`], in a folder that may lie on a file system of its own.
    pub fn serve_in(folder: Workdir, change: impl FnOnce(&Path), config: &str) -> Self {
        Self::serve_on(Ipv4Addr::LOCALHOST.into(), free_port(), folder, change, config).started()
    }

    /// As [`Self::serve`], for a server that comes up in whatever state its seal leaves it in, now and at each start.
    pub fn serve_sealed(change: impl FnOnce(&Path), config: &str) -> Self {
        let mut authority = Self::serve_on(Ipv4Addr::LOCALHOST.into(), free_port(), Workdir::new(), change, config);
        authority.sealed = true;
        authority.started()
    }

    /// As [`Self::serve`], where the hosts of a network reach it.
    pub fn serve_hosts(network: &Network, change: impl FnOnce(&Path), config: &str) -> Self {
        Self::serve_on(network.address().into(), 8200, Workdir::new(), change, config).started()
    }

    /// As [`Self::serve_sealed`], with variables in its environment.
    pub fn serve_sealed_with(change: impl FnOnce(&Path), config: &str, environment: &[(&str, &str)]) -> Self {
        let mut authority = Self::serve_on(Ipv4Addr::LOCALHOST.into(), free_port(), Workdir::new(), change, config);
        authority.sealed = true;
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        authority.environment = environment.iter().map(owned).collect();
        authority.started()
    }

    fn serve_on(host: IpAddr, port: u16, folder: Workdir, change: impl FnOnce(&Path), config: &str) -> Self {
        let (data, policies) = (folder.folder("data"), folder.folder("policies"));
        change(&policies);
        let text = format!(
            "name = \"signet-test\"\naddresses = [\"https://{host}:{port}\"]\nnode = 3\ndata = \"{}\"\n\
             policies = \"{}\"\n\n[listen]\naddress = \"{host}:{port}\"\n\n[[mount]]\npath = \"ssh\"\n\
             ca_key_type = \"ed25519\"\n{config}",
            data.display(),
            policies.display(),
        );
        let file = folder.write("signet.toml", &text);
        let start = ["serve".to_owned(), format!("--config={}", file.display())];
        Self {
            child: None,
            start: start.into(),
            host,
            port,
            tls: true,
            sealed: false,
            folder,
            environment: Vec::new(),
        }
    }

    /// Logs in as a CI job and gives its token.
    pub fn ci_token(&self, issuer: &Issuer) -> String {
        let login = json!({"role": "deploy", "jwt": issuer.token(|_| {})});
        let answer = self.anonymous().write("auth/jwt/login", &login);
        answer.body["auth"]["client_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Edits `signet.toml`, for the next start.
    pub fn reconfigure(&self, edit: impl FnOnce(String) -> String) {
        let path = self.folder.path().join("signet.toml");
        let text = std::fs::read_to_string(&path).expect("signet.toml");
        write(&path, &edit(text));
    }

    /// Sets a variable of its environment, for the next start.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the authority, again if it ran before, and waits until it answers.
    pub fn start(&mut self) {
        let mut child = self.spawn();
        let api = self.anonymous();
        until("signet-ca to answer", || {
            if let Some(status) = child.try_wait().expect("its state") {
                panic!("signet-ca ended at once ({status}):\n{}", self.log());
            }
            api.try_get("sys/health")
                .filter(|answer| self.sealed || answer.status == 200)
        });
        self.child = Some(child);
    }

    /// Starts the authority, which must end by itself, and gives what it printed meanwhile.
    pub fn fails_to_start(&mut self) -> String {
        let before = self.log().len();
        let mut child = self.spawn();
        let status = until("signet-ca to end", || child.try_wait().expect("its state"));
        assert!(!status.success(), "it ended well:\n{}", self.log());
        self.log().split_off(before)
    }

    /// Starts the authority and waits until it has printed a text, whether it answers or not.
    pub fn start_until_it_says(&mut self, text: &str) {
        let before = self.log().len();
        self.child = Some(self.spawn());
        self.says(text, before);
    }

    /// Waits until it has printed a text after so many bytes of its log.
    pub fn says(&mut self, text: &str, before: usize) {
        until(text, || {
            let child = self.child.as_mut().expect("a running authority");
            if let Some(status) = child.try_wait().expect("its state") {
                panic!("signet-ca ended ({status}):\n{}", self.log());
            }
            self.log()
                .get(before..)
                .is_some_and(|log| log.contains(text))
                .then_some(())
        });
    }

    /// Sets a variable of its environment for the next starts, or takes it out.
    pub fn set_environment(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(set, _)| set != name);
        let owned = |value: &str| (name.to_owned(), value.to_owned());
        self.environment.extend(value.map(owned));
    }

    /// Starts the authority and measures how long it takes to its first answer, asking without pause.
    pub fn start_measured(&mut self) -> Duration {
        let api = self.anonymous();
        let started = Instant::now();
        self.child = Some(self.spawn());
        until("signet-ca to listen", || {
            (0..1000).find_map(|_| {
                std::thread::sleep(Duration::from_micros(200));
                std::net::TcpStream::connect((self.host, self.port)).ok()
            })
        });
        assert_eq!(api.get("sys/health").status, 200);
        started.elapsed()
    }

    fn spawn(&self) -> Child {
        assert!(self.child.is_none(), "the authority runs already");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the log");
        Command::new(ours("signet-ca"))
            .args(&self.start)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // Where a core would be written.
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("signet-ca starts")
    }

    /// The address that a client types.
    pub fn address(&self) -> String {
        format!(
            "{}://{}:{}",
            if self.tls { "https" } else { "http" },
            self.host,
            self.port
        )
    }

    /// The self-signed TLS certificate that it made at its first start, for those who check it.
    pub fn tls_certificate(&self) -> PathBuf {
        self.data().join("tls.crt")
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with policies, data and logs.
    pub fn folder(&self) -> &Workdir {
        &self.folder
    }

    /// The policy folder.
    pub fn policies(&self) -> PathBuf {
        self.folder.path().join("policies")
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The process id of the running server.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running authority").id()
    }

    /// Initialises it, under a seal that opens by itself, with one recovery key. What was made.
    pub fn init(&self) -> Answer {
        let wanted = json!({"recovery_shares": 1, "recovery_threshold": 1});
        let made = self.anonymous().post("sys/init", &wanted);
        assert_eq!(made.status, 200, "{}\n{}", made.text, self.log());
        made
    }

    /// The API with the root token.
    pub fn root(&self) -> Api {
        self.api(ROOT_TOKEN)
    }

    /// The API with a token.
    pub fn api(&self, token: &str) -> Api {
        Api::new(&self.address(), Some(token))
    }

    /// The API without a token.
    pub fn anonymous(&self) -> Api {
        Api::new(&self.address(), None)
    }

    /// What the server has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("signet-ca.log")
    }

    /// Replaces one file of the policy folder and has the server read it (SIGHUP).
    pub fn replace_policy(&self, name: &str, text: &str) {
        write(&self.policies().join(name), text);
        self.signal(Signal::HUP);
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.child.as_ref().expect("a running authority"));
        kill_process(pid, signal).expect("the signal arrives");
    }

    /// Kills the server as a power cut would.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a running authority");
        child.kill().expect("SIGKILL");
        let status = child.wait().expect("its end");
        assert_eq!(
            status.signal(),
            Some(9),
            "it ended by SIGKILL, not before:\n{}",
            self.log()
        );
    }

    /// Has the server end by a signal that makes an ordinary process leave a core, and gives how it ended.
    pub fn die_of(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        let mut child = self.child.take().expect("a running authority");
        child.wait().expect("its end")
    }

    /// Ends the server as systemd would and gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let mut child = self.child.take().expect("a running authority");
        child.wait().expect("its end").code()
    }

    /// Runs `signet-ca audit …` over this authority's data folder.
    pub fn audit(&self, arguments: &[&str]) -> Output {
        Command::new(ours("signet-ca"))
            .arg("audit")
            .args(arguments)
            .arg(self.data())
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .expect("signet-ca audit")
    }

    /// Runs `signet-ca store …` with this authority's configuration.
    pub fn store(&self, arguments: &[&str]) -> Output {
        let config = self.folder.path().join("signet.toml");
        Command::new(ours("signet-ca"))
            .arg("store")
            .args(arguments)
            .arg("--config")
            .arg(config)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .expect("signet-ca store")
    }

    /// The ledger's records of one event (all of them with `""`), oldest first.
    pub fn records(&self, event: &str) -> Vec<serde_json::Value> {
        let output = self.audit(&["export"]);
        assert!(
            output.status.success(),
            "audit export: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("text");
        let records = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON line"));
        records
            .filter(|record: &serde_json::Value| event.is_empty() || record["event"] == event)
            .collect()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            let mut text = String::new();
            if let Ok(mut file) = std::fs::File::open(self.log_path()) {
                drop(file.read_to_string(&mut text));
            }
            eprintln!("--- signet-ca's log ---\n{text}");
        }
    }
}

/// Runs `signet-ca audit verify` over a file of JSON lines.
pub fn audit_file(path: &Path) -> Output {
    let mut command = Command::new(ours("signet-ca"));
    let command = command
        .args(["audit", "verify"])
        .arg(path)
        .env_clear()
        .stdin(Stdio::null());
    command.output().expect("signet-ca audit")
}

/// The policies that ship with the project.
pub fn example_policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the work tree")
        .join("policies")
}
