//! The real `ssh-keygen -Q` and `-k` as the judge of our revocation lists: what it refuses for a list, sshd refuses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking; .clippy.toml allows it in #[test] functions, this in their helpers"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signature::Signer as _;
use signet_core::krl::{Hit, Krl, Subject};
use signet_core::subject_key::SubjectKey;
use signet_core::time::UnixTime;
use ssh_encoding::{Decode as _, Encode as _};

/// A folder for one test, emptied first.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("krl-{name}-{}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.0.join(name), content).unwrap();
        self.file(name)
    }

    fn make_key(&self, name: &str, kind: &[&str]) -> SubjectKey {
        let file = self.file(name);
        ssh_keygen(&[kind, &["-q", "-N", "", "-C", "t", "-f", &file]].concat());
        self.read_key(name)
    }

    fn read_key(&self, name: &str) -> SubjectKey {
        SubjectKey::parse(fs::read_to_string(self.0.join(format!("{name}.pub"))).unwrap().trim()).unwrap()
    }

    /// Signs `subject.pub` and keeps the certificate as `name-cert.pub`.
    fn certify(&self, name: &str, ca: &str, subject: &str, key_id: &str, serial: u64) -> Certificate {
        fs::copy(self.file(&format!("{subject}.pub")), self.file(&format!("{name}.pub"))).unwrap();
        let serial_text = serial.to_string();
        let (ca_file, file) = (self.file(ca), self.file(&format!("{name}.pub")));
        ssh_keygen(&[
            "-q",
            "-s",
            &ca_file,
            "-I",
            key_id,
            "-n",
            "ubuntu",
            "-z",
            &serial_text,
            &file,
        ]);
        Certificate {
            ca: self.read_key(ca),
            subject: self.read_key(subject),
            key_id: key_id.to_owned(),
            serial,
            file: self.file(&format!("{name}-cert.pub")),
        }
    }

    /// The certificate with each of the serials. ssh-keygen takes a while for each, so they are written and signed here.
    fn certify_serials(&self, ca: &str, template: &Certificate, serials: &[u64]) -> Vec<Certificate> {
        let ca = ssh_key::PrivateKey::read_openssh_file(Path::new(&self.file(ca))).unwrap();
        let line = fs::read_to_string(&template.file).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let blob = STANDARD.decode(words[1]).unwrap();
        let at = serial_place(&blob);
        let signature_bytes = 4 + signature_blob(&ca, b"").len();
        let with_serial = |serial: &u64| {
            let mut blob = blob.clone();
            blob[at..at + 8].copy_from_slice(&serial.to_be_bytes());
            blob.truncate(blob.len() - signature_bytes);
            let signature = signature_blob(&ca, &blob);
            signature.encode(&mut blob).unwrap();
            let text = format!("{} {}\n", words[0], STANDARD.encode(blob));
            Certificate {
                serial: *serial,
                file: self.write(&format!("serial-{serial}-cert.pub"), text),
                ..template.clone()
            }
        };
        serials.iter().map(with_serial).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[derive(Clone)]
struct Certificate {
    ca: SubjectKey,
    subject: SubjectKey,
    key_id: String,
    serial: u64,
    file: String,
}

impl Certificate {
    fn hit(&self, krl: &Krl) -> Option<Hit> {
        krl.hit(Subject {
            ca_key: self.ca.blob(),
            serial: self.serial,
            key_id: &self.key_id,
            subject_key: self.subject.blob(),
        })
    }
}

fn signature_blob(ca: &ssh_key::PrivateKey, message: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    ca.try_sign(message).unwrap().encode(&mut blob).unwrap();
    blob
}

/// Where the serial stands in an Ed25519 certificate: behind type, nonce and key (`draft-ietf-sshm-cert`).
fn serial_place(blob: &[u8]) -> usize {
    let mut rest = blob;
    for _ in 0..3 {
        Vec::<u8>::decode(&mut rest).unwrap();
    }
    blob.len() - rest.len()
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new("ssh-keygen")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("ssh-keygen is missing: apt-get install openssh-client");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn ssh_keygen(args: &[&str]) -> String {
    let (code, text) = run(args);
    assert_eq!(code, Some(0), "{args:?}: {text}");
    text
}

/// The certificates' files that ssh-keygen finds revoked; fails where it cannot read the list.
fn revoked(krl: &str, certificates: &[Certificate]) -> BTreeSet<String> {
    let mut revoked = BTreeSet::new();
    for some in certificates.chunks(200) {
        let files: Vec<&str> = some.iter().map(|certificate| certificate.file.as_str()).collect();
        let (code, text) = run(&[&["-Q", "-f", krl], files.as_slice()].concat());
        assert!(matches!(code, Some(0 | 1)), "{krl}: {text}");
        let answers = text
            .lines()
            .filter(|line| line.ends_with(": REVOKED") || line.ends_with(": ok"));
        assert_eq!(answers.count(), files.len(), "{text}");
        let hits = text.lines().filter(|line| line.ends_with(": REVOKED"));
        revoked.extend(hits.filter_map(|line| Some(line.split_once(" (")?.0.to_owned())));
    }
    revoked
}

/// Our list, read by ssh-keygen, and the list read back by us say the same of each certificate.
#[track_caller]
fn agree(name: &str, folder: &Folder, bytes: &[u8], certificates: &[Certificate]) -> usize {
    let krl = Krl::parse(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let theirs = revoked(&folder.write("krl", bytes), certificates);
    let ours: BTreeSet<String> = certificates
        .iter()
        .filter(|certificate| certificate.hit(&krl).is_some())
        .map(|certificate| certificate.file.clone())
        .collect();
    assert_eq!(theirs, ours, "{name}");
    ours.len()
}

fn new_krl() -> Krl {
    Krl::new(3, UnixTime::from_secs(1_800_000_000), "made by a test")
}

/// Numbers that look random and are the same each time (`SplitMix64`).
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    (1_u64..).map(move |n| {
        let z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

fn patterns() -> Vec<(&'static str, Vec<u64>)> {
    let mut patterns: Vec<(&str, Vec<u64>)> = vec![
        ("one serial", vec![1]),
        ("the last serial", vec![u64::MAX]),
        ("scattered, as a list", numbers(1).take(300).map(|n| n | 1).collect()),
        ("in a row, as a range", (70_000..170_000).collect()),
        ("every second of few, as a bitmap", (500..700).step_by(2).collect()),
        // ssh-keygen writes one bitmap for these, which no OpenSSH reads.
        (
            "8,200 times every second serial",
            (0..8_200).map(|n| 1_000_001 + 2 * n).collect(),
        ),
        (
            "a bitmap of exactly 16,384 bits",
            (0..8_192).map(|n| 1 + 2 * n).chain([16_384]).collect(),
        ),
        (
            "a bitmap at the end of all serials",
            (0..200).map(|n| u64::MAX - 3 * n).collect(),
        ),
    ];
    for seed in 2..14 {
        let scale = 1 + 40 * (seed % 6) * (seed % 6);
        let serials = numbers(seed).take(400).scan(seed * 1000, |last, n| {
            *last += 1 + n % scale / (1 + n % 7);
            Some(*last)
        });
        patterns.push(("clusters and gaps", serials.collect()));
    }
    patterns
}

#[test]
fn ssh_keygen_finds_the_serials_revoked_that_we_put_in_and_no_other() {
    let folder = Folder::new("serials");
    folder.make_key("ca", &["-t", "ed25519"]);
    folder.make_key("user", &["-t", "ed25519"]);
    let template = folder.certify("template", "ca", "user", "alice", 1);
    for (name, serials) in patterns() {
        let mut krl = new_krl();
        krl.authority(&template.ca).serials.extend(serials.iter().copied());
        let few = serials.len().div_ceil(60);
        let near = serials.iter().step_by(few).chain(serials.last());
        let mut probes: Vec<u64> = near.flat_map(|n| [n - 1, *n, n.saturating_add(1)]).collect();
        probes.extend([0, u64::MAX]);
        let certificates = folder.certify_serials("ca", &template, &probes);
        assert!(agree(name, &folder, &krl.encode(), &certificates) > 0, "{name}");
    }
}

type Change<'a> = &'a dyn Fn(&mut Krl);

#[test]
fn ssh_keygen_finds_the_key_ids_and_keys_revoked_that_we_put_in() {
    let folder = Folder::new("keys");
    for (name, kind) in [
        ("ca", &["-t", "ed25519"][..]),
        ("ca2", &["-t", "ecdsa", "-b", "256"]),
        ("user", &["-t", "ed25519"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
    ] {
        folder.make_key(name, kind);
    }
    let ids = ["alice", "alice2", "Alice", "key id with blanks, commas & ünïcode"];
    let mut certificates = Vec::new();
    for ca in ["ca", "ca2"] {
        for subject in ["user", "rsa"] {
            for (n, id) in ids.iter().enumerate() {
                let serial = u64::try_from(n).unwrap() + 7;
                certificates.push(folder.certify(&format!("{ca}-{subject}-{n}"), ca, subject, id, serial));
            }
        }
    }
    let [ca, ca2, user, rsa] = ["ca", "ca2", "user", "rsa"].map(|name| folder.read_key(name));
    let rows: [(&str, Change<'_>, usize); 13] = [
        ("nothing", &|_| {}, 0),
        (
            "a key ID",
            &|krl| _ = krl.authority(&ca).key_ids.insert(ids[0].into()),
            2,
        ),
        (
            "a strange key ID",
            &|krl| _ = krl.authority(&ca2).key_ids.insert(ids[3].into()),
            2,
        ),
        (
            "a key ID of any CA",
            &|krl| _ = krl.authorities.entry(vec![]).or_default().key_ids.insert(ids[1].into()),
            4,
        ),
        (
            "a serial of any CA",
            &|krl| krl.authorities.entry(vec![]).or_default().serials.insert(8),
            4,
        ),
        ("a serial", &|krl| krl.authority(&ca).serials.insert(7), 2),
        ("a subject key", &|krl| _ = krl.keys.insert(user.blob().to_vec()), 8),
        (
            "a subject key by SHA-256",
            &|krl| _ = krl.sha256.insert(*rsa.sha256()),
            8,
        ),
        (
            "cve_2026_42508: a CA key",
            &|krl| _ = krl.keys.insert(ca.blob().to_vec()),
            8,
        ),
        (
            "cve_2026_42508: a CA key by SHA-256",
            &|krl| _ = krl.sha256.insert(*ca2.sha256()),
            8,
        ),
        ("a CA with nothing revoked", &|krl| _ = krl.authority(&ca), 0),
        ("no key of theirs", &|krl| _ = krl.keys.insert(vec![]), 0),
        (
            "everything at once",
            &|krl| {
                krl.authority(&ca).key_ids.extend(ids.map(str::to_owned));
                krl.authority(&ca2).serials.insert_range(1, 8);
                krl.keys.insert(rsa.blob().to_vec());
                krl.sha256.insert(*rsa.sha256());
            },
            14,
        ),
    ];
    for (name, change, hits) in rows {
        let mut krl = new_krl();
        change(&mut krl);
        assert_eq!(agree(name, &folder, &krl.encode(), &certificates), hits, "{name}");
    }
}

#[test]
fn ssh_keygen_lists_what_we_wrote() {
    let folder = Folder::new("list");
    let ca = folder.make_key("ca", &["-t", "ed25519"]);
    let mut krl = new_krl();
    let revoked = krl.authority(&ca);
    revoked.serials.extend([5, 100, 102, 104]);
    revoked.serials.insert_range(1_000, 2_000);
    revoked.key_ids.insert("alice".to_owned());
    krl.keys.insert(ca.blob().to_vec());
    let file = folder.write("krl", krl.encode());
    let told = ssh_keygen(&["-Q", "-l", "-f", &file]);
    for line in [
        "KRL version 3",
        "made by a test",
        "serial: 5\n",
        "serial: 1000-2000\n",
        "id: alice\n",
        &ca.fingerprint(),
    ] {
        assert!(told.contains(line), "{line:?} in {told}");
    }
}

/// A specification for `ssh-keygen -k` of so many serials.
fn every_second(count: u64) -> String {
    let lines: Vec<String> = (1..=count).map(|n| format!("serial: {}\n", n * 2)).collect();
    lines.concat()
}

#[test]
fn we_read_what_ssh_keygen_writes() {
    let folder = Folder::new("theirs");
    folder.make_key("ca", &["-t", "ed25519"]);
    folder.make_key("ca2", &["-t", "ed25519"]);
    let user = folder.make_key("user", &["-t", "ed25519"]);
    let other = folder.make_key("other", &["-t", "ecdsa", "-b", "256"]);
    let template = folder.certify("template", "ca", "user", "alice", 1);
    let serials: Vec<u64> = (0..40).chain(995..1_010).chain([u64::MAX]).collect();
    let mut certificates = folder.certify_serials("ca", &template, &serials);
    certificates.push(folder.certify("bob", "ca", "other", "bob", 2_000));
    certificates.push(folder.certify("bob2", "ca2", "other", "bob", 2_000));
    let (user_line, other_line) = (user.line(), other.line());
    let many = every_second(3_000);
    let rows = [
        ("nothing", String::new()),
        ("one serial", "serial: 5\n".to_owned()),
        (
            "serials",
            "serial: 5\nserial: 0x9\nserial: 1000-1005\nserial: 7\n".to_owned(),
        ),
        ("a bitmap", many),
        ("up to the last", "serial: 1000-18446744073709551615\n".to_owned()),
        ("a key ID", "id: bob\n".to_owned()),
        ("a key", format!("key: {user_line}\n")),
        (
            "a key in each way",
            format!("sha1: {user_line}\nsha256: {other_line}\n"),
        ),
        ("a SHA-1", format!("sha1: {other_line}\n")),
        ("a fingerprint", format!("hash: {}\n", other.fingerprint())),
        ("a bare key", format!("{other_line}\n")),
    ];
    let ca = folder.file("ca.pub");
    for (name, spec) in &rows {
        for scope in [ca.as_str(), "none"] {
            let (spec, krl) = (folder.write("spec", spec), folder.file("theirs"));
            ssh_keygen(&["-q", "-k", "-f", &krl, "-s", scope, "-z", "9", &spec]);
            let bytes = fs::read(&krl).unwrap();
            assert_eq!(Krl::parse(&bytes).unwrap().version, 9, "{name}");
            let hits = agree(name, &folder, &bytes, &certificates);
            assert!((hits == 0) == (*name == "nothing"), "{name} of {scope}: {hits}");
            // Written again by us, it says the same.
            agree(name, &folder, &Krl::parse(&bytes).unwrap().encode(), &certificates);
        }
    }
}

/// What ssh-keygen makes of 8,200 revocations, and no OpenSSH reads: neither do we.
#[test]
fn the_bitmap_that_locks_everybody_out_is_refused() {
    let folder = Folder::new("trap");
    folder.make_key("ca", &["-t", "ed25519"]);
    let spec = every_second(8_200);
    let (spec, krl, ca) = (folder.write("spec", spec), folder.file("krl"), folder.file("ca.pub"));
    ssh_keygen(&["-q", "-k", "-f", &krl, "-s", &ca, &spec]);
    let (code, text) = run(&["-Q", "-l", "-f", &krl]);
    let refused = code != Some(0);
    assert_eq!(Krl::parse(&fs::read(&krl).unwrap()).is_err(), refused, "{text}");
}

/// CVE-2026-25793: of an ECDSA signature (r, s) there is a twin (r, n - s) that verifies as well, so a list of fingerprints
/// of whole certificates is passed by. Serial, key ID and keys stay what they are.
#[test]
fn cve_2026_25793_a_certificate_with_the_signatures_twin_stays_revoked() {
    let folder = Folder::new("twin");
    folder.make_key("ca", &["-t", "ecdsa", "-b", "256"]);
    folder.make_key("user", &["-t", "ed25519"]);
    let certificate = folder.certify("user-1", "ca", "user", "alice", 77);
    let line = fs::read_to_string(&certificate.file).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let blob = STANDARD.decode(words[1]).unwrap();
    let twin_text = format!("{} {}\n", words[0], STANDARD.encode(twin(&blob)));
    let twin = Certificate {
        file: folder.write("twin-cert.pub", twin_text),
        ..certificate.clone()
    };
    assert_ne!(fs::read_to_string(&twin.file).unwrap(), line);
    // ssh-keygen checks a certificate's signature when it reads it: the twin is a real one.
    assert!(ssh_keygen(&["-L", "-f", &twin.file]).contains("Serial: 77"));
    let mut by_serial = new_krl();
    by_serial.authority(&certificate.ca).serials.insert(77);
    let mut by_key_id = new_krl();
    by_key_id.authority(&certificate.ca).key_ids.insert("alice".to_owned());
    let mut by_key = new_krl();
    by_key.sha256.insert(*certificate.subject.sha256());
    for (name, krl) in [("serial", by_serial), ("key ID", by_key_id), ("subject key", by_key)] {
        let both = [certificate.clone(), twin.clone()];
        assert_eq!(agree(name, &folder, &krl.encode(), &both), 2, "{name}");
    }
}

/// The certificate with n - s in place of s.
fn twin(blob: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let certificate = ssh_key::Certificate::from_bytes(blob).unwrap();
    let signature = certificate.signature();
    let mut parts = signature.as_bytes();
    let r = Vec::<u8>::decode(&mut parts).unwrap();
    let s = Vec::<u8>::decode(&mut parts).unwrap();
    let mut padded = [0; 32];
    let bare = s.strip_prefix(&[0]).unwrap_or(&s);
    padded[32 - bare.len()..].copy_from_slice(bare);
    let mut borrow = 0_i16;
    let mut other = Vec::new();
    for (n, s) in ORDER.iter().zip(padded).rev() {
        let difference = i16::from(*n) - i16::from(s) - borrow;
        borrow = i16::from(difference < 0);
        other.insert(0, u8::try_from(difference.rem_euclid(256)).unwrap());
    }
    let start = other.iter().position(|byte| *byte != 0).unwrap();
    let mut other = other.split_off(start);
    if other[0] & 0x80 != 0 {
        other.insert(0, 0);
    }
    let encoded = |parts: &[&[u8]]| {
        let mut out = Vec::new();
        for part in parts {
            part.encode(&mut out).unwrap();
        }
        out
    };
    let signature_blob = |s: &[u8]| encoded(&[b"ecdsa-sha2-nistp256", &encoded(&[&r, s])]);
    let old = encoded(&[&signature_blob(&s)]);
    let signed = blob.strip_suffix(old.as_slice()).expect("the signature stands last");
    [signed, &encoded(&[&signature_blob(&other)])].concat()
}
