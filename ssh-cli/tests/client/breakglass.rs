//! `signet breakglass` from outside, with no authority anywhere: the ceremony, the certificates, the documents, and both doors
//! of a real sshd whose online trust is broken.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use signet_cli::breakglass::share::Share;
use signet_cli::breakglass::unlock;
use signet_core::breakglass as document;

/// A machine without a network, in a folder that sshd's `StrictModes` accepts: not below /tmp, where everybody may write.
struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Self {
        let base = if rustix::process::geteuid().is_root() {
            PathBuf::from("/var/lib/signet-tests")
        } else {
            home().join(".cache/signet-tests")
        };
        std::fs::create_dir_all(&base).unwrap();
        let room = Self(tempfile::Builder::new().prefix("b").tempdir_in(base).unwrap());
        std::fs::create_dir(room.path("run")).unwrap();
        std::fs::set_permissions(room.path("run"), std::fs::Permissions::from_mode(0o700)).unwrap();
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `signet breakglass …` with neither terminal nor authority.
    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
        command
            .arg("breakglass")
            .args(words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.0.path())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Refused with this exit code and these words.
    fn refused(&self, words: &[&str], code: i32, says: &str) {
        let output = self.run(words);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
    }

    /// Fresh keys, with as few rounds as are taken.
    fn ceremony(&self, folder: &str, more: &[&str]) {
        let out = format!("-out={folder}");
        self.ok(&[&["new", &out, "-kdf-rounds=16"], more].concat());
    }

    fn passphrase_file(&self, folder: &str, key: &str) -> String {
        let page = self.text(&format!("{folder}/pages/{key}-passphrase.svg"));
        let secret = signet_cli::breakglass::page::secret_of(&page).unwrap();
        let name = format!("{folder}/{key}.passphrase");
        std::fs::write(self.path(&name), secret.as_bytes()).unwrap();
        std::fs::set_permissions(self.path(&name), std::fs::Permissions::from_mode(0o600)).unwrap();
        name
    }

    fn issue(&self, folder: &str, more: &[&str]) -> Value {
        let ca = format!("-ca={folder}/breakglass_ca");
        let passphrase = format!("-passphrase-file={}", self.passphrase_file(folder, "breakglass_ca"));
        let words = ["issue", "-format=json", &ca, &passphrase, "-who=ada", "-reason=drill"];
        serde_json::from_str(&self.ok(&[&words, more].concat())).unwrap()
    }
}

