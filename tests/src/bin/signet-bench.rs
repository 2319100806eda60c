//! `cargo xtask bench`: what a certificate costs the server, what a login costs the client, and how that grows.
//!
//! It prints every figure with the limit it is held against. A run on a machine that was busy, or whose CPUs changed speed
//! meanwhile, says "not judged" instead of a verdict.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use signet_tests::authority::Authority;
use signet_tests::binaries::system;
use signet_tests::issuer::Issuer;
use signet_tests::keys::KeyFile;
use signet_tests::load::connection::Target;
use signet_tests::load::drive::{Figures, Plan, drive};
use signet_tests::load::meter::{fdatasync, median, micros, process_cpu_fine, resident_mib};
use signet_tests::load::subject_keys;
use signet_tests::load::timing::{Took, time};
use signet_tests::load::world::{BIG, ORDINARY, install};
use signet_tests::person::Person;
use signet_tests::ssh::HERMETIC;
use signet_tests::sshd::{Sshd, SshdSetup};
use signet_tests::team::ROLE;
use signet_tests::workdir::{Workdir, login_name};

/// Tokens that the connections share: as many callers as connections.
const TOKENS: usize = 256;

/// How long and how much; `--quick` is for trying the benchmark itself.
struct Extent {
    window: Duration,
    records: usize,
    logins: usize,
}

fn main() {
    let quick = std::env::args().any(|word| word == "--quick");
    let extent = if quick {
        Extent {
            window: Duration::from_secs(1),
            records: 20_000,
            logins: 5,
        }
    } else {
        Extent {
            window: Duration::from_secs(5),
            records: 1_000_000,
            logins: 40,
        }
    };
    let mut bench = Bench::new(extent);
    bench.start_up_empty();
    let ordinary = bench.certificates("1,000 policies");
    bench.ssh_keygen();
    bench.logins();
    bench.fill();
    bench.start_up_after_kill();
    let big = bench.big();
    bench.ratio(&ordinary, &big);
}

struct Bench {
    extent: Extent,
    authority: Authority,
    tokens: Vec<String>,
    keys: Vec<String>,
    folder: Workdir,
    issued: u64,
}

impl Bench {
    fn new(extent: Extent) -> Self {
        let folder = Workdir::new();
        let issuer = Issuer::new();
        let config = format!(
            "{}\n[limits]\nlogin_rate_per_minute = 1000000\n",
            issuer.config(folder.path())
        );
        let authority = Authority::serve(|policies| install(policies, ORDINARY), &config);
        let tokens = (0..TOKENS).map(|_| authority.ci_token(&issuer)).collect();
        Self {
            extent,
            authority,
            tokens,
            keys: subject_keys::make(100_000),
            folder,
            issued: 0,
        }
    }

    /// Start to first answer with 1,000 policies and an (almost) empty ledger.
    fn start_up_empty(&mut self) {
        headline("start-up");
        let idle = resident_mib(self.authority.pid());
        self.authority.stop();
        let times: Vec<f64> = (0..5)
            .map(|_| {
                let took = micros(self.authority.start_measured()) / 1000.0;
                self.authority.stop();
                took
            })
            .collect();
        self.authority.start();
        row(
            "start to first answer, ledger empty",
            &format!("{:.0} ms", median(times.clone())),
            &verdict(median(times), 50.0),
        );
        row("resident memory, idle", &format!("{idle:.1} MiB"), &verdict(idle, 15.0));
    }

    fn drive(&mut self, connections: usize, window: Duration) -> Figures {
        let target = Target::tls(self.authority.port());
        let figures = drive(&Plan {
            target: &target,
            pid: self.authority.pid(),
            path: &format!("ssh/sign/{ROLE}"),
            tokens: &self.tokens,
            principal: &login_name(),
            keys: &self.keys,
            connections,
            warm_up: Duration::from_secs(1),
            window,
        });
        self.issued += figures.certificates;
        figures
    }

    /// 1, 32 and 256 kept TLS connections.
    fn certificates(&mut self, title: &str) -> Vec<Figures> {
        headline(&format!("certificates over TLS, durable ledger, {title}"));
        let sync = micros(fdatasync(&self.authority.data()));
        row("one raw fdatasync of 600 bytes, p50", &format!("{sync:.0} µs"), "");
        [(1, None), (32, Some(4.5)), (256, Some(3.5))]
            .map(|(connections, budget)| {
                let figures = self.drive(connections, self.extent.window);
                print_figures(&figures, sync, budget);
                figures
            })
            .into()
    }

