//! Makes identity documents as EC2 makes them, and as forgers would. Also used by the authority's tests.

#![allow(dead_code, reason = "each crate's tests use a part of it")]

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedAttributes, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use x509_cert::Certificate;
use x509_cert::attr::Attribute;
use x509_cert::der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::spki::AlgorithmIdentifierOwned;

const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const DATA: &str = "1.2.840.113549.1.7.1";
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
pub(crate) const SHA_256: &str = "2.16.840.1.101.3.4.2.1";
const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";

/// A key that signs documents, with its self-signed certificate.
pub(crate) struct RegionKey {
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    key: RsaKeyPair,
    certificate: Certificate,
}

/// What to make. [`Recipe::good`] is what EC2 makes; tests change one thing.
pub(crate) struct Recipe<'a> {
    pub(crate) content: &'a [u8],
    pub(crate) signers: Vec<&'a RegionKey>,
    /// A certificate that is put inside.
    pub(crate) embedded: Option<&'a RegionKey>,
    /// Attribute types, each with its value; `None` for no signed attributes at all.
    pub(crate) attributes: Option<Vec<(&'static str, Any)>>,
    pub(crate) digest: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) detached: bool,
}

fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new(text).unwrap()
}

pub(crate) fn content_type(of: &str) -> (&'static str, Any) {
    (CONTENT_TYPE, Any::encode_from(&oid(of)).unwrap())
}

pub(crate) fn message_digest(content: &[u8]) -> (&'static str, Any) {
    let value = OctetString::new(digest(&SHA256, content).as_ref().to_vec()).unwrap();
    (MESSAGE_DIGEST, Any::encode_from(&value).unwrap())
}

impl RegionKey {
    pub(crate) fn new() -> Self {
        let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(2190, 1, 1);
        let certificate = params.self_signed(&pair).unwrap();
        Self {
            pem: certificate.pem(),
            key_pem: pair.serialize_pem(),
            key: RsaKeyPair::from_pkcs8(&pair.serialize_der()).unwrap(),
            certificate: Certificate::from_der(certificate.der()).unwrap(),
        }
    }

    /// The document as EC2 would give it, in base64.
    pub(crate) fn document(&self, content: &str) -> String {
        base64(&Recipe::good(self, content.as_bytes()).der())
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .unwrap();
        signature
    }
}

impl<'a> Recipe<'a> {
    pub(crate) fn good(key: &'a RegionKey, content: &'a [u8]) -> Self {
        Self {
            content,
            signers: vec![key],
            embedded: None,
            attributes: Some(vec![content_type(DATA), message_digest(content)]),
            digest: SHA_256,
            content_type: DATA,
            detached: false,
        }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let content = Any::encode_from(&self.signed_data()).unwrap();
        let content_type = oid(SIGNED_DATA);
        ContentInfo { content_type, content }.to_der().unwrap()
    }

    /// As a stream: indefinite lengths, and the document in two pieces.
    pub(crate) fn stream(&self) -> Vec<u8> {
        const OPEN_SEQUENCE: [u8; 2] = [0x30, 0x80];
        const OPEN_ZERO: [u8; 2] = [0xa0, 0x80];
        const CLOSE: [u8; 2] = [0, 0];
        let signed = self.signed_data();
        let (first, second) = self.content.split_at(self.content.len() / 2);
        let piece = |bytes: &[u8]| OctetString::new(bytes.to_vec()).unwrap().to_der().unwrap();
        [
            &OPEN_SEQUENCE[..],
            &oid(SIGNED_DATA).to_der().unwrap(),
            &OPEN_ZERO,
            &OPEN_SEQUENCE,
            &signed.version.to_der().unwrap(),
            &signed.digest_algorithms.to_der().unwrap(),
            &OPEN_SEQUENCE,
            &oid(self.content_type).to_der().unwrap(),
            &OPEN_ZERO,
            &[0x24, 0x80],
            &piece(first),
            &piece(second),
            &CLOSE,
            &CLOSE,
            &CLOSE,
            &signed.signer_infos.to_der().unwrap(),
            &CLOSE,
            &CLOSE,
            &CLOSE,
        ]
        .concat()
    }

    fn signed_data(&self) -> SignedData {
        let octets = OctetString::new(self.content.to_vec()).unwrap();
        let certificates = self.embedded.map(|key| {
            let certificate = CertificateChoices::Certificate(key.certificate.clone());
            CertificateSet(SetOfVec::try_from(vec![certificate]).unwrap())
        });
        let signers: Vec<SignerInfo> = self.signers.iter().map(|key| self.signer_info(key)).collect();
        SignedData {
            version: CmsVersion::V1,
            digest_algorithms: SetOfVec::try_from(vec![algorithm(self.digest)]).unwrap(),
            encap_content_info: EncapsulatedContentInfo {
                econtent_type: oid(self.content_type),
                econtent: (!self.detached).then(|| Any::encode_from(&octets).unwrap()),
            },
            certificates,
            crls: None,
            signer_infos: SignerInfos(SetOfVec::try_from(signers).unwrap()),
        }
    }

    fn signer_info(&self, key: &RegionKey) -> SignerInfo {
        let signed_attrs: Option<SignedAttributes> = self.attributes.as_ref().map(|attributes| {
            let attribute = |(kind, value): &(&'static str, Any)| Attribute {
                oid: oid(kind),
                values: SetOfVec::try_from(vec![value.clone()]).unwrap(),
            };
            SetOfVec::try_from(attributes.iter().map(attribute).collect::<Vec<_>>()).unwrap()
        });
        let message = match &signed_attrs {
            Some(attributes) => attributes.to_der().unwrap(),
            None => self.content.to_vec(),
        };
        let fields = key.certificate.tbs_certificate();
        SignerInfo {
            version: CmsVersion::V1,
            sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
                issuer: fields.issuer().clone(),
                serial_number: fields.serial_number().clone(),
            }),
            digest_alg: algorithm(self.digest),
            signed_attrs,
            signature_algorithm: algorithm(RSA_ENCRYPTION),
            signature: OctetString::new(key.sign(&message)).unwrap(),
            unsigned_attrs: None,
        }
    }
}

fn algorithm(name: &str) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid: oid(name),
        parameters: Some(Any::null()),
    }
}

/// In lines of 64 characters, as the metadata service has it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let packed = data_encoding::BASE64.encode(bytes);
    let lines: Vec<&str> = packed
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join("\n")
}