fn home() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test's own folder, as the test programs of `tests/` do it"
    )]
    let home = std::env::var_os("HOME").unwrap();
    PathBuf::from(home)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn keygen(words: &[&str], folder: &Path) -> Output {
    let output = Command::new("ssh-keygen")
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    output.unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn new_keys_are_encrypted_private_and_open_with_stock_ssh_keygen() {
    let room = Room::new();
    for kind in ["ed25519", "ecdsa"] {
        room.ceremony(kind, &[&format!("-type={kind}")]);
        assert_eq!(mode(&room.path(kind)), 0o700);
        for key in ["breakglass_ca", "breakglass_key"] {
            let file = format!("{kind}/{key}");
            assert_eq!(mode(&room.path(&file)), 0o600);
            assert_eq!(mode(&room.path(&format!("{kind}/pages/{key}-passphrase.svg"))), 0o600);
            let wrong = keygen(&["-y", "-P", "wrong", "-f", &file], room.0.path());
            assert!(!wrong.status.success());
            let passphrase = room.text(&room.passphrase_file(kind, key));
            let opened = keygen(&["-y", "-P", &passphrase, "-f", &file], room.0.path());
            assert!(opened.status.success(), "{}", text(&opened));
            let public = room.text(&format!("{file}.pub"));
            let blob = |line: &str| line.split(' ').nth(1).unwrap().trim().to_owned();
            assert_eq!(blob(&text(&opened)), blob(&public));
        }
        let lines = document::first(&room.text(&format!("{kind}/breakglass.keys"))).unwrap();
        assert!(
            lines.starts_with("cert-authority,principals=\"breakglass\",restrict,pty "),
            "{lines}"
        );
        assert_eq!(lines.lines().count(), 2);
    }
    let before = room.text("ed25519/breakglass_ca");
    room.refused(&["new", "-out=ed25519"], 3, "nothing is ever overwritten");
    assert_eq!(room.text("ed25519/breakglass_ca"), before);
}

#[test]
fn a_document_carries_what_the_flags_say() {
    let room = Room::new();
    room.ceremony(
        "k",
        &[
            "-principals=breakglass,bg-db1",
            "-expires=2099-12-31",
            "-from=10.0.0.0/8",
        ],
    );
    let lines = document::first(&room.text("k/breakglass.keys")).unwrap();
    let options = "restrict,pty,from=\"10.0.0.0/8\",expiry-time=\"20991231235959\"";
    let mut lines = lines.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with(&format!("cert-authority,principals=\"breakglass,bg-db1\",{options} "))
    );
    assert!(lines.next().unwrap().starts_with(&format!("{options} ssh-ed25519 ")));
    for (flag, says) in [
        ("-expires=2001-01-01", "no day to come"),
        ("-expires=soon", "no day to come"),
        ("-from=everywhere", "not a network"),
        ("-principals=root,*", "cannot be a principal"),
        ("-shares=1", "invalid value"),
        ("-kdf-rounds=1", "invalid value"),
        ("-verify-required", "does nothing for a key in a file"),
        ("-type=dsa", "invalid value"),
    ] {
        room.refused(&["new", "-out=other", flag], 2, says);
    }
    room.refused(
        &["new", "-out=other", "-shares=3", "-threshold=4"],
        1,
        "4 of 3 cannot be",
    );
    room.refused(
        &["new", "-out=other", "-shares=3", "-type=ed25519-sk"],
        2,
        "cannot be split",
    );
    room.refused(
        &["new", "-out=other", "-print-shares", "-format=json"],
        2,
        "for people only",
    );
    room.refused(
        &["new", "-out=other", "-print-shares", "-pages=p"],
        2,
        "cannot be used with",
    );
    assert!(!room.path("other").exists(), "a refusal leaves nothing behind");
}

#[test]
fn without_a_security_key_its_types_fail_with_a_reason() {
    let room = Room::new();
    room.refused(
        &["new", "-out=k", "-type=ed25519-sk", "-kdf-rounds=16"],
        1,
        "plug in a FIDO security key",
    );
    assert!(!room.path("k").exists(), "the next try may use the same name");
}

