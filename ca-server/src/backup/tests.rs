//! Archives, restores and their swaps, on real files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use signet_core::ledger::{EventKind, Verifier};
use signet_core::policy_set::PolicySet;
use signet_core::signer::{CaKeyType, SoftwareSigner};
use signet_core::time::UnixTime;

use super::archive::{Archive, ArchiveError, Header};
use super::restore::{Outcome, RestoreError, Site, Staged};
use super::swap;
use super::take::Taken;
use crate::authority::Authority;
use crate::clock::Clock;
use crate::config::Config;
use crate::custody::Custody;
use crate::keyring::Keyring;
use crate::ledger::{FILE, Reader};
use crate::seal::key_file::KeyFileSeal;
use crate::store::Table;

const NOW: u64 = 1_800_000_000;

/// A server's folder and its clock.
struct World {
    folder: tempfile::TempDir,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let clock = Clock::fixed(UnixTime::from_secs(NOW));
        Self { folder, clock }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn config(&self) -> Config {
        let mut config = Config::dev(([127, 0, 0, 1], 0).into(), self.data(), None);
        config.sinks = vec![self.folder.path().join("sink.jsonl")];
        config
    }

    fn open(&self) -> Arc<Authority> {
        Authority::open(self.config(), PolicySet::empty(), self.clock.clone()).unwrap()
    }

    /// Takes a backup into a file.
    fn backup(&self, authority: &Authority) -> PathBuf {
        let path = self.folder.path().join("backup");
        Taken::of(authority)
            .unwrap()
            .write(std::fs::File::create(&path).unwrap())
            .unwrap();
        path
    }

    /// The keyring of an archive, under this folder's key file.
    fn keyring(&self, header: &Header) -> Result<Keyring, ArchiveError> {
        let seal = KeyFileSeal::new(self.data().join("barrier.key"));
        Ok(Custody::new(header.rows()?).open(&header.seal()?, &seal)?)
    }

    fn stage(&self, path: &Path) -> Result<(Staged, Keyring), RestoreError> {
        let config = self.config();
        let mut archive = Archive::open(path)?;
        let keyring = self.keyring(archive.header())?;
        Staged::unpack(&Site::of(&config, &self.clock), &mut archive, &keyring)
    }

    fn decide(&self, path: &Path) -> Outcome {
        let config = self.config();
        let (staged, keyring) = self.stage(path).unwrap();
        staged
            .decide(&Site::of(&config, &self.clock), &keyring, |event| event)
            .unwrap()
    }

    fn lines(&self) -> Vec<String> {
        let records = Reader::open(&self.data().join(FILE))
            .unwrap()
            .after(0, u32::MAX)
            .unwrap();
        records.into_iter().map(|(_, line)| line).collect()
    }
}

fn record(authority: &Authority, person: &str) {
    let event = authority.ledger.event(EventKind::Deny).text("person", person);
    authority.ledger.record_blocking(event).unwrap();
}

fn end(authority: Arc<Authority>) {
    authority.ledger.close();
    drop(authority);
}

fn has(lines: &[String], what: &str) -> bool {
    lines.iter().any(|line| line.contains(what))
}

