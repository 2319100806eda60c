//! One run: so many connections for so long, each asking for one certificate after the other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::load::connection::{Connection, Target, post};
use crate::load::meter::{machine_cpu, micros, percentile, process_cpu, resident_mib, signature_micros};

/// What to drive and how.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The server.
    pub target: &'a Target,
    /// Its process, whose CPU time is read.
    pub pid: u32,
    /// The path below `/v1/`, e.g. `ssh/sign/my-role`.
    pub path: &'a str,
    /// Tokens, given to the connections in turn.
    pub tokens: &'a [String],
    /// The principal asked for.
    pub principal: &'a str,
    /// Subject keys, used in turn.
    pub keys: &'a [String],
    /// Connections.
    pub connections: usize,
    /// How long connections run before anything is measured.
    pub warm_up: Duration,
    /// How long is measured.
    pub window: Duration,
}

/// What one run showed.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Connections.
    pub connections: usize,
    /// Certificates received in the window.
    pub certificates: u64,
    /// Requests that got anything but a certificate, with the first such answer.
    pub refused: Option<String>,
    /// The window's true length.
    pub window: Duration,
    /// Server CPU (user and system) in the window.
    pub server_cpu: Duration,
    /// CPU that neither the server nor this process used, in cores.
    pub foreign_cores: f64,
    /// Median latency in microseconds.
    pub p50: f64,
    /// 99th percentile of the latency in microseconds.
    pub p99: f64,
    /// Resident memory of the server at the end, MiB.
    pub resident: f64,
    /// CPU microseconds of one bare signature, before and after.
    pub signature: (f64, f64),
}

impl Figures {
    /// Certificates a second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count far below 2^53")]
        let certificates = self.certificates as f64;
        certificates / self.window.as_secs_f64()
    }

    /// Server CPU microseconds for one certificate.
    pub fn micros_each(&self) -> f64 {
        micros(self.server_cpu) / (self.rate() * self.window.as_secs_f64()).max(1.0)
    }

    /// Server CPU for one certificate in bare signatures of this run.
    pub fn signs_each(&self) -> f64 {
        self.micros_each() / f64::midpoint(self.signature.0, self.signature.1)
    }

    /// By which share the CPU's speed changed during the run.
    pub fn speed_drift(&self) -> f64 {
        let (before, after) = self.signature;
        (before / after - 1.0).abs()
    }

    /// Why this run should not be judged, if so.
    pub fn doubt(&self) -> Option<String> {
        let drift = self.speed_drift();
        if let Some(refused) = &self.refused {
            Some(format!("refused: {refused}"))
        } else if drift > 0.2 {
            Some(format!("CPU speed drifted by {:.0} %", drift * 100.0))
        } else if self.foreign_cores > 0.2 {
            Some(format!("{:.1} cores of other work", self.foreign_cores))
        } else {
            None
        }
    }
}

/// What the connections share.
struct Shared {
    stop: Cell<bool>,
    measuring: Cell<bool>,
    next_key: Cell<usize>,
    latencies: RefCell<Vec<f64>>,
    refused: RefCell<Option<String>>,
}

/// Runs the plan on this thread.
///
/// # Panics
/// The server cannot be reached.
pub fn drive(plan: &Plan<'_>) -> Figures {
    let before = signature_micros();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let mut figures = local.block_on(&runtime, measure(plan));
    figures.signature = (before, signature_micros());
    figures
}

async fn measure(plan: &Plan<'_>) -> Figures {
    let shared = Rc::new(Shared {
        stop: Cell::new(false),
        measuring: Cell::new(false),
        next_key: Cell::new(0),
        latencies: RefCell::new(Vec::with_capacity(1 << 18)),
        refused: RefCell::new(None),
    });
    let keys: Rc<[String]> = plan.keys.into();
    let tasks: Vec<_> = (0..plan.connections)
        .map(|index| {
            let token = plan.tokens[index % plan.tokens.len()].clone();
            let (target, path, principal) = (plan.target.clone(), plan.path.to_owned(), plan.principal.to_owned());
            let request = move |key: &str| {
                let body = format!(r#"{{"public_key":"{key}","valid_principals":"{principal}"}}"#);
                post(&path, &token, &body)
            };
            tokio::task::spawn_local(ask_on(target, shared.clone(), keys.clone(), request))
        })
        .collect();
    tokio::time::sleep(plan.warm_up).await;
    let (started, busy_before) = (Instant::now(), cpu_readings(plan.pid));
    shared.measuring.set(true);
    tokio::time::sleep(plan.window).await;
    shared.measuring.set(false);
    let (window, busy_after) = (started.elapsed(), cpu_readings(plan.pid));
    let resident = resident_mib(plan.pid);
    shared.stop.set(true);
    for task in tasks {
        task.await.expect("a connection's task");
    }
    let used = |index: usize| busy_after[index].saturating_sub(busy_before[index]);
    let foreign = used(0).saturating_sub(used(1)).saturating_sub(used(2));
    let latencies = shared.latencies.take();
    Figures {
        connections: plan.connections,
        certificates: u64::try_from(latencies.len()).expect("a count"),
        refused: shared.refused.take(),
        window,
        server_cpu: used(1),
        foreign_cores: foreign.as_secs_f64() / window.as_secs_f64(),
        p50: percentile(latencies.clone(), 0.5),
        p99: percentile(latencies, 0.99),
        resident,
        signature: (0.0, 0.0),
    }
}

/// CPU used so far by the whole machine, the server and this process.
fn cpu_readings(pid: u32) -> [Duration; 3] {
    [machine_cpu(), process_cpu(pid), process_cpu(std::process::id())]
}

/// One connection: asks until the run is over.
async fn ask_on(target: Target, shared: Rc<Shared>, keys: Rc<[String]>, request: impl Fn(&str) -> Vec<u8>) {
    let mut connection = Connection::open(&target).await.expect("the server answers");
    while !shared.stop.get() {
        let index = shared.next_key.get();
        shared.next_key.set((index + 1) % keys.len());
        let bytes = request(&keys[index]);
        let started = Instant::now();
        let (status, body) = connection.exchange(&bytes).await.expect("an answer");
        if status == 200 && shared.measuring.get() {
            shared.latencies.borrow_mut().push(micros(started.elapsed()));
        } else if status != 200 {
            let text = String::from_utf8_lossy(body).trim().to_owned();
            shared.refused.borrow_mut().get_or_insert(format!("{status} {text}"));
        }
    }
}
