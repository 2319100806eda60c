//! A KMIP server as the seal, against `PyKMIP`: opened by itself after a kill, and what happens when the server is away, slow,
//! refuses, or what lies in the store was altered.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::json;
use signet_tests::authority::Authority;
use signet_tests::binaries::ours;
use signet_tests::kmip::Kmip;
use signet_tests::python;
use signet_tests::relay::{Relay, Way};
use signet_tests::team::Team;
use signet_tests::wait::until;
use signet_tests::workdir::Workdir;

/// What a refusal of the start says when the wrapped root key does not open.
const WRONG: &str = "another key wrapped it, or the store was altered";

/// Changes a field of the wrapped root key, which lies in the store as JSON in base64 in JSON. `argv`: the store, the field's
/// path, what to do with it.
const SPOIL: &str = r#"
import base64, json, sqlite3, sys
store, path, change = sys.argv[1:]
database = sqlite3.connect(store)
row = json.loads(database.execute("SELECT value FROM settings WHERE key = 'seal'").fetchone()[0])
wrapped = json.loads(base64.b64decode(row["wrapped"]))
*inner, last = path.split(".")
at = wrapped
for name in inner:
    at = at[name]
if change == "flip":
    raw = bytearray(base64.b64decode(at[last]))
    raw[len(raw) // 2] ^= 1
    at[last] = base64.b64encode(raw).decode()
else:
    at[last] = json.loads(change)
row["wrapped"] = base64.b64encode(json.dumps(wrapped).encode()).decode()
database.execute("UPDATE settings SET value = ? WHERE key = 'seal'", (json.dumps(row).encode(),))
database.commit()
"#;

/// Prints the seal's row, or puts it back. `argv`: the store, the row to put.
const ROW: &str = r#"
import base64, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
if len(sys.argv) > 2:
    database.execute("UPDATE settings SET value = ? WHERE key = 'seal'", (base64.b64decode(sys.argv[2]),))
    database.commit()
print(base64.b64encode(database.execute("SELECT value FROM settings WHERE key = 'seal'").fetchone()[0]).decode())
"#;

fn team(policies: &Path) {
    Team::default().install(policies);
}

/// A server under a KMIP seal, initialised.
fn initialised(seal: &str) -> Authority {
    let authority = Authority::serve_sealed(team, seal);
    assert_eq!(health(&authority), 501, "it waits for `sys/init`");
    authority.init();
    authority
}

fn health(authority: &Authority) -> u16 {
    authority.anonymous().get("sys/health").status
}

fn opens(authority: &Authority) {
    until("the seal to open by itself", || {
        (health(authority) == 200).then_some(())
    });
}

/// It is sealed, and says why to whoever asks.
fn sealed_because(authority: &Authority, reason: &str) {
    let answer = authority.anonymous().get("sys/health");
    assert_eq!(answer.status, 503, "{}", answer.text);
    let told = answer.body["seal_reason"].as_str().expect("a reason");
    assert!(told.contains(reason), "{reason}: {told}");
}

#[test]
fn a_server_that_is_away_or_hangs_is_tried_again_until_it_answers() {
    let mut kmip = Kmip::new();
    let relay = Relay::to(kmip.port());
    let seal = kmip.settings("seal", relay.port(), "seal") + "timeout = \"1s\"\n";
    let mut authority = initialised(&seal);
    authority.kill();
    authority.start();
    opens(&authority);

    authority.kill();
    kmip.stop();
    authority.start();
    sealed_because(&authority, "it is tried again");
    kmip.start();
    opens(&authority);

    authority.kill();
    relay.set(Way::Held);
    let began = Instant::now();
    authority.start();
    sealed_because(&authority, "did not answer within `timeout`");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    relay.set(Way::Open);
    opens(&authority);
    assert!(!authority.log().contains("has no AES-GCM"), "{}", authority.log());
}

#[test]
fn a_refusal_is_told_and_mended_while_the_server_waits() {
    let kmip = Kmip::new();
    let seal = kmip.settings("seal", kmip.port(), "seal");
    let mut authority = initialised(&seal);
    let as_client = |text: &str, name: &str| {
        let with = |text: String, end: &str| {
            let path = |name: &str| kmip.file(&format!("{name}.{end}")).display().to_string();
            text.replace(&path("client"), &path(name))
        };
        with(with(text.to_owned(), "pem"), "key")
    };
    // Somebody whom the server knows but to whom the key does not belong, and somebody of another authority.
    for (name, reason) in [
        ("stranger", "permission denied"),
        ("foreign", "does not accept our `certificate`"),
    ] {
        authority.kill();
        let mut before = String::new();
        authority.reconfigure(|text| {
            before.clone_from(&text);
            as_client(&text, name)
        });
        authority.start();
        sealed_because(&authority, reason);
        sealed_because(&authority, "it is tried again");
        authority.kill();
        authority.reconfigure(|_| before);
        authority.start();
        opens(&authority);
    }
    // Mended while it runs: the files are read at each try.
    authority.kill();
    let (good, kept) = (kmip.file("client.pem"), kmip.file("kept.pem"));
    let (good_key, kept_key) = (kmip.file("client.key"), kmip.file("kept.key"));
    for (from, to) in [(&good, &kept), (&good_key, &kept_key)] {
        std::fs::rename(from, to).unwrap();
    }
    for end in ["pem", "key"] {
        std::fs::copy(
            kmip.file(&format!("stranger.{end}")),
            kmip.file(&format!("client.{end}")),
        )
        .unwrap();
    }
    authority.start();
    sealed_because(&authority, "it is tried again");
    for (from, to) in [(&kept, &good), (&kept_key, &good_key)] {
        std::fs::rename(from, to).unwrap();
    }
    authority.signal(Signal::HUP);
    opens(&authority);

    // A key that is out of use, and one that is no more.
    authority.kill();
    kmip.deactivate("seal");
    authority.start();
    sealed_because(&authority, "must be Active");
    authority.kill();
    kmip.destroy("seal");
    authority.start();
    sealed_because(&authority, "no such key");
    sealed_because(&authority, "it is tried again");
}

#[test]
fn the_check_names_files_that_cannot_be_used() {
    let kmip = Kmip::new();
    let folder = Workdir::new();
    let check = || {
        let config = format!(
            "data = \"data\"\naddresses = [\"https://localhost:8200\"]\n{}",
            kmip.settings("seal", kmip.port(), "seal")
        );
        let file = folder.write("signet.toml", &config);
        let ran = Command::new(ours("signet-ca"))
            .arg("check")
            .arg(format!("--config={}", file.display()))
            .output()
            .expect("signet-ca check");
        (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    assert_eq!(check(), (true, String::new()));
    std::fs::set_permissions(kmip.file("client.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let (good, told) = check();
    assert!(!good && told.contains("chmod 600"), "{told}");
    std::fs::write(kmip.file("client.pem"), "no certificate").unwrap();
    let (good, told) = check();
    assert!(!good && told.contains("no CERTIFICATE block"), "{told}");
}

#[test]
fn nothing_is_founded_on_a_key_that_cannot_wrap() {
    let kmip = Kmip::new();
    for (key, more, reason) in [
        ("inactive", "", "must be Active"),
        ("inactive", "operation = \"get\"\n", "the key is Pre-Active"),
        ("short", "operation = \"get\"\n", "128 bits"),
    ] {
        let seal = kmip.settings("seal", kmip.port(), key) + more;
        let authority = Authority::serve_sealed(team, &seal);
        let answer = authority
            .anonymous()
            .post("sys/init", &json!({"recovery_shares": 1, "recovery_threshold": 1}));
        assert!(answer.status >= 400, "{}", answer.text);
        let log = authority.log();
        assert!(
            answer.text.contains(reason) || log.contains(reason),
            "{reason}: {}\n{log}",
            answer.text
        );
        assert_eq!(health(&authority), 501, "nothing was founded");
    }
}

/// Every field of the wrapped root key in turn, in a running server's store.
fn altered_fields_do_not_open(kmip: &Kmip, seal: &str, fields: &[(&str, &str)]) {
    let mut authority = initialised(seal);
    authority.kill();
    let store = authority.data().join("store.db");
    let store = store.display().to_string();
    let kept = python::run(ROW, &[&store]).stdout;
    let kept = String::from_utf8(kept).unwrap();
    for (field, change) in fields {
        let change = change.replace("OTHER", kmip.key("other_seal"));
        let spoilt = python::run(SPOIL, &[&store, field, &change]);
        assert!(spoilt.status.success(), "{}", String::from_utf8_lossy(&spoilt.stderr));
        let error = authority.fails_to_start();
        assert!(error.contains(WRONG), "{field}, {change}: {error}");
        assert!(python::run(ROW, &[&store, kept.trim()]).status.success());
    }
    authority.start();
    opens(&authority);
}

#[test]
fn a_wrapped_root_key_that_was_altered_does_not_open() {
    let kmip = Kmip::new();
    let seal = kmip.settings("seal", kmip.port(), "seal");
    let fields = [
        ("root_key", "flip"),
        ("data_key.data", "flip"),
        ("data_key.iv", "flip"),
        ("data_key.tag", "flip"),
        ("data_key.mechanism", "\"aes-cbc\""),
        ("data_key.iv", "\"\""),
        ("operation", "\"get\""),
        ("version", "2"),
        ("key_id", "\"OTHER\""),
    ];
    altered_fields_do_not_open(&kmip, &seal, &fields);
    let seal = seal + "operation = \"get\"\n";
    altered_fields_do_not_open(&kmip, &seal, &[("root_key", "flip"), ("operation", "\"encrypt\"")]);
}

#[test]
fn an_older_server_without_aes_gcm_is_no_less_safe() {
    let kmip = Kmip::older();
    let seal = kmip.settings("seal", kmip.port(), "seal");
    let asked = Authority::serve_sealed(team, &format!("{seal}mechanism = \"aes-gcm\"\n"));
    let refused = asked
        .anonymous()
        .post("sys/init", &json!({"recovery_shares": 1, "recovery_threshold": 1}));
    assert!(
        refused.text.contains("KMIP 1.4") || asked.log().contains("KMIP 1.4"),
        "{}\n{}",
        refused.text,
        asked.log()
    );
    // CBC proves nothing: its data key decrypts to another one, or not at all. What it wraps does not open either way.
    let fields = [
        ("root_key", "flip"),
        ("data_key.data", "flip"),
        ("data_key.iv", "flip"),
        ("data_key.tag", "\"AAAA\""),
    ];
    altered_fields_do_not_open(&kmip, &seal, &fields);
    let authority = initialised(&seal);
    assert!(authority.log().contains("has no AES-GCM"), "{}", authority.log());
}

#[test]
fn another_key_does_not_open_the_seal_and_is_migrated_to() {
    let kmip = Kmip::new();
    let (seal, other) = (
        kmip.settings("seal", kmip.port(), "seal"),
        kmip.settings("seal", kmip.port(), "other_seal"),
    );
    let mut authority = initialised(&seal);
    let set = |authority: &Authority, new: &str| {
        authority.reconfigure(|text| {
            let begin = text.find("\n[seal]").expect("the seal");
            text[..begin].to_owned() + new
        });
    };
    authority.kill();
    set(&authority, &other);
    assert!(authority.fails_to_start().contains(WRONG));
    let previous = seal.replace("[seal]", "[seal.previous]");
    set(&authority, &format!("{other}{previous}"));
    authority.start();
    opens(&authority);
    authority.kill();
    set(&authority, &other);
    authority.start();
    opens(&authority);
    // The old one is of no use any more, whoever has it.
    authority.kill();
    set(&authority, &seal);
    assert!(authority.fails_to_start().contains(WRONG));
}