#[test]
fn a_backup_brings_everything_back_but_tokens_and_gives_no_serial_twice() {
    let world = World::new();
    let authority = world.open();
    let now = authority.clock.now();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let token = secrecy::SecretString::from("root-of-the-test");
    runtime.block_on(authority.tokens.create_root(&token, now)).unwrap();
    record(&authority, "before");
    let file = world.backup(&authority);
    let archive = std::fs::read(&file).unwrap();
    for secret in [&b"CREATE TABLE"[..], b"before", b"\"event\""] {
        assert!(!archive.windows(secret.len()).any(|window| window == secret));
    }
    let given = authority.ledger.reserve_serial().unwrap();
    record(&authority, "after");
    end(authority);
    let sink = world.folder.path().join("sink.jsonl");
    for sinks in [true, false] {
        // The second time with nothing left but the backup and the key.
        if !sinks {
            std::fs::remove_file(&sink).unwrap();
            for name in ["store.db", "ledger.db", "store.db-wal", "ledger.db-wal"] {
                drop(std::fs::remove_file(world.data().join(name)));
            }
        }
        world.clock.advance(1);
        let outcome = world.decide(&file);
        swap::finish(&world.data()).unwrap().unwrap();
        assert_eq!(
            (outcome.aftermath.tokens, outcome.recovered > 0),
            (1, sinks),
            "{outcome:?}"
        );
        let lines = world.lines();
        assert!(has(&lines, "before") && has(&lines, "\"event\":\"restore\""));
        assert_eq!(has(&lines, "after"), sinks);
        let mut verifier = Verifier::new();
        for line in &lines {
            verifier.check(line);
        }
        assert_eq!(verifier.finish().findings, []);
        let authority = world.open();
        assert!(authority.tokens.check("root-of-the-test", now).is_none());
        assert!(authority.ledger.reserve_serial().unwrap() > given);
        end(authority);
    }
}

#[test]
fn a_backup_with_a_bit_flipped_or_cut_anywhere_is_refused_and_nothing_is_changed() {
    let world = World::new();
    let authority = world.open();
    let file = world.backup(&authority);
    end(authority);
    let good = std::fs::read(&file).unwrap();
    let before = world.lines();
    let bad = world.folder.path().join("bad");
    let try_it = |bytes: &[u8]| {
        std::fs::write(&bad, bytes).unwrap();
        let refused = world.stage(&bad).unwrap_err();
        assert!(!matches!(refused, RestoreError::Disk(_)), "{refused}");
        refused
    };
    let step = good.len() / 150 + 1;
    let places: Vec<usize> = (0..300)
        .chain((300..good.len()).step_by(step))
        .chain(good.len() - 90..good.len())
        .collect();
    for place in places {
        let mut flipped = good.clone();
        flipped[place] ^= 1;
        try_it(&flipped);
        let refused = try_it(&good[..place]);
        assert!(
            matches!(refused, RestoreError::Archive(ArchiveError::Truncated)),
            "cut at {place}: {refused}"
        );
        // Somebody who knows the format mends the last line: what is inside still does not open.
        if place < good.len() - 84 {
            mend(&mut flipped);
            try_it(&flipped);
        }
    }
    let longer = [&good[..], b"x"].concat();
    assert!(matches!(
        try_it(&longer),
        RestoreError::Archive(ArchiveError::Truncated | ArchiveError::Altered)
    ));
    assert!(matches!(
        try_it(b"-----BEGIN"),
        RestoreError::Archive(ArchiveError::NotABackup)
    ));
    let newer = String::from_utf8_lossy(&good[..16]).replace('1', "2").into_bytes();
    assert!(matches!(
        try_it(&newer),
        RestoreError::Archive(ArchiveError::Newer { .. })
    ));
    assert_eq!(world.lines(), before);
    world.stage(&file).unwrap();
}

/// Writes the SHA-256 at the end anew.
fn mend(archive: &mut Vec<u8>) {
    let length = archive.len() - 84;
    archive.truncate(length);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, archive);
    let hex = data_encoding::HEXLOWER.encode(hash.as_ref());
    archive.extend_from_slice(format!("\nsignet backup end {hex}\n").as_bytes());
}

