//! The memory of a server: its keys while it is open, nothing once it is sealed.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use signet_tests::authority::Authority;
use signet_tests::binaries::ours;
use signet_tests::canary::Canaries;
use signet_tests::sshd::free_port;
use signet_tests::wait::until;
use signet_tests::workdir::{Workdir, is_root};

use super::{Used, used};

/// Looks again and again until nothing is found that `counts`: connections are let go in a moment.
fn until_forgotten(canaries: &Canaries, pid: u32, counts: impl Fn(&str) -> bool) {
    let begun = Instant::now();
    loop {
        let mut left = canaries.found_in_memory(pid);
        left.retain(|found| counts(found));
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{left:#?}");
    }
}

#[test]
fn a_server_forgets_what_came_over_the_wire_at_once_and_its_keys_when_it_is_sealed() {
    if !is_root() {
        eprintln!("not looked at: only root may read the memory of a process that is not dumpable");
        return;
    }
    let Used {
        authority,
        canaries,
        root,
        ..
    } = used();
    // Open: it has its keys, and nothing any more of what was typed or printed. That the keys are found shows that the
    // search finds.
    let keys = ["CA key", "bundle key", "root key", "key of term"];
    until_forgotten(&canaries, authority.pid(), |found| {
        !keys.iter().any(|key| found.starts_with(key))
    });
    let before = canaries.found_in_memory(authority.pid());
    for kind in ["ed25519", "nistp256", "nistp384", "nistp521", "rsa"] {
        let name = format!("CA key {kind}");
        assert!(
            before.iter().any(|found| found.contains(&name)),
            "{name} in {before:#?}"
        );
    }
    // Sealed: nothing, though somebody keeps a connection open, with the token in its buffers and header tables.
    let idle = authority.api(&root);
    assert_eq!(idle.get("auth/token/lookup-self").status, 200);
    idle.write("sys/seal", &Value::Null);
    until_forgotten(&canaries, authority.pid(), |_| true);
    drop(idle);
}

#[test]
fn memory_is_locked_where_that_is_permitted_and_a_warning_says_what_to_set_where_not() {
    let locked_kib = |pid: u32| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmLck:")).expect("VmLck");
        line.split_whitespace()
            .nth(1)
            .expect("a number")
            .parse()
            .expect("a number")
    };
    let authority = Authority::dev();
    let told = authority.log().contains("memory is not locked");
    assert_eq!(locked_kib(authority.pid()) == 0, told, "{}", authority.log());
    assert!(!told || !is_root(), "root may: {}", authority.log());
    drop(authority);

    // Nobody may lift a limit of 64 KiB that has not the capability. What is locked in spite of it would run out.
    let (folder, port) = (Workdir::new(), free_port());
    let log = std::fs::File::create(folder.path().join("log")).expect("a log");
    let mut limited = Command::new("setpriv");
    limited.args(if is_root() {
        &["--bounding-set=-ipc_lock"][..]
    } else {
        &["--no-new-privs"]
    });
    limited.args(["prlimit", "--memlock=65536"]).arg(ours("signet-ca"));
    limited.args(["dev", &format!("--listen=127.0.0.1:{port}")]);
    limited
        .stdout(log.try_clone().expect("the log"))
        .stderr(log)
        .env_clear();
    let mut limited = limited
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .spawn()
        .expect("setpriv and prlimit; type: apt-get install util-linux");
    until("the server to listen", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let locked = locked_kib(limited.id());
    limited.kill().expect("SIGKILL");
    limited.wait().expect("its end");
    let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    assert_eq!(locked, 0, "{log}");
    assert!(
        log.contains("memory is not locked") && log.contains("LimitMEMLOCK=infinity"),
        "{log}"
    );
    assert!(log.contains("RLIMIT_MEMLOCK is 65536 bytes"), "{log}");
}
