//! A full disk: no certificate and a clear error, and certificates again as soon as there is room, without a restart.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use signet_tests::api::Answer;
use signet_tests::authority::Authority;
use signet_tests::issuer::Issuer;
use signet_tests::keys::KeyFile;
use signet_tests::team::{GROUP, ROLE, Team};
use signet_tests::workdir::{Workdir, is_root, login_name};

/// A file system of a few megabytes, gone with the value.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    fn mount(folder: PathBuf) -> Self {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(&folder)
            .output()
            .unwrap();
        assert!(
            mounted.status.success(),
            "mount: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self { folder }
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
        while ballast.write_all(&[0; 1]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may still be about to end.
        drop(Command::new("umount").arg("-l").arg(&self.folder).status());
    }
}

#[test]
fn a_full_disk_stops_certificates_with_a_clear_error_and_room_brings_them_back() {
    assert!(is_root(), "this test mounts a small file system: run the suite as root");
    let (folder, outside) = (Workdir::new(), Workdir::new());
    let disk = SmallDisk::mount(folder.folder("data"));
    let issuer = Issuer::new();
    let team = Team::default().person("alice", &[GROUP], &KeyFile::ed25519(outside.path(), "alice"));
    let authority = Authority::serve_in(
        folder,
        |policies| team.install(policies),
        &issuer.config(outside.path()),
    );
    // Values end in reverse order: the disk is unmounted before the folder that it lies in is removed.
    let disk = disk;
    let api = authority.api(&authority.ci_token(&issuer));
    let subject = KeyFile::ed25519(outside.path(), "subject").public_line();
    let sign = || -> Answer {
        let body = json!({"public_key": subject, "valid_principals": login_name(), "ttl": "5m"});
        api.post(&format!("ssh/sign/{ROLE}"), &body)
    };
    assert_eq!(sign().status, 200);

    disk.fill();
    // The ledger may have a little room of its own left; then no more.
    let mut granted = 1;
    let refusal = (0..100_000).map(|_| sign()).find(|answer| {
        granted += usize::from(answer.status == 200);
        answer.status != 200
    });
    let refused = refusal.expect("a refusal");
    assert!(
        (500..600).contains(&refused.status),
        "{} {}",
        refused.status,
        refused.text
    );
    assert!(
        refused.body["data"].is_null() && !refused.text.contains("cert-v01"),
        "no certificate: {}",
        refused.text
    );
    assert!(
        refused.errors().contains("ledger"),
        "the reason is said: {}",
        refused.text
    );
    assert!(sign().status >= 500, "and stays so");

    disk.free();
    let again = sign();
    assert_eq!(
        again.status, 200,
        "room is back, and no restart was needed: {}",
        again.text
    );
    let records = authority.records("issue");
    assert_eq!(records.len(), granted + 1, "as many records as certificates");
    let verified = authority.audit(&["verify"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}