#[test]
fn a_backup_under_another_key_or_with_another_header_is_refused() {
    let (world, other) = (World::new(), World::new());
    let authority = world.open();
    let (first, second) = (world.backup(&authority), world.folder.path().join("second"));
    std::fs::rename(&first, &second).unwrap();
    let first = world.backup(&authority);
    end(authority);
    end(other.open());
    let refused = other.stage(&first).unwrap_err();
    assert!(
        refused.to_string().contains("does not open under this key-file seal"),
        "{refused}"
    );
    // The header of one backup before the rest of another, of the same server.
    let (one, two) = (std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    let header_end = |bytes: &[u8]| 16 + bytes[16..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut mixed = [&one[..header_end(&one)], &two[header_end(&two)..]].concat();
    mend(&mut mixed);
    let path = world.folder.path().join("mixed");
    std::fs::write(&path, &mixed).unwrap();
    assert!(matches!(
        world.stage(&path).unwrap_err(),
        RestoreError::Archive(ArchiveError::DoesNotOpen)
    ));
    let mut config = world.config();
    config.node = signet_core::serial::NodeId(9);
    let mut archive = Archive::open(&first).unwrap();
    let keyring = world.keyring(archive.header()).unwrap();
    let refused = Staged::unpack(&Site::of(&config, &world.clock), &mut archive, &keyring).unwrap_err();
    assert!(matches!(refused, RestoreError::Archive(ArchiveError::OtherNode { .. })));
}

#[test]
fn a_restore_that_is_killed_at_any_step_is_whole_at_the_next_start() {
    let mut step_killed = 0;
    loop {
        let world = World::new();
        let authority = world.open();
        let file = world.backup(&authority);
        record(&authority, "after");
        end(authority);
        // The old files keep a log beside them, as after a power cut.
        std::fs::write(world.data().join("store.db-wal"), b"old").unwrap();
        std::fs::remove_file(world.folder.path().join("sink.jsonl")).unwrap();
        let outcome = world.decide(&file);
        let mut left = step_killed;
        let killed = swap::finish_in_steps(&world.data(), || {
            left -= 1;
            if left < 0 {
                Err(std::io::Error::other("killed"))
            } else {
                Ok(())
            }
        });
        let finished = killed.is_ok();
        let authority = world.open();
        assert!(outcome.aside.join("store.db").exists() && outcome.aside.join("ledger.db").exists());
        assert!(!world.data().join(".signet-restore").exists());
        end(authority);
        let lines = world.lines();
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.contains("\"event\":\"restore\""))
                .count(),
            1
        );
        assert!(has(&lines, "after"), "from the old ledger");
        if finished {
            break;
        }
        step_killed += 1;
    }
    assert!(step_killed >= 7, "{step_killed} steps");
}

#[test]
fn a_restore_that_is_killed_before_it_is_decided_has_not_happened() {
    let world = World::new();
    let authority = world.open();
    let file = world.backup(&authority);
    record(&authority, "after");
    end(authority);
    let before = world.lines();
    drop(world.stage(&file).unwrap());
    assert!(world.data().join(".signet-restore").exists());
    end(world.open());
    assert!(!world.data().join(".signet-restore").exists());
    assert_eq!(world.lines()[..before.len()], before[..]);
}

