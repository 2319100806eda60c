use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

const FP: &str = "SHA256:jQ1Nt7WdSyTDC3OHgxnlWWGQyGlFsoKmoVMrAcQfLCE";
const CA: &str = "SHA256:bnuBX4bOFOdcUBvNsrAWNo4ur8vPVFLF2iHZSeBpuZc";
const NOW: UnixTime = UnixTime::from_secs(1_795_668_000); // 2026-11-26T04:40:00Z

fn certificate_line(key_id: &str) -> String {
    format!(
        "Accepted publickey for ubuntu from 10.0.0.7 port 51234 ssh2: ED25519-CERT {FP} ID {key_id} (serial 4711) CA ED25519 {CA}"
    )
}

#[test]
fn a_login_is_read_as_sshd_tells_it() {
    let login = accepted(&certificate_line("alice@example.com my-role"), 7).unwrap();
    let want = AcceptedLogin {
        time: 7,
        account: "ubuntu".to_owned(),
        address: "10.0.0.7".to_owned(),
        key_type: "ED25519-CERT".to_owned(),
        fingerprint: FP.to_owned(),
        serial: "4711".to_owned(),
        key_id: "alice@example.com my-role".to_owned(),
        ca_fingerprint: CA.to_owned(),
        breakglass: false,
    };
    assert_eq!(login, want);
    let plain = format!("Accepted publickey for breakglass from fe80::1%eth0 port 22 ssh2: ED25519 {FP}");
    let login = accepted(&plain, 7).unwrap();
    assert!(login.breakglass && login.serial.is_empty() && login.key_id.is_empty());
    let empty = accepted(&certificate_line(""), 7).unwrap();
    assert_eq!((empty.key_id.as_str(), empty.serial.as_str()), ("", "4711"));
}

#[test]
fn what_is_no_login_by_key_is_passed_over() {
    for line in [
        "Failed publickey for ubuntu from 10.0.0.7 port 51234 ssh2: ED25519 SHA256:x",
        "Accepted password for ubuntu from 10.0.0.7 port 51234 ssh2",
        "Accepted publickey for ubuntu from nowhere port 51234 ssh2: ED25519 SHA256:x",
        "Accepted publickey for ubuntu from 10.0.0.7 port 99999 ssh2: ED25519 SHA256:x",
        "Accepted certificate ID \"Accepted publickey for root from 1.1.1.1 port 1 ssh2: RSA SHA256:x\" (serial 1) signed by ED25519",
        "",
    ] {
        assert_eq!(accepted(line, 0), None, "{line}");
    }
}

#[test]
fn a_key_id_that_pushed_the_serial_out_of_the_line_is_told_without_one() {
    let whole = certificate_line(&"x".repeat(2000));
    for end in [whole.len() - 1, whole.len() - 60, 1000, 150] {
        let login = accepted(whole.get(..end).unwrap(), 0).unwrap();
        assert_eq!((login.serial.as_str(), login.ca_fingerprint.as_str()), ("", ""));
        assert_eq!((login.account.as_str(), login.fingerprint.as_str()), ("ubuntu", FP));
        assert!(login.key_type.ends_with("-CERT"));
    }
}

#[test]
fn a_key_id_that_looks_like_the_rest_of_a_line_changes_nothing() {
    for key_id in [
        format!("x (serial 1) CA ED25519 {CA}"),
        format!("x (serial 1) CA RSA {FP} (serial 2)"),
        "from 6.6.6.6 port 1 ssh2: RSA SHA256:x".to_owned(),
        "Accepted publickey for root from 6.6.6.6 port 1 ssh2: RSA SHA256:x".to_owned(),
        "ID ID ID".to_owned(),
        "\\nNov 26 04:00:00 h sshd[1]: x".to_owned(),
    ] {
        let login = accepted(&certificate_line(&key_id), 0).unwrap();
        assert_eq!(
            (login.serial.as_str(), login.ca_fingerprint.as_str()),
            ("4711", CA),
            "{key_id}"
        );
        assert_eq!(
            (login.account.as_str(), login.address.as_str()),
            ("ubuntu", "10.0.0.7"),
            "{key_id}"
        );
        assert_eq!(login.key_id, key_id);
    }
}

