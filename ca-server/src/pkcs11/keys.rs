//! Keys on a token: finding exactly one by its label, reading its public half, making one that never leaves.

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use signet_core::signer::wire::{PublicParts, public_key};
use signet_core::signer::{CaKeyType, RsaBits};
use signet_core::subject_key::SubjectKey;

use super::{Seat, TokenError};
use crate::random;

/// What a key's attributes say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFacts {
    /// It cannot be read out.
    pub sensitive: bool,
    /// It can be wrapped out.
    pub extractable: bool,
    /// It wants the PIN before each use.
    pub always_authenticate: bool,
}

/// A private key that was found.
#[derive(Debug, Clone)]
pub struct PrivateKey {
    /// Valid as long as the session.
    pub handle: ObjectHandle,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// Its public half.
    pub public: SubjectKey,
    /// What its attributes say.
    pub facts: KeyFacts,
}

/// A secret key that was found.
#[derive(Debug, Clone)]
pub struct SecretKey {
    /// Valid as long as the session.
    pub handle: ObjectHandle,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// What its attributes say.
    pub facts: KeyFacts,
}

/// The private key of this label; `None` if there is none.
///
/// # Errors
/// [`TokenError::Setup`] when several have it or it is of no use here.
pub fn find_private(seat: &Seat, label: &str) -> Result<Option<PrivateKey>, TokenError> {
    let Some(handle) = one(seat, ObjectClass::PRIVATE_KEY, label)? else {
        return Ok(None);
    };
    let (id, facts) = describe(seat, handle)?;
    let public = public_half(seat, handle, &id, label)?;
    Ok(Some(PrivateKey {
        handle,
        id,
        public,
        facts,
    }))
}

/// The secret key of this label; `None` if there is none.
///
/// # Errors
/// [`TokenError::Setup`] when several have it.
pub fn find_secret(seat: &Seat, label: &str) -> Result<Option<SecretKey>, TokenError> {
    let Some(handle) = one(seat, ObjectClass::SECRET_KEY, label)? else {
        return Ok(None);
    };
    let (id, facts) = describe(seat, handle)?;
    Ok(Some(SecretKey { handle, id, facts }))
}

/// Makes an AES-256 key that never leaves the token.
///
/// # Errors
/// The token's.
pub fn create_secret_key(seat: &Seat, label: &str) -> Result<(), TokenError> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    template.extend(stays(label, &new_id()?));
    seat.with_write(|session| session.generate_key(&Mechanism::AesKeyGen, &template))?;
    Ok(())
}

/// What a new key pair is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Signing.
    Sign,
    /// Wrapping.
    Decrypt,
}

/// Makes a key pair whose private half never leaves the token.
///
/// # Errors
/// The token's.
pub fn create_key_pair(seat: &Seat, label: &str, kind: CaKeyType, purpose: Purpose) -> Result<(), TokenError> {
    let id = new_id()?;
    let mut public = vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(id.clone()),
    ];
    let mut private = stays(label, &id);
    match purpose {
        Purpose::Sign => {
            public.push(Attribute::Verify(true));
            private.push(Attribute::Sign(true));
        }
        Purpose::Decrypt => {
            public.push(Attribute::Encrypt(true));
            private.push(Attribute::Decrypt(true));
        }
    }
    let mechanism = match kind {
        CaKeyType::Rsa(bits) => {
            public.push(Attribute::ModulusBits(bits_of(bits).into()));
            public.push(Attribute::PublicExponent(vec![1, 0, 1]));
            Mechanism::RsaPkcsKeyPairGen
        }
        CaKeyType::Ed25519 => return create_ed25519(seat, &public, &private),
        CaKeyType::EcdsaP256 => ec(&mut public, P256),
        CaKeyType::EcdsaP384 => ec(&mut public, P384),
        CaKeyType::EcdsaP521 => ec(&mut public, P521),
    };
    seat.with_write(|session| session.generate_key_pair(&mechanism, &public, &private))?;
    Ok(())
}