    /// The tool that everybody has, one process for each certificate.
    fn ssh_keygen(&self) {
        headline("ssh-keygen -s, one process for each certificate");
        let ca = KeyFile::ed25519(self.folder.path(), "ca");
        let subject = KeyFile::ed25519(self.folder.path(), "subject");
        let public = subject.path().with_extension("pub");
        let took: Vec<Took> = (0..self.extent.logins)
            .map(|_| {
                let mut command = Command::new(system("ssh-keygen"));
                command
                    .args(["-q", "-s"])
                    .arg(ca.path())
                    .args(["-I", "id", "-n", "ubuntu", "-V", "+5m"])
                    .arg(&public);
                time(&command)
            })
            .collect();
        row("wall, CPU", &format!("{:.1} ms, {:.1} ms", wall(&took), cpu(&took)), "");
    }

    /// `ssh … true` against `signet ssh … true`, with the certificate at hand and without, in turn.
    fn logins(&self) {
        headline(&format!(
            "logins, {} of each kind in turn (curve25519)",
            self.extent.logins
        ));
        let scene = LoginScene::new(self);
        let (mut plain, mut warm, mut cold) = (Vec::new(), Vec::new(), Vec::new());
        let mut person = LoginScene::person(&self.authority, &self.tokens[0]);
        let mut newcomer = LoginScene::person(&self.authority, &self.tokens[1]);
        time(&scene.signet(&person));
        for _ in 0..self.extent.logins {
            plain.push(time(&scene.ssh()));
            warm.push(time(&scene.signet(&person)));
            newcomer.new_session();
            let mut took = time(&scene.signet(&newcomer));
            // What the agent did on its own is part of the price of a cold login.
            took.cpu += newcomer.agents().iter().map(|pid| agent_millis(*pid)).sum::<f64>();
            newcomer.end_agents();
            cold.push(took);
        }
        row(
            "ssh",
            &format!("wall {:.1} ms, CPU {:.1} ms", wall(&plain), cpu(&plain)),
            "",
        );
        for (name, took, budget) in [("signet ssh, warm", &warm, 1.5), ("signet ssh, cold", &cold, 4.0)] {
            let (more_cpu, ratio) = (cpu(took) - cpu(&plain), wall(took) / wall(&plain));
            let text = format!(
                "wall {:.1} ms = {ratio:.3} ×, CPU {:.1} ms = {more_cpu:+.1} ms",
                wall(took),
                cpu(took)
            );
            row(
                name,
                &text,
                &format!("{}; wall {}", verdict(more_cpu, budget), verdict(ratio, 1.03)),
            );
        }
        person.new_session();
    }

    /// Issues until the ledger holds a million records.
    fn fill(&mut self) {
        headline(&format!("{} past certificates", self.extent.records));
        let started = Instant::now();
        while usize::try_from(self.issued).unwrap_or(usize::MAX) < self.extent.records {
            self.drive(256, Duration::from_secs(5));
        }
        row(
            "issued for it",
            &format!("in {:.0} s", started.elapsed().as_secs_f64()),
            "",
        );
    }

    fn start_up_after_kill(&mut self) {
        self.authority.kill();
        let took = micros(self.authority.start_measured()) / 1000.0;
        row(
            "start to first answer after kill -9",
            &format!("{took:.0} ms"),
            &verdict(took, 1000.0),
        );
    }

    /// Ten thousand roles, policies and people over the full ledger.
    fn big(&mut self) -> Vec<Figures> {
        install(&self.authority.policies(), BIG);
        self.authority.stop();
        let took = micros(self.authority.start_measured()) / 1000.0;
        row(
            "start with 10,000 roles, policies, people",
            &format!("{took:.0} ms"),
            "",
        );
        self.certificates("10,000 roles, policies and people")
    }

    fn ratio(&self, ordinary: &[Figures], big: &[Figures]) {
        headline("growth");
        for (small, large) in ordinary.iter().zip(big) {
            let ratio = large.signs_each() / small.signs_each();
            let judged = small
                .doubt()
                .or(large.doubt())
                .map_or_else(|| verdict(ratio, 1.3), |doubt| format!("not judged: {doubt}"));
            row(
                &format!("big over ordinary, {} connections", small.connections),
                &format!("{ratio:.2} ×"),
                &judged,
            );
        }
        row(
            "resident memory after all of it",
            &format!("{:.1} MiB", resident_mib(self.authority.pid())),
            "",
        );
    }
}

