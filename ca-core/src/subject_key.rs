//! Subject keys: the public keys being certified, read strictly.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rsa::BoxedUint;
use ssh_encoding::Decode;

const LINE_BYTES_MAX: usize = 16 * 1024;
const RSA_BITS_MIN: u32 = 2048;
const RSA_BITS_MAX: u32 = 8192;

/// Kind of a subject key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// `ssh-ed25519`.
    Ed25519,
    /// `ecdsa-sha2-nistp256`.
    EcdsaP256,
    /// `ecdsa-sha2-nistp384`.
    EcdsaP384,
    /// `ecdsa-sha2-nistp521`.
    EcdsaP521,
    /// `ssh-rsa`.
    Rsa {
        /// Length of the modulus.
        bits: u32,
    },
    /// `sk-ssh-ed25519@openssh.com`.
    SkEd25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`.
    SkEcdsaP256,
}

impl KeyKind {
    /// OpenSSH's name of the key type.
    #[must_use]
    pub const fn ssh_name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::Rsa { .. } => "ssh-rsa",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// OpenSSH's name of the certificate type.
    #[must_use]
    pub const fn certificate_name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519-cert-v01@openssh.com",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256-cert-v01@openssh.com",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384-cert-v01@openssh.com",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521-cert-v01@openssh.com",
            Self::Rsa { .. } => "ssh-rsa-cert-v01@openssh.com",
            Self::SkEd25519 => "sk-ssh-ed25519-cert-v01@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
        }
    }

    /// Vault's word for the family, used in its error texts and in policies: `rsa`, `ecdsa`, `ed25519`, `sk`.
    #[must_use]
    pub const fn family(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => "ecdsa",
            Self::Rsa { .. } => "rsa",
            Self::SkEd25519 | Self::SkEcdsaP256 => "sk",
        }
    }

    /// Key length in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Ed25519 | Self::EcdsaP256 | Self::SkEd25519 | Self::SkEcdsaP256 => 256,
            Self::EcdsaP384 => 384,
            Self::EcdsaP521 => 521,
            Self::Rsa { bits } => bits,
        }
    }

    /// Whether the key lives in a FIDO security key.
    #[must_use]
    pub const fn is_security_key(self) -> bool {
        matches!(self, Self::SkEd25519 | Self::SkEcdsaP256)
    }
}

/// A public key that may be certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectKey {
    kind: KeyKind,
    blob: Vec<u8>,
    sha256: [u8; 32],
}

/// Why a text is not a key that may be certified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectKeyError {
    /// Longer than any public key.
    #[error("it has more than 16 KiB")]
    TooLong,
    /// More than one line: only one key is certified.
    #[error("it has more than one line, send one key")]
    SeveralLines,
    /// Not `type base64 [comment]` and not bare base64.
    #[error("it is not the line of a public key file")]
    NotAKeyLine,
    /// The base64 part does not decode.
    #[error("its base64 part does not decode")]
    Base64,
    /// A certificate instead of a key.
    #[error("it is a certificate, send the public key itself")]
    IsACertificate,
    /// A private key instead of a public one.
    #[error("it is a PRIVATE key: consider it burnt, and send the .pub file")]
    IsAPrivateKey,
    /// DSA, or something OpenSSH does not know.
    #[error("keys of type `{0}` are not certified")]
    TypeNotSupported(String),
    /// The type in front differs from the one inside.
    #[error("its line says {line} but the key inside is {blob}")]
    TypeMismatch {
        /// Type in front.
        line: String,
        /// Type inside.
        blob: String,
    },
    /// The key's bytes are cut off, have a tail, or a field of a wrong size.
    #[error("the key's bytes are damaged")]
    Damaged,
    /// An elliptic-curve point off the curve, or at infinity.
    #[error("its point is not on the curve")]
    Point,
    /// RSA shorter or longer than allowed, or with an exponent nobody uses.
    #[error("RSA keys need 2048 to 8192 bits and an odd exponent from 3 to 2^33, this one has {bits} bits")]
    Rsa {
        /// Length of the modulus.
        bits: u32,
    },
    /// An Ed25519 point for which anybody can sign.
    #[error("it is a point of small order, for which anybody can sign")]
    Weak,
    /// A security key without the application it belongs to.
    #[error("its security-key application is empty or damaged")]
    Application,
}

impl SubjectKey {
    /// Reads the line of a public key file as OpenSSH does (`type base64 [comment]`), or the bare base64 that Vault's
    /// clients may send.
    ///
    /// # Errors
    /// [`SubjectKeyError`] saying what is wrong with it.
    ///
    /// # Security
    /// Certificates are refused, lest a certificate be certified; sizes are checked before any arithmetic
    /// (CVE-2026-39829), points before they are trusted. An Ed25519 key that is no point can log nobody in, so finding
    /// that out is left to sshd.
    pub fn parse(text: &str) -> Result<Self, SubjectKeyError> {
        if text.len() > LINE_BYTES_MAX {
            return Err(SubjectKeyError::TooLong);
        }
        if text.contains("PRIVATE KEY") {
            return Err(SubjectKeyError::IsAPrivateKey);
        }
        let trimmed = text.trim();
        let mut words = trimmed.split([' ', '\t']).filter(|word| !word.is_empty());
        let first = words.next().ok_or(SubjectKeyError::NotAKeyLine)?;
        match words.next() {
            Some(base64) if looks_like_a_type(first) => {
                if trimmed.contains(['\n', '\r']) {
                    return Err(SubjectKeyError::SeveralLines);
                }
                let key = Self::from_blob(decode_base64(base64)?)?;
                if key.kind.ssh_name() == first {
                    Ok(key)
                } else if first.contains("-cert-v") {
                    Err(SubjectKeyError::IsACertificate)
                } else {
                    Err(SubjectKeyError::TypeMismatch {
                        line: first.to_owned(),
                        blob: key.kind.ssh_name().to_owned(),
                    })
                }
            }
            None if !looks_like_a_type(first) => {
                let joined: String = trimmed.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
                Self::from_blob(decode_base64(&joined)?)
            }
            _ => Err(SubjectKeyError::NotAKeyLine),
        }
    }

    /// Reads a key in SSH wire format (RFC 4253, "Public Key Algorithms").
    ///
    /// # Errors
    /// [`SubjectKeyError`] saying what is wrong with it.
    pub fn from_blob(blob: Vec<u8>) -> Result<Self, SubjectKeyError> {
        let mut reader = blob.as_slice();
        let kind = read_key(&mut reader)?;
        if !reader.is_empty() {
            return Err(SubjectKeyError::Damaged);
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, &blob).as_ref());
        Ok(Self { kind, blob, sha256 })
    }

    /// What kind of key it is.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key in SSH wire format.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// SHA-256 of the blob.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// SHA-256 of the blob in lower-case hex: Vault's `public_key_hash`.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.sha256)
    }

    /// OpenSSH's fingerprint, `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(self.sha256))
    }

    /// The line of a public key file, without a comment or a newline.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.kind.ssh_name(), STANDARD.encode(&self.blob))
    }

    /// The key as the `ssh-key` crate holds it.
    ///
    /// # Errors
    /// [`SubjectKeyError::Damaged`] when that crate reads it differently.
    pub fn to_public_key(&self) -> Result<ssh_key::PublicKey, SubjectKeyError> {
        ssh_key::PublicKey::from_bytes(&self.blob).map_err(|_| SubjectKeyError::Damaged)
    }
}