/// Tokens differ in how they want the curve named.
fn create_ed25519(seat: &Seat, public: &[Attribute], private: &[Attribute]) -> Result<(), TokenError> {
    let create = |curve: &[u8]| {
        let mut public = public.to_vec();
        public.push(Attribute::EcParams(curve.to_vec()));
        let mechanism = Mechanism::EccEdwardsKeyPairGen;
        let made = seat.with_write(|session| session.generate_key_pair(&mechanism, &public, private));
        made.map(|_| ()).map_err(TokenError::from)
    };
    match create(EDWARDS25519_NAME) {
        Err(TokenError::Failed(_)) => create(ED25519_OID),
        other => other,
    }
}

fn ec(public: &mut Vec<Attribute>, curve: &[u8]) -> Mechanism<'static> {
    public.push(Attribute::EcParams(curve.to_vec()));
    Mechanism::EccKeyPairGen
}

const fn bits_of(bits: RsaBits) -> u64 {
    match bits {
        RsaBits::B2048 => 2048,
        RsaBits::B3072 => 3072,
        RsaBits::B4096 => 4096,
        RsaBits::B8192 => 8192,
    }
}

/// Object identifiers in DER (SEC 2, "Recommended Elliptic Curve Domain Parameters", and RFC 8410).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];
const ED25519_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// `PrintableString "edwards25519"`, as PKCS#11 3.0 has it beside the object identifier.
const EDWARDS25519_NAME: &[u8] = b"\x13\x0cedwards25519";

/// What makes a key one that stays.
fn stays(label: &str, id: &[u8]) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
    ]
}

fn new_id() -> Result<Vec<u8>, TokenError> {
    let mut id = vec![0; 16];
    random::fill(&mut id).map_err(|error| TokenError::Away(error.to_string()))?;
    Ok(id)
}

fn one(seat: &Seat, class: ObjectClass, label: &str) -> Result<Option<ObjectHandle>, TokenError> {
    let template = [Attribute::Class(class), Attribute::Label(label.as_bytes().to_vec())];
    let found = seat.with(|session| session.find_objects(&template))?;
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        several => Err(TokenError::Setup(format!(
            "{} keys on the token have the label `{label}`; it must be one",
            several.len()
        ))),
    }
}

fn describe(seat: &Seat, handle: ObjectHandle) -> Result<(Vec<u8>, KeyFacts), TokenError> {
    let wanted = [
        AttributeType::Id,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::AlwaysAuthenticate,
    ];
    let mut id = Vec::new();
    let mut facts = KeyFacts {
        sensitive: false,
        extractable: true,
        always_authenticate: false,
    };
    for attribute in seat.with(|session| session.get_attributes(handle, &wanted))? {
        match attribute {
            Attribute::Id(bytes) => id = bytes,
            Attribute::Sensitive(yes) => facts.sensitive = yes,
            Attribute::Extractable(yes) => facts.extractable = yes,
            Attribute::AlwaysAuthenticate(yes) => facts.always_authenticate = yes,
            _ => {}
        }
    }
    Ok((id, facts))
}

/// What the public object, or the private one itself, tells of the public half.
#[derive(Default)]
struct Told {
    kind: Option<KeyType>,
    parameters: Vec<u8>,
    point: Vec<u8>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

fn public_half(seat: &Seat, private: ObjectHandle, id: &[u8], label: &str) -> Result<SubjectKey, TokenError> {
    let mut told = tell(seat, private)?;
    if told.point.is_empty() && told.exponent.is_empty() {
        let public = public_object(seat, id, label)?.ok_or_else(|| {
            TokenError::Setup(format!(
                "the key `{label}` has no public half on the token; import it there"
            ))
        })?;
        told = tell(seat, public)?;
    }
    let unusable = |what: &str| TokenError::Setup(format!("the key `{label}` {what}"));
    let kind = told.kind.ok_or_else(|| unusable("does not tell its type"))?;
    let parts = if kind == KeyType::RSA {
        PublicParts::Rsa {
            modulus: &told.modulus,
            exponent: &told.exponent,
        }
    } else if kind == KeyType::EC || kind == KeyType::EC_EDWARDS {
        curve_point(&told).ok_or_else(|| unusable("is on a curve that OpenSSH does not know"))?
    } else {
        return Err(unusable("is of a type that signs no certificates"));
    };
    public_key(parts)
        .map_err(|_| unusable("has a public half that OpenSSH does not take (RSA needs 2048 to 8192 bits)"))
}

fn curve_point(told: &Told) -> Option<PublicParts<'_>> {
    let nist = |curve, length| unwrapped(&told.point, length).map(|point| PublicParts::Ecdsa { curve, point });
    match told.parameters.as_slice() {
        P256 => nist("nistp256", 65),
        P384 => nist("nistp384", 97),
        P521 => nist("nistp521", 133),
        ED25519_OID | EDWARDS25519_NAME => unwrapped(&told.point, 32).map(PublicParts::Ed25519),
        _ => None,
    }
}

