//! What somebody wants revoked, read from a request's fields. Every field that is given narrows: all must fit.

use std::collections::{BTreeMap, BTreeSet};

use signet_core::key_id::KeyId;
use signet_core::subject_key::{SubjectKey, SubjectKeyError};
use signet_core::time::UnixTime;
use signet_core::vault_value::{FieldError, Fields};

use super::list::fingerprint;

/// Longest person, role or reason, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// What is to be revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Serials; empty for any.
    pub serials: BTreeSet<u64>,
    /// The key ID, exactly.
    pub key_id: Option<String>,
    /// The subject key.
    pub public_key: Option<SubjectKey>,
    /// SHA-256 of the subject key.
    pub fingerprint: Option<[u8; 32]>,
    /// The person, exactly.
    pub person: Option<String>,
    /// The role, exactly.
    pub role: Option<String>,
    /// A CA key of the mount with all it signed: its fingerprint or its line. Stands alone.
    pub issuer: Option<String>,
    /// Issued from this time on.
    pub issued_since: Option<UnixTime>,
    /// Issued before this time.
    pub issued_until: Option<UnixTime>,
}

/// Why a request says nothing that can be revoked.
#[derive(Debug, thiserror::Error)]
pub enum SelectorError {
    /// No field that selects.
    #[error("nothing is selected: give serial, key_id, public_key, fingerprint, person, role, issuer or a time")]
    Empty,
    /// Not a serial.
    #[error("`{0}` is not a serial: write it in decimal as sshd logs it, or in hexadecimal with 0x in front")]
    Serial(String),
    /// Serial 0.
    #[error("serial 0 cannot be revoked: OpenSSH does not look for it; use key_id or public_key")]
    SerialZero,
    /// Not a key ID.
    #[error("`{0}` is not a key ID")]
    KeyId(String),
    /// Not a public key.
    #[error("public_key is not a public key")]
    PublicKey(#[source] SubjectKeyError),
    /// Not a fingerprint.
    #[error("`{0}` is not a fingerprint such as SHA256:…")]
    Fingerprint(String),
    /// Both a key and a fingerprint.
    #[error("public_key and fingerprint say the same thing: give one of them")]
    TwoKeys,
    /// Not a time.
    #[error("{field} `{text}` is not a time such as 2026-11-22T03:00:00Z")]
    Time {
        /// Which field.
        field: &'static str,
        /// What it holds.
        text: String,
    },
    /// The times are in the wrong order.
    #[error("issued_since is not before issued_until, so nothing could ever fit")]
    NoTime,
    /// An issuer and something else.
    #[error("issuer revokes a whole CA key, so it stands alone")]
    IssuerNotAlone,
    /// A text is too long, or no text.
    #[error("{0} has more than {TEXT_CHARS_MAX} characters or holds control characters")]
    Text(&'static str),
    /// Not even a field.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Selector {
    /// Reads the fields of `POST revoke`.
    ///
    /// # Errors
    /// [`SelectorError`]; the first thing that is wrong.
    pub fn from_fields(fields: &Fields) -> Result<Self, SelectorError> {
        let given =
            |field| -> Result<Option<String>, FieldError> { Ok(fields.string(field)?.filter(|text| !text.is_empty())) };
        let serials = fields.comma_list("serial")?.unwrap_or_default();
        let public_key = given("public_key")?.map(|line| SubjectKey::parse(&line));
        let sha256 = given("fingerprint")?;
        let selector = Self {
            serials: serials.iter().map(|text| serial(text)).collect::<Result<_, _>>()?,
            key_id: given("key_id")?
                .map(|text| {
                    KeyId::parse(&text)
                        .map(|_| text.clone())
                        .map_err(|_| SelectorError::KeyId(brief(&text)))
                })
                .transpose()?,
            public_key: public_key.transpose().map_err(SelectorError::PublicKey)?,
            fingerprint: sha256
                .map(|text| fingerprint(&text).ok_or_else(|| SelectorError::Fingerprint(brief(&text))))
                .transpose()?,
            person: plain("person", given("person")?)?,
            role: plain("role", given("role")?)?,
            issuer: given("issuer")?,
            issued_since: time("issued_since", given("issued_since")?)?,
            issued_until: time("issued_until", given("issued_until")?)?,
        };
        selector.check()?;
        Ok(selector)
    }

    fn check(&self) -> Result<(), SelectorError> {
        if *self == Self::default() {
            return Err(SelectorError::Empty);
        }
        if self.public_key.is_some() && self.fingerprint.is_some() {
            return Err(SelectorError::TwoKeys);
        }
        if let (Some(since), Some(until)) = (self.issued_since, self.issued_until)
            && since >= until
        {
            return Err(SelectorError::NoTime);
        }
        let alone = Self {
            issuer: self.issuer.clone(),
            ..Self::default()
        };
        if self.issuer.is_some() && *self != alone {
            return Err(SelectorError::IssuerNotAlone);
        }
        Ok(())
    }

    /// The selection in words, field by field, for the record and for lists.
    #[must_use]
    pub fn words(&self) -> BTreeMap<String, String> {
        /// Serials that are written out; the entry itself holds them all.
        const SERIALS_MAX: usize = 100;
        let serials: Vec<String> = self.serials.iter().take(SERIALS_MAX).map(u64::to_string).collect();
        let more = self.serials.len().saturating_sub(serials.len());
        let serials = (!serials.is_empty()).then(|| match more {
            0 => serials.join(","),
            more => format!("{} and {more} more", serials.join(",")),
        });
        [
            ("serial", serials),
            ("key_id", self.key_id.clone()),
            ("public_key", self.public_key.as_ref().map(SubjectKey::fingerprint)),
            ("fingerprint", self.fingerprint_text()),
            ("person", self.person.clone()),
            ("role", self.role.clone()),
            ("issuer", self.issuer.as_deref().map(named)),
            ("issued_since", self.issued_since.map(|time| time.to_string())),
            ("issued_until", self.issued_until.map(|time| time.to_string())),
        ]
        .into_iter()
        .filter_map(|(field, text)| Some((field.to_owned(), text?)))
        .collect()
    }

    /// The subject key's fingerprint in OpenSSH's words, however the key was given.
    #[must_use]
    pub fn subject_fingerprint(&self) -> Option<String> {
        self.public_key
            .as_ref()
            .map(SubjectKey::fingerprint)
            .or_else(|| self.fingerprint_text())
    }

    fn fingerprint_text(&self) -> Option<String> {
        use base64::Engine as _;
        let hash = self.fingerprint?;
        let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash);
        Some(format!("SHA256:{base64}"))
    }
}

/// Decimal as sshd logs it. Vault's hexadecimal is told by its `0x`: without that `10` would be two numbers.
fn serial(text: &str) -> Result<u64, SelectorError> {
    let wrong = || SelectorError::Serial(brief(text));
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
    // from_str_radix takes a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    match u64::from_str_radix(digits, radix) {
        Ok(0) => Err(SelectorError::SerialZero),
        Ok(serial) => Ok(serial),
        Err(_) => Err(wrong()),
    }
}

