//! The life of a node: first start, restart, a seal that is away, one that refuses, and stores of before.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use signet_core::policy_set::PolicySet;
use signet_core::signer::{CaKeyType, Signer as _, SoftwareSigner};
use signet_core::time::UnixTime;

use super::{Actor, Closed, LifeError, Node};
use crate::authority::OpenError;
use crate::barrier::Barrier;
use crate::clock::Clock;
use crate::config::{Config, SealConfig, SealSettings};
use crate::custody::CustodyError;
use crate::foundation::Foundation;
use crate::ledger::Reader;
use crate::seal::key_file::{self, KeyFileSeal};
use crate::seal::passphrase::Source;
use crate::seal::shamir::{ShareError, ShareSpec};
use crate::seal::{RootKey, Seal, SealError, SealKind};
use crate::store::sqlite::SqliteStore;
use crate::store::{Change, Store, Table};

const PEER: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn key_file_at(path: &Path) -> SealSettings {
    SealSettings::KeyFile { path: path.to_owned() }
}

fn start(folder: &Path, current: SealSettings, previous: Option<SealSettings>) -> Result<Arc<Node>, OpenError> {
    let mut config = Config::dev("127.0.0.1:0".parse().unwrap(), folder.join("data"), None);
    config.seal = SealConfig { current, previous };
    let clock = Clock::fixed(UnixTime::from_secs(1_795_000_000));
    Node::start(Foundation::lay(config, PolicySet::empty(), clock)?)
}

#[test]
fn a_data_folder_of_before_there_were_terms_opens_with_its_ca_key_and_the_key_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let path = data.join("barrier.key");
    let key = key_file::create(&path).unwrap();
    let barrier = Barrier::new(&*key).unwrap();
    let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    let mount = r#"{"uuid":"u-1","accessor":"ssh_1","description":"d","default_ttl":60,"max_ttl":120}"#;
    let old = |table: Table, key: &str, secret: &[u8]| {
        let place = format!("{}/{key}", table.as_str());
        Change::Put(table, key.to_owned(), barrier.encrypt(&place, secret).unwrap())
    };
    let store = SqliteStore::open(&data.join("store.db")).unwrap();
    let rows = vec![
        old(Table::Settings, "barrier-check", b"signet"),
        old(Table::Mounts, "ssh", mount.as_bytes()),
        old(Table::CaKeys, "u-1", &signer.to_secret().unwrap()),
    ];
    store.apply(rows).wait().unwrap();
    drop(store);
    for start_number in 0..2 {
        let node = start(folder.path(), key_file_at(&path), None).unwrap();
        let mount = node.authority().unwrap().mounts.get("ssh").unwrap();
        assert_eq!(
            mount.signer().unwrap().public_line(),
            signer.public_line(),
            "{start_number}"
        );
        assert_eq!(*key_file::read(&path).unwrap(), *key);
    }
}

#[test]
fn a_key_file_that_is_away_is_waited_for_and_another_one_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("barrier.key");
    let away = folder.path().join("away.key");
    drop(start(folder.path(), key_file_at(&path), None).unwrap());
    std::fs::rename(&path, &away).unwrap();
    let node = start(folder.path(), key_file_at(&path), None).unwrap();
    assert!(node.authority().is_none() && !path.exists(), "never another one");
    assert!(node.reason().contains("is missing"), "{}", node.reason());
    assert!(matches!(node.summary().closed, Some(Closed::Waiting(_))));
    node.try_again();
    assert!(node.authority().is_none());
    std::fs::rename(&away, &path).unwrap();
    node.try_again();
    assert!(node.authority().is_some() && node.reason().is_empty());
    drop(node);
    std::fs::remove_file(&path).unwrap();
    key_file::create(&path).unwrap();
    let error = start(folder.path(), key_file_at(&path), None).unwrap_err();
    assert!(
        error.to_string().contains("does not open under this key-file seal"),
        "{error}"
    );
}

#[test]
fn another_key_file_comes_in_with_the_old_one_described() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old.key", "new.key"].map(|name| folder.path().join(name));
    drop(start(folder.path(), key_file_at(&old), None).unwrap());
    for _ in 0..2 {
        let node = start(folder.path(), key_file_at(&new), Some(key_file_at(&old))).unwrap();
        assert!(node.authority().is_some());
    }
    std::fs::remove_file(&old).unwrap();
    assert!(
        start(folder.path(), key_file_at(&new), None)
            .unwrap()
            .authority()
            .is_some()
    );
}

#[test]
fn a_configured_seal_of_another_kind_without_a_way_there_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("barrier.key");
    drop(start(folder.path(), key_file_at(&path), None).unwrap());
    let error = start(folder.path(), SealSettings::Shamir, None).unwrap_err();
    assert!(
        matches!(error, OpenError::Custody(CustodyError::OtherSeal { .. })),
        "{error}"
    );
    let error = start(folder.path(), SealSettings::Shamir, Some(key_file_at(&path))).unwrap_err();
    assert!(
        matches!(error, OpenError::Custody(CustodyError::NoRecoveryKeys)),
        "{error}"
    );
    assert!(
        start(folder.path(), key_file_at(&path), None)
            .unwrap()
            .authority()
            .is_some()
    );
}

#[test]
fn a_sealed_node_opens_nothing_for_whoever_still_holds_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("barrier.key");
    let node = start(folder.path(), key_file_at(&path), None).unwrap();
    let straggler = node.authority().unwrap();
    node.seal(&Actor::Address(PEER)).unwrap();
    assert!(node.authority().is_none());
    assert!(straggler.keyring.seal(Table::Tokens, "a", b"b").is_err());
    let (_, shares) = crate::seal::shamir::split(&[1; 32], ShareSpec::new(1, 1).unwrap()).unwrap();
    let share = shares[0].to_hex();
    // Neither SIGHUP nor a stranger unseals what was sealed by hand; a restart does.
    node.try_again();
    assert!(node.authority().is_none());
    assert!(matches!(
        node.unseal(&share, false, PEER).unwrap_err(),
        LifeError::UnsealsItself { .. }
    ));
    drop((node, straggler));
    assert!(
        start(folder.path(), key_file_at(&path), None)
            .unwrap()
            .authority()
            .is_some()
    );
}

