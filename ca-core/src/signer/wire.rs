//! What signers share that do not hold the key themselves: from the bare signature that a token or a service answers with
//! to SSH's wire form, and the check that it is a signature of the CA key, before anybody uses it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use ssh_encoding::{Decode as _, Encode as _};

use super::SignError;
use crate::role::AlgorithmSigner;
use crate::subject_key::{KeyKind, SubjectKey};

/// The name of the signature that a CA key of this kind makes for a role that asks for `algorithm`.
///
/// # Errors
/// [`SignError::Algorithm`] when an RSA algorithm is asked of another key, or the key cannot be a CA key.
pub fn algorithm_name(key: KeyKind, algorithm: AlgorithmSigner) -> Result<&'static str, SignError> {
    match (key, algorithm) {
        (KeyKind::Rsa { .. }, algorithm) => Ok(sha2_name(algorithm)),
        (KeyKind::SkEd25519 | KeyKind::SkEcdsaP256, _) => Err(SignError::Failed),
        (other, AlgorithmSigner::Default) => Ok(other.ssh_name()),
        (other, wanted) => Err(SignError::Algorithm {
            key: other.ssh_name(),
            algorithm: wanted.as_str(),
        }),
    }
}

/// `default` is rsa-sha2-256 since Vault 1.10; SHA-1 is never made.
pub(super) const fn sha2_name(algorithm: AlgorithmSigner) -> &'static str {
    match algorithm {
        AlgorithmSigner::Default | AlgorithmSigner::RsaSha256 => "rsa-sha2-256",
        AlgorithmSigner::RsaSha512 => "rsa-sha2-512",
    }
}

/// From a bare signature to SSH's wire form, once it is known to be one: the 64 bytes of Ed25519, r and s of ECDSA one
/// after the other and each as long as the curve's order, PKCS#1 v1.5 of RSA. `None` when it does not verify under `key`.
///
/// # Errors
/// [`SignError::Algorithm`] as for [`algorithm_name`].
pub fn verified(
    key: &SubjectKey,
    algorithm: AlgorithmSigner,
    tbs: &[u8],
    bare: &[u8],
) -> Result<Option<Vec<u8>>, SignError> {
    let name = algorithm_name(key.kind(), algorithm)?;
    if !verifies(key, name, tbs, bare) {
        return Ok(None);
    }
    let wire = match key.kind() {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => blob(name, &ecdsa_blob(bare)?)?,
        _ => blob(name, bare)?,
    };
    Ok(Some(wire))
}

fn verifies(key: &SubjectKey, name: &str, tbs: &[u8], bare: &[u8]) -> bool {
    let Some(fields) = Fields::of(key) else { return false };
    let simple = |algorithm: &'static dyn VerificationAlgorithm| {
        UnparsedPublicKey::new(algorithm, &fields.last)
            .verify(tbs, bare)
            .is_ok()
    };
    match key.kind() {
        KeyKind::Ed25519 => simple(&ED25519),
        KeyKind::EcdsaP256 => simple(&ECDSA_P256_SHA256_FIXED),
        KeyKind::EcdsaP384 => simple(&ECDSA_P384_SHA384_FIXED),
        KeyKind::EcdsaP521 => simple(&ECDSA_P521_SHA512_FIXED),
        KeyKind::Rsa { .. } => {
            let parameters = if name == "rsa-sha2-512" {
                &RSA_PKCS1_2048_8192_SHA512
            } else {
                &RSA_PKCS1_2048_8192_SHA256
            };
            let public = RsaPublicKeyComponents {
                n: positive(&fields.last),
                e: positive(&fields.first),
            };
            public.verify(parameters, tbs, bare).is_ok()
        }
        KeyKind::SkEd25519 | KeyKind::SkEcdsaP256 => false,
    }
}

/// The fields of a public key after its name: e and n of RSA, the curve's name and the point of ECDSA, twice the point of
/// Ed25519, which has one field.
struct Fields {
    first: Vec<u8>,
    last: Vec<u8>,
}

impl Fields {
    fn of(key: &SubjectKey) -> Option<Self> {
        let mut reader = key.blob();
        let _name = Vec::<u8>::decode(&mut reader).ok()?;
        let first = Vec::<u8>::decode(&mut reader).ok()?;
        let last = if reader.is_empty() {
            first.clone()
        } else {
            Vec::<u8>::decode(&mut reader).ok()?
        };
        Some(Self { first, last })
    }
}

/// Exponent and modulus of an RSA key, big-endian and without leading zeros.
#[must_use]
pub fn rsa_numbers(key: &SubjectKey) -> Option<(Vec<u8>, Vec<u8>)> {
    let KeyKind::Rsa { .. } = key.kind() else { return None };
    let fields = Fields::of(key)?;
    Some((positive(&fields.first).to_vec(), positive(&fields.last).to_vec()))
}

/// An mpint's digits without the zero that keeps it positive.
fn positive(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}

/// A CA key's public half from what tokens and services tell of it.
///
/// # Errors
/// [`SignError::Failed`] when the parts are no key that signs certificates: a point off its curve, RSA that is too short.
pub fn public_key(parts: PublicParts<'_>) -> Result<SubjectKey, SignError> {
    let mut out = Vec::new();
    let failed = |_| SignError::Failed;
    match parts {
        PublicParts::Ed25519(point) => {
            "ssh-ed25519".encode(&mut out).map_err(failed)?;
            point.encode(&mut out).map_err(failed)?;
        }
        PublicParts::Ecdsa { curve, point } => {
            format!("ecdsa-sha2-{curve}").encode(&mut out).map_err(failed)?;
            curve.encode(&mut out).map_err(failed)?;
            point.encode(&mut out).map_err(failed)?;
        }
        PublicParts::Rsa { modulus, exponent } => {
            "ssh-rsa".encode(&mut out).map_err(failed)?;
            mpint(exponent, &mut out)?;
            mpint(modulus, &mut out)?;
        }
    }
    SubjectKey::from_blob(out).map_err(|_| SignError::Failed)
}

