//! Custody on a store that may fail at any write, and on one that was tampered with.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signet_core::time::UnixTime;

use super::{Custody, CustodyError, State};
use crate::barrier::Barrier;
use crate::keyring::{Keyring, KeyringError};
use crate::seal::key_file::{self, KeyFileSeal};
use crate::seal::passphrase::{PassphraseSeal, Source};
use crate::seal::shamir::{Share, ShareError, ShareSeal, ShareSpec};
use crate::seal::{Seal, SealError, SealKind};
use crate::store::sqlite::SqliteStore;
use crate::store::{Change, Receipt, Store, StoreError, Table};

const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

/// A store that fails at one write, before or after it happened: what whoever was killed there leaves behind.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Store>,
    writes_left: AtomicUsize,
    after: bool,
}

impl Store for Faulty {
    fn apply(&self, changes: Vec<Change>) -> Receipt {
        let last = self
            .writes_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_err();
        if !last {
            return self.inner.apply(changes);
        }
        if self.after {
            self.inner.apply(changes).wait().unwrap();
        }
        let (done, receipt) = Receipt::new();
        done.send(Err(StoreError::Gone)).unwrap();
        receipt
    }

    fn scan(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.inner.scan(table)
    }
}

fn store(folder: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&folder.join("store.db")).unwrap())
}

fn spec(n: i64, t: i64) -> ShareSpec {
    ShareSpec::new(n, t).unwrap()
}

fn again(shares: &[Share]) -> Vec<Share> {
    shares
        .iter()
        .map(|share| Share::parse(&share.to_hex()).unwrap())
        .collect()
}

/// A seal that opens by itself, with what it needs in `folder`; `None` for shares.
fn automatic(kind: SealKind, folder: &Path) -> Option<Box<dyn Seal>> {
    match kind {
        SealKind::KeyFile => Some(Box::new(KeyFileSeal::new(folder.join("barrier.key")))),
        SealKind::Passphrase => {
            let path = folder.join("passphrase");
            if !path.exists() {
                crate::secret_file::write_new(&path, b"correct horse battery staple").unwrap();
            }
            Some(Box::new(PassphraseSeal::cheap(Source::File(path))))
        }
        _ => None,
    }
}

/// A store founded under `kind` with a secret in it, and three shares of which two are needed.
fn founded(kind: SealKind, folder: &Path) -> (Arc<dyn Store>, Vec<Share>) {
    let store = store(folder);
    let custody = Custody::new(Arc::clone(&store));
    let founding = match automatic(kind, folder) {
        Some(seal) => custody.found_automatic(seal.as_ref(), Some(spec(3, 2)), NOW).unwrap(),
        None => custody.found_shamir(spec(3, 2), NOW).unwrap(),
    };
    let secret = founding.keyring.seal(Table::Tokens, "a", b"secret").unwrap();
    let (_, shares) = founding.commit(vec![secret]).unwrap();
    (store, shares)
}

fn open(custody: &Custody, kind: SealKind, folder: &Path, shares: &[Share]) -> Result<Keyring, CustodyError> {
    let row = custody.row()?;
    match automatic(kind, folder) {
        Some(seal) => custody.open(&row, seal.as_ref()),
        None => custody.open(&row, &ShareSeal::from_shares(&again(&shares[1..]))?),
    }
}

fn reads_the_secret(keyring: &Keyring) -> bool {
    let rows = keyring.store().scan(Table::Tokens).unwrap();
    rows.iter()
        .any(|(key, value)| key == "a" && keyring.unseal(Table::Tokens, key, value).unwrap().as_slice() == b"secret")
}

fn migrate(
    custody: &Custody,
    (from, to): (SealKind, SealKind),
    folder: &Path,
    shares: &[Share],
) -> Result<Keyring, CustodyError> {
    let row = custody.row()?;
    let resealing = match (automatic(from, folder), automatic(to, folder)) {
        (Some(from), Some(to)) => custody.migrate(&row, from.as_ref(), to.as_ref(), NOW),
        (None, Some(to)) => custody.migrate_from_shares(&row, &again(&shares[..2]), to.as_ref(), NOW),
        (Some(from), None) => custody.migrate_to_shares(&row, from.as_ref(), &again(&shares[..2]), NOW),
        (None, None) => unreachable!("shares to shares is a rekey"),
    };
    resealing?.commit()
}

const KINDS: [SealKind; 3] = [SealKind::KeyFile, SealKind::Passphrase, SealKind::Shamir];

