//! Checking a signature against the one key it has to be from. All arithmetic is aws-lc-rs's.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use ssh_encoding::{Decode as _, Reader as _};
use ssh_key::public::{EcdsaPublicKey, Ed25519PublicKey, KeyData, RsaPublicKey};
use ssh_key::{EcdsaCurve, Mpint};

use super::{SecurityKeyFields, SshSignature, signed_data};
use crate::subject_key::SubjectKey;

/// `PROTOCOL.u2f`: somebody touched the key.
const USER_PRESENT: u8 = 0x01;
/// `PROTOCOL.u2f`: the key knew its owner, by PIN or finger.
const USER_VERIFIED: u8 = 0x04;

/// A valid signature's properties. Only [`SshSignature::verify`] makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    security_key: Option<SecurityKeyFields>,
}

impl Verified {
    /// Whether the key lives in a FIDO device (and was touched, or there would be no `Verified`).
    #[must_use]
    pub const fn by_security_key(&self) -> bool {
        self.security_key.is_some()
    }

    /// Demands that the FIDO device verified its user by PIN or finger, as `verify-required` does.
    ///
    /// # Errors
    /// [`VerifyError::UserNotVerified`], also for keys that are in no such device and so cannot know their user.
    pub fn require_user_verification(self) -> Result<Self, VerifyError> {
        match self.security_key {
            Some(fields) if fields.flags & USER_VERIFIED != 0 => Ok(self),
            Some(_) | None => Err(VerifyError::UserNotVerified),
        }
    }
}

/// Why a well-formed signature is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Made for another purpose.
    #[error("the signature is for namespace `{found}`, not `{wanted}`")]
    OtherNamespace {
        /// What the signature says.
        found: String,
        /// What it has to say.
        wanted: String,
    },
    /// The signature names another key than the one offered.
    #[error("the signature is by another key than the one offered")]
    OtherKey,
    /// Not an algorithm that this key may sign with; `ssh-rsa` (SHA-1) is none.
    #[error("signature algorithm `{0}` does not go with the key")]
    OtherAlgorithm(String),
    /// The arithmetic says no.
    #[error("the signature does not match")]
    Mismatch,
    /// A FIDO key signed without being touched.
    #[error("the security key was not touched")]
    UserNotPresent,
    /// A FIDO key signed without PIN or finger although that is required.
    #[error("the security key did not verify its user")]
    UserNotVerified,
}

impl SshSignature {
    /// Checks that `key` signed `message` for `namespace`.
    ///
    /// Accepted are Ed25519, ECDSA P-256, P-384 and P-521, RSA of 2048 to 8192 bits with rsa-sha2-256 or -512, and both
    /// `sk-` kinds with the user-presence flag. Certificates cannot get here: [`SubjectKey`] is never one.
    ///
    /// # Errors
    /// [`VerifyError`]; the first rule that is broken.
    ///
    /// # Security
    /// `key` is the key that the caller decided to trust for this person. It is never taken from the signature
    /// (CVE-2024-45337: identity from a key that was merely offered).
    pub fn verify(&self, key: &SubjectKey, namespace: &str, message: &[u8]) -> Result<Verified, VerifyError> {
        if self.namespace != namespace {
            return Err(VerifyError::OtherNamespace {
                found: self.namespace.clone(),
                wanted: namespace.to_owned(),
            });
        }
        if self.key_blob != key.blob() {
            return Err(VerifyError::OtherKey);
        }
        let data = signed_data(namespace, self.hash, message).map_err(|_| VerifyError::Mismatch)?;
        let public_key = key.to_public_key().map_err(|_| VerifyError::Mismatch)?;
        self.verify_data(public_key.key_data(), &data)?;
        match self.security_key {
            // SECURITY: CVE-2026-39831: a FIDO signature without the user-presence bit proves nobody's presence.
            Some(fields) if fields.flags & USER_PRESENT == 0 => Err(VerifyError::UserNotPresent),
            security_key => Ok(Verified { security_key }),
        }
    }

    fn verify_data(&self, key: &KeyData, data: &[u8]) -> Result<(), VerifyError> {
        match (key, self.algorithm.as_str()) {
            (KeyData::Ed25519(key), "ssh-ed25519") => verify_ed25519(key, data, &self.data),
            (KeyData::Ecdsa(key), name) if name == key_name(key) => verify_ecdsa(key, data, &self.data),
            (KeyData::Rsa(key), "rsa-sha2-256" | "rsa-sha2-512") => self.verify_rsa(key, data),
            (KeyData::SkEd25519(key), "sk-ssh-ed25519@openssh.com") => {
                let data = self.security_key_data(key.application(), data)?;
                verify_ed25519(key.public_key(), &data, &self.data)
            }
            (KeyData::SkEcdsaSha2NistP256(key), "sk-ecdsa-sha2-nistp256@openssh.com") => {
                let data = self.security_key_data(key.application(), data)?;
                let signature = fixed_ecdsa(&self.data, 32)?;
                check(&ECDSA_P256_SHA256_FIXED, key.ec_point().as_ref(), &data, &signature)
            }
            _ => Err(VerifyError::OtherAlgorithm(self.algorithm.clone())),
        }
    }