#[test]
fn shares_open_and_a_failed_try_wants_all_of_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path(), SealSettings::Shamir, None).unwrap();
    assert_eq!(node.summary().closed, Some(Closed::Uninitialised));
    let actor = Actor::Address(PEER);
    let made = node.init_shamir(ShareSpec::new(3, 2).unwrap(), &actor).unwrap();
    assert!(node.init_shamir(ShareSpec::new(3, 2).unwrap(), &actor).is_err());
    let text = |index: usize| made.shares[index].to_base64().to_string();
    node.unseal(&text(0), false, PEER).unwrap();
    assert_eq!(node.unseal_progress().0, 1);
    assert!(matches!(
        node.unseal(&text(0), false, PEER).unwrap_err(),
        LifeError::Share(ShareError::Duplicate { index: 1 })
    ));
    let elsewhere = "198.51.100.9".parse().unwrap();
    node.reset_unseal(None, elsewhere).unwrap();
    assert_eq!(node.unseal_progress().0, 1, "a stranger's reset throws nothing away");
    node.reset_unseal(None, PEER).unwrap();
    assert_eq!(node.unseal_progress(), (0, String::new()));
    node.unseal(&text(2), false, PEER).unwrap();
    node.unseal(&text(1), false, elsewhere).unwrap();
    assert!(node.authority().is_some());
    node.seal(&actor).unwrap();
    assert!(node.reason().contains("2 of 3"));
}

/// A key file behind a service that may be away or refuse, and that counts how often it is asked.
#[derive(Debug)]
struct Service {
    inner: KeyFileSeal,
    answers: Mutex<Option<SealError>>,
    asked: AtomicUsize,
}

impl Seal for Service {
    fn kind(&self) -> SealKind {
        SealKind::KeyFile
    }

    fn wrap(&self, root_key: &RootKey) -> Result<Vec<u8>, SealError> {
        self.inner.wrap(root_key)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<RootKey, SealError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.answers.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => self.inner.unwrap(wrapped),
        }
    }
}

#[test]
fn a_seal_that_refuses_is_asked_once_and_again_only_when_somebody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("barrier.key");
    drop(start(folder.path(), key_file_at(&path), None).unwrap());
    let (kind, reason) = (SealKind::KeyFile, "wrong PIN".to_owned());
    let service = Arc::new(Service {
        inner: KeyFileSeal::new(path.clone()),
        answers: Mutex::new(Some(SealError::Refused { kind, reason })),
        asked: AtomicUsize::new(0),
    });
    let config = Config::dev("127.0.0.1:0".parse().unwrap(), folder.path().join("data"), None);
    let config = Config {
        seal: SealConfig {
            current: key_file_at(&path),
            previous: None,
        },
        ..config
    };
    let foundation = Foundation::lay(config, PolicySet::empty(), Clock::system()).unwrap();
    let mut node = Node::closed(foundation).unwrap();
    let seal: Arc<dyn Seal> = Arc::<Service>::clone(&service);
    node.current = Some(seal);
    node.try_open().unwrap();
    let node = Arc::new(node);
    assert!(
        matches!(node.summary().closed, Some(Closed::Refused(_))),
        "{:?}",
        node.summary()
    );
    assert!(node.reason().contains("wrong PIN") && node.reason().contains("SIGHUP"));
    node.keep_trying();
    assert!(
        !node.trying.load(Ordering::SeqCst),
        "nothing tries by itself: it might lock the PIN"
    );
    assert_eq!(service.asked.load(Ordering::SeqCst), 1);
    // Away: it is tried by itself; then mended.
    let reason = "no route".to_owned();
    *service.answers.lock().unwrap() = Some(SealError::Unavailable { kind, reason });
    node.try_again();
    assert!(matches!(node.summary().closed, Some(Closed::Waiting(_))));
    *service.answers.lock().unwrap() = None;
    node.try_again();
    assert!(node.authority().is_some());
    assert_eq!(service.asked.load(Ordering::SeqCst), 3);
}

#[test]
fn a_migration_to_a_seal_that_is_away_is_recorded_when_it_happens_and_not_at_each_try() {
    let folder = tempfile::tempdir().unwrap();
    let (path, passphrase) = (folder.path().join("barrier.key"), folder.path().join("passphrase"));
    drop(start(folder.path(), key_file_at(&path), None).unwrap());
    let recorded = || {
        let ledger = Reader::open(&folder.path().join("data/ledger.db")).unwrap();
        let lines = ledger.after(0, 1000).unwrap();
        lines.iter().filter(|(_, line)| line.contains("seal-migrate")).count()
    };
    let to = SealSettings::Passphrase {
        source: Source::File(passphrase.clone()),
    };
    let node = start(folder.path(), to, Some(key_file_at(&path))).unwrap();
    for _ in 0..2 {
        assert!(
            matches!(node.summary().closed, Some(Closed::Waiting(_))),
            "{}",
            node.reason()
        );
        node.try_again();
    }
    assert_eq!(recorded(), 0);
    crate::secret_file::write_new(&passphrase, b"correct horse battery staple").unwrap();
    node.try_again();
    assert!(node.authority().is_some(), "{}", node.reason());
    assert_eq!((recorded(), node.summary().kind), (1, SealKind::Passphrase));
}