/// A listening sshd, and both ways to log in to it.
struct LoginScene {
    sshd: Sshd,
    key: KeyFile,
}

impl LoginScene {
    fn new(bench: &Bench) -> Self {
        let api = bench.authority.api(&bench.tokens[0]);
        let mut sshd = SshdSetup::trusting(&api.ca_key("ssh")).build();
        sshd.listen();
        let key = KeyFile::ed25519(bench.folder.path(), "plain");
        key.put_certificate(api.sign("ssh", ROLE, &key.public_line(), &login_name()).signed_key());
        Self { sshd, key }
    }

    fn person(authority: &Authority, token: &str) -> Person {
        Person::using(&authority.address())
            .with("SIGNET_TOKEN", token)
            .with("SIGNET_SKIP_VERIFY", "true")
    }

    fn destination(&self) -> Vec<String> {
        let mut words = vec![
            format!("{}@127.0.0.1", login_name()),
            "-p".to_owned(),
            self.sshd.port().to_string(),
        ];
        words.extend(HERMETIC.iter().map(|&option| option.to_owned()));
        words.push("true".to_owned());
        words
    }

    fn ssh(&self) -> Command {
        let mut command = Command::new(system("ssh"));
        command.arg(format!("-oUserKnownHostsFile={}", self.sshd.known_hosts().display()));
        command
            .args(["-oIdentitiesOnly=yes", "-oIdentityAgent=none"])
            .arg(format!("-i{}", self.key.path().display()));
        command.args(self.destination()).stdin(Stdio::null());
        command
    }

    fn signet(&self, person: &Person) -> Command {
        let (role, known_hosts) = (
            format!("-role={ROLE}"),
            format!("-user-known-hosts-file={}", self.sshd.known_hosts().display()),
        );
        let destination = self.destination();
        let mut words = vec!["ssh", &role, &known_hosts, "-strict-host-key-checking=yes"];
        words.extend(destination.iter().map(String::as_str));
        person.signet(&words)
    }
}

fn agent_millis(pid: rustix::process::Pid) -> f64 {
    u32::try_from(pid.as_raw_nonzero().get()).map_or(0.0, |pid| micros(process_cpu_fine(pid)) / 1000.0)
}

fn wall(took: &[Took]) -> f64 {
    median(took.iter().map(|took| took.wall).collect())
}

fn cpu(took: &[Took]) -> f64 {
    median(took.iter().map(|took| took.cpu).collect())
}

fn print_figures(figures: &Figures, sync: f64, budget: Option<f64>) {
    let text = format!(
        "{:>6.0}/s, server {:.1} µs = {:.2} signs, p50 {:.0} µs, p99 {:.0} µs, {:.1} MiB",
        figures.rate(),
        figures.micros_each(),
        figures.signs_each(),
        figures.p50,
        figures.p99,
        figures.resident,
    );
    let judged = figures.doubt().map_or_else(
        || {
            budget.map_or_else(
                || {
                    format!(
                        "p50 = {:.2} fdatasync, {}",
                        figures.p50 / sync,
                        verdict(figures.p50 / sync, 1.5)
                    )
                },
                |budget| verdict(figures.signs_each(), budget),
            )
        },
        |doubt| format!("not judged: {doubt}"),
    );
    let (before, after) = figures.signature;
    row(&format!("{} connections", figures.connections), &text, &judged);
    row(
        "",
        &format!(
            "one signature {before:.1} µs before, {after:.1} µs after; {:.2} cores of other work",
            figures.foreign_cores
        ),
        "",
    );
}

fn verdict(figure: f64, limit: f64) -> String {
    if figure <= limit {
        format!("≤ {limit}: met")
    } else {
        format!("≤ {limit}: missed by {:.0} %", (figure / limit - 1.0) * 100.0)
    }
}

fn headline(text: &str) {
    println!("\n{text}");
}

fn row(name: &str, figures: &str, judged: &str) {
    println!(
        "  {name:<44} {figures}{}{judged}",
        if judged.is_empty() { "" } else { "   " }
    );
}