    fn verify_rsa(&self, key: &RsaPublicKey, data: &[u8]) -> Result<(), VerifyError> {
        let n = positive(key.n())?;
        let e = positive(key.e())?;
        let parameters = match self.algorithm.as_str() {
            "rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
            _ => &RSA_PKCS1_2048_8192_SHA512,
        };
        // RFC 8332 wants the full length; agents that drop leading zeros exist, and OpenSSH pads for them.
        let signature = padded(&self.data, n.len())?;
        RsaPublicKeyComponents { n, e }
            .verify(parameters, data, &signature)
            .map_err(|_| VerifyError::Mismatch)
    }

    /// What a FIDO key signs around the data it is given (`PROTOCOL.u2f`, "SSH U2F Signatures").
    fn security_key_data(&self, application: &str, data: &[u8]) -> Result<Vec<u8>, VerifyError> {
        let fields = self.security_key.ok_or(VerifyError::Mismatch)?;
        let sha256 = |bytes: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut around = sha256(application.as_bytes()).as_ref().to_vec();
        around.push(fields.flags);
        around.extend_from_slice(&fields.counter.to_be_bytes());
        around.extend_from_slice(sha256(data).as_ref());
        Ok(around)
    }
}

fn check(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    data: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    UnparsedPublicKey::new(algorithm, key)
        .verify(data, signature)
        .map_err(|_| VerifyError::Mismatch)
}

fn verify_ed25519(key: &Ed25519PublicKey, data: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    // SECURITY: under a key of small order, signatures that nobody made verify (RFC 8032 leaves that check to us).
    match ed25519_dalek::VerifyingKey::from_bytes(key.as_ref()) {
        Ok(point) if !point.is_weak() => check(&ED25519, key.as_ref(), data, signature),
        Ok(_) | Err(_) => Err(VerifyError::Mismatch),
    }
}

fn key_name(key: &EcdsaPublicKey) -> &'static str {
    match key.curve() {
        EcdsaCurve::NistP256 => "ecdsa-sha2-nistp256",
        EcdsaCurve::NistP384 => "ecdsa-sha2-nistp384",
        EcdsaCurve::NistP521 => "ecdsa-sha2-nistp521",
    }
}

fn verify_ecdsa(key: &EcdsaPublicKey, data: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    let (algorithm, scalar_bytes): (&'static dyn VerificationAlgorithm, usize) = match key.curve() {
        EcdsaCurve::NistP256 => (&ECDSA_P256_SHA256_FIXED, 32),
        EcdsaCurve::NistP384 => (&ECDSA_P384_SHA384_FIXED, 48),
        EcdsaCurve::NistP521 => (&ECDSA_P521_SHA512_FIXED, 66),
    };
    check(
        algorithm,
        key.as_sec1_bytes(),
        data,
        &fixed_ecdsa(signature, scalar_bytes)?,
    )
}

/// Turns the two SSH integers of an ECDSA signature (RFC 5656, "Signature Encoding") into r ‖ s of fixed length.
fn fixed_ecdsa(mut signature: &[u8], scalar_bytes: usize) -> Result<Vec<u8>, VerifyError> {
    let reader = &mut signature;
    let r = Mpint::decode(reader).map_err(|_| VerifyError::Mismatch)?;
    let s = Mpint::decode(reader).map_err(|_| VerifyError::Mismatch)?;
    reader.ensure_finished().map_err(|_| VerifyError::Mismatch)?;
    let mut fixed = padded(positive(&r)?, scalar_bytes)?;
    fixed.extend_from_slice(&padded(positive(&s)?, scalar_bytes)?);
    Ok(fixed)
}

fn positive(number: &Mpint) -> Result<&[u8], VerifyError> {
    number.as_positive_bytes().ok_or(VerifyError::Mismatch)
}

/// `bytes` with zeros in front, `len` in all.
fn padded(bytes: &[u8], len: usize) -> Result<Vec<u8>, VerifyError> {
    let zeros = len.checked_sub(bytes.len()).ok_or(VerifyError::Mismatch)?;
    let mut padded = vec![0; zeros];
    padded.extend_from_slice(bytes);
    Ok(padded)
}
