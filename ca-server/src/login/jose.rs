//! The outside of a JSON web token (RFC 7515, compact serialisation): taken apart strictly, verified under a key that the
//! configuration chose, and only then read. The signature arithmetic is jsonwebtoken's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Longest token that is looked at.
pub const JWT_BYTES_MAX: usize = 16 * 1024;

/// Header parameters that bring a key along, make the header mean something else, or unpack data (RFC 7515, RFC 7516,
/// RFC 7797). None of them is ever followed: a token that has one is refused.
const HEADER_FORBIDDEN: [&str; 13] = [
    "jwk", "jku", "x5u", "x5c", "b64", "crit", "zip", "enc", "epk", "p2c", "p2s", "apu", "apv",
];

/// A token's three parts, none of them to be believed yet.
#[derive(Debug)]
pub struct UnverifiedJwt<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
    algorithm: String,
    key_id: Option<String>,
}

/// The claims of a token whose signature was verified; whether they are any good is for the claims checker. Only
/// [`UnverifiedJwt::verify`] makes it.
#[derive(Debug, Clone)]
pub struct VerifiedClaims(Map<String, Value>);

/// Why a text is not a token that we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoseError {
    /// More than [`JWT_BYTES_MAX`].
    #[error("the token is longer than {JWT_BYTES_MAX} bytes")]
    TooLong,
    /// Not three parts between two dots: JSON serialisation, encrypted, detached, …
    #[error("the token is not a compact, signed JSON web token")]
    NotCompact,
    /// A part is not base64url without padding.
    #[error("the token's {0} is not base64url")]
    NotBase64(&'static str),
    /// A part is not one JSON object, or says something twice.
    #[error("the token's {part} is not a JSON object: {why}")]
    NotAnObject {
        /// Which part.
        part: &'static str,
        /// What the parser says.
        why: String,
    },
    /// A header parameter that could redirect the verification.
    #[error("the token's header has the parameter `{0}`, which is not accepted")]
    HeaderForbidden(String),
    /// `alg` is missing or no text.
    #[error("the token's header has no `alg`")]
    NoAlgorithm,
    /// `kid` is there and no text.
    #[error("the token's `kid` is not a text")]
    KeyIdNotText,
    /// The arithmetic says no.
    #[error("the token's signature does not match")]
    Mismatch,
}

impl<'a> UnverifiedJwt<'a> {
    /// Takes a token apart and checks its header.
    ///
    /// # Errors
    /// [`JoseError`]
    pub fn parse(jwt: &'a str) -> Result<Self, JoseError> {
        if jwt.len() > JWT_BYTES_MAX {
            return Err(JoseError::TooLong);
        }
        let mut parts = jwt.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JoseError::NotCompact);
        };
        if [header, payload, signature].iter().any(|part| part.is_empty()) {
            return Err(JoseError::NotCompact);
        }
        let signed = jwt
            .get(..header.len() + 1 + payload.len())
            .ok_or(JoseError::NotCompact)?;
        let (algorithm, key_id) = read_header(&json_part("header", header)?)?;
        Ok(Self {
            signed,
            payload,
            signature,
            algorithm,
            key_id,
        })
    }

    /// What the token says it was signed with. A wish, to be compared with what the configuration allows.
    #[must_use]
    pub fn unverified_algorithm(&self) -> &str {
        &self.algorithm
    }

    /// Which key the token says it was signed with.
    #[must_use]
    pub fn unverified_key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Verifies the signature under the first of `keys` that fits, and reads the claims.
    ///
    /// # Errors
    /// [`JoseError::Mismatch`], and those of the payload.
    ///
    /// # Security
    /// `algorithm` and `keys` are the caller's choice, from configuration; the token has no part in it.
    pub fn verify<'k>(
        &self,
        algorithm: Algorithm,
        keys: impl IntoIterator<Item = &'k DecodingKey>,
    ) -> Result<VerifiedClaims, JoseError> {
        if URL_SAFE_NO_PAD.decode(self.signature).is_err() {
            return Err(JoseError::NotBase64("signature"));
        }
        let verifies = |key: &DecodingKey| {
            jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, algorithm).unwrap_or(false)
        };
        if !keys.into_iter().any(verifies) {
            return Err(JoseError::Mismatch);
        }
        json_part("payload", self.payload).map(VerifiedClaims)
    }
}

impl VerifiedClaims {
    /// The claim `name`; a name that begins with `/` is a path into nested objects (RFC 6901, JSON Pointer).
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        let Some(path) = name.strip_prefix('/') else {
            return self.0.get(name);
        };
        let mut steps = path.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
        let first = self.0.get(&steps.next()?)?;
        steps.try_fold(first, |value, step| value.as_object()?.get(&step))
    }

    /// Claims for tests of the checker, as if they had been signed.
    #[cfg(test)]
    pub(crate) fn for_tests(json: &str) -> Result<Self, JoseError> {
        parse_object("payload", json.as_bytes()).map(Self)
    }
}

fn read_header(header: &Map<String, Value>) -> Result<(String, Option<String>), JoseError> {
    if let Some(name) = HEADER_FORBIDDEN.into_iter().find(|name| header.contains_key(*name)) {
        return Err(JoseError::HeaderForbidden(name.to_owned()));
    }
    let algorithm = header
        .get("alg")
        .and_then(Value::as_str)
        .ok_or(JoseError::NoAlgorithm)?;
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(key_id)) => Some(key_id.clone()),
        Some(_) => return Err(JoseError::KeyIdNotText),
    };
    Ok((algorithm.to_owned(), key_id))
}

fn json_part(part: &'static str, text: &str) -> Result<Map<String, Value>, JoseError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| JoseError::NotBase64(part))?;
    parse_object(part, &bytes)
}

fn parse_object(part: &'static str, bytes: &[u8]) -> Result<Map<String, Value>, JoseError> {
    match parse_strict(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(JoseError::NotAnObject {
            part,
            why: "it is another JSON value".to_owned(),
        }),
        Err(error) => Err(JoseError::NotAnObject {
            part,
            why: error.to_string(),
        }),
    }
}

/// Reads JSON and refuses what two readers could understand differently: a key given twice, numbers out of range, text
/// after the end.
///
/// # Errors
/// What `serde_json` says, with line and column.
pub(crate) fn parse_strict(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = StrictValue.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Builds a [`Value`] in which no key was given twice, at any depth.
#[derive(Clone, Copy)]
struct StrictValue;

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(serde::de::Error::custom(format_args!("the key {key:?} is given twice")));
            }
            let value = entries.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
