//! OpenSSH's signatures over data (`PROTOCOL.sshsig`), as `ssh-keygen -Y sign` and an ssh-agent make them: reading,
//! writing and checking them, and the text that a login with an SSH key signs. It holds no private key.

mod login;
#[cfg(test)]
mod tests;
mod verify;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_encoding::{Decode as _, Encode as _, Reader as _};

pub use login::{LOGIN_NAMESPACE, LoginAddress, LoginAddressError, login_message};
pub use verify::{Verified, VerifyError};

const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;
const HEADER: &str = "-----BEGIN SSH SIGNATURE-----";
const FOOTER: &str = "-----END SSH SIGNATURE-----";
/// Where ssh-keygen breaks its lines.
const LINE_CHARS: usize = 70;
/// Key and signature of RSA with 16384 bits need 5,600 characters.
const ARMOR_CHARS_MAX: usize = 8 * 1024;

/// The hash over the message, inside the signed data. `PROTOCOL.sshsig` knows these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512, ssh-keygen's default and ours.
    Sha512,
}

impl HashAlgorithm {
    /// OpenSSH's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn parse(word: &str) -> Result<Self, SshSigError> {
        match word {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            other => Err(SshSigError::UnknownHash(other.to_owned())),
        }
    }

    fn digest(self, message: &[u8]) -> aws_lc_rs::digest::Digest {
        let algorithm = match self {
            Self::Sha256 => &aws_lc_rs::digest::SHA256,
            Self::Sha512 => &aws_lc_rs::digest::SHA512,
        };
        aws_lc_rs::digest::digest(algorithm, message)
    }
}

/// The bytes that the key signs: what goes into an ssh-agent's sign request (`PROTOCOL.sshsig`, "Signed Data").
///
/// # Errors
/// [`SshSigError::EmptyNamespace`], and [`SshSigError::Malformed`] for a namespace longer than the format can hold.
pub fn signed_data(namespace: &str, hash: HashAlgorithm, message: &[u8]) -> Result<Vec<u8>, SshSigError> {
    if namespace.is_empty() {
        return Err(SshSigError::EmptyNamespace);
    }
    let mut data = MAGIC.to_vec();
    let reserved: &[u8] = &[];
    namespace.encode(&mut data)?;
    reserved.encode(&mut data)?;
    hash.as_str().encode(&mut data)?;
    hash.digest(message).as_ref().encode(&mut data)?;
    Ok(data)
}

/// A signature as it was read: well formed, and nothing more until [`SshSignature::verify`] says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSignature {
    key_blob: Vec<u8>,
    namespace: String,
    hash: HashAlgorithm,
    algorithm: String,
    data: Vec<u8>,
    security_key: Option<SecurityKeyFields>,
}

/// What a FIDO key adds to its signature (`PROTOCOL.u2f`, "SSH U2F Signatures").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SecurityKeyFields {
    flags: u8,
    counter: u32,
}

impl SshSignature {
    /// Puts together the parts that an ssh-agent's answer leaves: the public key's and the signature's SSH wire form.
    ///
    /// # Errors
    /// [`SshSigError`] when the signature blob is not one, or the namespace is empty.
    pub fn new(
        key_blob: &[u8],
        namespace: &str,
        hash: HashAlgorithm,
        signature_blob: &[u8],
    ) -> Result<Self, SshSigError> {
        if namespace.is_empty() {
            return Err(SshSigError::EmptyNamespace);
        }
        let (algorithm, data, security_key) = split_signature(signature_blob)?;
        Ok(Self {
            key_blob: key_blob.to_vec(),
            namespace: namespace.to_owned(),
            hash,
            algorithm,
            data,
            security_key,
        })
    }

