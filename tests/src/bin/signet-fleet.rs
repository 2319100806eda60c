//! `cargo xtask bench fleet`: what five hundred hosts cost one server. Enrolment, the sync of every five minutes, a new trust
//! bundle for all of them, and what comes in after an outage, with and without the spreading that hosts do.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;
use signet_cli::host::state::State;
use signet_core::time::UnixTime;
use signet_tests::api::Api;
use signet_tests::estate::Estate;
use signet_tests::fleet::FleetHost;
use signet_tests::load::connection::Target;
use signet_tests::load::meter::{machine_cpu, micros, percentile, process_cpu, resident_mib, signature_micros};

/// How often a host syncs (`ami/systemd/signet-host-sync.timer`), and how far each shifts that (`jitter` of host.toml).
const EVERY_SECS: u64 = 300;
const JITTER_SECS: u64 = 300;
/// How long the server is away before the herd.
const OUTAGE_SECS: u64 = 1800;
/// The two hours after an outage are played in as many seconds as there are minutes in this.
const FASTER: u64 = 60;
/// What a bundle is fetched from.
const BUNDLE: &str = "ssh/trust-bundle";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, usual: usize| {
        let place = arguments.iter().position(|word| word == name);
        place.map_or(usual, |place| arguments[place + 1].parse().expect("a number"))
    };
    let seconds = u64::try_from(number("--seconds", 10)).expect("a number");
    let mut fleet = Fleet::new(number("--hosts", 500));
    fleet.sync_once("each host's first bundle, whole");
    for connections in [1, 32] {
        fleet.sync_for(Duration::from_secs(seconds), connections);
    }
    fleet.revoke_one();
    fleet.sync_once("a new bundle for every host");
    fleet.herds();
}

/// Hosts that tasks take, use and give back.
type Pool = Rc<RefCell<Vec<FleetHost>>>;

struct Fleet {
    estate: Estate,
    operator: Api,
    target: Target,
    hosts: Pool,
}

/// What a stretch of syncs showed.
#[derive(Default)]
struct Tally {
    latencies: Vec<f64>,
    bytes: usize,
    whole: usize,
    refused: Option<String>,
}

impl Fleet {
    fn new(count: usize) -> Self {
        let estate = Estate::local();
        let (operator, api, address) = (
            estate.operator(),
            estate.authority.anonymous(),
            estate.authority.address(),
        );
        headline(&format!("{count} simulated hosts, one server"));
        let pid = estate.authority.pid();
        let tokens: Vec<_> = (0..count)
            .map(|index| estate.host_token(&operator, &format!("web-{index}"), &["web"]))
            .collect();
        let (started, before) = (Instant::now(), process_cpu(pid));
        let hosts: Vec<_> = tokens
            .iter()
            .map(|token| FleetHost::enroll(&api, &address, token))
            .collect();
        let (took, cpu) = (started.elapsed(), process_cpu(pid).saturating_sub(before));
        let each = micros(cpu) / as_float(count);
        let signs = each / signature_micros();
        row(
            "enrol, one after the other",
            &format!(
                "{:.0} hosts/s, server {each:.0} µs = {signs:.1} signs each",
                as_float(count) / took.as_secs_f64()
            ),
        );
        let target = Target::tls(estate.authority.port());
        Self {
            estate,
            operator,
            target,
            hosts: Rc::new(RefCell::new(hosts)),
        }
    }

    /// Every host once, as many at a time as a server with many hosts sees.
    fn sync_once(&self, name: &str) {
        let count = self.hosts.borrow().len();
        self.measured(name, |fleet, tally| {
            let waiting = Rc::new(RefCell::new(std::mem::take(&mut *fleet.hosts.borrow_mut())));
            let (target, pool) = (fleet.target.clone(), fleet.hosts.clone());
            async move {
                let tasks = (0..32).map(|_| {
                    let (target, waiting, pool, tally) = (target.clone(), waiting.clone(), pool.clone(), tally.clone());
                    tokio::task::spawn_local(async move {
                        loop {
                            let Some(mut host) = waiting.borrow_mut().pop() else {
                                break;
                            };
                            tally.sync(&mut host, &target).await;
                            pool.borrow_mut().push(host);
                        }
                    })
                });
                join(tasks.collect()).await;
            }
        });
        assert_eq!(self.hosts.borrow().len(), count, "every host is back");
    }

    /// Hosts in turn on so many connections at a time.
    fn sync_for(&self, window: Duration, connections: usize) {
        self.measured(&format!("sync, {connections} at a time"), |fleet, tally| {
            let (target, pool) = (fleet.target.clone(), fleet.hosts.clone());
            async move {
                let ends = Instant::now() + window;
                let tasks = (0..connections).map(|_| {
                    let (target, pool, tally) = (target.clone(), pool.clone(), tally.clone());
                    tokio::task::spawn_local(async move {
                        while Instant::now() < ends {
                            let mut host = pool.borrow_mut().remove(0);
                            tally.sync(&mut host, &target).await;
                            pool.borrow_mut().push(host);
                        }
                    })
                });
                join(tasks.collect()).await;
            }
        });
    }