#[test]
fn migration_between_any_two_seals_and_back_survives_a_kill_at_each_write() {
    for from in KINDS {
        for to in KINDS.into_iter().filter(|to| *to != from) {
            for (killed, after) in [(0, false), (0, true), (1, false)] {
                let folder = tempfile::tempdir().unwrap();
                let folder = folder.path();
                let (store, shares) = founded(from, folder);
                let name = format!("{from:?} to {to:?}, write {killed}, after: {after}");
                let faulty = Custody::new(Arc::new(Faulty {
                    inner: Arc::clone(&store),
                    writes_left: AtomicUsize::new(killed),
                    after,
                }));
                let migrated = migrate(&faulty, (from, to), folder, &shares);
                // A migration is one write, so a kill at the second comes too late.
                assert_eq!(migrated.is_ok(), killed == 1, "{name}");
                let custody = Custody::new(Arc::clone(&store));
                let stands = custody.row().unwrap().kind().unwrap();
                assert_eq!(stands, if killed == 1 || after { to } else { from }, "{name}");
                assert!(
                    reads_the_secret(&open(&custody, stands, folder, &shares).unwrap()),
                    "{name}"
                );
                if stands == from {
                    migrate(&custody, (from, to), folder, &shares).unwrap();
                }
                assert!(
                    reads_the_secret(&open(&custody, to, folder, &shares).unwrap()),
                    "{name}"
                );
                let back = migrate(&custody, (to, from), folder, &shares).unwrap();
                assert!(reads_the_secret(&back), "{name} and back");
                let opened = open(&custody, from, folder, &shares).unwrap();
                custody.prove(&opened, &again(&shares[..2])).unwrap();
            }
        }
    }
}

#[test]
fn the_old_seal_opens_nothing_after_a_migration() {
    let folder = tempfile::tempdir().unwrap();
    let (store, shares) = founded(SealKind::KeyFile, folder.path());
    let custody = Custody::new(store);
    let before = custody.row().unwrap();
    migrate(
        &custody,
        (SealKind::KeyFile, SealKind::Passphrase),
        folder.path(),
        &shares,
    )
    .unwrap();
    let old = automatic(SealKind::KeyFile, folder.path()).unwrap();
    assert!(matches!(
        custody.open(&custody.row().unwrap(), old.as_ref()).unwrap_err(),
        CustodyError::OtherSeal {
            found: SealKind::Passphrase,
            configured: SealKind::KeyFile
        }
    ));
    // Not even with the row of before: the keyring is under another root key.
    assert!(matches!(
        custody.open(&before, old.as_ref()).unwrap_err(),
        CustodyError::Keyring(KeyringError::NotThisRoot)
    ));
}

#[test]
fn a_store_of_before_there_were_terms_is_taken_over_without_loss() {
    for (killed, after) in [(0, false), (0, true), (1, false)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("barrier.key");
        let key = key_file::create(&path).unwrap();
        let barrier = Barrier::new(&*key).unwrap();
        let store = store(folder.path());
        let old = |table: Table, key: &str, secret: &[u8]| {
            let sealed = barrier.encrypt(&format!("{}/{key}", table.as_str()), secret).unwrap();
            assert_eq!(sealed[0], 1);
            Change::Put(table, key.to_owned(), sealed)
        };
        let rows = vec![
            old(Table::Settings, "barrier-check", b"signet"),
            old(Table::Tokens, "a", b"secret"),
        ];
        store.apply(rows).wait().unwrap();
        let faulty = Custody::new(Arc::new(Faulty {
            inner: Arc::clone(&store),
            writes_left: AtomicUsize::new(killed),
            after,
        }));
        let seal = KeyFileSeal::new(path);
        let State::BeforeTerms(check) = faulty.state().unwrap() else {
            panic!("an old store");
        };
        assert_eq!(faulty.take_over(&seal, &check, NOW).is_ok(), killed == 1);
        let custody = Custody::new(Arc::clone(&store));
        if let State::BeforeTerms(check) = custody.state().unwrap() {
            assert!(!after);
            custody.take_over(&seal, &check, NOW).unwrap();
        }
        let keyring = custody.open(&custody.row().unwrap(), &seal).unwrap();
        assert!(reads_the_secret(&keyring));
        assert_eq!(keyring.newest().unwrap().term, 2);
    }
}

#[test]
fn another_key_file_takes_nothing_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let check = Barrier::new(&[7; 32])
        .unwrap()
        .encrypt("settings/barrier-check", b"signet")
        .unwrap();
    store
        .apply(vec![Change::Put(
            Table::Settings,
            "barrier-check".to_owned(),
            check.clone(),
        )])
        .wait()
        .unwrap();
    let path = folder.path().join("barrier.key");
    let custody = Custody::new(store);
    let seal = KeyFileSeal::new(path.clone());
    assert!(matches!(
        custody.take_over(&seal, &check, NOW).unwrap_err(),
        CustodyError::Seal(SealError::Unavailable { .. })
    ));
    key_file::create(&path).unwrap();
    assert!(matches!(
        custody.take_over(&seal, &check, NOW).unwrap_err(),
        CustodyError::Keyring(KeyringError::WrongKey)
    ));
    assert!(matches!(
        custody.found_automatic(&seal, None, NOW).unwrap_err(),
        CustodyError::AlreadyInitialised
    ));
}