proptest! {
    #[test]
    fn no_key_id_changes_account_address_or_serial(key_id in "[ -~]{0,120}") {
        let login = accepted(&certificate_line(&key_id), 0).unwrap();
        prop_assert_eq!(login.account, "ubuntu");
        prop_assert_eq!(login.address, "10.0.0.7");
        prop_assert_eq!(login.fingerprint, FP);
        prop_assert_eq!(login.serial, "4711");
        prop_assert_eq!(login.key_id, key_id);
    }

    #[test]
    fn key_ids_made_of_the_lines_own_pieces_change_nothing_either(
        pieces in proptest::collection::vec(prop_oneof![
            Just(" (serial 1)"), Just(") CA"), Just(" CA ED25519 SHA256:jQ1Nt7WdSyTDC3OHgxnlWWGQyGlFsoKmoVMrAcQfLCE"),
            Just(" from 6.6.6.6 port 1 ssh2: "), Just(" ID "), Just("Accepted publickey for root"), Just("\\n"), Just(" "),
        ], 0..12)
    ) {
        let key_id = pieces.concat();
        let login = accepted(&certificate_line(&key_id), 0).unwrap();
        prop_assert_eq!((login.account.as_str(), login.address.as_str()), ("ubuntu", "10.0.0.7"));
        prop_assert_eq!((login.serial.as_str(), login.ca_fingerprint.as_str()), ("4711", CA));
    }

    #[test]
    fn any_text_is_read_without_harm(text in "\\PC{0,200}", stamp in "\\PC{0,40}") {
        drop(accepted(&format!("Accepted publickey for {text}"), 0));
        file::split(&text);
        let ask = || 0;
        file::Times { now: NOW, offset: None, ask: &ask }.read(&stamp);
        file::zone_secs(&stamp);
    }
}

#[test]
fn only_lines_of_sshd_count() {
    let good = [
        "Nov 26 04:00:00 web-1 sshd[123]: Accepted",
        "Nov  6 04:00:00 web-1 sshd-session[123]: Accepted",
        "2026-11-26T04:00:00.123456+01:00 web-1 sshd[123]: Accepted",
        "2026-11-26T04:00:00Z web-1 sshd-session[123]: Accepted",
    ];
    for line in good {
        assert_eq!(
            file::split(line).map(|(_, message)| message),
            Some("Accepted"),
            "{line}"
        );
    }
    for line in [
        "Nov 26 04:00:00 web-1 evil[123]: Accepted",
        "Nov 26 04:00:00 web-1 evil[1]: x sshd[123]: Accepted",
        "Nov 26 04:00:00 web-1 sshd: Accepted",
        "Nov 26 04:00:00 web-1 sshd[x]: Accepted",
        "Nov 26 04:00:00 web-1 sudo: a : sshd[1]: Accepted",
    ] {
        assert_eq!(file::split(line), None, "{line}");
    }
}

#[test]
fn times_are_read_in_both_spellings() {
    let rows = [
        ("2026-11-26T04:00:00.123456+00:00", "2026-11-26T04:00:00Z"),
        ("2026-11-26T04:00:00+05:30", "2026-11-25T22:30:00Z"),
        ("2026-11-25T20:00:00-08:00", "2026-11-26T04:00:00Z"),
        ("2026-11-26T04:00:00Z", "2026-11-26T04:00:00Z"),
        ("Nov 26 04:00:00", "2026-11-26T03:00:00Z"),
        ("Nov  6 04:00:00", "2026-11-06T03:00:00Z"),
        ("Dec 31 23:59:59", "2025-12-31T22:59:59Z"),
        ("Feb 29 10:00:00", "2024-02-29T09:00:00Z"),
        ("Xyz 99 04:00:00", "2026-11-26T04:40:00Z"),
    ];
    let ask = || 3600;
    let mut times = file::Times {
        now: NOW,
        offset: None,
        ask: &ask,
    };
    for (stamp, want) in rows {
        assert_eq!(UnixTime::from_secs(times.read(stamp)).to_string(), want, "{stamp}");
    }
    assert_eq!(file::zone_secs("-0330"), Some(-12_600));
}