#[test]
fn a_start_removes_our_own_copies_and_no_folder_or_file_of_the_operator() {
    let world = World::new();
    let authority = world.open();
    let file = world.backup(&authority);
    end(authority);
    let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let at = |name: &str| world.data().join(name);
    let theirs = [
        "backup-2026-11-26".to_owned(),
        format!("backup-{id}"),
        "restore".to_owned(),
        ".signet-backup-mine".to_owned(),
        format!(".signet-backup-{}", id.to_uppercase()),
        format!(".signet-upload-{id}.d"),
    ];
    for name in &theirs {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::copy(&file, at(name).join("good.backup")).unwrap();
    }
    let upload = at(&format!(".signet-upload-{id}"));
    std::fs::write(at("upload-mine"), "mine").unwrap();
    std::fs::set_permissions(at("upload-mine"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ours = [at(&format!(".signet-backup-{id}")), at(".signet-restore")];
    for folder in &ours {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("good.backup"), "").unwrap();
        assert!(swap::is_in_our_work(&world.data(), &folder.join("good.backup")));
    }
    std::fs::write(&upload, "").unwrap();
    assert!(swap::is_in_our_work(&world.data(), &upload));
    for name in &theirs {
        std::fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        assert!(!swap::is_in_our_work(&world.data(), &at(name).join("good.backup")));
    }
    world.decide(&at("restore").join("good.backup"));
    end(world.open());
    assert!(theirs.iter().all(|name| at(name).join("good.backup").exists()));
    assert!(at("upload-mine").exists());
    assert!(!upload.exists() && !ours.iter().any(|folder| folder.exists()));
}

#[test]
fn restores_of_one_second_keep_the_files_of_each_and_a_stuck_sink_stops_none() {
    let world = World::new();
    let authority = world.open();
    let file = world.backup(&authority);
    end(authority);
    let mut asides = Vec::new();
    for round in 0..3 {
        std::fs::write(world.data().join("store.db-wal"), format!("log {round}")).unwrap();
        let outcome = world.decide(&file);
        swap::finish(&world.data()).unwrap();
        asides.push(outcome.aside);
    }
    for (round, aside) in asides.iter().enumerate() {
        assert_eq!(
            std::fs::read_to_string(aside.join("store.db-wal")).unwrap(),
            format!("log {round}")
        );
        assert!(aside.join("ledger.db").exists());
    }
    // A name that cannot be renamed to, as in a folder that became read-only after it was decided.
    world.stage(&file).unwrap();
    let sink = world.folder.path().join("sink.jsonl");
    let order = swap::Order {
        aside: "before-restore-x".to_owned(),
        sinks: vec![(sink.clone(), world.folder.path().join("nowhere/sink"))],
    };
    swap::decide(&world.data(), &order).unwrap();
    swap::finish(&world.data()).unwrap().unwrap();
    assert!(sink.exists() && !swap::is_decided(&world.data()));
    let first = swap::away(&sink, "x").unwrap();
    std::fs::write(&first, "").unwrap();
    assert_ne!(swap::away(&sink, "x").unwrap(), first);
    assert!(swap::away(&world.folder.path().join("nowhere/sink"), "x").is_err());
}

#[test]
fn a_clock_behind_the_backup_or_the_newest_record_is_refused() {
    let world = World::new();
    let authority = world.open();
    let early = world.backup(&authority);
    world.clock.advance(100);
    record(&authority, "after");
    let late = world.folder.path().join("late");
    let taken = Taken::of(&authority).unwrap();
    taken.write(std::fs::File::create(&late).unwrap()).unwrap();
    drop(taken);
    end(authority);
    let config = world.config();
    let clock = Clock::fixed(UnixTime::from_secs(NOW + 99));
    let site = Site::of(&config, &clock);
    let staged = |path: &Path| {
        let mut archive = Archive::open(path).unwrap();
        let keyring = world.keyring(archive.header()).unwrap();
        Staged::unpack(&site, &mut archive, &keyring)
    };
    let refused = staged(&late).unwrap_err();
    assert!(refused.to_string().contains("set the clock"), "{refused}");
    assert!(matches!(Staged::copy(&site).unwrap_err(), RestoreError::Clock { .. }));
    // The backup is of before; what the old ledger gives back is not.
    let (early, keyring) = staged(&early).unwrap();
    let refused = early.decide(&site, &keyring, |event| event).unwrap_err();
    assert!(matches!(refused, RestoreError::Clock { .. }), "{refused}");
    assert!(!swap::is_decided(&world.data()));
    world.stage(&late).unwrap();
}

#[test]
fn a_backup_under_a_seal_that_is_not_described_is_refused() {
    let world = World::new();
    let authority = world.open();
    let file = world.backup(&authority);
    end(authority);
    let row = Archive::open(&file).unwrap().header().seal().unwrap();
    let mut seals = world.config().seal;
    super::restore::assert_described(&seals, &row).unwrap();
    let key_file = std::mem::replace(&mut seals.current, crate::config::SealSettings::Shamir);
    let refused = super::restore::assert_described(&seals, &row).unwrap_err();
    assert!(
        refused.to_string().contains("put `type = \"key-file\"` into [seal]"),
        "{refused}"
    );
    seals.previous = Some(key_file);
    super::restore::assert_described(&seals, &row).unwrap();
}

#[test]
fn a_ca_key_made_after_the_backup_is_missed_until_the_restore_and_not_after() {
    let world = World::new();
    let authority = world.open();
    let file = world.backup(&authority);
    let event = authority.ledger.event(EventKind::CaCreate);
    let event = event.text("mount", "ssh").text("fingerprint", "SHA256:later");
    authority.ledger.record_blocking(event).unwrap();
    end(authority);
    let findings = || crate::store_check::agreement(&[].into(), &world.data().join(FILE)).unwrap();
    assert_eq!(findings().len(), 1);
    world.decide(&file);
    swap::finish(&world.data()).unwrap();
    assert!(has(&world.lines(), "SHA256:later"));
    assert_eq!(findings(), []);
}

#[test]
fn what_was_put_back_by_hand_is_made_safe_in_place() {
    let world = World::new();
    let authority = world.open();
    let snapshot = world.folder.path().join("snapshot");
    end(authority);
    std::fs::create_dir(&snapshot).unwrap();
    for name in ["store.db", "ledger.db"] {
        crate::store::copy::settle(&world.data().join(name)).unwrap();
        std::fs::copy(world.data().join(name), snapshot.join(name)).unwrap();
    }
    let authority = world.open();
    let event = authority
        .ledger
        .event(EventKind::Revoke)
        .text("mount", "ssh")
        .text("reason", "stolen");
    authority.ledger.record_blocking(event).unwrap();
    end(authority);
    for name in ["store.db", "ledger.db"] {
        std::fs::copy(snapshot.join(name), world.data().join(name)).unwrap();
        for ending in ["-wal", "-shm"] {
            drop(std::fs::remove_file(world.data().join(format!("{name}{ending}"))));
        }
    }
    let refused = Authority::open(world.config(), PolicySet::empty(), world.clock.clone()).unwrap_err();
    assert!(refused.to_string().contains("signet-ca store restored"), "{refused}");
    let outcome = made_safe(&world);
    assert_eq!(outcome.revocations, 1, "{outcome:?}");
    assert!(outcome.in_words().contains("1 revocation(s)"), "{}", outcome.in_words());
    let authority = world.open();
    assert!(authority.keyring.store().scan(Table::Tokens).unwrap().is_empty());
    end(authority);
    // That one said nothing that could be revoked again: it is named, and keeps nobody from starting.
    assert_eq!(
        world
            .lines()
            .iter()
            .filter(|line| line.contains("\"event\":\"alarm\""))
            .count(),
        1
    );
}

#[test]
fn a_damaged_ledger_keeps_nobody_from_restoring() {
    let world = World::new();
    let authority = world.open();
    let file = world.backup(&authority);
    end(authority);
    std::fs::write(world.data().join(FILE), "rubbish".repeat(2000)).unwrap();
    drop(std::fs::remove_file(world.data().join("ledger.db-wal")));
    let outcome = world.decide(&file);
    swap::finish(&world.data()).unwrap();
    assert_eq!(outcome.unreadable.len(), 1, "{outcome:?}");
    assert!(outcome.in_words().contains("ledger.db"), "{}", outcome.in_words());
    end(world.open());
}

/// As [`World::decide`] for a store or a ledger that came back by other means.
fn made_safe(world: &World) -> Outcome {
    let config = world.config();
    let site = Site::of(&config, &world.clock);
    let staged = Staged::copy(&site).unwrap();
    let custody = Custody::new(Arc::clone(staged.store()));
    let seal = KeyFileSeal::new(world.data().join("barrier.key"));
    let keyring = custody.open(&custody.row().unwrap(), &seal).unwrap();
    let outcome = staged.decide(&site, &keyring, |event| event).unwrap();
    swap::finish(&world.data()).unwrap();
    outcome
}

const SHA256: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn revocation(authority: &Authority, id: &str) -> signet_core::ledger::Event {
    authority
        .ledger
        .event(EventKind::Revoke)
        .text("person", "root")
        .text("mount", "ssh")
        .text("revocation", id)
        .text("reason", "stolen")
}

/// Makes the mount of the configuration, with a CA key.
fn mounted(world: &World, authority: &Authority) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mount = runtime
        .block_on(authority.mounts.create(&world.config().mounts[0]))
        .unwrap();
    let signer = SoftwareSigner::generate(CaKeyType::Ed25519).unwrap();
    runtime.block_on(mount.set_signer(signer)).unwrap();
}

