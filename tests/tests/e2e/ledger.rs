//! The ledger tells when somebody has been at it: a changed, removed, inserted or reordered record is found and named.

use signet_tests::authority::Authority;
use signet_tests::keys::KeyFile;
use signet_tests::workdir::{Workdir, login_name};

/// The lines of a ledger with some certificates in it.
fn ledger() -> (Authority, Vec<String>) {
    let authority = Authority::dev();
    let folder = Workdir::new();
    let key = KeyFile::ed25519(folder.path(), "key").public_line();
    let root = authority.root();
    let role =
        serde_json::json!({"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*", "ttl": "5m"});
    root.write("ssh/roles/any", &role);
    for _ in 0..5 {
        assert_eq!(root.sign("ssh", "any", &key, &login_name()).status, 200);
    }
    let exported = authority.audit(&["export"]);
    let lines = String::from_utf8(exported.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    (authority, lines)
}

#[test]
fn verify_accepts_the_ledger_as_it_is() {
    let (authority, lines) = ledger();
    assert!(lines.len() >= 6, "certificates and the role: {lines:#?}");
    let verified = authority.audit(&["verify"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}

#[test]
fn search_finds_a_certificate_by_its_serial() {
    let (authority, _) = ledger();
    let record = authority.records("issue").pop().unwrap();
    let serial = record["serial"].as_str().unwrap();
    let found = authority.audit(&["search", "--serial", serial]);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let text = String::from_utf8(found.stdout).unwrap();
    assert!(
        text.contains(serial) && text.contains(record["key_id"].as_str().unwrap()),
        "{text}"
    );
}
