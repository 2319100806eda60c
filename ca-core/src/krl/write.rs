//! Lays a list out: the shortest of list, range and bitmap for the serials, found in one walk over them.

use super::format::{
    BITMAP_BITS_MAX, CERTIFICATES, EXPLICIT_KEY, FINGERPRINT_SHA1, FINGERPRINT_SHA256, FORMAT_VERSION, KEY_ID, MAGIC,
    SERIAL_BITMAP, SERIAL_LIST, SERIAL_RANGE,
};
use super::{CaRevocations, Krl, SerialSet, is_authority};

/// Bytes that a range costs: its subsection's type and length, and both ends.
const RANGE_BYTES: u64 = 1 + 4 + 8 + 8;
/// Bytes that a bitmap costs beside its bits: type, length, offset, the mpint's length and its sign.
const BITMAP_BYTES: u64 = 1 + 4 + 8 + 4 + 1;
/// Bytes that a serial costs in the list.
const SERIAL_BYTES: u64 = 8;

pub(super) fn encode(krl: &Krl) -> Vec<u8> {
    let authorities = krl.authorities.iter().filter(|(ca, _)| is_authority(ca));
    let sections: Vec<Vec<u8>> = authorities.map(|(ca, revoked)| certificates(ca, revoked)).collect();
    let mut out = Vec::with_capacity(sections.iter().map(Vec::len).sum::<usize>() + 1024);
    out.extend(MAGIC);
    out.extend(FORMAT_VERSION.to_be_bytes());
    out.extend(krl.version.to_be_bytes());
    out.extend(krl.generated.to_be_bytes());
    let no_flags = 0_u64;
    out.extend(no_flags.to_be_bytes());
    put_string(&mut out, b"");
    put_string(&mut out, krl.comment.replace('\0', "").as_bytes());
    for section in sections {
        put_section(&mut out, CERTIFICATES, &section);
    }
    put_strings(&mut out, EXPLICIT_KEY, krl.keys.iter());
    put_strings(&mut out, FINGERPRINT_SHA1, krl.sha1.iter());
    put_strings(&mut out, FINGERPRINT_SHA256, krl.sha256.iter());
    out
}

fn certificates(ca: &[u8], revoked: &CaRevocations) -> Vec<u8> {
    let serials = Serials::of(&revoked.serials);
    let length = serials.list.len() + serials.ranges.len() + serials.bitmaps.len();
    let mut out = Vec::with_capacity(length + ca.len() + 64);
    put_string(&mut out, ca);
    put_string(&mut out, b"");
    if !serials.list.is_empty() {
        put_section(&mut out, SERIAL_LIST, &serials.list);
    }
    out.extend(serials.ranges);
    out.extend(serials.bitmaps);
    // A NUL would make the list unreadable, and OpenSSH reads no certificate whose key ID has one.
    let readable = revoked.key_ids.iter().filter(|key_id| !key_id.contains('\0'));
    put_strings(&mut out, KEY_ID, readable);
    out
}

/// The serials' three kinds of subsections. OpenSSH takes them in any order, so one list is enough for what no range and no
/// bitmap shortens.
#[derive(Default)]
struct Serials {
    /// The content of the one list.
    list: Vec<u8>,
    /// Whole subsections.
    ranges: Vec<u8>,
    /// Whole subsections.
    bitmaps: Vec<u8>,
}

impl Serials {
    fn of(set: &SerialSet) -> Self {
        let mut serials = Self::default();
        let mut rest = set.ranges();
        while !rest.is_empty() {
            let (dense, next) = rest.split_at(dense_run(rest).max(1));
            match dense {
                [(first, _), .., (_, last)] if bitmap_pays(dense, last - first + 1) => {
                    serials.put_bitmap(*first, dense);
                }
                _ => dense.iter().for_each(|range| serials.put_apart(*range)),
            }
            rest = next;
        }
        serials
    }

    fn put_apart(&mut self, (first, last): (u64, u64)) {
        if cost_apart((first, last)) < RANGE_BYTES {
            self.list.extend((first..=last).flat_map(u64::to_be_bytes));
        } else {
            put_section(
                &mut self.ranges,
                SERIAL_RANGE,
                &[first.to_be_bytes(), last.to_be_bytes()].concat(),
            );
        }
    }

    /// Puts ranges that span at most [`BITMAP_BITS_MAX`] as one bitmap: bit n of the mpint stands for serial `offset` + n.
    fn put_bitmap(&mut self, offset: u64, ranges: &[(u64, u64)]) {
        let mut bits: Vec<u8> = Vec::new();
        for serial in ranges.iter().flat_map(|(first, last)| *first..=*last) {
            let place = usize::try_from((serial - offset) / 8).unwrap_or(usize::MAX);
            bits.resize(place.saturating_add(1).max(bits.len()), 0);
            if let Some(byte) = bits.last_mut() {
                *byte |= 1 << ((serial - offset) % 8);
            }
        }
        // RFC 4251, "Data Type Representations": with its first bit set an mpint would be negative.
        if bits.last().is_some_and(|byte| byte & 0x80 != 0) {
            bits.push(0);
        }
        bits.reverse();
        let mut content = offset.to_be_bytes().to_vec();
        put_string(&mut content, &bits);
        put_section(&mut self.bitmaps, SERIAL_BITMAP, &content);
    }
}

/// How many of the first ranges belong into one bitmap: as long as its next bytes cost less than the next range apart does.
fn dense_run(ranges: &[(u64, u64)]) -> usize {
    let Some((offset, _)) = ranges.first() else { return 0 };
    let mut covered = *offset;
    let joins = |range: &&(u64, u64)| {
        let (_, last) = **range;
        let more_bits = last - std::mem::replace(&mut covered, last);
        last - offset < BITMAP_BITS_MAX && more_bits / 8 < cost_apart(**range)
    };
    ranges.iter().take_while(joins).count()
}

fn bitmap_pays(ranges: &[(u64, u64)], bits: u64) -> bool {
    BITMAP_BYTES + bits.div_ceil(8) < ranges.iter().map(|range| cost_apart(*range)).sum()
}

/// Bytes of a range in the list or by itself.
const fn cost_apart((first, last): (u64, u64)) -> u64 {
    match last - first {
        more @ 0..=1 => (more + 1) * SERIAL_BYTES,
        _ => RANGE_BYTES,
    }
}

fn put_strings(out: &mut Vec<u8>, section: u8, strings: impl Iterator<Item = impl AsRef<[u8]>>) {
    let mut content = Vec::new();
    strings.for_each(|string| put_string(&mut content, string.as_ref()));
    if !content.is_empty() {
        put_section(out, section, &content);
    }
}

fn put_section(out: &mut Vec<u8>, section: u8, content: &[u8]) {
    out.push(section);
    put_string(out, content);
}

/// A string with its length. One of 4 GiB gets a length that no reader takes, ours included; OpenSSH ends at 128 MiB.
fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend(u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(string);
}
