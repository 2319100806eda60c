//! An issuer's public keys: read from PEM or a JWK set (RFC 7517) and chosen by the configured algorithm, never by what a
//! token brings along. Symmetric keys are left out, private ones refused.

mod remote;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use url::{Host, Url};

pub use remote::{FetchError, RemoteKeys};

use super::jose::parse_strict;

/// More keys than any issuer has at a time; each may be tried on a token without `kid`.
const KEYS_MAX: usize = 64;

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Public keys of one issuer.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<VerifyingKey>);

#[derive(Debug, Clone)]
struct VerifyingKey {
    name: KeyName,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Which tokens a key is tried on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyName {
    /// Of a key file: any token.
    Unnamed,
    /// Of a key set: tokens with this `kid`, or without one.
    KeyId(String),
    /// Of a key set, without `kid`: tokens without one.
    NoKeyId,
}

/// Why a text is not a set of public keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON, or not a JWK set.
    #[error("not a JWK set: {0}")]
    NotAKeySet(String),
    /// A private key where a public one belongs.
    #[error("it holds a private key; publish the public half only, and replace this key")]
    PrivateKey,
    /// Nothing in it that could verify a token.
    #[error("it holds no RSA (2048 bits or more), P-256, P-384 or Ed25519 public key for signatures")]
    NoUsableKey,
    /// More than any issuer has.
    #[error("it holds more than {KEYS_MAX} keys")]
    TooManyKeys,
    /// Not `-----BEGIN PUBLIC KEY-----`.
    #[error("it is not one PEM public key (`-----BEGIN PUBLIC KEY-----`)")]
    NotAPublicKeyPem,
}

impl KeySet {
    /// Reads a JWK set. Keys of kinds that we do not know or that are not for signatures are left out (RFC 7517, "JWK Set
    /// Format").
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn from_jwks(json: &[u8]) -> Result<Self, KeySetError> {
        let wrong = |why: &dyn std::fmt::Display| KeySetError::NotAKeySet(why.to_string());
        let document = parse_strict(json).map_err(|error| wrong(&error))?;
        let keys = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| wrong(&"it has no list `keys`"))?;
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::TooManyKeys);
        }
        if keys.iter().any(|key| key.get("d").is_some()) {
            return Err(KeySetError::PrivateKey);
        }
        let usable: Vec<VerifyingKey> = keys.iter().filter_map(read_jwk).collect();
        if usable.is_empty() {
            Err(KeySetError::NoUsableKey)
        } else {
            Ok(Self(usable))
        }
    }

    /// Adds the public key of a PEM file.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn add_pem(&mut self, pem: &[u8]) -> Result<(), KeySetError> {
        let text = std::str::from_utf8(pem).map_err(|_| KeySetError::NotAPublicKeyPem)?;
        if text.contains("PRIVATE KEY") {
            return Err(KeySetError::PrivateKey);
        }
        let begins = text.matches("-----BEGIN ").count();
        if begins != 1 || !text.contains("-----BEGIN PUBLIC KEY-----") {
            return Err(KeySetError::NotAPublicKeyPem);
        }
        let (algorithms, key) = read_pem(pem).ok_or(KeySetError::NoUsableKey)?;
        self.0.push(VerifyingKey {
            name: KeyName::Unnamed,
            algorithms,
            key,
        });
        Ok(())
    }

    /// Keys that can verify a token of `algorithm` which names `key_id`.
    pub fn candidates<'k>(
        &'k self,
        algorithm: Algorithm,
        key_id: Option<&'k str>,
    ) -> impl Iterator<Item = &'k DecodingKey> {
        let named = move |key: &VerifyingKey| match (&key.name, key_id) {
            (KeyName::Unnamed, _) | (_, None) => true,
            (KeyName::KeyId(name), Some(key_id)) => name == key_id,
            (KeyName::NoKeyId, Some(_)) => false,
        };
        self.0
            .iter()
            .filter(move |key| key.algorithms.contains(&algorithm) && named(key))
            .map(|key| &key.key)
    }
}

/// Reads one key of a set; `None` for one that cannot verify a signature that we accept.
fn read_jwk(value: &Value) -> Option<VerifyingKey> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let common = &jwk.common;
    if common
        .public_key_use
        .as_ref()
        .is_some_and(|usage| *usage != PublicKeyUse::Signature)
    {
        return None;
    }
    if common
        .key_operations
        .as_ref()
        .is_some_and(|operations| !operations.contains(&KeyOperations::Verify))
    {
        return None;
    }
    let mut algorithms = algorithms_of(&jwk.algorithm)?;
    if let Some(only) = common.key_algorithm {
        let only = Algorithm::try_from(only).ok()?;
        algorithms.retain(|algorithm| *algorithm == only);
    }
    let name = common.key_id.clone().map_or(KeyName::NoKeyId, KeyName::KeyId);
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then_some(VerifyingKey { name, algorithms, key })
}

fn algorithms_of(parameters: &AlgorithmParameters) -> Option<Vec<Algorithm>> {
    match parameters {
        AlgorithmParameters::RSA(_) => Some(RSA.to_vec()),
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Some(vec![Algorithm::ES256]),
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => Some(vec![Algorithm::ES384]),
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => Some(vec![Algorithm::EdDSA]),
        // SECURITY: a symmetric key (`oct`) in a public set is known to everybody.
        _ => None,
    }
}

fn read_pem(pem: &[u8]) -> Option<(Vec<Algorithm>, DecodingKey)> {
    if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        return Some((RSA.to_vec(), key));
    }
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        const P256_POINT_BYTES: usize = 65;
        const P384_POINT_BYTES: usize = 97;
        let algorithm = match key.try_get_as_bytes().ok()?.len() {
            P256_POINT_BYTES => Algorithm::ES256,
            P384_POINT_BYTES => Algorithm::ES384,
            _ => return None,
        };
        return Some((vec![algorithm], key));
    }
    DecodingKey::from_ed_pem(pem)
        .ok()
        .map(|key| (vec![Algorithm::EdDSA], key))
}

/// Whether a key set may be fetched from `url`: https, or http on loopback; never a link-local address (where clouds keep
/// their instances' secrets) and never with a user name.
#[must_use]
pub fn is_acceptable_url(url: &Url) -> bool {
    let Some(host) = url.host() else { return false };
    let encrypted_or_loopback = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&host));
    let anonymous = url.username().is_empty() && url.password().is_none();
    encrypted_or_loopback && anonymous && !is_link_local(&host)
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn is_link_local(host: &Host<&str>) -> bool {
    let v4 = |address: &Ipv4Addr| address.is_link_local();
    let v6 = |address: &Ipv6Addr| address.is_unicast_link_local() || address.to_ipv4_mapped().is_some_and(|a| v4(&a));
    match host {
        Host::Domain(_) => false,
        Host::Ipv4(address) => v4(address),
        Host::Ipv6(address) => v6(address),
    }
}
