//! A backup is taken while the server works, and whatever happens to the server or to the file, what comes back is whole, holds
//! every certificate that left the server, and gives no serial twice.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};
use signet_tests::api::Api;
use signet_tests::authority::Authority;
use signet_tests::issuer::Issuer;
use signet_tests::keys::KeyFile;
use signet_tests::load::subject_keys;
use signet_tests::person::{Person, Ran};
use signet_tests::team::{ROLE, Team};
use signet_tests::wait::until;
use signet_tests::workdir::{Workdir, login_name, write};

const SHAMIR: &str = "[seal]\ntype = \"shamir\"\n";
const MAY_BACK_UP: &str = "@id(\"ci-backs-up\")\npermit (principal in Group::\"ci\", action in [Action::\"read\", \
    Action::\"update\"], resource in Path::\"sys/storage\");\n\
    @id(\"ci-writes-roles\")\npermit (principal in Group::\"ci\", action in [Action::\"create\", Action::\"update\", \
    Action::\"read\"], resource in Path::\"ssh\");\n";

/// A server, and a CI job that may sign, back up and restore.
struct Scene {
    authority: Authority,
    issuer: Issuer,
    key: KeyFile,
    folder: Workdir,
}

impl Scene {
    fn new(sections: &str) -> Self {
        let folder = Workdir::new();
        let (issuer, key) = (Issuer::new(), KeyFile::ed25519(folder.path(), "job"));
        let sink = folder.path().join("sink.jsonl");
        let sections = sections.replace("SINK", &sink.display().to_string());
        let config = format!("{sections}{}", issuer.config(folder.path()));
        let policies = |policies: &Path| {
            Team::default().install(policies);
            write(&policies.join("access/backup.cedar"), MAY_BACK_UP);
        };
        let authority = Authority::serve_sealed(policies, &config);
        Self {
            authority,
            issuer,
            key,
            folder,
        }
    }

    fn with_sink() -> Self {
        Self::new("[[audit.sink]]\ntype = \"file\"\npath = \"SINK\"\n")
    }

    /// The API with a fresh login.
    fn api(&self) -> Api {
        self.authority.api(&self.authority.ci_token(&self.issuer))
    }

    fn sign(&self, api: &Api) -> u64 {
        api.sign("ssh", ROLE, &self.key.public_line(), &login_name()).serial()
    }

    fn operator(&self, token: Option<&str>, arguments: &[&str]) -> Ran {
        let person = Person::using(&self.authority.address()).with("SIGNET_SKIP_VERIFY", "true");
        match token {
            Some(token) => person.with("SIGNET_TOKEN", token),
            None => person,
        }
        .run(&[&["operator"], arguments].concat())
    }

    /// Takes a backup with the client.
    fn backup(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let token = self.authority.ci_token(&self.issuer);
        let done = self
            .operator(Some(&token), &["backup", path.to_str().unwrap()])
            .succeeded();
        assert!(done.stdout.contains("Success!"), "{}", done.stdout);
        path
    }

    fn ca_key(&self) -> String {
        self.authority.anonymous().ca_key("ssh")
    }

    fn serials(&self) -> HashSet<u64> {
        let issued = self.authority.records("issue");
        let serials = issued
            .iter()
            .map(|record| record["serial"].as_str().unwrap().parse().unwrap());
        let once: HashSet<u64> = serials.collect();
        assert_eq!(once.len(), issued.len(), "no serial is recorded twice");
        once
    }

    fn is_sound(&self) {
        let verified = self.authority.audit(&["verify"]);
        assert!(verified.status.success(), "{}", words(&verified));
        let checked = self.authority.store(&["check"]);
        assert!(checked.status.success(), "{}", words(&checked));
    }

    fn start(&mut self) {
        self.authority.start();
        until("the server to serve", || {
            (self.authority.anonymous().get("sys/health").status == 200).then_some(())
        });
    }
}

fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The data folder's databases, as a snapshot of the disk holds them.
fn snapshot(from: &Path, to: &Path) {
    for name in ["store.db", "store.db-wal", "ledger.db", "ledger.db-wal"] {
        let (old, new) = (from.join(name), to.join(name));
        drop(std::fs::remove_file(to.join(format!("{name}-shm"))));
        drop(std::fs::remove_file(&new));
        if old.exists() {
            std::fs::copy(old, new).unwrap();
        }
    }
}

