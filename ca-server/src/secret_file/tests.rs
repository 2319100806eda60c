use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_secret_is_read_from_a_file_that_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let error = || read(&path).unwrap_err().of("the PIN file");
    assert!(
        error().ends_with("is missing") && error().starts_with("the PIN file `/"),
        "{}",
        error()
    );
    write_new(&path, b"4711\n").unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(*read(&path).unwrap(), "4711\n");
    assert!(write_new(&path, b"other").is_err(), "it is never overwritten");
    for (mode, is_read) in [
        (0o600, true),
        (0o400, true),
        (0o700, true),
        (0o640, false),
        (0o620, false),
        (0o604, false),
        (0o601, false),
        (0o666, false),
    ] {
        set_mode(&path, mode);
        assert_eq!(read(&path).is_ok(), is_read, "{mode:o}");
        assert_eq!(assert_private(&path).is_ok(), is_read, "{mode:o}");
    }
    assert!(
        error().contains("mode 0666; others can read it (run `chmod 600`"),
        "{}",
        error()
    );
    set_mode(&path, 0o600);
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(
        matches!(read(&link), Err(SecretFileError::Read { .. })),
        "a link is not followed"
    );
    std::fs::write(&path, vec![b'a'; 8000]).unwrap();
    assert_eq!(read(&path).unwrap().len(), 8000);
    std::fs::write(&path, vec![b'a'; 8001]).unwrap();
    assert!(error().contains("too long"), "half a secret is none: {}", error());
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    write_new(&path, b"4711\n").unwrap();
    std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
    assert!(matches!(read(&path), Err(SecretFileError::Owner { owner: 65_534, .. })));
}

#[test]
fn one_open_file_in_a_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal", "sink.jsonl"] {
        make_private(&folder.path().join(name)).unwrap();
    }
    make_private(&folder.path().join("store.db")).unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let sink = folder.path().join("sink.jsonl");
    set_mode(&sink, 0o640);
    assert_all_private(folder.path(), std::slice::from_ref(&sink)).unwrap();
    let named = assert_all_private(folder.path(), &[]).unwrap_err().to_string();
    assert!(named.contains("sink.jsonl"), "{named}");
    set_mode(&folder.path().join("store.db-wal"), 0o644);
    let named = assert_all_private(folder.path(), &[sink]).unwrap_err().to_string();
    assert!(named.contains("store.db-wal` has mode 0644"), "{named}");
}