/// Ids of what is revoked.
fn revoked(authority: &Authority) -> Vec<String> {
    let rows = authority.keyring.store().scan(Table::Revocations).unwrap();
    rows.iter()
        .map(|(key, _)| key.split_once('/').unwrap().1.to_owned())
        .collect()
}

#[test]
fn a_revocation_that_was_recorded_and_is_not_in_the_backups_store_is_made_again_until_it_is_removed() {
    let world = World::new();
    let authority = world.open();
    mounted(&world, &authority);
    // A backup between the record and the change.
    let event = revocation(&authority, "first").map("selector", [("fingerprint", SHA256)]);
    authority.ledger.record_blocking(event).unwrap();
    let before = world.backup(&authority);
    end(authority);
    let outcome = world.decide(&before);
    assert_eq!(outcome.revocations, 1, "{outcome:?}");
    let authority = world.open();
    let again = revoked(&authority);
    assert_eq!(again.len(), 1, "{again:?}");
    assert_ne!(again[0], "first");
    // It has it now, under another name.
    let after = world.folder.path().join("after");
    std::fs::rename(&before, world.folder.path().join("kept")).unwrap();
    std::fs::rename(world.backup(&authority), &after).unwrap();
    let before = world.folder.path().join("kept");
    end(authority);
    world.clock.advance(1);
    assert_eq!(world.decide(&after).revocations, 0);
    let authority = world.open();
    assert_eq!(revoked(&authority), again);
    // Removed, so that no older backup brings it back.
    let event = revocation(&authority, &again[0]).flag("removed", true);
    authority.ledger.record_blocking(event).unwrap();
    end(authority);
    world.clock.advance(1);
    assert_eq!(world.decide(&before).revocations, 0);
    let authority = world.open();
    assert!(revoked(&authority).is_empty());
    end(authority);
}

