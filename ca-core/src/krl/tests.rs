//! Layout, reading back, hostile bytes, and what a list says of a certificate.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const CA: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFg4PHvjQCnTy2OOhtTJjFUNhO2fN6wIYbQf58DB3Y6q";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIa+WAsDQ1rqRRG6+nLT+gFN0ee/bipaztddk+RtZ5u3";

fn key(line: &str) -> SubjectKey {
    SubjectKey::parse(line).unwrap()
}

fn of_serials(serials: impl IntoIterator<Item = u64>) -> Krl {
    let mut krl = Krl::new(7, UnixTime::from_secs(1_800_000_000), "test");
    krl.authority(&key(CA)).serials.extend(serials);
    krl
}

#[track_caller]
fn reads_back(krl: &Krl) -> usize {
    let bytes = krl.encode();
    assert_eq!(&Krl::parse(&bytes).unwrap(), krl);
    bytes.len()
}

#[test]
fn an_empty_list_has_the_44_bytes_that_ssh_keygen_writes() {
    assert_eq!(reads_back(&Krl::new(1, UnixTime::from_secs(1), "")), 44);
}

#[test]
fn serials_take_the_shortest_of_list_range_and_bitmap() {
    // Header, CA section and everything around the serials.
    let around = reads_back(&of_serials([]));
    let rows: [(&str, Vec<u64>, usize); 9] = [
        ("one serial is a list", vec![5], 5 + 8),
        (
            "scattered serials share one list",
            vec![1 << 20, 1 << 40, u64::MAX],
            5 + 3 * 8,
        ),
        ("two in a row are two in a list", vec![5, 6], 5 + 2 * 8),
        ("three in a row are a range", vec![5, 6, 7], 5 + 16),
        (
            "a hundred thousand in a row are a range",
            (1..=100_000).collect(),
            5 + 16,
        ),
        (
            "every second of 64 is a bitmap",
            (0..64).map(|n| 1000 + 2 * n).collect(),
            5 + 8 + 4 + 16,
        ),
        (
            "a bitmap ends at 16,384 bits",
            (0..8_200).map(|n| 2 + 2 * n).collect(),
            (5 + 8 + 4 + 2_048) + (5 + 8 + 4 + 2),
        ),
        (
            "a bitmap whose last bit is the first of its byte has a sign byte",
            vec![8, 10, 12, 15],
            5 + 8 + 4 + 2,
        ),
        (
            "a long range keeps out of a bitmap",
            (1..=4_000).chain([4_002, 4_004, 4_006]).collect(),
            (5 + 16) + (5 + 8 + 4 + 1),
        ),
    ];
    for (name, serials, bytes) in rows {
        let krl = of_serials(serials);
        assert_eq!(reads_back(&krl) - around, bytes, "{name}");
    }
}

#[test]
fn a_million_serials_of_any_pattern_are_short_and_quick() {
    let scattered = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1 | 1;
    let rows = [
        ("random", of_serials((1..=1_000_000).map(scattered)), 8_000_200),
        ("every second", of_serials((1..=1_000_000).map(|n| n * 2)), 260_000),
        ("every third", of_serials((1..=1_000_000).map(|n| n * 3)), 390_000),
        ("contiguous", of_serials(1..=1_000_000), 200),
    ];
    for (name, krl, most) in rows {
        let bytes = reads_back(&krl);
        assert!(bytes <= most, "{name}: {bytes}");
    }
}

#[test]
fn serial_0_is_never_in_a_list() {
    let mut set: SerialSet = [0, 1].into_iter().collect();
    set.insert(0);
    set.insert_range(0, 2);
    set.extend_ranges([(0, 0), (0, 3)]);
    assert_eq!(set.ranges(), [(1, 3)]);
    assert!(!set.contains(0));
}

#[test]
fn ranges_up_to_the_last_serial_are_read_without_counting_them() {
    let mut krl = of_serials([]);
    let serials = &mut krl.authority(&key(CA)).serials;
    serials.insert_range(1, u64::MAX);
    serials.insert_range(7, u64::MAX);
    assert_eq!(serials.ranges(), [(1, u64::MAX)]);
    reads_back(&krl);
    reads_back(&of_serials((0..20).map(|n| u64::MAX - 2 * n)));
}

#[test]
fn the_same_list_is_the_same_bytes_whatever_the_order() {
    let forth = of_serials([1, 9, 11, 13, 500]);
    let mut back = of_serials([500, 13]);
    back.authority(&key(CA)).serials.extend([11, 9, 1]);
    assert_eq!(forth.encode(), back.encode());
}

