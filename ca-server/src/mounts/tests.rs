//! Mounts: paths, keys and roles, before and after a restart.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signet_core::role::{Role, RoleSource};
use signet_core::signer::{CaKeyType, Signer as _, SoftwareSigner};
use signet_core::time::UnixTime;
use signet_core::vault_value::Fields;

use super::{Created, IssuerConflict, MountError, Mounts, State, check_path};
use crate::barrier::Barrier;
use crate::config::MountConfig;
use crate::keyring::{Keyring, KeyringError};
use crate::signer::KeySources;
use crate::store::sqlite::{SqliteStore, connect};
use crate::store::{Change, Receipt, Store, StoreError, Table};

fn keyring(folder: &Path, key: u8) -> Result<Arc<Keyring>, KeyringError> {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.join("store.db")).unwrap());
    Keyring::open(Barrier::new(&[key; 32]).unwrap(), store).map(Arc::new)
}

fn config(path: &str) -> MountConfig {
    MountConfig {
        path: path.into(),
        description: "d".into(),
        ca_key: None,
        ca_key_type: None,
        default_ttl: 60,
        max_ttl: 120,
    }
}

fn role(name: &str) -> Role {
    let json = br#"{"allow_user_certificates":true,"allowed_users":"*","default_extensions":[{"permit-pty":""}],"key_type":"ca","default_user":"ubuntu","ttl":"30m0s"}"#;
    Role::from_vault_json(name, "team/ssh", &Fields::from_json(json).unwrap(), RoleSource::Api).unwrap()
}

#[tokio::test]
async fn mount_key_and_role_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = Mounts::open(keyring(folder.path(), 7).unwrap(), &KeySources::default()).unwrap();
    let mount = mounts.create(&config("team/ssh")).await.unwrap();
    let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    let public = signer.public_line();
    assert_eq!(mount.set_signer(signer).await.unwrap(), Created::Created);
    let second = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    assert_eq!(
        mount.set_signer(second).await.unwrap(),
        Created::AlreadyConfigured,
        "never replaced"
    );
    mount.put_role(role("my-role")).await.unwrap();
    mount.tune(None, Some(30), None).await.unwrap();
    let before = mount.role("my-role").unwrap().vault_fields();
    let mounts = Mounts::open(keyring(folder.path(), 7).unwrap(), &KeySources::default()).unwrap();
    let (mount, rest) = mounts.split("team/ssh/sign/my-role").unwrap();
    assert_eq!((rest, mount.default_ttl(), mount.max_ttl()), ("sign/my-role", 30, 120));
    assert_eq!(mount.signer().unwrap().public_line(), public);
    assert_eq!(mount.role("my-role").unwrap().vault_fields(), before);
    assert!(mount.delete_role("my-role").await.unwrap() && mount.delete_signer().await.unwrap());
    assert!(mounts.delete("team/ssh").await.unwrap());
    let reopened = Mounts::open(keyring(folder.path(), 7).unwrap(), &KeySources::default()).unwrap();
    assert!(reopened.list().is_empty() && reopened.split("team/ssh/sign/x").is_none());
}

#[tokio::test]
async fn a_deleted_mount_leaves_no_key_and_signs_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(folder.path(), 7).unwrap();
    let mounts = Mounts::open(Arc::clone(&keyring), &KeySources::default()).unwrap();
    let mount = mounts.create(&config("ssh")).await.unwrap();
    mount
        .set_signer(SoftwareSigner::generate(CaKeyType::Ed25519).unwrap())
        .await
        .unwrap();
    mount.put_role(role("a")).await.unwrap();
    // Its revocations go with it, and nobody else's.
    let other = "of-another/one".to_owned();
    let rows = [format!("{}/one", mount.uuid()), other.clone()];
    let rows = rows.map(|key| keyring.seal(Table::Revocations, &key, b"{}").unwrap());
    keyring.store().apply(rows.to_vec()).durable().await.unwrap();
    mounts.delete("ssh").await.unwrap();
    assert!(mount.signer().is_none(), "also for a request that holds it");
    for table in [Table::Mounts, Table::CaKeys, Table::Roles] {
        assert_eq!(keyring.store().scan(table).unwrap(), [], "{table:?}");
    }
    let left = keyring.store().scan(Table::Revocations).unwrap();
    let left: Vec<String> = left.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, [other]);
}

#[tokio::test]
async fn what_is_written_to_a_deleted_mount_does_not_keep_the_store_from_opening() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(folder.path(), 7).unwrap();
    let mounts = Mounts::open(Arc::clone(&keyring), &KeySources::default()).unwrap();
    // As a request that makes an RSA key for seconds holds it.
    let held = mounts.create(&config("ssh")).await.unwrap();
    mounts.delete("ssh").await.unwrap();
    let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    for refused in [
        held.set_signer(signer).await.map(|_| ()),
        held.put_role(role("a")).await,
        held.tune(None, Some(60), None).await,
    ] {
        assert!(matches!(refused, Err(MountError::Deleted { .. })), "{refused:?}");
    }
    assert!(held.signer().is_none());
    assert!(Mounts::open(keyring, &KeySources::default()).unwrap().list().is_empty());
}

