//! The yardsticks of a run: CPU clocks from `/proc`, one bare Ed25519 signature, one raw fdatasync.
//!
//! Virtual CPUs change speed by a factor of two within seconds, so microseconds alone say little: each figure is also
//! given in signatures (CPU) or in fdatasyncs (durable latency) of the same run.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::Ed25519KeyPair;

/// Length of the to-be-signed part of an ordinary user certificate.
const CERTIFICATE_BYTES: usize = 440;

/// Clock ticks of `/proc/PID/stat` per second (`USER_HZ`, which is 100 on every Linux that we run on).
const TICKS_PER_SEC: u64 = 100;

/// CPU microseconds of one Ed25519 signature by aws-lc-rs over 440 bytes, the median of several short rounds.
pub fn signature_micros() -> f64 {
    let key = Ed25519KeyPair::generate().expect("a key");
    let message = [7_u8; CERTIFICATE_BYTES];
    let round = || {
        let before = thread_cpu();
        for _ in 0..500 {
            std::hint::black_box(key.sign(std::hint::black_box(&message)));
        }
        micros(thread_cpu().saturating_sub(before)) / 500.0
    };
    median((0..15).map(|_| round()).collect())
}

/// Seconds of one append of 600 bytes and fdatasync in this folder: median of 300.
pub fn fdatasync(folder: &Path) -> Duration {
    let mut file = tempfile::tempfile_in(folder).expect("a file to sync");
    let times = (0..300).map(|_| {
        let started = Instant::now();
        file.write_all(&[b'x'; 600]).expect("an append");
        file.sync_data().expect("fdatasync");
        started.elapsed().as_secs_f64()
    });
    Duration::from_secs_f64(median(times.collect()))
}

/// CPU time that this thread has used.
pub fn thread_cpu() -> Duration {
    schedstat(Path::new("/proc/thread-self/schedstat"))
}

/// CPU time (user and system) that a process with all its threads has used.
pub fn process_cpu(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces; fields are counted from behind it.
    let after = text.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<u64> = after
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Duration::from_millis(fields.iter().sum::<u64>() * 1000 / TICKS_PER_SEC)
}

/// CPU time of the living threads of a process, to the nanosecond.
pub fn process_cpu_fine(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    tasks.map(|task| schedstat(&task.path().join("schedstat"))).sum()
}

fn schedstat(path: &Path) -> Duration {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0))
}

/// CPU time that all processes of this machine have used.
pub fn machine_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, then irq and softirq behind idle and iowait.
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|index| fields.get(*index)).sum();
    Duration::from_millis(busy * 1000 / TICKS_PER_SEC)
}

/// Resident memory of a process in MiB.
pub fn resident_mib(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or(0.0) / 1024.0
}

/// A duration in microseconds.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The middle value; zero of none.
pub fn median(values: Vec<f64>) -> f64 {
    percentile(values, 0.5)
}

/// The value below which this share of the values lies; zero of none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index into a short list"
)]
pub fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share) as usize;
    values
        .get(index.min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}