/// Clients that sign without pause; what they hold.
fn under_load<T>(scene: &Scene, work: impl FnOnce(&Mutex<Vec<u64>>) -> T) -> (T, Vec<u64>) {
    let (held, done) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let (api, account) = (scene.api(), login_name());
    let result = std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let keys = subject_keys::make(16);
                for key in keys.iter().cycle() {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let body = json!({"public_key": key, "valid_principals": account});
                    // A server that is being restored says so; a token of before is unknown afterwards.
                    match api.try_send("POST", &format!("ssh/sign/{ROLE}"), Some(&body)) {
                        Some(answer) if answer.status == 200 => held.lock().unwrap().push(answer.serial()),
                        Some(answer) => {
                            assert!([403, 503].contains(&answer.status), "{} {}", answer.status, answer.text);
                        }
                        None => std::thread::yield_now(),
                    }
                }
            });
        }
        // Also when `work` fails, or nobody would ever be told.
        let _at_last = Done(&done);
        work(&held)
    });
    (result, held.into_inner().unwrap())
}

/// Says so when it goes.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn wait_for_more(held: &Mutex<Vec<u64>>, count: usize) -> Vec<u64> {
    let before = held.lock().unwrap().len();
    until("certificates", || {
        let held = held.lock().unwrap();
        (held.len() >= before + count).then(|| held.clone())
    })
}

#[test]
fn a_backup_under_load_disturbs_nobody_and_holds_what_was_answered_before_it_began() {
    let mut scene = Scene::new("");
    let ca = scene.ca_key();
    let ((file, before), held) = under_load(&scene, |held| {
        let before = wait_for_more(held, 200);
        let file = scene.backup("backup");
        wait_for_more(held, 200);
        (file, before)
    });
    assert_eq!(mode(&file), 0o600);
    assert_eq!(scene.authority.records("backup").len(), 1);
    let again = scene.operator(Some("x"), &["backup", text(&file)]);
    assert_eq!(again.code, Some(2), "it is never written over: {}", again.stderr);
    let refused = scene.operator(None, &["backup", text(&scene.folder.path().join("other"))]);
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    // The disk is lost; what is left is the backup and the key file.
    scene.authority.kill();
    let data = scene.authority.data();
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "barrier.key" {
            std::fs::remove_file(path).unwrap();
        }
    }
    let restored = scene.authority.store(&["restore", text(&file)]);
    assert!(restored.status.success(), "{}", words(&restored));
    assert!(
        words(&restored).contains("Restored the backup of"),
        "{}",
        words(&restored)
    );
    scene.start();
    assert_eq!(scene.ca_key(), ca);
    let recorded = scene.serials();
    let lost: Vec<_> = before.iter().filter(|serial| !recorded.contains(serial)).collect();
    assert_eq!(lost, Vec::<&u64>::new());
    let given: HashSet<u64> = held.into_iter().collect();
    let api = scene.api();
    for _ in 0..20 {
        assert!(!given.contains(&scene.sign(&api)), "a serial is given twice");
    }
    scene.is_sound();
}

#[test]
fn a_restore_over_a_working_server_loses_no_certificate_that_left_it() {
    let mut scene = Scene::new("");
    let file = scene.backup("backup");
    let old_token = scene.authority.ci_token(&scene.issuer);
    let ((), held) = under_load(&scene, |held| {
        wait_for_more(held, 200);
        let refused = scene.operator(Some(&old_token), &["restore", text(&file)]);
        assert_eq!(refused.code, Some(2), "not without -force: {}", refused.stderr);
        let done = scene
            .operator(Some(&old_token), &["restore", "-force", text(&file)])
            .succeeded();
        assert!(done.stdout.contains("came back"), "{}", done.stdout);
        assert!(done.stderr.contains("serves from the restored data"), "{}", done.stderr);
    });
    assert!(held.len() >= 200);
    let recorded = scene.serials();
    let lost: Vec<_> = held.iter().filter(|serial| !recorded.contains(serial)).collect();
    assert_eq!(lost, Vec::<&u64>::new(), "{}", scene.authority.log());
    assert_eq!(
        scene.authority.api(&old_token).get("sys/signet/whoami").status,
        403,
        "tokens are gone"
    );
    let serial = scene.sign(&scene.api());
    assert!(!held.contains(&serial));
    let restore = scene.authority.records("restore");
    assert_eq!((restore.len(), &restore[0]["from"]), (1, &json!("backup")));
    assert!(restore[0]["person"].is_string(), "{}", restore[0]);
    scene.is_sound();
    // It is the same process, which a service manager watches; it ends as ever.
    assert_eq!(scene.authority.stop(), Some(0), "{}", scene.authority.log());
}