#[test]
fn a_store_that_is_older_than_the_ledger_beside_it_gets_its_revocations_back() {
    let world = World::new();
    let authority = world.open();
    mounted(&world, &authority);
    end(authority);
    crate::store::copy::settle(&world.data().join("store.db")).unwrap();
    let old = std::fs::read(world.data().join("store.db")).unwrap();
    let authority = world.open();
    let event = revocation(&authority, "first").map("selector", [("fingerprint", SHA256)]);
    authority.ledger.record_blocking(event).unwrap();
    record(&authority, "after");
    end(authority);
    for ending in ["-wal", "-shm"] {
        drop(std::fs::remove_file(world.data().join(format!("store.db{ending}"))));
    }
    std::fs::write(world.data().join("store.db"), old).unwrap();
    let outcome = made_safe(&world);
    assert_eq!((outcome.revocations, outcome.recovered), (1, 0), "{outcome:?}");
    let authority = world.open();
    assert_eq!(revoked(&authority).len(), 1);
    end(authority);
}

#[test]
fn a_row_that_a_deleted_mount_left_keeps_nobody_from_restoring() {
    let world = World::new();
    let authority = world.open();
    let keyring = &authority.keyring;
    let row = keyring.seal(Table::Revocations, "of-no-mount/one", b"{}").unwrap();
    keyring.store().apply(vec![row]).wait().unwrap();
    assert_eq!(crate::store_check::rows(keyring).unwrap().left_over.len(), 1);
    let file = world.backup(&authority);
    end(authority);
    world.decide(&file);
    let authority = world.open();
    assert_eq!(revoked(&authority), Vec::<String>::new());
    let row = authority.keyring.seal(Table::Roles, "of-no-mount/one", b"{}").unwrap();
    authority.keyring.store().apply(vec![row]).wait().unwrap();
    drop(std::fs::remove_file(&file));
    let file = world.backup(&authority);
    end(authority);
    assert!(matches!(world.stage(&file), Err(RestoreError::Unsound { .. })));
}