#[test]
fn a_split_passphrase_is_written_nowhere_and_three_shares_give_it_back() {
    let room = Room::new();
    room.ceremony("k", &["-shares=5", "-threshold=3"]);
    let page = |key: &str, index: u8| room.path(&format!("k/pages/{key}-share-{index}-of-5.svg"));
    let shares: Vec<Share> = (1..=5)
        .map(|index| unlock::read_share(&page("breakglass_ca", index)).unwrap())
        .collect();
    let passphrase = unlock::combine(&shares[1..4]).unwrap();
    let opened = keygen(
        &["-y", "-P", passphrase.expose(), "-f", "k/breakglass_ca"],
        room.0.path(),
    );
    assert!(opened.status.success(), "{}", text(&opened));
    for entry in walk(&room.path("k")) {
        let content = std::fs::read_to_string(&entry).unwrap();
        assert!(!content.contains(passphrase.expose()), "{}", entry.display());
    }
    // Both keys have a passphrase of their own.
    let other = unlock::read_share(&page("breakglass_key", 1)).unwrap();
    assert_ne!(other.set(), shares[0].set());

    let file = |key: &str, index: u8| format!("-share-file={}", page(key, index).display());
    let words = ["issue", "-ca=k/breakglass_ca", "-who=ada", "-reason=x"];
    let with = |more: &[String]| {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        room.run(&[&words[..], &more].concat())
    };
    let two = with(&[file("breakglass_ca", 1), file("breakglass_ca", 2)]);
    assert!(text(&two).contains("2 shares of 3 are there"), "{}", text(&two));
    let twice = with(&[
        file("breakglass_ca", 1),
        file("breakglass_ca", 2),
        file("breakglass_ca", 2),
    ]);
    assert!(text(&twice).contains("share 2 is there twice"), "{}", text(&twice));
    let mixed = with(&[
        file("breakglass_ca", 1),
        file("breakglass_ca", 2),
        file("breakglass_key", 3),
    ]);
    assert!(text(&mixed).contains("different sets"), "{}", text(&mixed));
    let foreign = with(&[
        file("breakglass_key", 1),
        file("breakglass_key", 2),
        file("breakglass_key", 3),
    ]);
    assert!(
        text(&foreign).contains("the passphrase does not open"),
        "{}",
        text(&foreign)
    );
    assert!(!room.path("k/issued.jsonl").exists());
    let three = with(&[
        file("breakglass_ca", 5),
        file("breakglass_ca", 1),
        file("breakglass_ca", 3),
    ]);
    assert!(three.status.success(), "{}", text(&three));

    std::fs::set_permissions(page("breakglass_ca", 1), std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = with(&[
        file("breakglass_ca", 1),
        file("breakglass_ca", 2),
        file("breakglass_ca", 3),
    ]);
    assert!(text(&open).contains("can be read by others"), "{}", text(&open));
}

#[test]
fn printed_shares_leave_no_pages() {
    let room = Room::new();
    let printed = room.ok(&[
        "new",
        "-out=k",
        "-kdf-rounds=16",
        "-shares=3",
        "-threshold=2",
        "-print-shares",
    ]);
    assert!(!room.path("k/pages").exists());
    let shares: Vec<Share> = printed
        .lines()
        .filter(|line| line.starts_with("Share ") && line.contains("offline CA"))
        .map(|line| Share::parse(line.split(": ").nth(1).unwrap()).unwrap())
        .collect();
    assert_eq!(shares.len(), 3);
    let passphrase = unlock::combine(&shares[..2]).unwrap();
    assert!(
        keygen(
            &["-y", "-P", passphrase.expose(), "-f", "k/breakglass_ca"],
            room.0.path()
        )
        .status
        .success()
    );
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_certificate_is_short_and_narrow_and_written_down_first() {
    let room = Room::new();
    room.ceremony("k", &["-principals=breakglass,bg-db1"]);
    let issued = room.issue("k", &["-ttl=30m", "-host=db1", "-source-address=192.0.2.7", "-out=."]);
    let certificate = issued["certificate"].as_str().unwrap();
    let shown = keygen(&["-L", "-f", certificate], room.0.path());
    let shown = text(&shown);
    let listed: Vec<&str> = shown.lines().map(str::trim).collect();
    assert!(
        shown.contains(&format!("Key ID: \"{}\"", issued["key_id"].as_str().unwrap())),
        "{shown}"
    );
    assert!(issued["key_id"].as_str().unwrap().starts_with("breakglass/ada/20"));
    let tail = [
        "Principals:",
        "bg-db1",
        "Critical Options:",
        "source-address 192.0.2.7/32",
        "Extensions:",
        "permit-pty",
    ];
    assert!(listed.ends_with(&tail), "{shown}");
    let serial: u64 = issued["serial"].as_str().unwrap().parse().unwrap();
    assert_eq!(serial >> 48, 65535, "the block that no authority issues from");
    assert_ne!(serial & 0xffff_ffff_ffff, 0);

    let log = room.text("k/issued.jsonl");
    let record: Value = serde_json::from_str(log.trim()).unwrap();
    for field in [
        "serial",
        "key_id",
        "who",
        "reason",
        "principals",
        "valid_before",
        "key",
        "ca",
    ] {
        assert_eq!(record[field], issued[field], "{field}");
    }
    assert_eq!(mode(&room.path("k/issued.jsonl")), 0o600);
    // Without a record there is no certificate.
    let ca = "-ca=k/breakglass_ca";
    let passphrase = format!("-passphrase-file={}", room.passphrase_file("k", "breakglass_ca"));
    std::fs::create_dir(room.path("none")).unwrap();
    let words = [
        "issue",
        ca,
        &passphrase,
        "-who=bob",
        "-reason=x",
        "-out=none",
        "-log=missing/issued.jsonl",
    ];
    room.refused(&words, 1, "without a record there is no certificate");
    assert!(walk(&room.path("none")).is_empty());
    // And every record is kept.
    room.issue("k", &["-out=none"]);
    assert_eq!(room.text("k/issued.jsonl").lines().count(), 2);
}

#[test]
fn an_existing_public_key_is_certified_beside_itself_and_never_over_another() {
    let room = Room::new();
    room.ceremony("k", &[]);
    assert!(
        keygen(&["-q", "-N", "", "-t", "ecdsa", "-f", "own"], room.0.path())
            .status
            .success()
    );
    let issued = room.issue("k", &["-key=own.pub"]);
    assert_eq!(issued["certificate"], "own-cert.pub");
    let ca = "-ca=k/breakglass_ca";
    let passphrase = format!("-passphrase-file={}", room.passphrase_file("k", "breakglass_ca"));
    let again = ["issue", ca, &passphrase, "-who=ada", "-reason=x", "-key=own.pub"];
    room.refused(&again, 1, "nothing is ever overwritten");
    room.refused(
        &["issue", ca, &passphrase, "-who=ada", "-reason=x", "-key=own"],
        2,
        "is a private key",
    );
}

#[test]
fn certificates_that_must_not_be_are_refused_before_the_key_is_opened() {
    let room = Room::new();
    room.ceremony("k", &[]);
    let rows: &[(&[&str], i32, &str)] = &[
        (&["-who=ada", "-reason=x", "-ttl=4h1s"], 3, "from 1m to 4h"),
        (&["-who=ada", "-reason=x", "-ttl=1s"], 3, "from 1m to 4h"),
        (&["-who=ada", "-reason=x", "-ttl=0"], 2, "no time"),
        (&["-who=ada", "-reason= "], 2, "a reason is needed"),
        (
            &["-who=a\nAccepted publickey for root", "-reason=x"],
            2,
            "cannot stand in a key ID",
        ),
        (&["-who=-x", "-reason=x"], 2, "cannot stand in a key ID"),
        (
            &["-who=ada", "-reason=x", "-principals=breakglass,"],
            2,
            "cannot be a principal",
        ),
        (&["-who=ada", "-reason=x", "-principals="], 2, "cannot be a principal"),
        (&["-who=ada", "-reason=x", "-host=*"], 2, "cannot be a principal"),
        (&["-who=ada", "-reason=x", "-source-address=10.0.0.1/8"], 2, "host bits"),
        (
            &["-who=ada", "-reason=x", "-principals=root"],
            3,
            "no host would take this certificate",
        ),
        (
            &["-who=ada", "-reason=x", "-host=db1"],
            3,
            "no host would take this certificate",
        ),
    ];
    for (words, code, says) in rows {
        // No passphrase is given: whatever opened the key would fail in another way.
        room.refused(&[&["issue", "-ca=k/breakglass_ca"], *words].concat(), *code, says);
    }
    assert!(!room.path("k/issued.jsonl").exists());
}

#[test]
fn a_rotated_document_is_taken_by_hosts_that_hold_the_old_keys() {
    let room = Room::new();
    room.ceremony("old", &[]);
    room.ceremony("new", &[]);
    room.ceremony("foreign", &[]);
    let in_place = document::first(&room.text("old/breakglass.keys")).unwrap();
    let held = document::held(&in_place).unwrap();
    let foreign = document::held(&document::first(&room.text("foreign/breakglass.keys")).unwrap()).unwrap();
    for (key, out, keep, lines) in [
        ("breakglass_key", "a.keys", false, 2),
        ("breakglass_ca", "b.keys", true, 4),
    ] {
        let passphrase = format!("-passphrase-file={}", room.passphrase_file("old", key));
        let (old, out_flag) = (format!("-old=old/{key}"), format!("-out={out}"));
        let mut words = vec!["rotate", &old, "-new=new", &out_flag, &passphrase];
        if keep {
            words.push("-keep-old");
        }
        room.ok(&words);
        let signed = room.text(out);
        assert_eq!(document::accept(&signed, &held).unwrap().lines().count(), lines);
        assert!(document::accept(&signed, &foreign).is_err());
        room.ok(&["verify", "-held=old/breakglass.keys", out]);
        room.refused(
            &["verify", "-held=foreign/breakglass.keys", out],
            1,
            "not signed by a break-glass key",
        );
        // ssh-keygen agrees about the signature.
        let (text_part, armor) = signed.split_at(signed.find("-----BEGIN").unwrap());
        std::fs::write(room.path("sig"), armor).unwrap();
        std::fs::write(room.path("message"), text_part).unwrap();
        let checked = Command::new("ssh-keygen")
            .args(["-Y", "check-novalidate", "-n", "breakglass.signet", "-s", "sig"])
            .current_dir(room.0.path())
            .stdin(std::fs::File::open(room.path("message")).unwrap())
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}", text(&checked));
    }
    // The second half: the new sealed key takes the old ones away, from hosts that hold both.
    let passphrase = format!("-passphrase-file={}", room.passphrase_file("new", "breakglass_key"));
    room.ok(&[
        "rotate",
        "-old=new/breakglass_key",
        "-held=b.keys",
        "-new=new",
        "-out=c.keys",
        &passphrase,
    ]);
    let both = document::held(&document::accept(&room.text("b.keys"), &held).unwrap()).unwrap();
    assert_eq!(
        document::accept(&room.text("c.keys"), &both).unwrap().lines().count(),
        2
    );
    assert!(
        document::accept(&room.text("c.keys"), &held).is_err(),
        "who missed a cycle needs an image, or the first document again"
    );

    let passphrase = format!("-passphrase-file={}", room.passphrase_file("foreign", "breakglass_key"));
    let words = [
        "rotate",
        "-old=foreign/breakglass_key",
        "-held=old/breakglass.keys",
        "-new=new",
        "-out=d.keys",
        &passphrase,
    ];
    room.refused(&words, 3, "hosts do not hold");
    let words = [
        "rotate",
        "-old=foreign/breakglass_key",
        "-new=new",
        "-out=a.keys",
        &passphrase,
    ];
    room.refused(&words, 3, "is there already and is not the held document");
    let words = [
        "rotate",
        "-old=foreign/breakglass_key",
        "-new=foreign",
        "-out=d.keys",
        &passphrase,
    ];
    room.refused(&words, 3, "is the one that hosts hold");
    assert!(!room.path("d.keys").exists());
    // The held document itself may be replaced: that is how policies/breakglass.keys moves on.
    std::fs::copy(room.path("foreign/breakglass.keys"), room.path("policies.keys")).unwrap();
    let words = [
        "rotate",
        "-old=foreign/breakglass_key",
        "-held=policies.keys",
        "-new=new",
        "-out=policies.keys",
        &passphrase,
    ];
    room.ok(&words);
    assert!(document::accept(&room.text("policies.keys"), &foreign).is_ok());
}

#[test]
fn cve_2026_44310_cve_2026_39395_verify_fails_on_what_it_cannot_read() {
    let room = Room::new();
    room.ceremony("k", &["-shares=3", "-threshold=2"]);
    room.ok(&[
        "verify",
        "k/breakglass_ca",
        "k/breakglass_key",
        "k/breakglass_ca.pub",
        "k/breakglass.keys",
    ]);
    let write = |name: &str, text: &str| {
        std::fs::write(room.path(name), text).unwrap();
        std::fs::set_permissions(room.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    std::fs::write(room.path("garbage"), [0xff; 60]).unwrap();
    let key = room.text("k/breakglass_ca");
    let share = unlock::read_share(&room.path("k/pages/breakglass_ca-share-1-of-3.svg")).unwrap();
    let share_text = share.text();
    let page = room.text("k/pages/breakglass_ca-share-1-of-3.svg");
    write("empty", "");
    write("blank", " \n");
    write("text", "hello\n");
    write("half-key", &key[..key.len() / 2]);
    write(
        "document",
        &room
            .text("k/breakglass.keys")
            .replace("restrict,pty", "restrict,pty,no-touch-required"),
    );
    write("cut-document", room.text("k/breakglass.keys").trim_end());
    write("share", &share_text[..share_text.len() - 6]);
    write("page", &page.replace(&share_text[5..10], "ZZZZZ"));
    write("other-page", "<svg></svg>");
    for name in [
        "garbage",
        "empty",
        "blank",
        "text",
        "half-key",
        "document",
        "cut-document",
        "share",
        "page",
        "other-page",
        "missing",
    ] {
        let output = room.run(&["verify", name]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output));
        // Something right beside it does not make it right.
        assert_eq!(
            room.run(&["verify", "k/breakglass_ca", name]).status.code(),
            Some(1),
            "{name}"
        );
    }
    room.refused(&["verify"], 2, "required");
    room.refused(&["verify", "-held=missing", "k/breakglass.keys"], 1, "cannot be read");

    assert!(
        keygen(&["-q", "-N", "", "-t", "ed25519", "-f", "plain"], room.0.path())
            .status
            .success()
    );
    room.refused(&["verify", "plain"], 1, "is not encrypted");
    std::fs::copy(room.path("k/breakglass_key.pub"), room.path("k/breakglass_ca.pub")).unwrap();
    room.refused(&["verify", "k/breakglass_ca"], 1, "is another key's");

    let pages = [
        "k/pages/breakglass_key-share-1-of-3.svg",
        "k/pages/breakglass_key-share-2-of-3.svg",
    ];
    let all = room.ok(&["verify", "k/breakglass_key", pages[0], pages[1]]);
    assert!(all.contains("they open `k/breakglass_key`"), "{all}");
    let one = room.ok(&["verify", "k/breakglass_key", pages[0]]);
    assert!(one.contains("1 of the 2 that it takes"), "{one}");
    // The CA's own pair is broken above; a copy of the key alone shows that the shares belong to another.
    std::fs::copy(room.path("k/breakglass_ca"), room.path("ca")).unwrap();
    room.refused(&["verify", "ca", pages[0], pages[1]], 1, "they open none of the keys");
}

/// A host whose online trust is broken and whose break-glass block is as `signet host bake` writes it, but for the account:
/// whoever runs the test.
struct Host<'a> {
    room: &'a Room,
    account: String,
}

impl<'a> Host<'a> {
    fn holding(room: &'a Room, keys: &str) -> Self {
        let account = text(&Command::new("id").arg("-un").output().unwrap()).trim().to_owned();
        if rustix::process::geteuid().is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        assert!(
            keygen(&["-q", "-N", "", "-t", "ed25519", "-f", "host_key"], room.0.path())
                .status
                .success()
        );
        let host_key = room.text("host_key.pub");
        std::fs::write(room.path("known_hosts"), format!("* {host_key}")).unwrap();
        std::fs::write(room.path("breakglass_keys"), keys).unwrap();
        assert!(
            keygen(&["-q", "-k", "-f", "breakglass.krl"], room.0.path())
                .status
                .success()
        );
        // What the authority brought is damaged: half a KRL, and a CA file of which no line reads.
        std::fs::write(room.path("revoked.krl"), "SSHKRL\n\0\0\0").unwrap();
        std::fs::write(room.path("user_ca.pub"), "ssh-ed25519 AAAA broken\n").unwrap();
        let at = |name: &str| room.path(name).display().to_string();
        let config = format!(
            "HostKey {}\nPidFile none\nUsePAM no\nStrictModes yes\nUseDNS no\nLogLevel VERBOSE\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nAuthorizedKeysFile none\n\
             TrustedUserCAKeys {}\nRevokedKeys {}\n\
             Match User {account}\n  AuthorizedKeysFile {}\n  RevokedKeys {}\n  TrustedUserCAKeys none\n  \
             AuthorizedPrincipalsFile none\n  AuthenticationMethods publickey\nMatch all\n",
            at("host_key"),
            at("user_ca.pub"),
            at("revoked.krl"),
            at("breakglass_keys"),
            at("breakglass.krl"),
        );
        std::fs::write(room.path("sshd_config"), config).unwrap();
        Self { room, account }
    }

    fn proxy(&self) -> String {
        let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let sshd = sshd.expect("sshd is missing; type: apt-get install openssh-server");
        let (config, log) = (self.room.path("sshd_config"), self.room.path("sshd.log"));
        format!("ProxyCommand={sshd} -i -f {} -E {}", config.display(), log.display())
    }

    fn drill(&self, more: &[&str]) -> Output {
        let proxy = format!("-ssh-option={}", self.proxy());
        let host = format!("-host={}@web1", self.account);
        let words = ["drill", &host, &proxy, "-known-hosts=known_hosts", "-format=json"];
        self.room.run(&[&words, more].concat())
    }

    fn log(&self) -> String {
        self.room.text("sshd.log")
    }
}

fn seen(report: &Value) -> Vec<(String, String)> {
    let field = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap();
    checks
        .iter()
        .map(|check| (field(check, "door"), field(check, "seen")))
        .collect()
}

#[test]
fn the_drill_goes_through_both_real_doors_of_a_host_whose_online_trust_is_broken() {
    let room = Room::new();
    room.ceremony("k", &[]);
    room.ceremony("old", &[]);
    let host = Host::holding(&room, &document::first(&room.text("k/breakglass.keys")).unwrap());
    let issued = room.issue("k", &[]);
    let certificate = issued["certificate"].as_str().unwrap();
    let identity = certificate.strip_suffix("-cert.pub").unwrap();
    let passphrase = format!("-passphrase-file={}", room.passphrase_file("k", "breakglass_key"));
    let old = format!("-old-passphrase-file={}", room.passphrase_file("old", "breakglass_key"));
    let (certificate, identity) = (format!("-certificate={certificate}"), format!("-identity={identity}"));
    // An ssh that looks for a private key in the folder that it is given its agent in.
    let spy = room.path("ssh");
    let script = format!(
        "#!/bin/sh\ngrep -rl 'PRIVATE KEY' {} >> {}\nexec /usr/bin/ssh \"$@\"\n",
        room.path("run").display(),
        room.path("leaks").display()
    );
    std::fs::write(&spy, script).unwrap();
    std::fs::set_permissions(&spy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let spy = format!("-ssh-executable={}", spy.display());
    let both = [
        &certificate,
        &identity,
        "-key=k/breakglass_key",
        &passphrase,
        "-old-key=old/breakglass_key",
        &old,
    ];
    let output = host.drill(&[&both[..], &["-report=report.json", &spy]].concat());
    assert!(output.status.success(), "{}\n{}", text(&output), host.log());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"], true);
    let want = [
        ("B", "let in"),
        ("A", "let in"),
        ("B", "refused"),
        ("A", "refused"),
        ("none", "refused"),
    ];
    let want: Vec<(String, String)> = want
        .iter()
        .map(|(door, seen)| ((*door).to_owned(), (*seen).to_owned()))
        .collect();
    assert_eq!(seen(&report), want);
    assert_eq!(
        serde_json::from_str::<Value>(&room.text("report.json")).unwrap(),
        report
    );
    // The log says who: by key ID and serial through door B, by fingerprint through door A.
    let (id, serial) = (issued["key_id"].as_str().unwrap(), issued["serial"].as_str().unwrap());
    let log = host.log();
    assert!(log.contains(&format!("ID {id} (serial {serial})")), "{log}");
    assert_eq!(log.matches("Accepted publickey for").count(), 2, "{log}");
    assert_eq!(room.text("leaks"), "", "no private key lies on the disk while ssh runs");
    assert!(walk(&room.path("run")).is_empty());

    // The report is never overwritten, and the same drill on a host that lost its keys fails and says where.
    let again = host.drill(&["-key=k/breakglass_key", &passphrase, "-report=report.json"]);
    assert_eq!(again.status.code(), Some(2), "{}", text(&again));
    std::fs::write(
        room.path("breakglass_keys"),
        document::first(&room.text("old/breakglass.keys")).unwrap(),
    )
    .unwrap();
    let output = host.drill(&both);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"], false);
    let wrong: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["ok"] == false)
        .map(|check| check["key"].as_str().unwrap())
        .collect();
    assert_eq!(
        wrong,
        [
            "certificate of the offline CA",
            "sealed key",
            "sealed key that was replaced"
        ]
    );
}

#[test]
fn a_host_that_cannot_be_reached_or_is_another_is_no_refusal() {
    let room = Room::new();
    room.ceremony("k", &[]);
    let host = Host::holding(&room, &document::first(&room.text("k/breakglass.keys")).unwrap());
    let passphrase = format!("-passphrase-file={}", room.passphrase_file("k", "breakglass_key"));
    let drill = |more: &[&str]| {
        let output = room.run(&[&["drill", "-format=json", "-key=k/breakglass_key", &passphrase], more].concat());
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let report = drill(&[
        "-host=web1",
        "-ssh-option=ProxyCommand=false",
        "-known-hosts=known_hosts",
    ]);
    assert!(seen(&report).iter().all(|(_, seen)| seen == "unclear"), "{report}");
    std::fs::write(room.path("stranger"), room.text("known_hosts").replace("* ", "other ")).unwrap();
    let proxy = format!("-ssh-option={}", host.proxy());
    let report = drill(&["-host=web1", &proxy, "-known-hosts=stranger"]);
    assert!(seen(&report).iter().all(|(_, seen)| seen == "unclear"), "{report}");
    for (words, says) in [
        (&["-host=web1"][..], "there is no door to try"),
        (&["-host=-oProxyCommand=id", "-key=k/breakglass_key"], "begins with `-`"),
        (&["-host=web1;id", "-key=k/breakglass_key"], "holds `;`"),
        (
            &[
                "-host=web1",
                "-key=k/breakglass_key",
                "-ssh-option=IdentityFile=~/.ssh/id_rsa",
            ],
            "is not taken here",
        ),
        (&["-host=web1", "-certificate=x"], "required"),
    ] {
        room.refused(&[&["drill"], words].concat(), 2, says);
    }
}

#[test]
fn a_certificate_of_another_name_or_an_ended_key_opens_nothing() {
    let room = Room::new();
    room.ceremony("k", &["-principals=breakglass,bg-db1"]);
    let keys = document::first(&room.text("k/breakglass.keys")).unwrap();
    let host = Host::holding(&room, &keys.replace("breakglass,bg-db1", "breakglass"));
    let drill = |issued: &Value| {
        let certificate = issued["certificate"].as_str().unwrap();
        let identity = format!("-identity={}", certificate.strip_suffix("-cert.pub").unwrap());
        let output = host.drill(&[&format!("-certificate={certificate}"), &identity]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        seen(&report)[0].1.clone()
    };
    std::fs::create_dir(room.path("a")).unwrap();
    std::fs::create_dir(room.path("b")).unwrap();
    assert_eq!(drill(&room.issue("k", &["-out=a"])), "let in");
    assert_eq!(
        drill(&room.issue("k", &["-out=b", "-host=db1"])),
        "refused",
        "this host's line does not list bg-db1"
    );

    // expiry-time, which sshd itself reads.
    let passphrase = format!("-passphrase-file={}", room.passphrase_file("k", "breakglass_key"));
    for (day, expected) in [("20990101", "let in"), ("20200101", "refused")] {
        let ended = keys.replace("restrict,pty ", &format!("restrict,pty,expiry-time=\"{day}\" "));
        assert!(document::held(&ended).is_ok());
        std::fs::write(room.path("breakglass_keys"), &ended).unwrap();
        let output = host.drill(&["-key=k/breakglass_key", &passphrase]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(seen(&report)[0].1, expected, "{day}");
    }
}

#[test]
fn the_sealed_key_logs_in_by_shares_and_stays_in_memory() {
    let room = Room::new();
    room.ceremony("k", &["-shares=3", "-threshold=2", "-type=ecdsa"]);
    let host = Host::holding(&room, &document::first(&room.text("k/breakglass.keys")).unwrap());
    let words = [
        "ssh",
        "-key=k/breakglass_key",
        "-share-file=k/pages/breakglass_key-share-1-of-3.svg",
        "-share-file=k/pages/breakglass_key-share-3-of-3.svg",
        &format!("{}@web1", host.account),
        "-F/dev/null",
        "-oUserKnownHostsFile=known_hosts",
        &format!("-o{}", host.proxy()),
        "echo in; exit 7",
    ];
    let output = room.run(&words);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "in\n");
    assert!(walk(&room.path("run")).is_empty());
}
