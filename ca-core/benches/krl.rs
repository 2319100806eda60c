//! What revocation lists cost: `cargo bench -p signet-core --bench krl`.
//!
//! The bare signature stands first: it is the unit that the others are read in.

#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "a benchmark stops by panicking, and criterion's macros make undocumented items"
)]

use std::hint::black_box;

use aws_lc_rs::signature::Ed25519KeyPair;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use signet_core::krl::{Krl, SerialSet, Subject};
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFg4PHvjQCnTy2OOhtTJjFUNhO2fN6wIYbQf58DB3Y6q";
const MILLION: u64 = 1_000_000;

fn ca() -> SubjectKey {
    SubjectKey::parse(KEY).expect("a key")
}

/// Serials that look random and are the same each time.
fn random() -> impl Iterator<Item = u64> {
    (1..=MILLION).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1 | 1)
}

fn list(serials: impl IntoIterator<Item = u64>) -> Krl {
    let mut krl = Krl::new(1, UnixTime::from_secs(1_800_000_000), "");
    krl.authority(&ca()).serials.extend(serials);
    krl
}

fn krl(criterion: &mut Criterion) {
    let bare = Ed25519KeyPair::generate().expect("a key");
    let message = [7_u8; 440];
    criterion.bench_function("bare Ed25519 signature of 440 bytes", |bencher| {
        bencher.iter(|| black_box(bare.sign(black_box(&message))));
    });
    let mut group = criterion.benchmark_group("a million serials");
    group.sample_size(10);
    group.bench_function("collect random ones", |bencher| {
        bencher.iter(|| random().collect::<SerialSet>());
    });
    for (name, krl) in [
        ("random", list(random())),
        ("every second", list((1..=MILLION).map(|n| n * 2))),
        ("contiguous", list(1..=MILLION)),
    ] {
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| black_box(&krl).encode());
        });
        let bytes = krl.encode();
        group.bench_function(format!("parse {name}"), |bencher| {
            bencher.iter(|| Krl::parse(black_box(&bytes)).expect("a list"));
        });
        group.bench_function(format!("revoke one more and encode {name}"), |bencher| {
            bencher.iter_batched(
                || krl.clone(),
                |mut krl| {
                    krl.authority(&ca()).serials.insert(MILLION * 3 / 2 + 1);
                    let bytes = krl.encode();
                    (krl, bytes)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    let (ca, krl) = (ca(), list(random()));
    let subject = Subject {
        ca_key: ca.blob(),
        serial: 12_345,
        key_id: "alice",
        subject_key: ca.blob(),
    };
    criterion.bench_function("look a certificate up among a million serials", |bencher| {
        bencher.iter(|| krl.hit(black_box(subject)));
    });
}

criterion_group!(benches, krl);
criterion_main!(benches);