#[test]
fn what_openssh_could_not_read_is_not_written() {
    let mut krl = Krl::new(1, UnixTime::from_secs(1), "two\0words");
    krl.authorities.insert(b"no key".to_vec(), CaRevocations::default());
    krl.authority(&key(CA))
        .key_ids
        .extend(["a\0b".to_owned(), "good".to_owned()]);
    let read = Krl::parse(&krl.encode()).unwrap();
    assert_eq!(read.comment, "twowords");
    assert_eq!(read.authorities.len(), 1);
    assert_eq!(read.authorities[key(CA).blob()].key_ids, ["good".to_owned()].into());
}

/// A list around hand-made sections.
fn with_sections(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Krl::new(1, UnixTime::from_secs(1), "").encode();
    for (kind, content) in sections {
        bytes.push(*kind);
        bytes.extend(string(content));
    }
    bytes
}

fn string(content: &[u8]) -> Vec<u8> {
    [&u32::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

/// A certificates section of `CA` around hand-made subsections.
fn certificates(subsections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut section = [string(key(CA).blob()), string(b"")].concat();
    for (kind, content) in subsections {
        section.push(*kind);
        section.extend(string(content));
    }
    with_sections(&[(1, section)])
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn bitmap(offset: u64, mpint: &[u8]) -> Vec<u8> {
    [numbers(&[offset]), string(mpint)].concat()
}

#[test]
fn what_openssh_refuses_is_refused() {
    use KrlError::{Damaged, NotAKrl, Unknown};
    let good = of_serials([1, 5, 9]).encode();
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let rows: Vec<(&str, Vec<u8>, KrlError)> = vec![
        ("an empty file", vec![], NotAKrl),
        ("a text list", b"ssh-ed25519 AAAA\n".to_vec(), NotAKrl),
        ("another magic", changed(7, 1), NotAKrl),
        ("format version 2", changed(11, 2), Unknown("another format version")),
        ("a trailing byte", [good.clone(), vec![0]].concat(), Damaged),
        (
            "an unknown section",
            with_sections(&[(6, vec![])]),
            Unknown("an unknown section"),
        ),
        (
            "a signature section",
            with_sections(&[(4, vec![])]),
            Unknown("a signature section"),
        ),
        (
            "an extension section",
            with_sections(&[(255, vec![])]),
            Unknown("an extension section"),
        ),
        (
            "a section that runs on",
            [with_sections(&[]), vec![2, 0, 0, 0, 9, 0]].concat(),
            Damaged,
        ),
        ("a short SHA-256", with_sections(&[(5, string(&[0; 31]))]), Damaged),
        ("a long SHA-1", with_sections(&[(3, string(&[0; 21]))]), Damaged),
        (
            "a CA that is no key",
            with_sections(&[(1, [string(b"x"), string(b"")].concat())]),
            Damaged,
        ),
        (
            "a CA without its reserved string",
            with_sections(&[(1, string(key(CA).blob()))]),
            Damaged,
        ),
    ];
    for (name, bytes, why) in rows {
        assert_eq!(Krl::parse(&bytes), Err(why), "{name}");
    }
    for length in 0..good.len() {
        // Cut behind the header it is whole, only empty.
        let whole = length == 44 + "test".len();
        assert_eq!(Krl::parse(&good[..length]).is_ok(), whole, "cut at {length}");
    }
}

#[test]
fn certificate_sections_that_openssh_refuses_are_refused() {
    use KrlError::{Damaged, Unknown};
    let rows: Vec<(&str, Vec<u8>, KrlError)> = vec![
        (
            "an unknown subsection",
            certificates(&[(0x24, vec![])]),
            Unknown("an unknown certificate section"),
        ),
        (
            "a certificate extension",
            certificates(&[(0x39, vec![])]),
            Unknown("an extension section"),
        ),
        ("serial 0 in a list", certificates(&[(0x20, numbers(&[3, 0]))]), Damaged),
        (
            "half a serial in a list",
            certificates(&[(0x20, vec![0, 0, 0, 1])]),
            Damaged,
        ),
        ("a range from 0", certificates(&[(0x21, numbers(&[0, 3]))]), Damaged),
        ("a range backwards", certificates(&[(0x21, numbers(&[3, 2]))]), Damaged),
        (
            "a range of three numbers",
            certificates(&[(0x21, numbers(&[1, 2, 3]))]),
            Damaged,
        ),
        ("a range of one number", certificates(&[(0x21, numbers(&[1]))]), Damaged),
        (
            "a bitmap with serial 0",
            certificates(&[(0x22, bitmap(0, &[1]))]),
            Damaged,
        ),
        (
            "a bitmap past the last serial",
            certificates(&[(0x22, bitmap(u64::MAX, &[2]))]),
            Damaged,
        ),
        (
            "a negative bitmap",
            certificates(&[(0x22, bitmap(1, &[0x80]))]),
            Damaged,
        ),
        (
            "a bitmap of 16,385 bits",
            certificates(&[(0x22, bitmap(1, &[&[1][..], &[0; 2048]].concat()))]),
            Damaged,
        ),
        (
            "a bitmap and more",
            certificates(&[(0x22, [bitmap(1, &[1]), vec![0]].concat())]),
            Damaged,
        ),
        ("a key ID with a NUL", certificates(&[(0x23, string(b"a\0b"))]), Damaged),
        (
            "a key ID that is no text",
            certificates(&[(0x23, string(&[0xff]))]),
            Damaged,
        ),
        ("half a key ID", certificates(&[(0x23, vec![0, 0])]), Damaged),
    ];
    for (name, bytes, why) in rows {
        assert_eq!(Krl::parse(&bytes), Err(why), "{name}");
    }
}

#[test]
fn what_openssh_reads_and_we_never_write_is_read() {
    type Row = (&'static str, Vec<u8>, Vec<(u64, u64)>);
    let rows: Vec<Row> = vec![
        ("an empty list", certificates(&[(0x20, vec![])]), vec![]),
        (
            "an unsorted list with repeats",
            certificates(&[(0x20, numbers(&[9, 1, 9, 2]))]),
            vec![(1, 2), (9, 9)],
        ),
        (
            "overlapping ranges",
            certificates(&[(0x21, numbers(&[1, 9])), (0x21, numbers(&[5, u64::MAX]))]),
            vec![(1, u64::MAX)],
        ),
        ("an empty bitmap", certificates(&[(0x22, bitmap(0, &[]))]), vec![]),
        (
            "a bitmap with zeros in front",
            certificates(&[(0x22, bitmap(4, &[0, 0, 5]))]),
            vec![(4, 4), (6, 6)],
        ),
        (
            "a bitmap from 0 without serial 0",
            certificates(&[(0x22, bitmap(0, &[6]))]),
            vec![(1, 2)],
        ),
        (
            "a bitmap of 16,384 bits",
            certificates(&[(0x22, bitmap(1, &[&[0, 0x80][..], &[0; 2047]].concat()))]),
            vec![(16_384, 16_384)],
        ),
    ];
    for (name, bytes, ranges) in rows {
        let krl = Krl::parse(&bytes).unwrap();
        assert_eq!(krl.authorities[key(CA).blob()].serials.ranges(), ranges, "{name}");
    }
    let twice = [
        certificates(&[(0x20, numbers(&[1]))]),
        certificates(&[(0x20, numbers(&[2]))])[44..].to_vec(),
    ]
    .concat();
    assert_eq!(
        Krl::parse(&twice).unwrap().authorities[key(CA).blob()].serials.ranges(),
        [(1, 2)]
    );
}

#[test]
fn a_list_hits_what_sshd_would_refuse() {
    let (ca, other) = (key(CA), key(OTHER));
    let subject = Subject {
        ca_key: ca.blob(),
        serial: 5,
        key_id: "alice",
        subject_key: other.blob(),
    };
    let made = |change: &dyn Fn(&mut Krl)| {
        let mut krl = Krl::default();
        change(&mut krl);
        Krl::parse(&krl.encode()).unwrap()
    };
    let any = |krl: &mut Krl, serial: u64, key_id: &str| {
        let revoked = krl.authorities.entry(vec![]).or_default();
        revoked.serials.insert(serial);
        revoked.key_ids.insert(key_id.to_owned());
    };
    let sha1 = |key: &SubjectKey| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, key.blob());
        <[u8; 20]>::try_from(digest.as_ref()).unwrap()
    };
    let rows: Vec<(&str, Krl, Option<Hit>)> = vec![
        ("nothing", Krl::default(), None),
        (
            "its serial",
            made(&|krl| krl.authority(&ca).serials.insert(5)),
            Some(Hit::Serial),
        ),
        (
            "another serial",
            made(&|krl| krl.authority(&ca).serials.insert(6)),
            None,
        ),
        (
            "its serial at another CA",
            made(&|krl| krl.authority(&other).serials.insert(5)),
            None,
        ),
        ("its serial at any CA", made(&|krl| any(krl, 5, "x")), Some(Hit::Serial)),
        (
            "its key ID",
            made(&|krl| _ = krl.authority(&ca).key_ids.insert("alice".into())),
            Some(Hit::KeyId),
        ),
        (
            "its key ID at any CA",
            made(&|krl| any(krl, 6, "alice")),
            Some(Hit::KeyId),
        ),
        (
            "a key ID that begins alike",
            made(&|krl| _ = krl.authority(&ca).key_ids.insert("alic".into())),
            None,
        ),
        (
            "a key ID in other letters",
            made(&|krl| _ = krl.authority(&ca).key_ids.insert("Alice".into())),
            None,
        ),
        (
            "its subject key",
            made(&|krl| _ = krl.keys.insert(other.blob().to_vec())),
            Some(Hit::SubjectKey),
        ),
        (
            "its subject key's SHA-256",
            made(&|krl| _ = krl.sha256.insert(*other.sha256())),
            Some(Hit::SubjectKey),
        ),
        (
            "its subject key's SHA-1",
            made(&|krl| _ = krl.sha1.insert(sha1(&other))),
            Some(Hit::SubjectKey),
        ),
        (
            "cve_2026_42508: its CA key",
            made(&|krl| _ = krl.keys.insert(ca.blob().to_vec())),
            Some(Hit::CaKey),
        ),
        (
            "cve_2026_42508: its CA key's SHA-256",
            made(&|krl| _ = krl.sha256.insert(*ca.sha256())),
            Some(Hit::CaKey),
        ),
        (
            "cve_2026_42508: its CA key's SHA-1",
            made(&|krl| _ = krl.sha1.insert(sha1(&ca))),
            Some(Hit::CaKey),
        ),
    ];
    for (name, krl, want) in rows {
        assert_eq!(krl.hit(subject), want, "{name}");
    }
    let zero = made(&|krl| krl.authority(&ca).serials.insert_range(0, u64::MAX));
    assert_eq!(
        zero.hit(Subject { serial: 0, ..subject }),
        None,
        "OpenSSH cannot revoke serial 0"
    );
}

/// Serials as they come: dense, in runs, scattered, at the ends.
fn serials() -> impl Strategy<Value = Vec<u64>> {
    let near = prop_oneof![1_u64..300, 1_u64..40_000, Just(u64::MAX - 40_000)];
    let cluster = (near, 1_u64..40, prop::collection::vec(any::<bool>(), 1..200)).prop_map(|(start, step, picks)| {
        let picked = (0_u64..).zip(picks).filter(|(_, pick)| *pick);
        picked.map(|(n, _)| start + n * step).collect::<Vec<_>>()
    });
    let scattered = prop::collection::vec(1..=u64::MAX, 0..20);
    prop::collection::vec(prop_oneof![3 => cluster, 1 => scattered], 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_is_written_reads_back_and_holds_what_was_put_in(serials in serials(), probes in prop::collection::vec(any::<u64>(), 20)) {
        let model: BTreeSet<u64> = serials.iter().copied().collect();
        let krl = of_serials(serials);
        let read = Krl::parse(&krl.encode()).unwrap();
        prop_assert_eq!(&read, &krl);
        let set = &read.authorities[key(CA).blob()].serials;
        let near = model.iter().flat_map(|serial| [serial.wrapping_sub(1), *serial, serial.wrapping_add(1)]);
        for serial in near.chain(probes) {
            prop_assert_eq!(set.contains(serial), model.contains(&serial), "{}", serial);
        }
    }

    #[test]
    fn one_by_one_and_all_at_once_are_the_same_set(serials in serials()) {
        let mut one_by_one = SerialSet::default();
        for serial in &serials {
            one_by_one.insert(*serial);
        }
        prop_assert_eq!(one_by_one, serials.into_iter().collect::<SerialSet>());
    }

    #[test]
    fn a_whole_list_reads_back(
        version: u64,
        generated: u64,
        comment in "[^\0]{0,40}",
        key_ids in prop::collection::btree_set("[^\0]{0,40}", 0..5),
        keys in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..80), 0..4),
        sha1 in prop::collection::btree_set(any::<[u8; 20]>(), 0..3),
        sha256 in prop::collection::btree_set(any::<[u8; 32]>(), 0..4),
    ) {
        let mut krl = Krl { version, generated, comment, keys, sha1, sha256, ..Krl::default() };
        krl.authority(&key(OTHER)).key_ids = key_ids.clone();
        krl.authorities.entry(vec![]).or_default().key_ids = key_ids;
        prop_assert_eq!(&Krl::parse(&krl.encode()).unwrap(), &krl);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..300, to: u8) {
        drop(Krl::parse(&bytes));
        let mut near = of_serials([1, 3, 5, 7, 9, 11, 13, 15, 17, 100, 101, 102, 103]).encode();
        if let Some(byte) = near.get_mut(at) {
            *byte = to;
        }
        if let Ok(krl) = Krl::parse(&near) {
            prop_assert_eq!(&Krl::parse(&krl.encode()).unwrap(), &krl);
        }
    }
}
