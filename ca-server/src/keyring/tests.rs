//! Terms: what a rotation, a seal and a store that was tampered with leave readable.

use std::sync::Arc;

use signet_core::time::UnixTime;
use zeroize::Zeroizing;

use super::{Keyring, KeyringError, Stored};
use crate::barrier::{Barrier, BarrierError};
use crate::seal::RootKey;
use crate::store::sqlite::SqliteStore;
use crate::store::{Change, Store, Table};

const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

fn root(byte: u8) -> RootKey {
    RootKey::new(Zeroizing::new([byte; 32]))
}

fn store(folder: &std::path::Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&folder.join("store.db")).unwrap())
}

fn found(store: &Arc<dyn Store>) -> Keyring {
    let stored = Stored::new(NOW, None).unwrap();
    let (keyring, changes) = Keyring::found(&stored, &root(1), Arc::clone(store)).unwrap();
    store.apply(changes).wait().unwrap();
    keyring
}

fn sealed(keyring: &Keyring, key: &str, text: &[u8]) -> Vec<u8> {
    match keyring.seal(Table::Tokens, key, text).unwrap() {
        Change::Put(_, _, value) => value,
        Change::Delete(..) => panic!("a put"),
    }
}

#[test]
fn what_was_sealed_before_a_rotation_stays_readable_after_it_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let keyring = found(&store);
    let old = sealed(&keyring, "a", b"old");
    assert_eq!(old[..5], [2, 0, 0, 0, 1]);
    let term = keyring.rotate(NOW).unwrap();
    assert_eq!((term.term, keyring.newest().unwrap().term), (2, 2));
    let new = sealed(&keyring, "b", b"new");
    assert_eq!(new[..5], [2, 0, 0, 0, 2]);
    for keyring in [keyring, Keyring::unlock(&root(1), Arc::clone(&store)).unwrap()] {
        assert_eq!(&**keyring.unseal(Table::Tokens, "a", &old).unwrap(), b"old");
        assert_eq!(&**keyring.unseal(Table::Tokens, "b", &new).unwrap(), b"new");
        assert!(keyring.unseal(Table::Tokens, "b", &old).is_err(), "moved");
    }
    assert!(matches!(
        Keyring::unlock(&root(2), store).unwrap_err(),
        KeyringError::NotThisRoot
    ));
}

#[test]
fn every_flipped_or_missing_byte_and_a_term_of_the_future_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = found(&store(folder.path()));
    keyring.rotate(NOW).unwrap();
    let value = sealed(&keyring, "a", b"secret");
    for index in 0..value.len() {
        let mut flipped = value.clone();
        flipped[index] ^= 3;
        assert!(keyring.unseal(Table::Tokens, "a", &flipped).is_err(), "byte {index}");
        assert!(
            keyring.unseal(Table::Tokens, "a", &value[..index]).is_err(),
            "cut at {index}"
        );
    }
    let mut future = value;
    future[4] = 9;
    assert!(matches!(
        keyring.unseal(Table::Tokens, "a", &future).unwrap_err(),
        BarrierError::UnknownTerm { term: 9, newest: 2, .. }
    ));
}

#[test]
fn a_value_of_before_there_were_terms_opens_under_term_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let old = Barrier::new(&[7; 32]).unwrap().encrypt("tokens/a", b"old").unwrap();
    let stored = Stored::taking_over(&[7; 32], NOW).unwrap();
    let (keyring, _changes) = Keyring::found(&stored, &root(1), store).unwrap();
    assert_eq!(&**keyring.unseal(Table::Tokens, "a", &old).unwrap(), b"old");
    assert_eq!(
        sealed(&keyring, "a", b"new")[..5],
        [2, 0, 0, 0, 2],
        "the key file's key seals nothing new"
    );
}

#[test]
fn a_forgotten_keyring_opens_nothing_for_whoever_still_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = found(&store(folder.path()));
    let value = sealed(&keyring, "a", b"secret");
    keyring.forget();
    assert_eq!(
        keyring.unseal(Table::Tokens, "a", &value).unwrap_err(),
        BarrierError::Sealed
    );
    assert!(keyring.rotate(NOW).is_err());
}
