//! EC2's instance identity document as the metadata service gives it under `rsa2048`: PKCS #7 (RFC 5652, section 5) with
//! the document inside and without the signer's certificate. Who signed it is decided by the key that is pinned for the
//! document's region, and by nothing that comes with the document.
//!
//! The document is neither secret nor fresh: whoever saw it can show it. It names an instance; that the instance is the one
//! that asks, somebody else has to prove (here: the host key, pinned at the first enrolment).

mod ber;
mod document;
mod region;

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedAttributes, SignedData, SignerInfo};
use x509_cert::der::asn1::{Any, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode as _, Encode as _};

pub use self::document::{DocumentFault, InstanceDocument};
pub use self::region::{RegionCertificate, RegionCertificateError};

/// A document with its wrapping has some 1,500 bytes.
const PKCS7_CHARS_MAX: usize = 16 * 1024;

/// RFC 5652, "`SignedData` Type".
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// RFC 5652, "Data".
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
/// RFC 5652, "content-type Attribute".
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
/// RFC 5652, "message-digest Attribute".
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
/// RFC 5754, "SHA-256".
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// RFC 8017: RSA with PKCS #1 v1.5; the digest is the one that the signer names beside it.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// RFC 8017: the same with the digest in its name.
const SHA_256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Longer than any document.
    #[error("it is longer than any identity document ({PKCS7_CHARS_MAX} characters)")]
    TooLong,
    /// Not base64, with or without the armor of PEM.
    #[error("it is not base64")]
    NotBase64,
    /// Not PKCS #7 with one content and nothing behind it.
    #[error("it is not PKCS #7 signed data (ask the metadata service for `rsa2048`)")]
    NotSignedData,
    /// The document is not inside, or is of another type.
    #[error("no document is inside the signature")]
    NoDocument,
    /// CVE-2026-3338: with several signers it is unclear who vouches for what.
    #[error("it has {found} signers, not one")]
    Signers {
        /// How many.
        found: usize,
    },
    /// Not RSA (PKCS #1 v1.5) with SHA-256.
    #[error("it is not signed with RSA and SHA-256 (ask the metadata service for `rsa2048`)")]
    Algorithm,
    /// CVE-2026-3336: signed attributes are missing, double or of other content.
    #[error("its signed attributes are not those of this document")]
    Attributes,
    /// No certificate is pinned for the region that the document names.
    #[error("no certificate is configured for region `{region}`")]
    Region {
        /// The region, as the unverified document names it.
        region: String,
    },
    /// Not by the region's key.
    #[error("it is not signed by the key of region `{region}`")]
    Signature {
        /// The region, as the unverified document names it.
        region: String,
    },
    /// The signed text is not a document.
    #[error("the signed document is not usable")]
    Document(#[from] DocumentFault),
}

impl InstanceDocument {
    /// Verifies a document: base64 with or without line ends and PEM armor. `certificates` are the pinned ones by region.
    ///
    /// # Errors
    /// [`DocumentError`]; the first rule that is broken.
    ///
    /// # Security
    /// Certificates inside are ignored (`openssl smime -verify -noverify` believes them, so a forger's own would do). Only
    /// bytes under the signature are parsed into the result. The result says nothing about when or by whom it was shown.
    pub fn verify(pkcs7: &str, certificates: &BTreeMap<String, RegionCertificate>) -> Result<Self, DocumentError> {
        let der = ber::to_der(&unarmored(pkcs7)?).ok_or(DocumentError::NotSignedData)?;
        let message = signed_data(&der)?;
        let content = content_of(&message)?;
        let signer = only_signer(&message)?;
        // It decides only which key has to fit. A document of one region under another region's key is caught here too: the
        // key that is tried is the one of the region that the signed text names.
        let unverified_region = document::unverified_region(&content)?;
        let certificate = certificates
            .get(&unverified_region)
            .ok_or_else(|| DocumentError::Region {
                region: unverified_region.clone(),
            })?;
        let attributes = attributes_for(signer, &content)?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, certificate.public_key())
            .verify(&attributes, signer.signature.as_bytes())
            .map_err(|_| DocumentError::Signature {
                region: unverified_region.clone(),
            })?;
        let document = Self::parse(&content)?;
        if document.region() == unverified_region {
            Ok(document)
        } else {
            Err(DocumentError::Region {
                region: document.region().to_owned(),
            })
        }
    }
}