    /// Reads the armored form, `-----BEGIN SSH SIGNATURE-----` and so on. White space around it and any line length are
    /// accepted, other text is not.
    ///
    /// # Errors
    /// [`SshSigError`] naming what is not as `PROTOCOL.sshsig` has it; data after the last field is refused too.
    pub fn from_armor(text: &str) -> Result<Self, SshSigError> {
        if text.len() > ARMOR_CHARS_MAX {
            return Err(SshSigError::TooLong);
        }
        let body = text
            .trim()
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_suffix(FOOTER))
            .ok_or(SshSigError::NotArmored)?;
        let packed: String = body.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        let blob = STANDARD.decode(packed).map_err(|_| SshSigError::NotArmored)?;
        Self::from_blob(&blob)
    }

    /// Reads the binary form inside the armor.
    fn from_blob(blob: &[u8]) -> Result<Self, SshSigError> {
        let mut reader = blob.strip_prefix(MAGIC.as_slice()).ok_or(SshSigError::Malformed)?;
        let version = u32::decode(&mut reader)?;
        if version != VERSION {
            return Err(SshSigError::UnknownVersion(version));
        }
        let key_blob = Vec::<u8>::decode(&mut reader)?;
        let namespace = String::decode(&mut reader)?;
        let reserved = Vec::<u8>::decode(&mut reader)?;
        let hash = HashAlgorithm::parse(&String::decode(&mut reader)?)?;
        let signature_blob = Vec::<u8>::decode(&mut reader)?;
        reader.ensure_finished()?;
        if !reserved.is_empty() {
            // OpenSSH ignores it, and signs an empty field in its place: it would be unsigned text that we accept.
            return Err(SshSigError::ReservedInUse);
        }
        Self::new(&key_blob, &namespace, hash, &signature_blob)
    }

    /// Writes the armored form as ssh-keygen does.
    ///
    /// # Errors
    /// [`SshSigError::Malformed`] for parts longer than the format can hold.
    pub fn to_armor(&self) -> Result<String, SshSigError> {
        let mut text = format!("{HEADER}\n");
        let packed = STANDARD.encode(self.to_blob()?);
        let mut rest = packed.as_str();
        while !rest.is_empty() {
            let (line, next) = rest.split_at(rest.len().min(LINE_CHARS));
            text.push_str(line);
            text.push('\n');
            rest = next;
        }
        text.push_str(FOOTER);
        text.push('\n');
        Ok(text)
    }

    fn to_blob(&self) -> Result<Vec<u8>, SshSigError> {
        let mut signature_blob = Vec::new();
        self.algorithm.encode(&mut signature_blob)?;
        self.data.encode(&mut signature_blob)?;
        if let Some(fields) = self.security_key {
            fields.flags.encode(&mut signature_blob)?;
            fields.counter.encode(&mut signature_blob)?;
        }
        let reserved: &[u8] = &[];
        let mut blob = MAGIC.to_vec();
        VERSION.encode(&mut blob)?;
        self.key_blob.encode(&mut blob)?;
        self.namespace.encode(&mut blob)?;
        reserved.encode(&mut blob)?;
        self.hash.as_str().encode(&mut blob)?;
        signature_blob.encode(&mut blob)?;
        Ok(blob)
    }

    /// The public key that the signature names, in SSH wire form. Not yet a statement about who signed.
    #[must_use]
    pub fn unverified_key_blob(&self) -> &[u8] {
        &self.key_blob
    }

    /// The namespace that the signature names.
    #[must_use]
    pub fn unverified_namespace(&self) -> &str {
        &self.namespace
    }
}

/// Splits a signature blob (RFC 4253, "Public Key Algorithms") into algorithm, data and, for `sk-` keys, their fields.
fn split_signature(blob: &[u8]) -> Result<(String, Vec<u8>, Option<SecurityKeyFields>), SshSigError> {
    let mut reader = blob;
    let algorithm = String::decode(&mut reader)?;
    let data = Vec::<u8>::decode(&mut reader)?;
    let security_key = if algorithm.starts_with("sk-") {
        Some(SecurityKeyFields {
            flags: u8::decode(&mut reader)?,
            counter: u32::decode(&mut reader)?,
        })
    } else {
        None
    };
    reader.ensure_finished()?;
    Ok((algorithm, data, security_key))
}

/// Why a text is not a signature. It says nothing about validity; that is [`VerifyError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshSigError {
    /// The armor lines or the base64 between them are not right.
    #[error("not an armored SSH signature (`{HEADER}` …)")]
    NotArmored,
    /// Longer than any signature.
    #[error("longer than any SSH signature ({ARMOR_CHARS_MAX} characters)")]
    TooLong,
    /// The fields are cut short, run on, or hold what they may not.
    #[error("the SSH signature's fields are malformed")]
    Malformed,
    /// Not version 1.
    #[error("SSH signature version {0} is unknown")]
    UnknownVersion(u32),
    /// `PROTOCOL.sshsig`: the namespace must not be empty.
    #[error("the SSH signature's namespace is empty")]
    EmptyNamespace,
    /// The reserved field holds something.
    #[error("the SSH signature uses the reserved field")]
    ReservedInUse,
    /// Neither sha256 nor sha512.
    #[error("the SSH signature's hash `{0}` is neither sha256 nor sha512")]
    UnknownHash(String),
}

impl From<ssh_encoding::Error> for SshSigError {
    fn from(_: ssh_encoding::Error) -> Self {
        Self::Malformed
    }
}
