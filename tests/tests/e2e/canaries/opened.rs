//! What lies in a store, for whoever can open its seal: the secrets of the server itself, which no other test can know.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use signet_ca::barrier::Barrier;
use signet_ca::custody::Custody;
use signet_ca::keyring::Keyring;
use signet_ca::seal::Seal;
use signet_ca::seal::shamir::{Share, ShareSeal};
use signet_ca::store::sqlite::SqliteStore;
use signet_ca::store::{Store, Table};
use signet_tests::canary::Canaries;
use signet_tests::workdir::{Workdir, copy_folder};

/// Adds root key, keyring and every private key in the store of a data folder, which must be at rest.
pub(super) fn add_secrets_of(data: &Path, seal: &dyn Seal, canaries: &mut Canaries) {
    let folder = Workdir::new();
    copy_folder(data, folder.path());
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("store.db")).expect("the store"));
    let row = Custody::new(Arc::clone(&store)).row().expect("the seal's row");
    let root = seal
        .unwrap(&row.wrapped().expect("a wrapped key"))
        .expect("the root key");
    canaries.add("root key", root.expose());

    let settings = store.scan(Table::Settings).expect("settings");
    let (_, sealed) = settings.iter().find(|(key, _)| key == "keyring").expect("a keyring");
    let barrier = Barrier::new(root.expose()).expect("32 bytes");
    let json: Value =
        serde_json::from_slice(&barrier.decrypt("settings/keyring", sealed).expect("the keyring")).expect("JSON");
    for term in json["terms"].as_array().expect("terms") {
        let key = STANDARD.decode(term["key"].as_str().expect("a key")).expect("base64");
        canaries.add(&format!("key of term {}", term["term"]), &key);
    }

    let keyring = Keyring::unlock(&root, Arc::clone(&store)).expect("the keyring");
    let mut keys: Vec<(String, Vec<u8>)> = Vec::new();
    for (row, sealed) in store.scan(Table::CaKeys).expect("CA keys") {
        keys.push((
            "CA key".to_owned(),
            keyring.unseal(Table::CaKeys, &row, &sealed).expect("a key").to_vec(),
        ));
    }
    for (row, sealed) in settings.iter().filter(|(key, _)| key == "bundle-key") {
        keys.push((
            "bundle key".to_owned(),
            keyring.unseal(Table::Settings, row, sealed).expect("a key").to_vec(),
        ));
    }
    for (what, secret) in keys {
        let newline = secret.iter().position(|byte| *byte == b'\n').expect("its type");
        let kind = String::from_utf8_lossy(&secret[..newline]).into_owned();
        add_private(&format!("{what} {kind}"), &secret[newline + 1..], canaries);
    }
}

/// The seal that key shares, as they are printed, make together.
pub(super) fn shares(printed: &[String]) -> ShareSeal {
    let shares: Vec<Share> = printed
        .iter()
        .map(|share| Share::parse(share).expect("a share"))
        .collect();
    ShareSeal::from_shares(&shares).expect("the seal")
}

/// Adds what is private in the DER of a key, PKCS#8 or the older forms.
pub(super) fn add_private(name: &str, der: &[u8], canaries: &mut Canaries) {
    let parts = private_parts(der);
    assert!(!parts.is_empty(), "{name}");
    for (index, part) in parts.iter().enumerate() {
        canaries.add_number(&format!("{name}, part {index}"), part);
    }
}

/// The document in a PEM file.
pub(super) fn of_pem(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(body).expect("base64")
}

/// The numbers of it that are private: of RSA all but the modulus, of the others the one there is.
fn private_parts(der: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    walk(der, &mut parts);
    if parts.len() > 1 {
        parts.remove(0);
    }
    parts
}

fn walk(mut der: &[u8], parts: &mut Vec<Vec<u8>>) {
    while let [tag, length, rest @ ..] = der {
        let (length, rest) = match length {
            0x81 => (usize::from(rest[0]), &rest[1..]),
            0x82 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            short => (usize::from(*short), rest),
        };
        let (content, next) = rest.split_at(length);
        match tag {
            // The sizes of scalars and of an Ed25519 seed; what is longer holds DER again.
            0x04 if [32, 48, 66].contains(&length) => parts.push(content.to_vec()),
            0x30 | 0x04 => walk(content, parts),
            0x02 if length > 16 => parts.push(content.to_vec()),
            _ => {}
        }
        der = next;
    }
}