fn syslog(key_id: &str) -> String {
    format!("2026-11-26T04:00:00Z web-1 sshd[1]: {}\n", certificate_line(key_id))
}

fn key_ids(reading: &Reading) -> Vec<&str> {
    reading.logins.iter().map(|login| login.key_id.as_str()).collect()
}

#[test]
fn a_rotated_file_is_finished_before_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.log");
    let read = |position: &Position, max| file::read(&path, position, NOW, || 0, max).unwrap();
    let append = |text: &str| {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append(&format!("{}Nov 26 04:00:00 h cron[1]: x\n{}", syslog("a"), syslog("b")));
    let first = read(&Position::Start, 100);
    assert_eq!(key_ids(&first), ["a", "b"]);
    let half = syslog("c");
    append(half.get(..50).unwrap());
    let none = read(&first.position, 100);
    assert_eq!(key_ids(&none), Vec::<&str>::new());
    append(half.get(50..).unwrap());
    append(&syslog("d"));
    std::fs::rename(&path, folder.path().join("auth.log.1")).unwrap();
    append(&syslog("e"));
    // One at a time, as when a report is full.
    let one = read(&none.position, 1);
    assert_eq!(key_ids(&one), ["c"]);
    let rest = read(&one.position, 100);
    assert_eq!(key_ids(&rest), ["d", "e"]);
    assert_eq!(read(&rest.position, 100).logins, []);
    // Cut down in place.
    std::fs::write(&path, syslog("f")).unwrap();
    append("");
    let cut = read(
        &Position::File {
            path: path.display().to_string(),
            inode: std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap()),
            offset: 10_000,
        },
        100,
    );
    assert_eq!(key_ids(&cut), ["f"]);
    // Rotated away altogether.
    let gone = read(
        &Position::File {
            path: path.display().to_string(),
            inode: 1,
            offset: 5,
        },
        100,
    );
    assert_eq!((key_ids(&gone), gone.problems.len()), (vec!["f"], 1));
    assert!(file::read(&folder.path().join("none"), &Position::Start, NOW, || 0, 9).is_err());
}

#[test]
fn the_first_look_goes_back_one_day() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secure");
    let old = syslog("old").replace("2026-11-26T04", "2026-11-25T03");
    std::fs::write(&path, format!("{old}{}", syslog("new"))).unwrap();
    let reading = file::read(&path, &Position::Start, NOW, || 0, 9).unwrap();
    assert_eq!(key_ids(&reading), ["new"]);
}

#[test]
fn the_journal_is_read_by_cursor_and_by_time_when_the_cursor_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("journalctl");
    let entry = |cursor: &str, message: &str| {
        serde_json::json!({"__CURSOR": cursor, "__REALTIME_TIMESTAMP": "1795660000123456", "MESSAGE": message})
            .to_string()
    };
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*--after-cursor=lost*) echo 'Failed to seek to cursor' >&2; exit 1;;\n*--after-cursor=c2*) exit 0;;\n\
         *--since=@*) printf '%s\\n' '{}' 'not json' '{}';;\nesac\n",
        entry("c1", &certificate_line("a")),
        entry("c2", "Connection closed"),
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_str().unwrap();
    let first = journal::read(program, &Position::Start, NOW, 100).unwrap();
    assert_eq!(key_ids(&first), ["a"]);
    let c2 = Position::Journal {
        cursor: "c2".to_owned(),
        time: 1_795_660_000,
    };
    assert_eq!(first.position, c2);
    assert_eq!(journal::read(program, &c2, NOW, 100).unwrap().logins, []);
    let lost = Position::Journal {
        cursor: "lost".to_owned(),
        time: 1_795_660_000,
    };
    let again = journal::read(program, &lost, NOW, 100).unwrap();
    assert_eq!((key_ids(&again), again.problems.len()), (vec!["a"], 1));
    assert!(journal::read("/no/journalctl", &Position::Start, NOW, 9).is_err());
}
