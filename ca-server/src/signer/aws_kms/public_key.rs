//! From `SubjectPublicKeyInfo` in DER (RFC 5280, "Subject Public Key Info"), as KMS tells a public key, to OpenSSH's form.

use signet_core::signer::wire::{self, PublicParts};
use signet_core::subject_key::SubjectKey;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Error, Reader as _};
use x509_cert::spki::SubjectPublicKeyInfoRef;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const CURVES: [(ObjectIdentifier, &str); 3] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), "nistp256"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), "nistp384"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), "nistp521"),
];

/// `None` for a key that OpenSSH has no CA keys of, and for what is no key.
pub(super) fn read(spki: &[u8]) -> Option<SubjectKey> {
    let info = SubjectPublicKeyInfoRef::from_der(spki).ok()?;
    let key = info.subject_public_key.as_bytes()?;
    if info.algorithm.oid == RSA {
        let (modulus, exponent) = AnyRef::from_der(key)
            .ok()?
            .sequence(|reader| Ok::<_, Error>((reader.decode::<UintRef<'_>>()?, reader.decode::<UintRef<'_>>()?)))
            .ok()?;
        let parts = PublicParts::Rsa {
            modulus: modulus.as_bytes(),
            exponent: exponent.as_bytes(),
        };
        return wire::public_key(parts).ok();
    }
    if info.algorithm.oid != EC {
        return None;
    }
    let curve: ObjectIdentifier = info.algorithm.parameters?.decode_as().ok()?;
    let (_, curve) = CURVES.iter().find(|(oid, _)| *oid == curve)?;
    wire::public_key(PublicParts::Ecdsa { curve, point: key }).ok()
}