#[test]
fn a_rekey_with_verification_keeps_the_old_shares_until_the_new_ones_are_proved() {
    for (killed, after) in [(0, false), (0, true), (1, false), (1, true), (2, false)] {
        let folder = tempfile::tempdir().unwrap();
        let (store, old) = founded(SealKind::Shamir, folder.path());
        let keyring = open(&Custody::new(Arc::clone(&store)), SealKind::Shamir, folder.path(), &old).unwrap();
        let faulty = Custody::new(Arc::new(Faulty {
            inner: Arc::clone(&store),
            writes_left: AtomicUsize::new(killed),
            after,
        }));
        let custody = Custody::new(Arc::clone(&store));
        let Ok(rekeyed) = faulty.rekey(&keyring, &again(&old[..2]), spec(5, 3), Some("the rekey"), NOW) else {
            // The new shares reached nobody; the old ones open, and the rekey can be given up.
            assert_eq!(killed, 0);
            assert_eq!(custody.pending_rekey().unwrap().is_some(), after);
            custody.cancel_rekey().unwrap();
            assert!(reads_the_secret(
                &open(&custody, SealKind::Shamir, folder.path(), &old).unwrap()
            ));
            continue;
        };
        let new = rekeyed.shares;
        let opens = |shares: &[Share]| open(&custody, SealKind::Shamir, folder.path(), shares).is_ok();
        assert!(opens(&old) && !opens(&new));
        // A kill and a restart in between: the old shares open, the verification goes on.
        let waiting = custody.pending_rekey().unwrap().unwrap();
        assert_eq!(
            waiting.rekey, "the rekey",
            "whoever noted its nonce can still cancel it"
        );
        assert_eq!(
            (Some(waiting.verification), waiting.set),
            (rekeyed.verification, rekeyed.set)
        );
        let keyring = open(&custody, SealKind::Shamir, folder.path(), &old).unwrap();
        assert!(matches!(
            custody.verify_rekey(&keyring, &again(&old[..2]), NOW).unwrap_err(),
            CustodyError::Share(ShareError::DoNotOpen)
        ));
        custody.verify_rekey(&keyring, &again(&new[1..4]), NOW).unwrap();
        assert!(reads_the_secret(&keyring), "the keyring in use goes on");
        keyring.rotate(NOW).unwrap();
        assert!(opens(&new) && !opens(&old));
        assert!(custody.pending_rekey().unwrap().is_none());
    }
}

#[test]
fn a_pending_split_that_somebody_wrote_into_the_store_never_comes_into_force() {
    let folder = tempfile::tempdir().unwrap();
    let (store, old) = founded(SealKind::Shamir, folder.path());
    let custody = Custody::new(Arc::clone(&store));
    let keyring = open(&custody, SealKind::Shamir, folder.path(), &old).unwrap();
    let (seal, set, shares) = ShareSeal::generate(spec(2, 2)).unwrap();
    let root = crate::seal::RootKey::generate().unwrap();
    let waiting = super::Waiting {
        rekey: "r".to_owned(),
        verification: "n".to_owned(),
        set,
    };
    let pending = super::Pending::new(waiting, &seal.wrap(&root).unwrap());
    let row = custody.row().unwrap().with_pending(Some(pending));
    store.apply(vec![row.change()]).wait().unwrap();
    assert!(matches!(
        custody.verify_rekey(&keyring, &shares, NOW).unwrap_err(),
        CustodyError::Keyring(KeyringError::NotThisRoot)
    ));
    assert!(open(&custody, SealKind::Shamir, folder.path(), &old).is_ok());
}

#[test]
fn shares_of_another_split_too_few_and_forged_ones_are_clear_errors() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, shares) = founded(SealKind::Shamir, one.path());
    let (_, strangers) = founded(SealKind::Shamir, two.path());
    let custody = Custody::new(store);
    let row = custody.row().unwrap();
    let error = |shares: &[Share]| match ShareSeal::from_shares(shares) {
        Ok(seal) => custody.open(&row, &seal).unwrap_err(),
        Err(error) => error.into(),
    };
    assert!(matches!(
        error(&again(&strangers[..2])),
        CustodyError::Share(ShareError::DoNotOpen)
    ));
    assert!(matches!(
        error(&again(&shares[..1])),
        CustodyError::Share(ShareError::TooFew)
    ));
    let mixed = [again(&shares[..1]), again(&strangers[1..2])].concat_shares();
    assert!(matches!(error(&mixed), CustodyError::Share(ShareError::OtherSet)));
}

trait ConcatShares {
    fn concat_shares(self) -> Vec<Share>;
}

