//! The numbers of `PROTOCOL.krl`, and those of OpenSSH's limits that are not written there.

/// `SSHKRL\n\0`.
pub(super) const MAGIC: &[u8; 8] = b"SSHKRL\n\0";
pub(super) const FORMAT_VERSION: u32 = 1;

pub(super) const CERTIFICATES: u8 = 1;
pub(super) const EXPLICIT_KEY: u8 = 2;
pub(super) const FINGERPRINT_SHA1: u8 = 3;
pub(super) const SIGNATURE: u8 = 4;
pub(super) const FINGERPRINT_SHA256: u8 = 5;
pub(super) const EXTENSION: u8 = 255;

pub(super) const SERIAL_LIST: u8 = 0x20;
pub(super) const SERIAL_RANGE: u8 = 0x21;
pub(super) const SERIAL_BITMAP: u8 = 0x22;
pub(super) const KEY_ID: u8 = 0x23;
pub(super) const CERT_EXTENSION: u8 = 0x39;

/// OpenSSH reads a bitmap as an mpint and no mpint with more bits than this; yet ssh-keygen writes longer ones, and then no
/// sshd lets anybody in.
pub(super) const BITMAP_BITS_MAX: u64 = 16_384;
/// The same in bytes.
pub(super) const BITMAP_BYTES_MAX: usize = 2_048;
