//! What a durable record costs, alone and in company: `cargo bench -p signet-ca`. A record waits for an fdatasync, which
//! all that wait at the same time share.

#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "a benchmark stops by panicking, and criterion's macros make undocumented items"
)]

use std::net::{Ipv4Addr, SocketAddr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use signet_ca::clock::Clock;
use signet_ca::dev::{DevOptions, open};
use signet_ca::ledger::Ledger;
use signet_core::ledger::EventKind;

async fn record(ledger: Ledger) {
    let event = ledger
        .event(EventKind::Deny)
        .text("person", "alice")
        .text("role", "my-role")
        .list("principals", ["ubuntu"]);
    ledger.record(event).await.expect("a durable record");
}

async fn together(ledger: &Ledger, waiters: u64) {
    let mut records = tokio::task::JoinSet::new();
    for _ in 0..waiters {
        records.spawn(record(ledger.clone()));
    }
    while records.join_next().await.is_some() {}
}

fn append(criterion: &mut Criterion) {
    // On the disk of the target folder: `/tmp` is memory on many machines.
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let options = DevOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        root_token: None,
        policies: None,
        // The server makes it, with the mode that it insists on.
        data: Some(data.path().join("data")),
    };
    let dev = open(options, Clock::system()).expect("an authority");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut group = criterion.benchmark_group("append to the ledger");
    for waiters in [1_u64, 16, 256] {
        group.throughput(Throughput::Elements(waiters));
        group.bench_function(format!("{waiters} at a time"), |bencher| {
            bencher.iter(|| runtime.block_on(together(&dev.authority.ledger, waiters)));
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