/// What a public key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicParts<'a> {
    /// The 32 bytes of RFC 8032.
    Ed25519(&'a [u8]),
    /// A point, uncompressed (SEC 1), on a curve of OpenSSH's name, `nistp256`.
    Ecdsa {
        /// OpenSSH's name of the curve.
        curve: &'a str,
        /// 4, x, y.
        point: &'a [u8],
    },
    /// Big-endian numbers.
    Rsa {
        /// n.
        modulus: &'a [u8],
        /// e.
        exponent: &'a [u8],
    },
}

pub(super) fn blob(algorithm: &str, signature: &[u8]) -> Result<Vec<u8>, SignError> {
    let mut out = Vec::with_capacity(8 + algorithm.len() + signature.len());
    algorithm.encode(&mut out).map_err(|_| SignError::Failed)?;
    signature.encode(&mut out).map_err(|_| SignError::Failed)?;
    Ok(out)
}

/// r and s as two mpints (RFC 5656, "Signature Encoding").
pub(super) fn ecdsa_blob(fixed: &[u8]) -> Result<Vec<u8>, SignError> {
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let mut out = Vec::with_capacity(fixed.len() + 10);
    mpint(r, &mut out)?;
    mpint(s, &mut out)?;
    Ok(out)
}

fn mpint(number: &[u8], out: &mut Vec<u8>) -> Result<(), SignError> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.split_at(zeros).1;
    let mut positive = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_some_and(|byte| byte & 0x80 != 0) {
        positive.push(0);
    }
    positive.extend_from_slice(digits);
    positive.encode(out).map_err(|_| SignError::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::{CaKeyType, RsaBits, Signer as _, SoftwareSigner};

    const TEXT: &[u8] = b"to be signed";

    /// The bare signature inside a wire form that [`verified`] made or a software key.
    fn bare(key: &SubjectKey, wire: &[u8]) -> Vec<u8> {
        let mut reader = wire;
        let _name = String::decode(&mut reader).unwrap();
        let data = Vec::<u8>::decode(&mut reader).unwrap();
        let length = match key.kind() {
            KeyKind::EcdsaP256 => 32,
            KeyKind::EcdsaP384 => 48,
            KeyKind::EcdsaP521 => 66,
            _ => return data,
        };
        let mut reader = data.as_slice();
        let mut fixed = Vec::new();
        for _ in 0..2 {
            let number = Vec::<u8>::decode(&mut reader).unwrap();
            let digits = positive(&number);
            fixed.extend(vec![0; length - digits.len()]);
            fixed.extend(digits);
        }
        fixed
    }

    #[test]
    fn a_bare_signature_becomes_the_wire_form_of_a_software_key_and_an_altered_one_nothing() {
        let kinds = [
            CaKeyType::Ed25519,
            CaKeyType::EcdsaP256,
            CaKeyType::EcdsaP384,
            CaKeyType::EcdsaP521,
            CaKeyType::Rsa(RsaBits::B2048),
        ];
        for kind in kinds {
            let signer = SoftwareSigner::generate(kind).unwrap();
            let other = SoftwareSigner::generate(kind).unwrap();
            let key = signer.public_key();
            for algorithm in [AlgorithmSigner::Default, AlgorithmSigner::RsaSha512] {
                let Ok(wire) = signer.sign(TEXT, algorithm) else {
                    assert!(
                        matches!(algorithm_name(key.kind(), algorithm), Err(SignError::Algorithm { .. })),
                        "{kind:?}"
                    );
                    continue;
                };
                let signature = bare(key, &wire);
                assert_eq!(
                    verified(key, algorithm, TEXT, &signature).unwrap(),
                    Some(wire),
                    "{kind:?}"
                );
                let mut altered = signature.clone();
                altered[20] ^= 1;
                for (key, text, signature) in [
                    (key, TEXT, &altered),
                    (key, b"another text".as_slice(), &signature),
                    (other.public_key(), TEXT, &signature),
                ] {
                    assert_eq!(verified(key, algorithm, text, signature).unwrap(), None, "{kind:?}");
                }
                assert_eq!(verified(key, algorithm, TEXT, b"").unwrap(), None, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_public_key_is_put_together_from_its_parts() {
        for kind in [CaKeyType::Ed25519, CaKeyType::EcdsaP384, CaKeyType::Rsa(RsaBits::B2048)] {
            let signer = SoftwareSigner::generate(kind).unwrap();
            let fields = Fields::of(signer.public_key()).unwrap();
            let parts = match kind {
                CaKeyType::Ed25519 => PublicParts::Ed25519(&fields.last),
                CaKeyType::Rsa(_) => PublicParts::Rsa {
                    modulus: positive(&fields.last),
                    exponent: &fields.first,
                },
                _ => PublicParts::Ecdsa {
                    curve: "nistp384",
                    point: &fields.last,
                },
            };
            assert_eq!(&public_key(parts).unwrap(), signer.public_key());
        }
        assert!(public_key(PublicParts::Ed25519(&[1; 31])).is_err());
        let off = [4; 65];
        let point = PublicParts::Ecdsa {
            curve: "nistp256",
            point: &off,
        };
        assert!(public_key(point).is_err(), "a point off the curve");
    }
}