/// Some megabytes of records, so that a backup takes a while.
fn fatten(scene: &Scene, megabytes: usize) {
    let api = scene.api();
    let names: Vec<String> = (0..120_000).map(|number| format!("u{number}")).collect();
    let names = names.join(",");
    for number in 0..megabytes {
        let role = json!({"key_type": "ca", "allow_user_certificates": true, "allowed_users": names,
            "default_user": "u0"});
        let answer = api.post(&format!("ssh/roles/fat-{number}"), &role);
        assert!(
            answer.status < 300,
            "{} {}",
            answer.status,
            &answer.text[..answer.text.len().min(300)]
        );
    }
}

/// What a backup in the making has in the data folder.
fn copies(scene: &Scene) -> Vec<String> {
    let entries = std::fs::read_dir(scene.authority.data()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".signet-backup-")).collect()
}

#[test]
fn a_server_killed_while_it_sends_a_backup_leaves_no_half_file_and_no_copies() {
    let mut scene = Scene::new("");
    fatten(&scene, 60);
    let token = scene.authority.ci_token(&scene.issuer);
    let person = Person::using(&scene.authority.address())
        .with("SIGNET_SKIP_VERIFY", "true")
        .with("SIGNET_TOKEN", &token);
    let path = scene.folder.path().join("half");
    let mut client = person.signet(&["operator", "backup", text(&path)]).spawn().unwrap();
    until("the backup to begin", || (!copies(&scene).is_empty()).then_some(()));
    let second = scene.operator(Some(&token), &["backup", text(&scene.folder.path().join("second"))]);
    assert!(
        second.stderr.contains("another backup is being taken"),
        "{}",
        second.stderr
    );
    scene.authority.kill();
    assert_ne!(client.wait().unwrap().code(), Some(0));
    let left = std::fs::read_dir(scene.folder.path()).unwrap();
    let names: Vec<String> = left
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        !names
            .iter()
            .any(|name| name.starts_with("half") || name.starts_with("second")),
        "{names:?}"
    );
    scene.start();
    assert_eq!(copies(&scene), Vec::<String>::new());
    let file = scene.backup("backup");
    let bytes = std::fs::metadata(&file).unwrap().len();
    assert!(bytes > 10_000_000, "{bytes} bytes");
}

#[test]
fn a_client_that_hears_only_half_writes_no_file() {
    let scene = Scene::new("");
    let file = scene.backup("good");
    let whole = std::fs::read(&file).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let half = whole[..whole.len() / 2].to_vec();
    let proxy = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).unwrap() > 0);
        // A proxy that lost its server, and ends the answer in good order.
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", half.len());
        std::io::Write::write_all(&mut stream, &[text.as_bytes(), &half].concat()).unwrap();
    });
    let path = scene.folder.path().join("half");
    let ran = Person::using(&address)
        .with("SIGNET_TOKEN", "x")
        .run(&["operator", "backup", text(&path)]);
    proxy.join().unwrap();
    assert_eq!(ran.code, Some(5), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("ended too early"), "{}", ran.stderr);
    let left = std::fs::read_dir(scene.folder.path()).unwrap();
    let names: Vec<String> = left
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!names.iter().any(|name| name.starts_with("half")), "{names:?}");
}

