//! A list of a million serials, and what a million entries cost.

use std::sync::Arc;
use std::time::Instant;

use signet_core::krl::Krl;
use signet_core::signer::{CaKeyType, Signer as _, SoftwareSigner};
use signet_core::time::UnixTime;

use super::entry::add_all;
use super::{About, Entry, Reach, Revocations};
use crate::barrier::Barrier;
use crate::config::MountConfig;
use crate::keyring::Keyring;
use crate::metrics::Metrics;
use crate::mounts::Mounts;
use crate::signer::KeySources;
use crate::store::sqlite::SqliteStore;

const SERIALS: u64 = 1_000_000;

fn entry(serials: impl IntoIterator<Item = u64>) -> Entry {
    Entry {
        about: About {
            by: "root".to_owned(),
            at: 0,
            reason: "x".to_owned(),
            selector: [].into(),
        },
        reach: Reach {
            authorities: vec![vec![7; 51]],
            serials: serials.into_iter().collect(),
            ..Reach::default()
        },
        hits: 1,
        until: Some(UnixTime::from_secs(1)),
    }
}

/// Scattered so far that neither ranges nor bitmaps help: the longest list there is.
fn scattered() -> impl Iterator<Item = u64> {
    (0..SERIALS).map(|n| (1 << 48) + n * 100_000 + n % 7)
}

#[test]
fn a_million_scattered_serials_are_stored_small_and_read_back() {
    let entry = entry(scattered());
    let json = entry.to_json();
    assert!(json.len() < 7_000_000, "{} bytes", json.len());
    assert_eq!(Entry::from_json(&json), Some(entry));
}

#[test]
fn a_million_entries_of_one_serial_make_a_list_in_no_time() {
    // In an order that would be the worst for a sorted list.
    let entries: Vec<Arc<Entry>> = scattered()
        .step_by(10)
        .enumerate()
        .map(|(index, serial)| (index % 997, serial))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .map(|(_, serial)| Arc::new(entry([serial])))
        .collect();
    let begun = Instant::now();
    let mut krl = Krl::default();
    add_all(&mut krl, entries.iter().map(AsRef::as_ref));
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert!(krl.authorities[&vec![7; 51]].serials.contains(1 << 48));
}

#[tokio::test]
async fn one_more_among_a_million_is_revoked_at_once_and_outlives_a_restart() {
    // A debug build is some twenty times slower.
    let most = if cfg!(debug_assertions) { 5_000 } else { 50 };
    let folder = tempfile::tempdir().unwrap();
    let now = UnixTime::from_secs(1_795_000_000);
    let ca = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    let of = |serials: Vec<u64>| {
        let mut entry = entry(serials);
        entry.reach.authorities = vec![ca.public_key().blob().to_vec()];
        entry
    };
    let open = || {
        let store = Arc::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
        let keyring = Arc::new(Keyring::open(Barrier::new(&[7; 32]).unwrap(), store).unwrap());
        let mounts = Mounts::open(Arc::clone(&keyring), &KeySources::default()).unwrap();
        let revocations = Revocations::open(keyring, &mounts, Metrics::new()).unwrap();
        (mounts, revocations)
    };
    let (mounts, revocations) = open();
    let config = MountConfig {
        path: "ssh".to_owned(),
        description: String::new(),
        ca_key_type: None,
        ca_key: None,
        default_ttl: 60,
        max_ttl: 60,
    };
    let mount = mounts.create(&config).await.unwrap();
    let list = revocations.list(&mount, now).await.unwrap();
    let changing = list.change().await;
    let all = changing.with("all".to_owned(), of(scattered().collect()), now);
    let all = all.await.unwrap();
    changing.commit(all).await.unwrap();
    let mut quickest = u128::MAX;
    for (id, serial) in [("a", 7), ("b", (1 << 48) + 50_000_000_050), ("c", u64::MAX)] {
        let changing = list.change().await;
        let begun = Instant::now();
        let candidate = changing.with(id.to_owned(), of(vec![serial]), now).await.unwrap();
        quickest = quickest.min(begun.elapsed().as_millis());
        changing.commit(candidate).await.unwrap();
    }
    println!("a list of {} bytes in {quickest} ms", list.published().bytes().len());
    assert!(quickest < most, "{quickest} ms");
    let published = list.published();
    assert_eq!((published.version(), published.entries()), (5, 4));
    drop((list, revocations, mount, mounts));
    let (mounts, revocations) = open();
    let again = revocations.made(&mounts.get("ssh").unwrap()).unwrap().published();
    assert_eq!(again.bytes(), published.bytes());
}