/// The bytes: what stands between the armor lines, if there are any, without white space.
fn unarmored(text: &str) -> Result<Vec<u8>, DocumentError> {
    if text.len() > PKCS7_CHARS_MAX {
        return Err(DocumentError::TooLong);
    }
    let text = text.trim();
    let body = match text.strip_prefix("-----BEGIN PKCS7-----") {
        Some(rest) => rest
            .strip_suffix("-----END PKCS7-----")
            .ok_or(DocumentError::NotBase64)?,
        None => text,
    };
    let packed: String = body
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n' | ' ' | '\t'))
        .collect();
    STANDARD.decode(packed).map_err(|_| DocumentError::NotBase64)
}

fn signed_data(der: &[u8]) -> Result<SignedData, DocumentError> {
    let outer = ContentInfo::from_der(der).map_err(|_| DocumentError::NotSignedData)?;
    if outer.content_type != SIGNED_DATA {
        return Err(DocumentError::NotSignedData);
    }
    outer.content.decode_as().map_err(|_| DocumentError::NotSignedData)
}

fn content_of(message: &SignedData) -> Result<Vec<u8>, DocumentError> {
    let inside = &message.encap_content_info;
    if inside.econtent_type != DATA {
        return Err(DocumentError::NoDocument);
    }
    let content = inside.econtent.as_ref().ok_or(DocumentError::NoDocument)?;
    let octets: OctetString = content.decode_as().map_err(|_| DocumentError::NoDocument)?;
    Ok(octets.into_bytes().into_vec())
}

/// The one signer, whose digest is SHA-256 and whose signature is RSA's.
fn only_signer(message: &SignedData) -> Result<&SignerInfo, DocumentError> {
    let infos = &message.signer_infos.0;
    let (Some(signer), 1) = (infos.get(0), infos.len()) else {
        return Err(DocumentError::Signers { found: infos.len() });
    };
    let digests = message.digest_algorithms.iter().all(|digest| digest.oid == SHA_256);
    let signature = [RSA_ENCRYPTION, SHA_256_WITH_RSA].contains(&signer.signature_algorithm.oid);
    if digests && signature && signer.digest_alg.oid == SHA_256 {
        Ok(signer)
    } else {
        Err(DocumentError::Algorithm)
    }
}

/// What the signature is over: the signed attributes as a SET in DER (RFC 5652, "Message Digest Calculation Process"), which
/// have to speak of this very content.
fn attributes_for(signer: &SignerInfo, content: &[u8]) -> Result<Vec<u8>, DocumentError> {
    // SECURITY: without them the signature would be over the content itself, and a signature over attributes could be passed
    // off as one over a "document" that reads like them.
    let attributes = signer.signed_attrs.as_ref().ok_or(DocumentError::Attributes)?;
    let content_type: ObjectIdentifier = only_value(attributes, CONTENT_TYPE)?
        .decode_as()
        .map_err(|_| DocumentError::Attributes)?;
    let stated: OctetString = only_value(attributes, MESSAGE_DIGEST)?
        .decode_as()
        .map_err(|_| DocumentError::Attributes)?;
    if content_type != DATA || stated.as_bytes() != digest(&SHA256, content).as_ref() {
        return Err(DocumentError::Attributes);
    }
    attributes.to_der().map_err(|_| DocumentError::Attributes)
}

/// The one value of the one attribute of this type.
fn only_value(attributes: &SignedAttributes, wanted: ObjectIdentifier) -> Result<&Any, DocumentError> {
    let mut fitting = attributes.iter().filter(|attribute| attribute.oid == wanted);
    match (fitting.next(), fitting.next()) {
        (Some(attribute), None) if attribute.values.len() == 1 => {
            attribute.values.get(0).ok_or(DocumentError::Attributes)
        }
        _ => Err(DocumentError::Attributes),
    }
}
