//! Files that hold secrets are their owner's alone, and a server or a client that finds one open says so and stops.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use signet_tests::authority::Authority;
use signet_tests::canary::files_under;
use signet_tests::keys::KeyFile;
use signet_tests::person::Person;
use signet_tests::team::{GROUP, Team};
use signet_tests::workdir::Workdir;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn a_server_makes_its_files_private_and_does_not_start_when_one_is_open() {
    let sink = "\n[[audit.sink]]\ntype = \"file\"\npath = \"sink.jsonl\"\n[seal]\ntype = \"key-file\"\npath = \"elsewhere.key\"\n";
    let mut authority = Authority::serve(|_| {}, sink);
    let folder = authority.folder().path().to_owned();
    // As a power cut leaves it: with the logs of both databases.
    authority.kill();
    for file in files_under(&folder.join("data")) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert_eq!(mode(&folder.join("data")), 0o700);
    // The file, the mode that is refused, one that is taken.
    let rows = [
        ("data", 0o750, 0o700),
        ("data/store.db", 0o644, 0o600),
        ("data/store.db-wal", 0o640, 0o600),
        ("data/store.db-shm", 0o604, 0o600),
        ("data/ledger.db", 0o660, 0o600),
        ("data/ledger.db-wal", 0o644, 0o600),
        ("data/ledger.db-shm", 0o644, 0o600),
        ("data/lock", 0o644, 0o600),
        ("data/tls.key", 0o640, 0o600),
        ("elsewhere.key", 0o640, 0o400),
        ("sink.jsonl", 0o644, 0o640),
        ("sink.jsonl", 0o660, 0o600),
    ];
    for (name, refused, taken) in rows {
        let file = folder.join(name);
        set_mode(&file, refused);
        let told = authority.fails_to_start();
        assert!(
            told.contains(file.to_str().expect("a path")) && told.contains(&format!("mode {refused:04o}")),
            "{name}: {told}"
        );
        assert!(told.contains("run `chmod "), "it is told what to do: {told}");
        set_mode(&file, taken);
        authority.start();
        authority.kill();
    }
}

#[test]
fn a_tls_key_that_everybody_can_read_is_refused_and_one_of_a_group_is_not() {
    let folder = Workdir::new();
    let made = Authority::serve(|_| {}, "");
    for name in ["tls.crt", "tls.key"] {
        std::fs::copy(made.data().join(name), folder.path().join(name)).expect("a copy");
    }
    let file = |name: &str| folder.path().join(name).display().to_string();
    let tls = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        file("tls.crt"),
        file("tls.key")
    );
    let mut authority = Authority::serve(|_| {}, &tls);
    authority.kill();
    set_mode(&folder.path().join("tls.key"), 0o644);
    let told = authority.fails_to_start();
    assert!(told.contains("tls.key") && told.contains("chmod"), "{told}");
    // Debian's `ssl-cert`: a group of those who may.
    set_mode(&folder.path().join("tls.key"), 0o640);
    authority.start();
}

#[test]
fn a_client_refuses_a_token_or_a_key_that_others_can_read() {
    let folder = Workdir::new();
    let key = KeyFile::ed25519(folder.path(), "alice");
    let team = Team::default().person("alice", &[GROUP], &key);
    let authority = Authority::dev_with(|policies| team.install(policies));
    let alice = Person::using(&authority.address());
    let key_flag = format!("-key={}", key.path().display());
    set_mode(key.path(), 0o644);
    let refused = alice.run(&["login", "-method=ssh-key", &key_flag]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("mode 0644"),
        "{}",
        refused.stderr
    );
    set_mode(key.path(), 0o600);
    alice.run(&["login", "-method=ssh-key", &key_flag]).succeeded();
    let token = alice.home().join(".config/signet/token");
    assert_eq!(mode(&token), 0o600);
    alice.run(&["whoami"]).succeeded();
    set_mode(&token, 0o640);
    let refused = alice.run(&["whoami"]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("mode 0640") && refused.stderr.contains("chmod 600"),
        "{}",
        refused.stderr
    );
}
