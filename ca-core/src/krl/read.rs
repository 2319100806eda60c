//! Reads a list back, and answers as sshd would.
//!
//! Stricter than OpenSSH in what nobody should use: texts are UTF-8 without NUL, CA keys are of the kinds that certificates
//! are made with, and extension sections are refused even where they are not critical, since OpenSSH before 9.4 refuses them.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::format::{
    BITMAP_BYTES_MAX, CERT_EXTENSION, CERTIFICATES, EXPLICIT_KEY, EXTENSION, FINGERPRINT_SHA1, FINGERPRINT_SHA256,
    FORMAT_VERSION, KEY_ID, MAGIC, SERIAL_BITMAP, SERIAL_LIST, SERIAL_RANGE, SIGNATURE,
};
use super::{CaRevocations, Hit, Krl, Subject, is_authority};

/// Why bytes are no list that OpenSSH reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KrlError {
    /// Not a KRL at all, such as an empty file, which sshd takes for an empty list of keys.
    #[error("it is no KRL")]
    NotAKrl,
    /// The fields are cut short, run on, or hold what they may not.
    #[error("the KRL is damaged")]
    Damaged,
    /// A format or section that OpenSSH does not read.
    #[error("the KRL holds what OpenSSH does not read: {0}")]
    Unknown(&'static str),
}

pub(super) fn parse(bytes: &[u8]) -> Result<Krl, KrlError> {
    let mut reader = Reader(bytes.strip_prefix(MAGIC).ok_or(KrlError::NotAKrl)?);
    if reader.u32()? != FORMAT_VERSION {
        return Err(KrlError::Unknown("another format version"));
    }
    let mut krl = Krl {
        version: reader.u64()?,
        generated: reader.u64()?,
        ..Krl::default()
    };
    // OpenSSH defines no flags and ignores them, like the reserved string.
    let (_flags, _reserved) = (reader.u64()?, reader.string()?);
    krl.comment = reader.text()?;
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let mut section = Reader(reader.string()?);
        match kind {
            CERTIFICATES => read_certificates(&mut section, &mut krl)?,
            EXPLICIT_KEY => section.rest(|section| section.string().map(|key| krl.keys.insert(key.to_vec())))?,
            FINGERPRINT_SHA1 => read_digests(&mut section, &mut krl.sha1)?,
            FINGERPRINT_SHA256 => read_digests(&mut section, &mut krl.sha256)?,
            SIGNATURE => return Err(KrlError::Unknown("a signature section")),
            EXTENSION => return Err(KrlError::Unknown("an extension section")),
            _ => return Err(KrlError::Unknown("an unknown section")),
        }
    }
    Ok(krl)
}

fn read_digests<const LENGTH: usize>(
    section: &mut Reader<'_>,
    digests: &mut BTreeSet<[u8; LENGTH]>,
) -> Result<(), KrlError> {
    section.rest(|section| {
        let digest = section.string()?.try_into().map_err(|_| KrlError::Damaged)?;
        Ok(digests.insert(digest))
    })
}

fn read_certificates(section: &mut Reader<'_>, krl: &mut Krl) -> Result<(), KrlError> {
    let (ca, _reserved) = (section.string()?, section.string()?);
    if !is_authority(ca) {
        return Err(KrlError::Damaged);
    }
    let revoked = krl.authorities.entry(ca.to_vec()).or_default();
    let mut ranges = Vec::new();
    while !section.is_empty() {
        let kind = section.u8()?;
        read_subsection(kind, Reader(section.string()?), &mut ranges, revoked)?;
    }
    // OpenSSH refuses the whole list for a serial 0, and for a range that runs backwards.
    if ranges.iter().any(|(first, last)| *first == 0 || first > last) {
        return Err(KrlError::Damaged);
    }
    revoked.serials.extend_ranges(ranges);
    Ok(())
}