#[tokio::test]
async fn overlapping_and_odd_paths_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = Mounts::open(keyring(folder.path(), 7).unwrap(), &KeySources::default()).unwrap();
    mounts.create(&config("team/ssh")).await.unwrap();
    for used in ["team/ssh", "team", "team/ssh/sign"] {
        assert!(
            matches!(
                mounts.create(&config(used)).await.unwrap_err(),
                MountError::InUse { .. }
            ),
            "{used}"
        );
    }
    mounts.create(&config("team/ssh2")).await.unwrap();
    for odd in [
        "", "/ssh", "ssh/", "a//b", "a/../b", "sys", "sys/x", "auth/x", "a b", "ä", "a%2fb", ".",
    ] {
        assert!(check_path(odd).is_err(), "{odd}");
    }
}

#[tokio::test]
async fn rows_of_the_store_cannot_change_places() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = Mounts::open(keyring(folder.path(), 7).unwrap(), &KeySources::default()).unwrap();
    for path in ["dev", "prod"] {
        let mount = mounts.create(&config(path)).await.unwrap();
        mount.put_role(role("narrow")).await.unwrap();
        mount.put_role(role("wide")).await.unwrap();
        let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
        mount.set_signer(signer).await.unwrap();
    }
    let database = connect(&folder.path().join("store.db")).unwrap();
    for table in ["mounts", "roles", "ca_keys"] {
        let copied = format!(
            "UPDATE {table} SET value = (SELECT value FROM {table} ORDER BY key DESC LIMIT 1)
             WHERE key = (SELECT key FROM {table} ORDER BY key LIMIT 1)"
        );
        database.execute_batch("BEGIN").unwrap();
        let first = "(SELECT key FROM {} ORDER BY key LIMIT 1)".replace("{}", table);
        let kept: Vec<u8> = database
            .query_row(&format!("SELECT value FROM {table} WHERE key = {first}"), [], |row| {
                row.get(0)
            })
            .unwrap();
        database.execute_batch(&copied).unwrap();
        database.execute_batch("COMMIT").unwrap();
        let error = Mounts::open(keyring(folder.path(), 7).unwrap(), &KeySources::default()).unwrap_err();
        assert!(matches!(error, MountError::Barrier(_)), "{table}: {error}");
        let back = format!("UPDATE {table} SET value = ?1 WHERE key = {first}");
        database.execute(&back, [&kept]).unwrap();
    }
    assert_eq!(
        Mounts::open(keyring(folder.path(), 7).unwrap(), &KeySources::default())
            .unwrap()
            .list()
            .len(),
        2
    );
}

#[tokio::test]
async fn another_key_file_or_a_flipped_byte_is_a_clear_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = Mounts::open(keyring(folder.path(), 7).unwrap(), &KeySources::default()).unwrap();
    let mount = mounts.create(&config("ssh")).await.unwrap();
    mount
        .set_signer(SoftwareSigner::generate(CaKeyType::Ed25519).unwrap())
        .await
        .unwrap();
    assert!(matches!(keyring(folder.path(), 8).unwrap_err(), KeyringError::WrongKey));
    let database = connect(&folder.path().join("store.db")).unwrap();
    let sealed: Vec<u8> = database
        .query_row("SELECT value FROM ca_keys", [], |row| row.get(0))
        .unwrap();
    let mut flipped = sealed.clone();
    *flipped.last_mut().unwrap() ^= 1;
    database.execute("UPDATE ca_keys SET value = ?1", [&flipped]).unwrap();
    let error = Mounts::open(keyring(folder.path(), 7).unwrap(), &KeySources::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the sealed value at `ca_keys/{}/{}` does not open: it was altered, moved, or belongs to another keyring",
            mount.uuid(),
            mount.default_issuer().unwrap().id()
        )
    );
    database.execute("UPDATE ca_keys SET value = ?1", [&sealed]).unwrap();
    assert!(
        Mounts::open(keyring(folder.path(), 7).unwrap(), &KeySources::default())
            .unwrap()
            .get("ssh")
            .unwrap()
            .signer()
            .is_some()
    );
}

/// A store whose next change fails while it is armed.
#[derive(Debug)]
struct Failing {
    store: SqliteStore,
    armed: AtomicBool,
}

impl Store for Failing {
    fn apply(&self, changes: Vec<Change>) -> Receipt {
        if self.armed.swap(false, Ordering::SeqCst) {
            let (sender, receipt) = Receipt::new();
            drop(sender.send(Err(StoreError::Gone)));
            return receipt;
        }
        self.store.apply(changes)
    }

    fn scan(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.scan(table)
    }
}

fn states(mounts: &Mounts) -> Vec<State> {
    let issuers = mounts.get("ssh").unwrap().issuers();
    issuers.iter().map(|issuer| issuer.state()).collect()
}