impl ConcatShares for [Vec<Share>; 2] {
    fn concat_shares(self) -> Vec<Share> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn recovery_keys_prove_but_do_not_open_and_nobody_puts_in_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (store, shares) = founded(SealKind::KeyFile, folder.path());
    let custody = Custody::new(Arc::clone(&store));
    let keyring = open(&custody, SealKind::KeyFile, folder.path(), &shares).unwrap();
    custody.prove(&keyring, &again(&shares[..2])).unwrap();
    let seal = ShareSeal::from_shares(&again(&shares[..2])).unwrap();
    assert!(custody.open(&custody.row().unwrap(), &seal).is_err());
    // Whoever writes the store only: a set of their own in the plain row changes nothing.
    let (_, set, theirs) = ShareSeal::generate(spec(1, 1)).unwrap();
    let row = custody.row().unwrap().with_recovery(Some(set));
    store.apply(vec![row.change()]).wait().unwrap();
    assert!(matches!(
        custody.prove(&keyring, &theirs).unwrap_err(),
        CustodyError::Share(ShareError::OtherSet)
    ));
    let (recovery, new) = custody.make_recovery(spec(2, 2)).unwrap();
    custody.set_recovery(&keyring, recovery).unwrap();
    custody.prove(&keyring, &again(&new)).unwrap();
    assert!(custody.prove(&keyring, &again(&shares[..2])).is_err());
}

fn setting(store: &Arc<dyn Store>, name: &str) -> Vec<u8> {
    let rows = store.scan(Table::Settings).unwrap();
    rows.into_iter().find(|(key, _)| key == name).unwrap().1
}

fn put(store: &Arc<dyn Store>, name: &str, value: Vec<u8>) {
    store
        .apply(vec![Change::Put(Table::Settings, name.to_owned(), value)])
        .wait()
        .unwrap();
}

#[test]
fn altered_truncated_and_rolled_back_stores_are_clear_errors_and_nothing_is_founded_over_them() {
    let folder = tempfile::tempdir().unwrap();
    let (store, shares) = founded(SealKind::KeyFile, folder.path());
    let custody = Custody::new(Arc::clone(&store));
    let (seal, keyring) = (setting(&store, "seal"), setting(&store, "keyring"));
    let opened = || open(&custody, SealKind::KeyFile, folder.path(), &shares);
    for index in 0..keyring.len() {
        let mut flipped = keyring.clone();
        flipped[index] ^= 1;
        put(&store, "keyring", flipped);
        assert!(matches!(
            opened().unwrap_err(),
            CustodyError::Keyring(KeyringError::NotThisRoot)
        ));
    }
    put(&store, "keyring", keyring[..20].to_vec());
    assert!(opened().is_err());
    put(&store, "keyring", keyring.clone());
    for broken in [&b"{"[..], b"", br#"{"version":9,"kind":"key-file","wrapped":""}"#] {
        put(&store, "seal", broken.to_vec());
        assert!(matches!(custody.state().unwrap_err(), CustodyError::RowBroken));
    }
    let text = String::from_utf8(seal.clone()).unwrap();
    let mut row: serde_json::Value = serde_json::from_slice(&seal).unwrap();
    let mut wrapped = row["wrapped"].as_str().unwrap().to_owned().into_bytes();
    wrapped[40] = if wrapped[40] == b'A' { b'B' } else { b'A' };
    row["wrapped"] = String::from_utf8(wrapped).unwrap().into();
    put(&store, "seal", row.to_string().into_bytes());
    assert!(matches!(
        opened().unwrap_err(),
        CustodyError::Seal(SealError::WrongKey { .. })
    ));
    put(&store, "seal", text.replace("key-file", "abacus").into_bytes());
    assert!(matches!(opened().unwrap_err(), CustodyError::RowBroken));
    // A part that is older than the rest, and parts that are lost.
    put(&store, "seal", seal.clone());
    migrate(
        &custody,
        (SealKind::KeyFile, SealKind::Passphrase),
        folder.path(),
        &shares,
    )
    .unwrap();
    put(&store, "seal", seal);
    assert!(matches!(
        opened().unwrap_err(),
        CustodyError::Keyring(KeyringError::NotThisRoot)
    ));
    put(&store, "keyring", keyring);
    assert!(
        reads_the_secret(&opened().unwrap()),
        "a whole backup opens under the seal it was made with"
    );
    let lose = |name: &str| {
        store
            .apply(vec![Change::Delete(Table::Settings, name.to_owned())])
            .wait()
            .unwrap();
    };
    lose("keyring");
    assert!(matches!(
        opened().unwrap_err(),
        CustodyError::Keyring(KeyringError::Missing)
    ));
    lose("seal");
    lose("barrier-check");
    assert!(
        matches!(custody.state().unwrap_err(), CustodyError::SealLost),
        "tokens are left"
    );
}