/// A point is told inside a DER OCTET STRING (PKCS#11, "Elliptic curve key objects"); some tokens leave that out.
fn unwrapped(told: &[u8], length: usize) -> Option<&[u8]> {
    if told.len() == length {
        return Some(told);
    }
    let short = [0x04, u8::try_from(length).ok()?];
    let long = [0x04, 0x81, u8::try_from(length).ok()?];
    let inner = if length < 0x80 {
        told.strip_prefix(&short)
    } else {
        told.strip_prefix(&long)
    };
    inner.filter(|point| point.len() == length)
}

fn public_object(seat: &Seat, id: &[u8], label: &str) -> Result<Option<ObjectHandle>, TokenError> {
    let class = Attribute::Class(ObjectClass::PUBLIC_KEY);
    let by_label = [class.clone(), Attribute::Label(label.as_bytes().to_vec())];
    let by_id = [class, Attribute::Id(id.to_vec())];
    // The id is what ties the halves together; labels are what people typed.
    if !id.is_empty()
        && let [only] = seat.with(|session| session.find_objects(&by_id))?.as_slice()
    {
        return Ok(Some(*only));
    }
    match seat.with(|session| session.find_objects(&by_label))?.as_slice() {
        [only] => Ok(Some(*only)),
        _ => Ok(None),
    }
}

fn tell(seat: &Seat, handle: ObjectHandle) -> Result<Told, TokenError> {
    let mut told = Told::default();
    let kinds = [AttributeType::KeyType];
    for attribute in seat.with(|session| session.get_attributes(handle, &kinds))? {
        if let Attribute::KeyType(kind) = attribute {
            told.kind = Some(kind);
        }
    }
    let wanted: &[AttributeType] = if told.kind == Some(KeyType::RSA) {
        &[AttributeType::Modulus, AttributeType::PublicExponent]
    } else {
        &[AttributeType::EcParams, AttributeType::EcPoint]
    };
    let read = |session: &cryptoki::session::Session| session.get_attributes(handle, wanted);
    let attributes = match seat.with(read) {
        // Private EC keys need not have their point.
        Err(Error::Pkcs11(cryptoki::error::RvError::AttributeTypeInvalid, _)) => Vec::new(),
        other => other?,
    };
    for attribute in attributes {
        match attribute {
            Attribute::Modulus(bytes) => told.modulus = bytes,
            Attribute::PublicExponent(bytes) => told.exponent = bytes,
            Attribute::EcParams(bytes) => told.parameters = bytes,
            Attribute::EcPoint(bytes) => told.point = bytes,
            _ => {}
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_taken_out_of_its_octet_string_or_taken_as_it_is() {
        for length in [32, 65, 97, 133] {
            let mut point = vec![4];
            // The raw point of which some bytes look like a header of their own.
            point.extend(vec![u8::try_from(length - 2).unwrap(); length - 1]);
            assert_eq!(unwrapped(&point, length), Some(point.as_slice()));
            let mut wrapped = if length < 0x80 { vec![4] } else { vec![4, 0x81] };
            wrapped.push(u8::try_from(length).unwrap());
            wrapped.extend(&point);
            assert_eq!(unwrapped(&wrapped, length), Some(point.as_slice()));
            wrapped.push(0);
            assert_eq!(unwrapped(&wrapped, length), None, "a tail");
        }
    }
}