#[tokio::test]
async fn a_step_of_a_rotation_that_cannot_be_stored_changed_nothing_and_can_be_done_again() {
    use State::{Default, Published, Retired, Staged};
    let folder = tempfile::tempdir().unwrap();
    let failing = Arc::new(Failing {
        store: SqliteStore::open(&folder.path().join("store.db")).unwrap(),
        armed: AtomicBool::new(false),
    });
    let store: Arc<dyn Store> = failing.clone();
    let keyring = Arc::new(Keyring::open(Barrier::new(&[7; 32]).unwrap(), store).unwrap());
    let open = || Mounts::open(Arc::clone(&keyring), &KeySources::default()).unwrap();
    let mounts = open();
    let mount = mounts.create(&config("ssh")).await.unwrap();
    let key = || SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    let now = UnixTime::from_secs(100);
    let mut before = Vec::new();
    for (step, after) in [
        ("first", vec![Default]),
        ("stage", vec![Default, Staged]),
        ("publish", vec![Default, Published]),
        ("promote", vec![Published, Default]),
        ("retire", vec![Retired, Default]),
        ("remove", vec![Default]),
    ] {
        let step_of = async || {
            let issuers = mount.issuers();
            let id = |index: usize| {
                issuers
                    .get(index)
                    .map(|issuer| issuer.id().to_owned())
                    .unwrap_or_default()
            };
            match step {
                "first" => mount.add_issuer(key(), "", Default, now).await.map(|_| ()),
                "stage" => mount.add_issuer(key(), "next", Staged, now).await.map(|_| ()),
                "publish" => mount.publish(&id(1), now).await,
                "promote" => mount.promote(&id(1), now).await,
                "retire" => mount.retire(&id(0), now, now.plus(9)).await,
                _ => mount.remove_issuer(&id(0), Retired).await,
            }
        };
        failing.armed.store(true, Ordering::SeqCst);
        assert!(step_of().await.is_err(), "{step}");
        assert_eq!(states(&mounts), before, "{step} in memory");
        assert_eq!(states(&open()), before, "{step} in the store");
        step_of().await.unwrap();
        assert_eq!(states(&mounts), after, "{step}");
        assert_eq!(states(&open()), after, "{step} after a restart");
        before = after;
    }
    assert_eq!(
        keyring.store().scan(Table::CaKeys).unwrap().len(),
        1,
        "the old key is gone"
    );
    let again = mount.promote(mount.issuers()[0].id(), now).await;
    assert!(matches!(again, Err(MountError::Issuer(IssuerConflict::Changed))));
}

#[tokio::test]
async fn the_one_key_of_an_older_store_becomes_the_default_issuer() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(folder.path(), 7).unwrap();
    let mounts = Mounts::open(Arc::clone(&keyring), &KeySources::default()).unwrap();
    let mount = mounts.create(&config("ssh")).await.unwrap();
    let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    let row = keyring
        .seal(Table::CaKeys, mount.uuid(), &signer.to_secret().unwrap())
        .unwrap();
    keyring.store().apply(vec![row]).durable().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mounts = Mounts::open(Arc::clone(&keyring), &KeySources::default()).unwrap();
        let issuer = mounts.get("ssh").unwrap().default_issuer().unwrap();
        assert_eq!(issuer.signer().public_line(), signer.public_line());
        ids.push(issuer.id().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    let rows = keyring.store().scan(Table::CaKeys).unwrap();
    let keys: Vec<&str> = rows.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, [format!("{}/{}", mount.uuid(), ids[0])]);
}

#[tokio::test]
async fn the_one_key_of_an_older_store_stays_where_it_lies_when_it_becomes_an_issuer() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = keyring(folder.path(), 7).unwrap();
    let mounts = Mounts::open(Arc::clone(&keyring), &KeySources::default()).unwrap();
    let mount = mounts.create(&config("ssh")).await.unwrap();
    let line = SoftwareSigner::generate(CaKeyType::EcdsaP256).unwrap().public_line();
    let reference = serde_json::json!({"public_key": line.trim_end(), "token_label": "signet", "key_label": "ca"});
    let row = format!("pkcs11\n{reference}");
    let sealed = keyring.seal(Table::CaKeys, mount.uuid(), row.as_bytes()).unwrap();
    keyring.store().apply(vec![sealed]).durable().await.unwrap();
    for _ in 0..2 {
        let mounts = Mounts::open(Arc::clone(&keyring), &KeySources::default()).unwrap();
        let mount = mounts.get("ssh").unwrap();
        let signer = mount.signer().unwrap();
        assert_eq!(signer.holder(), "pkcs11");
        assert_eq!(signer.place().unwrap(), "pkcs11:token=signet;object=ca");
        assert_eq!(signer.public_line(), line);
    }
    let rows = keyring.store().scan(Table::CaKeys).unwrap();
    let [(key, sealed)] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    assert!(key.starts_with(&format!("{}/", mount.uuid())), "{key}");
    let kept = keyring.unseal(Table::CaKeys, key, sealed).unwrap();
    assert_eq!(kept.as_slice(), row.as_bytes());
}