fn looks_like_a_type(word: &str) -> bool {
    word.starts_with("ssh-") || word.starts_with("ecdsa-") || word.starts_with("sk-") || word.contains("-cert-v")
}

fn decode_base64(text: &str) -> Result<Vec<u8>, SubjectKeyError> {
    STANDARD.decode(text).map_err(|_| SubjectKeyError::Base64)
}

fn read_bytes(reader: &mut &[u8]) -> Result<Vec<u8>, SubjectKeyError> {
    Vec::<u8>::decode(reader).map_err(|_| SubjectKeyError::Damaged)
}

fn read_key(reader: &mut &[u8]) -> Result<KeyKind, SubjectKeyError> {
    const TYPE_NAME_MAX: usize = 64;
    let name = read_bytes(reader)?;
    if name.len() > TYPE_NAME_MAX {
        return Err(SubjectKeyError::Damaged);
    }
    let name = String::from_utf8(name).map_err(|_| SubjectKeyError::Damaged)?;
    match name.as_str() {
        "ssh-ed25519" => read_ed25519(reader).map(|()| KeyKind::Ed25519),
        "ecdsa-sha2-nistp256" => read_point(reader, "nistp256").map(|()| KeyKind::EcdsaP256),
        "ecdsa-sha2-nistp384" => read_point(reader, "nistp384").map(|()| KeyKind::EcdsaP384),
        "ecdsa-sha2-nistp521" => read_point(reader, "nistp521").map(|()| KeyKind::EcdsaP521),
        "ssh-rsa" => read_rsa(reader),
        "sk-ssh-ed25519@openssh.com" => {
            read_ed25519(reader)?;
            read_application(reader).map(|()| KeyKind::SkEd25519)
        }
        "sk-ecdsa-sha2-nistp256@openssh.com" => {
            read_point(reader, "nistp256")?;
            read_application(reader).map(|()| KeyKind::SkEcdsaP256)
        }
        other if other.contains("-cert-v") => Err(SubjectKeyError::IsACertificate),
        other => Err(SubjectKeyError::TypeNotSupported(other.escape_default().to_string())),
    }
}