#[test]
fn a_restore_killed_at_any_moment_has_happened_or_has_not() {
    let mut scene = Scene::new("");
    fatten(&scene, 6);
    let file = scene.backup("backup");
    let serial = scene.sign(&scene.api());
    let (mut moment, mut happened) = (std::time::Duration::from_millis(50), Vec::new());
    loop {
        scene.authority.kill();
        let config = scene.authority.folder().path().join("signet.toml");
        let mut child = std::process::Command::new(signet_tests::binaries::ours("signet-ca"))
            .args(["store", "restore", text(&file), "--config", text(&config)])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // The kill falls later each time; at last it comes too late.
        let deadline = std::time::Instant::now() + moment;
        until("its moment", || {
            (std::time::Instant::now() >= deadline || child.try_wait().unwrap().is_some()).then_some(())
        });
        drop(child.kill());
        let ended_well = child.wait().unwrap().success();
        let before = happened.last().copied().unwrap_or(0);
        scene.start();
        happened.push(scene.authority.records("restore").len());
        assert!(
            happened.ends_with(&[before]) || happened.ends_with(&[before + 1]),
            "{happened:?}"
        );
        assert!(scene.serials().contains(&serial), "{happened:?}");
        scene.sign(&scene.api());
        if ended_well {
            assert_eq!(happened.last(), Some(&(before + 1)));
            break;
        }
        moment = moment * 4 / 3;
    }
    assert_eq!(happened.first(), Some(&0), "the first came too early: {happened:?}");
    scene.is_sound();
}

#[test]
fn a_damaged_or_foreign_backup_is_refused_by_each_door_in_the_same_words() {
    let mut scene = Scene::new("");
    let file = scene.backup("backup");
    let whole = std::fs::read(&file).unwrap();
    let other = Scene::new("");
    let foreign = other.backup("foreign");
    let bad = scene.folder.path().join("bad");
    let mut cases: Vec<(Vec<u8>, &str)> = [0, 10, 16, 100, whole.len() / 2, whole.len() - 1]
        .map(|end| (whole[..end].to_vec(), "is cut off"))
        .into();
    for place in [
        20,
        whole.len() / 3,
        whole.len() / 2,
        whole.len() - 100,
        whole.len() - 10,
    ] {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x20;
        cases.push((flipped, "the backup is damaged"));
    }
    cases.push((b"hello\n".to_vec(), "this is no backup of signet"));
    cases.push((
        std::fs::read(&foreign).unwrap(),
        "does not open under this key-file seal",
    ));
    let token = scene.authority.ci_token(&scene.issuer);
    for (bytes, words) in &cases {
        std::fs::write(&bad, bytes).unwrap();
        let refused = scene.operator(Some(&token), &["restore", "-force", text(&bad)]);
        assert_eq!(refused.code, Some(3), "{words}: {}", refused.stderr);
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
        assert_eq!(scene.authority.anonymous().get("sys/health").status, 200);
    }
    let running = scene.authority.store(&["restore", text(&file)]);
    assert!(
        words(&running).contains("another signet-ca runs"),
        "{}",
        self::words(&running)
    );
    scene.authority.kill();
    for (bytes, words) in &cases {
        std::fs::write(&bad, bytes).unwrap();
        let refused = scene.authority.store(&["restore", text(&bad)]);
        assert!(
            !refused.status.success() && self::words(&refused).contains(words),
            "{words}: {}",
            self::words(&refused)
        );
    }
    scene.start();
    assert_eq!(
        scene.authority.api(&token).get("sys/signet/whoami").status,
        200,
        "nothing was changed"
    );
    assert!(scene.authority.records("restore").is_empty());
    scene.is_sound();
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().expect("a list").iter();
    list.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_shamir_server_is_restored_on_a_new_machine_by_its_share_holders() {
    let scene = Scene::new(SHAMIR);
    let init = json!({"secret_shares": 3, "secret_threshold": 2});
    let made = scene.authority.anonymous().write("sys/init", &init).body;
    let keys = texts(&made["keys_base64"]);
    for key in &keys[..2] {
        scene.authority.anonymous().write("sys/unseal", &json!({"key": key}));
    }
    let ca = scene.ca_key();
    let serial = scene.sign(&scene.api());
    let file = scene.backup("backup");
    let fresh = Scene::new(SHAMIR);
    let elsewhere = fresh.folder.path().join("from-elsewhere");
    std::fs::copy(file, &elsewhere).unwrap();
    let file = elsewhere;
    drop(scene);
    let share_files: Vec<PathBuf> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| {
            let path = fresh.folder.write(&format!("share-{index}"), key);
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            path
        })
        .collect();
    let (zero, one) = (text(&share_files[0]), text(&share_files[1]));
    let restore = |shares: &[&str]| {
        let mut arguments = vec!["restore", text(&file)];
        for share in shares {
            arguments.extend(["-share-file", share]);
        }
        fresh.operator(None, &arguments)
    };
    let few = restore(&[zero]);
    assert_eq!(few.code, Some(2), "nobody to ask for the second: {}", few.stderr);
    let twice = restore(&[zero, zero]);
    assert!(twice.stderr.contains("was given already"), "{}", twice.stderr);
    let mut wrong = keys[1].clone().into_bytes();
    wrong[20] = if wrong[20] == b'A' { b'B' } else { b'A' };
    let wrong = fresh.folder.write("wrong", &String::from_utf8(wrong).unwrap());
    let typo = restore(&[zero, text(&wrong)]);
    assert!(typo.stderr.contains("typing error"), "{}", typo.stderr);
    assert_eq!(
        fresh.authority.anonymous().get("sys/health").status,
        501,
        "nothing has happened"
    );

    let done = restore(&[one, zero]).succeeded();
    assert!(
        done.stderr.contains("is sealed: it waits for 2 of 3 key shares"),
        "{}",
        done.stderr
    );
    let sealed = fresh.operator(
        None,
        &[
            "restore",
            "-force",
            text(&file),
            "-share-file",
            zero,
            "-share-file",
            one,
        ],
    );
    assert_eq!(sealed.code, Some(5), "no stranger may a second time: {}", sealed.stderr);
    for key in &keys[1..] {
        fresh.authority.anonymous().write("sys/unseal", &json!({"key": key}));
    }
    assert_eq!(fresh.ca_key(), ca);
    assert_ne!(fresh.sign(&fresh.api()), serial);
    assert!(fresh.serials().contains(&serial));
    let checked = fresh
        .authority
        .store(&["check", "--share-file", zero, "--share-file", one]);
    assert!(checked.status.success(), "{}", words(&checked));
}