/// RFC 3339, or seconds since 1970.
fn time(field: &'static str, text: Option<String>) -> Result<Option<UnixTime>, SelectorError> {
    let read = |text: String| {
        let secs = text.parse().map(UnixTime::from_secs);
        secs.or_else(|_| UnixTime::parse_rfc3339(&text))
            .map_err(|_| SelectorError::Time {
                field,
                text: brief(&text),
            })
    };
    text.map(read).transpose()
}

pub(crate) fn plain(field: &'static str, text: Option<String>) -> Result<Option<String>, SelectorError> {
    match text {
        Some(text) if text.chars().count() > TEXT_CHARS_MAX || text.chars().any(char::is_control) => {
            Err(SelectorError::Text(field))
        }
        other => Ok(other),
    }
}

/// A CA key by its fingerprint, however it was given: the record must be enough to revoke it again.
fn named(issuer: &str) -> String {
    SubjectKey::parse(issuer).map_or_else(|_| brief(issuer), |key| key.fingerprint())
}

fn brief(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Selector, String> {
        let fields = Fields::from_json(json.as_bytes()).unwrap();
        Selector::from_fields(&fields).map_err(|error| error.to_string())
    }

    #[test]
    fn serials_are_decimal_unless_they_say_otherwise() {
        for (json, want) in [
            (r#"{"serial":"281474976710657"}"#, &[281_474_976_710_657][..]),
            (r#"{"serial":281474976710657}"#, &[281_474_976_710_657]),
            (r#"{"serial":"0x1000000000001"}"#, &[281_474_976_710_657]),
            (r#"{"serial":"7, 9,7"}"#, &[7, 9]),
            (r#"{"serial":["7","18446744073709551615"]}"#, &[7, u64::MAX]),
        ] {
            let serials: Vec<u64> = read(json).unwrap().serials.into_iter().collect();
            assert_eq!(serials, want, "{json}");
        }
    }

    #[test]
    fn what_selects_nothing_or_something_else_is_refused() {
        for (json, part) in [
            ("{}", "nothing is selected"),
            (r#"{"person":""}"#, "nothing is selected"),
            (r#"{"serial":[]}"#, "nothing is selected"),
            (r#"{"serial":"0"}"#, "serial 0"),
            (r#"{"serial":"0x0"}"#, "serial 0"),
            (r#"{"serial":"1000000000001a"}"#, "0x in front"),
            (r#"{"serial":"+7"}"#, "not a serial"),
            (r#"{"serial":"-7"}"#, "not a serial"),
            (r#"{"serial":"7-9"}"#, "not a serial"),
            (r#"{"serial":"*"}"#, "not a serial"),
            (r#"{"serial":"18446744073709551616"}"#, "not a serial"),
            (r#"{"serial":7.5}"#, ""),
            (r#"{"serial":{"a":1}}"#, ""),
            (r#"{"key_id":"a\nb"}"#, "not a key ID"),
            (r#"{"key_id":"*"}"#, "not a key ID"),
            (r#"{"public_key":"ssh-ed25519 AAAA"}"#, "not a public key"),
            (r#"{"fingerprint":"SHA256:short"}"#, "not a fingerprint"),
            (r#"{"fingerprint":"MD5:00"}"#, "not a fingerprint"),
            (r#"{"person":"a\u0000b"}"#, "control characters"),
            (r#"{"person":["a","b"]}"#, ""),
            (r#"{"issued_since":"yesterday"}"#, "is not a time"),
            (r#"{"issued_since":"20","issued_until":"20"}"#, "nothing could ever fit"),
            (r#"{"issuer":"SHA256:x","person":"alice"}"#, "stands alone"),
        ] {
            let told = read(json).expect_err(json);
            assert!(told.contains(part), "{json}: {told}");
        }
    }

    #[test]
    fn a_ca_key_of_any_length_is_recorded_so_that_it_can_be_revoked_again() {
        use signet_core::signer::{CaKeyType, Signer as _, SoftwareSigner};
        let ca = SoftwareSigner::generate(CaKeyType::EcdsaP256).unwrap();
        let selector = Selector {
            issuer: Some(ca.public_line()),
            ..Selector::default()
        };
        assert!(ca.public_line().len() > 80);
        assert_eq!(selector.words()["issuer"], ca.public_key().fingerprint());
    }

    #[test]
    fn the_words_are_those_of_the_fields() {
        let words = read(r#"{"person":"alice","role":"web","issued_since":"2026-11-22T03:00:00Z"}"#)
            .unwrap()
            .words();
        let words: Vec<(&str, &str)> = words.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            words,
            [
                ("issued_since", "2026-11-22T03:00:00Z"),
                ("person", "alice"),
                ("role", "web")
            ]
        );
    }
}