fn read_subsection(
    kind: u8,
    mut content: Reader<'_>,
    ranges: &mut Vec<(u64, u64)>,
    revoked: &mut CaRevocations,
) -> Result<(), KrlError> {
    match kind {
        SERIAL_LIST => {
            ranges.reserve(content.0.len() / 8);
            content.rest(|content| {
                let serial = content.u64()?;
                ranges.push((serial, serial));
                Ok(())
            })
        }
        SERIAL_RANGE => {
            ranges.push((content.u64()?, content.u64()?));
            content.end()
        }
        SERIAL_BITMAP => {
            let offset = content.u64()?;
            read_bitmap(offset, content.string()?, ranges)?;
            content.end()
        }
        KEY_ID => content.rest(|content| content.text().map(|key_id| revoked.key_ids.insert(key_id))),
        CERT_EXTENSION => Err(KrlError::Unknown("an extension section")),
        _ => Err(KrlError::Unknown("an unknown certificate section")),
    }
}

/// Reads a bitmap as OpenSSH reads an mpint: not negative, not too long; zeros in front do not matter.
fn read_bitmap(offset: u64, mpint: &[u8], ranges: &mut Vec<(u64, u64)>) -> Result<(), KrlError> {
    // A zero byte in front is the sign.
    let too_long = mpint.strip_prefix(&[0]).unwrap_or(mpint).len() > BITMAP_BYTES_MAX;
    if too_long || mpint.first().is_some_and(|byte| byte & 0x80 != 0) {
        return Err(KrlError::Damaged);
    }
    let bits = mpint
        .iter()
        .rev()
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    for (distance, _) in (0_u64..).zip(bits).filter(|(_, set)| *set) {
        let serial = offset.checked_add(distance).ok_or(KrlError::Damaged)?;
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(serial) => *last = serial,
            _ => ranges.push((serial, serial)),
        }
    }
    Ok(())
}

pub(super) fn hit(krl: &Krl, subject: Subject<'_>) -> Option<Hit> {
    if lists_key(krl, subject.subject_key) {
        return Some(Hit::SubjectKey);
    }
    let any_ca: &[u8] = &[];
    let by_ca = [subject.ca_key, any_ca]
        .into_iter()
        .filter_map(|ca| krl.authorities.get(ca))
        .find_map(|revoked| certificate_hit(revoked, subject));
    by_ca.or_else(|| lists_key(krl, subject.ca_key).then_some(Hit::CaKey))
}

fn certificate_hit(revoked: &CaRevocations, subject: Subject<'_>) -> Option<Hit> {
    if revoked.key_ids.contains(subject.key_id) {
        return Some(Hit::KeyId);
    }
    revoked.serials.contains(subject.serial).then_some(Hit::Serial)
}

fn lists_key(krl: &Krl, blob: &[u8]) -> bool {
    let has_sha1 = || {
        let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, blob);
        krl.sha1.iter().any(|revoked| revoked == sha1.as_ref())
    };
    let has_sha256 =
        || <[u8; 32]>::try_from(digest(&SHA256, blob).as_ref()).is_ok_and(|digest| krl.sha256.contains(&digest));
    krl.keys.contains(blob) || (!krl.sha1.is_empty() && has_sha1()) || (!krl.sha256.is_empty() && has_sha256())
}

/// What is left of the bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], KrlError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(KrlError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], KrlError> {
        self.take(LENGTH)?.try_into().map_err(|_| KrlError::Damaged)
    }

    fn u8(&mut self) -> Result<u8, KrlError> {
        self.fixed().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, KrlError> {
        self.fixed().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, KrlError> {
        self.fixed().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], KrlError> {
        let length = usize::try_from(self.u32()?).map_err(|_| KrlError::Damaged)?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, KrlError> {
        let text = std::str::from_utf8(self.string()?).map_err(|_| KrlError::Damaged)?;
        (!text.contains('\0')).then(|| text.to_owned()).ok_or(KrlError::Damaged)
    }

    /// Reads items until nothing is left.
    fn rest<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, KrlError>) -> Result<(), KrlError> {
        while !self.is_empty() {
            item(self)?;
        }
        Ok(())
    }

    const fn end(&self) -> Result<(), KrlError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(KrlError::Damaged)
        }
    }
}