#[test]
fn a_snapshot_of_the_disk_that_was_put_back_is_seen_by_its_sink_and_made_safe() {
    let mut scene = Scene::with_sink();
    scene.sign(&scene.api());
    let kept = scene.folder.folder("snapshot");
    scene.authority.kill();
    snapshot(&scene.authority.data(), &kept);
    scene.start();
    let api = scene.api();
    let later: Vec<u64> = (0..5).map(|_| scene.sign(&api)).collect();
    let revoke = json!({"serial": later[0].to_string(), "reason": "stolen"});
    api.write("ssh/revoke", &revoke);
    let sink = scene.folder.path().join("sink.jsonl");
    until("the sink to follow", || {
        let text = std::fs::read_to_string(&sink).unwrap();
        text.contains("\"reason\":\"stolen\"").then_some(())
    });
    scene.authority.kill();
    snapshot(&kept, &scene.authority.data());
    let refused = scene.authority.fails_to_start();
    assert!(refused.contains("signet-ca store restored"), "{refused}");
    let checked = scene.authority.store(&["check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        words(&checked).contains("holds records that the ledger has not got"),
        "{}",
        words(&checked)
    );
    let safe = scene.authority.store(&["restored"]);
    assert!(safe.status.success(), "{}", words(&safe));
    scene.start();
    let recorded = scene.serials();
    assert!(
        later.iter().all(|serial| recorded.contains(serial)),
        "they came back from the sink"
    );
    let api = scene.api();
    for (serial, revoked) in [(later[0], true), (later[1], false)] {
        let shown = api.get(&format!("ssh/certificates?serial={serial}"));
        assert_eq!(
            shown.body["data"]["certificates"][0]["revoked"], revoked,
            "{}",
            shown.text
        );
    }
    let repeated = scene.authority.records("revoke").pop().unwrap();
    assert_eq!(
        (&repeated["by"], &repeated["reason"]),
        (&json!("restore"), &json!("stolen"))
    );
    // The first list had version 2; hosts never see that version with another content.
    assert!(repeated["krl_version"].as_u64().unwrap() > 1_700_000_000, "{repeated}");
    assert!(!later.contains(&scene.sign(&api)));
    scene.is_sound();
    until("the sink to go on", || {
        let verified = signet_tests::authority::audit_file(&sink);
        verified.status.success().then_some(())
    });
}

#[test]
fn a_snapshot_that_nothing_betrays_gives_no_serial_twice_all_the_same() {
    let mut scene = Scene::new("");
    let kept = scene.folder.folder("snapshot");
    scene.authority.kill();
    snapshot(&scene.authority.data(), &kept);
    scene.start();
    let api = scene.api();
    let given: HashSet<u64> = (0..50).map(|_| scene.sign(&api)).collect();
    scene.authority.kill();
    snapshot(&kept, &scene.authority.data());
    scene.start();
    let api = scene.api();
    for _ in 0..60 {
        assert!(!given.contains(&scene.sign(&api)));
    }
}

#[test]
fn store_check_names_what_is_wrong_and_what_to_do() {
    let mut scene = Scene::with_sink();
    scene.sign(&scene.api());
    let running = scene.authority.store(&["check"]);
    assert!(
        running.status.success(),
        "beside a server that runs: {}",
        words(&running)
    );
    assert_eq!(scene.authority.stop(), Some(0));
    // Everything lies in the two files then, without logs beside them.
    let restored = scene.authority.store(&["restored"]);
    assert!(restored.status.success(), "{}", words(&restored));
    scene.is_sound();
    let data = scene.authority.data();
    let finds = |words: &str| {
        let checked = scene.authority.store(&["check"]);
        assert_eq!(checked.status.code(), Some(1), "{words}: {}", self::words(&checked));
        assert!(
            self::words(&checked).contains(words),
            "{words}: {}",
            self::words(&checked)
        );
    };
    let open = |mode| {
        std::fs::set_permissions(
            data.join("ledger.db"),
            std::os::unix::fs::PermissionsExt::from_mode(mode),
        )
    };
    open(0o644).unwrap();
    finds("has mode 0644");
    open(0o600).unwrap();
    let (ledger, store) = (
        std::fs::read(data.join("ledger.db")).unwrap(),
        std::fs::read(data.join("store.db")).unwrap(),
    );
    // Record 2 says another thing.
    let altered = replaced(&ledger, b"\"event\":\"policy-load\"", b"\"event\":\"policy-laod\"");
    std::fs::write(data.join("ledger.db"), altered).unwrap();
    finds("was changed: its hash does not fit its text");
    std::fs::write(data.join("ledger.db"), &ledger).unwrap();
    let mut torn = store.clone();
    torn.truncate(store.len() / 2);
    std::fs::write(data.join("store.db"), torn).unwrap();
    finds("store.db");
    std::fs::write(data.join("store.db"), &store).unwrap();
    scene.is_sound();
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(old.len())
        .position(|window| window == old)
        .expect("it is there");
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

#[test]
fn a_signal_to_a_restored_server_means_what_it_did() {
    let scene = Scene::new("");
    let file = scene.backup("backup");
    let token = scene.authority.ci_token(&scene.issuer);
    scene
        .operator(Some(&token), &["restore", "-force", text(&file)])
        .succeeded();
    scene.authority.signal(Signal::HUP);
    scene.sign(&scene.api());
}

#[test]
fn a_store_or_a_ledger_that_was_put_back_alone_is_refused_and_made_safe() {
    for alone in ["store.db", "ledger.db"] {
        let mut scene = Scene::new("");
        let kept = scene.folder.folder("snapshot");
        scene.authority.kill();
        snapshot(&scene.authority.data(), &kept);
        scene.start();
        let token = scene.authority.ci_token(&scene.issuer);
        let api = scene.authority.api(&token);
        let serial = scene.sign(&api);
        let revoked = api.post("ssh/revoke", &json!({"serial": serial.to_string(), "reason": "stolen"}));
        assert_eq!(revoked.status, 200, "{}", revoked.text);
        assert_eq!(scene.authority.stop(), Some(0));
        let data = scene.authority.data();
        for ending in ["", "-wal", "-shm"] {
            let name = format!("{alone}{ending}");
            drop(std::fs::remove_file(data.join(&name)));
            if kept.join(&name).exists() {
                std::fs::copy(kept.join(&name), data.join(&name)).unwrap();
            }
        }
        let refused = scene.authority.fails_to_start();
        assert!(refused.contains("are not of one time"), "{alone}: {refused}");
        let checked = scene.authority.store(&["check"]);
        assert_eq!(checked.status.code(), Some(1), "{alone}: {}", words(&checked));
        assert!(
            words(&checked).contains("are not of one time"),
            "{alone}: {}",
            words(&checked)
        );
        let safe = scene.authority.store(&["restored"]);
        assert!(safe.status.success(), "{alone}: {}", words(&safe));
        scene.start();
        assert_eq!(scene.authority.api(&token).get("sys/signet/whoami").status, 403);
        let api = scene.api();
        assert_ne!(scene.sign(&api), serial);
        if alone == "store.db" {
            // The record in the ledger beside it is enough.
            let issued = api.get(&format!("ssh/certificates?serial={serial}"));
            let issued_revoked = &issued.body["data"]["certificates"][0]["revoked"];
            assert_eq!(*issued_revoked, true, "{}", issued.text);
        }
        scene.is_sound();
    }
}

#[test]
fn the_runbooks_commands_for_a_stolen_ca_key_end_its_certificates() {
    let scene = Scene::new("");
    let token = scene.authority.ci_token(&scene.issuer);
    let api = scene.authority.api(&token);
    let serial = scene.sign(&api);
    let stolen = scene.ca_key();
    let issued = api.get(&format!("ssh/certificates?serial={serial}"));
    let fingerprint = scene.authority.records("issue")[0]["ca_fingerprint"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        issued.body["data"]["certificates"][0]["revoked"], false,
        "{}",
        issued.text
    );
    let person = Person::using(&scene.authority.address())
        .with("SIGNET_SKIP_VERIFY", "true")
        .with("SIGNET_TOKEN", &token);
    for arguments in [
        &["ca", "rotate", "-step=stage", "-yes"][..],
        &["ca", "rotate", "-step=publish", "-yes"],
        &["ca", "rotate", "-step=promote", "-force", "-yes"],
        &[
            "revoke",
            &format!("-issuer={fingerprint}"),
            "-reason=CA key stolen",
            "-yes",
        ],
    ] {
        person.run(arguments).succeeded();
    }
    let after = api.get(&format!("ssh/certificates?serial={serial}"));
    assert_eq!(after.body["data"]["certificates"][0]["revoked"], true, "{}", after.text);
    let new = scene.sign(&api);
    let fresh = api.get(&format!("ssh/certificates?serial={new}"));
    assert_eq!(
        fresh.body["data"]["certificates"][0]["revoked"], false,
        "{}",
        fresh.text
    );
    assert_ne!(scene.ca_key(), stolen);
}

#[test]
fn a_backup_of_before_a_migration_opens_under_the_seal_of_then() {
    let mut scene = Scene::new("");
    let ca = scene.ca_key();
    let before = scene.backup("before");
    let passphrase = scene.folder.write("passphrase", "correct horse battery staple\n");
    std::fs::set_permissions(&passphrase, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let seal = format!("\n[seal]\ntype = \"passphrase\"\nfile = \"{}\"\n", passphrase.display());
    let previous = "[seal.previous]\ntype = \"key-file\"\n";
    scene.authority.kill();
    scene.authority.reconfigure(|text| format!("{text}{seal}{previous}"));
    scene.start();
    let after = scene.backup("after");
    scene.authority.kill();
    scene.authority.reconfigure(|text| text.replace(previous, ""));
    let refused = scene.authority.store(&["restore", text(&before)]);
    assert!(
        words(&refused).contains("is under a key-file seal, [seal] says passphrase"),
        "{}",
        words(&refused)
    );
    let restored = scene.authority.store(&["restore", text(&after)]);
    assert!(restored.status.success(), "{}", words(&restored));
    scene.start();
    assert_eq!(scene.ca_key(), ca);
    // With the old seal described, the old backup opens, and the server takes it to the new seal.
    scene.authority.kill();
    scene.authority.reconfigure(|text| format!("{text}{previous}"));
    let restored = scene.authority.store(&["restore", text(&before)]);
    assert!(restored.status.success(), "{}", words(&restored));
    scene.start();
    assert_eq!(scene.ca_key(), ca);
    let kind = scene.authority.anonymous().get("sys/seal-status").body["type"].clone();
    assert_eq!(kind, "passphrase");
    scene.sign(&scene.api());
    scene.is_sound();
}