fn read_ed25519(reader: &mut &[u8]) -> Result<(), SubjectKeyError> {
    let point = <[u8; 32]>::try_from(read_bytes(reader)?).map_err(|_| SubjectKeyError::Damaged)?;
    if has_small_order(point) {
        Err(SubjectKeyError::Weak)
    } else {
        Ok(())
    }
}

/// The points of small order, as libsodium lists them, without the sign bit. Anybody can sign for such a "key". Comparing
/// costs nothing; decompressing the point would cost half a signature.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    small([1, 0], 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    small([0xec, 0xff], 0xff, 0x7f),
    small([0xed, 0xff], 0xff, 0x7f),
    small([0xee, 0xff], 0xff, 0x7f),
];

const fn small([first, second]: [u8; 2], middle: u8, last: u8) -> [u8; 32] {
    let m = middle;
    [
        first, second, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, last,
    ]
}

fn has_small_order(mut point: [u8; 32]) -> bool {
    const SIGN_BIT: u8 = 0x80;
    if let Some(last) = point.last_mut() {
        *last &= !SIGN_BIT;
    }
    SMALL_ORDER.contains(&point)
}

fn read_point(reader: &mut &[u8], curve: &str) -> Result<(), SubjectKeyError> {
    // OpenSSH reads uncompressed points only (RFC 5656, "Point encoding").
    const UNCOMPRESSED: u8 = 4;
    if read_bytes(reader)? != curve.as_bytes() {
        return Err(SubjectKeyError::Damaged);
    }
    let algorithm = match curve {
        "nistp256" => &ECDSA_P256_SHA256_FIXED,
        "nistp384" => &ECDSA_P384_SHA384_FIXED,
        _ => &ECDSA_P521_SHA512_FIXED,
    };
    let point = read_bytes(reader)?;
    if point.first() != Some(&UNCOMPRESSED) {
        return Err(SubjectKeyError::Point);
    }
    ParsedPublicKey::new(algorithm, &point)
        .map(|_| ())
        .map_err(|_| SubjectKeyError::Point)
}

fn read_rsa(reader: &mut &[u8]) -> Result<KeyKind, SubjectKeyError> {
    let exponent = positive_mpint(read_bytes(reader)?)?;
    let modulus = positive_mpint(read_bytes(reader)?)?;
    let bits = bit_length(&modulus);
    let wrong = SubjectKeyError::Rsa { bits };
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let good_exponent = odd(&exponent) && (2..=33).contains(&bit_length(&exponent));
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) || !odd(&modulus) || !good_exponent {
        return Err(wrong);
    }
    let (n, e) = (
        BoxedUint::from_be_slice_vartime(&modulus),
        BoxedUint::from_be_slice_vartime(&exponent),
    );
    rsa::RsaPublicKey::new(n, e)
        .map(|_| KeyKind::Rsa { bits })
        .map_err(|_| wrong)
}

/// Drops the zero byte that marks an mpint as positive (RFC 4251, "Data Type Representations"); refuses negative numbers
/// and needless zeros, which two readers would fingerprint differently.
fn positive_mpint(bytes: Vec<u8>) -> Result<Vec<u8>, SubjectKeyError> {
    match bytes.as_slice() {
        [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => Ok(rest.to_vec()),
        [first, ..] if *first != 0 && first & 0x80 == 0 => Ok(bytes),
        _ => Err(SubjectKeyError::Damaged),
    }
}

fn bit_length(number: &[u8]) -> u32 {
    let leading = number.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(number.len())
        .unwrap_or(u32::MAX / 8)
        .saturating_mul(8)
        .saturating_sub(leading)
}

fn read_application(reader: &mut &[u8]) -> Result<(), SubjectKeyError> {
    let application = read_bytes(reader)?;
    let good = !application.is_empty() && application.iter().all(u8::is_ascii_graphic);
    good.then_some(()).ok_or(SubjectKeyError::Application)
}

#[cfg(test)]
mod tests;