    fn measured<F: Future<Output = ()>>(&self, name: &str, work: impl FnOnce(&Self, Shared) -> F) {
        let pid = self.estate.authority.pid();
        let tally = Shared::default();
        let sign = signature_micros();
        let readings = || [machine_cpu(), process_cpu(pid), process_cpu(std::process::id())];
        let (before, wire, started) = (readings(), loopback_bytes(), Instant::now());
        on_this_thread(work(self, tally.clone()));
        let (took, wire, after) = (started.elapsed(), loopback_bytes() - wire, readings());
        let sign = f64::midpoint(sign, signature_micros());
        let tally = tally.0.take();
        let count = as_float(tally.latencies.len()).max(1.0);
        let used = |index: usize| after[index].saturating_sub(before[index]);
        let each = micros(used(1)) / count;
        row(
            name,
            &format!(
                "{:.0} syncs/s, server {each:.0} µs = {:.1} signs each, p50 {:.1} ms, p99 {:.1} ms, {:.1} MiB",
                count / took.as_secs_f64(),
                each / sign,
                percentile(tally.latencies.clone(), 0.5) / 1000.0,
                percentile(tally.latencies.clone(), 0.99) / 1000.0,
                resident_mib(pid),
            ),
        );
        let foreign = used(0).saturating_sub(used(1)).saturating_sub(used(2)).as_secs_f64() / took.as_secs_f64();
        row(
            "",
            &format!(
                "{:.0} bytes of HTTP, {:.0} on the wire each (TLS, TCP, IP); {} whole bundles; {foreign:.1} cores of other work{}",
                as_float(tally.bytes) / count,
                as_float(wire) / count,
                tally.whole,
                tally
                    .refused
                    .map_or_else(String::new, |why| format!("; REFUSED: {why}")),
            ),
        );
        let share = each * as_float(self.hosts.borrow().len()) / micros(Duration::from_secs(EVERY_SECS));
        row(
            "",
            &format!("all hosts every {EVERY_SECS} s: {:.2} % of one core", share * 100.0),
        );
    }

    fn revoke_one(&self) {
        let body = json!({"key_id": "nobody", "reason": "the fleet's benchmark"});
        let answer = self.operator.write("ssh/revoke", &body);
        row(
            "revoke one certificate",
            &format!("KRL version {}", answer.body["data"]["krl_version"]),
        );
    }

    /// The arrivals after an outage: by the very code that hosts run, and as they would be without it.
    fn herds(&mut self) {
        headline(&format!("{OUTAGE_SECS} s of outage, then the server is back"));
        let count = self.hosts.borrow().len();
        for (name, arrivals) in [
            ("with jitter and back-off", arrivals(count)),
            ("without: all at the same tick", vec![0; count]),
        ] {
            self.herd(name, arrivals);
        }
    }

    fn herd(&mut self, name: &str, mut arrivals: Vec<u64>) {
        arrivals.sort_unstable();
        let mut by_second = BTreeMap::new();
        for second in &arrivals {
            *by_second.entry(*second).or_insert(0_usize) += 1;
        }
        let peak = by_second.values().copied().max().unwrap_or_default();
        let when = |share: usize| arrivals[(arrivals.len() * share / 100).min(arrivals.len() - 1)];
        row(
            name,
            &format!(
                "at most {peak} hosts in one second; half are back after {} s, 99 % after {} s",
                when(50),
                when(99)
            ),
        );
        // A server that was away has no warm TLS sessions and no connections.
        self.estate.authority.kill();
        self.estate.authority.start();
        self.measured(&format!("  played {FASTER} × faster"), |fleet, tally| {
            let hosts = std::mem::take(&mut *fleet.hosts.borrow_mut());
            let (target, pool) = (fleet.target.clone(), fleet.hosts.clone());
            async move {
                let started = tokio::time::Instant::now();
                let tasks = hosts.into_iter().zip(arrivals).map(|(mut host, second)| {
                    let (target, pool, tally) = (target.clone(), pool.clone(), tally.clone());
                    tokio::task::spawn_local(async move {
                        tokio::time::sleep_until(started + Duration::from_millis(second * 1000 / FASTER)).await;
                        tally.sync(&mut host, &target).await;
                        pool.borrow_mut().push(host);
                    })
                });
                join(tasks.collect()).await;
            }
        });
    }
}

/// When each host comes back, in seconds after the outage: the timer ticks every five minutes, each run waits for its jitter,
/// asks if its back-off lets it, and backs off further if nobody answers.
fn arrivals(count: usize) -> Vec<u64> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    (0..count)
        .map(|_| {
            let mut state = State::default();
            // The outage begins at some moment between two ticks of this host's timer.
            let mut tick = random.below(EVERY_SECS);
            loop {
                let run = tick + random.below(JITTER_SECS + 1);
                let now = UnixTime::from_secs(1_800_000_000 + run);
                if state.may_ask(now) {
                    if run >= OUTAGE_SECS {
                        return run - OUTAGE_SECS;
                    }
                    state.not_reached(now, None, random.next());
                }
                // A timer of systemd starts nothing while its service still runs.
                tick = (tick + EVERY_SECS).max(run);
            }
        })
        .collect()
}

/// xorshift64: the same arrivals in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A tally that tasks on one thread share.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Tally>>);

impl Shared {
    async fn sync(&self, host: &mut FleetHost, target: &Target) {
        let started = Instant::now();
        match host.sync(target, BUNDLE).await {
            Ok(synced) => {
                let mut tally = self.0.borrow_mut();
                tally.latencies.push(micros(started.elapsed()));
                tally.bytes += synced.sent + synced.received;
                tally.whole += usize::from(synced.whole);
            }
            Err(error) => {
                self.0.borrow_mut().refused.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

async fn join(tasks: Vec<tokio::task::JoinHandle<()>>) {
    for task in tasks {
        task.await.expect("a host's task");
    }
}

fn on_this_thread(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, work);
}

/// Bytes that have gone over the loopback device, with the headers of TCP and IP.
fn loopback_bytes() -> usize {
    let text = std::fs::read_to_string("/sys/class/net/lo/statistics/tx_bytes").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn as_float(count: usize) -> f64 {
    count as f64
}

fn headline(text: &str) {
    println!("\n{text}");
}

fn row(name: &str, figures: &str) {
    println!("  {name:<34} {figures}");
}
