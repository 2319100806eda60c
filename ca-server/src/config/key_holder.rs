//! `[[key_holder]]`: tokens and AWS accounts in which a request may name a CA key. What leads there is written here alone:
//! a module's path in a request would be code, a PIN or an endpoint in it would be somebody else's.

use std::path::Path;

use signet_core::signer::CaKeyType;
use signet_core::toml_reader::TableReader;

use super::aws::is_key_id;
use super::{AwsCaKey, CaKeyConfig, Pkcs11Config, Pkcs11Token, SealConfig, SealSettings, region_of_arn};

/// What holds CA keys that requests may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// What requests call it.
    pub name: String,
    /// The mounts that may have keys there.
    pub mounts: Vec<String>,
    /// The way there.
    pub way: KeyHolderWay,
}

/// The way to what holds keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyHolderWay {
    /// A PKCS#11 token.
    Pkcs11 {
        /// The token.
        token: Pkcs11Token,
        /// Whether keys may be made there.
        create: bool,
    },
    /// AWS KMS; no key is named yet.
    AwsKms(AwsCaKey),
}

/// A key as a request names it.
#[derive(Debug, Clone, Default)]
pub struct KeyWish {
    /// On a token: its label.
    pub key_label: String,
    /// In KMS: its id, ARN or alias.
    pub key_id: String,
    /// On a token: whether it may be made; `None` as the holder says.
    pub create: Option<bool>,
    /// Whether its type is said too, which in KMS nobody chooses here.
    pub is_typed: bool,
}

/// Why a holder does not have a key as it is named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyWishError {
    /// It belongs to other mounts.
    #[error("key holder `{0}` is not for this mount")]
    Mount(String),
    /// A field is missing, or belongs to the other kind.
    #[error("keys in `{holder}` are named by `{wanted}`, and by nothing else")]
    Field {
        /// The holder.
        holder: String,
        /// What names a key there.
        wanted: &'static str,
    },
    /// Keys are not made there.
    #[error("`{0}` makes no keys: name one that is there")]
    NoCreate(String),
    /// No name of a key.
    #[error("`{0}` is no key's id or ARN, nor `alias/NAME` or its ARN, of the region that is configured")]
    KeyId(String),
    /// The key that wraps the root key.
    #[error("`{0}` is the seal's key, and no CA key")]
    SealKey(String),
}

impl KeyHolder {
    pub(super) fn read_all(top: &TableReader<'_>, base: &Path) -> Vec<Self> {
        let mut holders: Vec<Self> = Vec::new();
        for section in top.tables("key_holder") {
            let holder = Self::read(&section, base);
            if holders.iter().any(|other| other.name == holder.name) {
                section.wrong("name", format!("two key holders are called `{}`", holder.name));
            }
            holders.push(holder);
        }
        holders
    }

    fn read(section: &TableReader<'_>, base: &Path) -> Self {
        let name = section.required("name").unwrap_or_default();
        if section.has("name") && !signet_core::role::is_role_name(&name) {
            section.wrong(
                "name",
                format!("`{name}` cannot be a key holder's name: use letters, digits, `_` and `-`"),
            );
        }
        let mounts: Vec<String> = section
            .strings("mounts")
            .into_iter()
            .map(|(path, _)| path.trim_matches('/').to_owned())
            .collect();
        if mounts.is_empty() {
            section.wrong_here("`mounts` is missing: which mounts may have keys there?");
        }
        let way = if section.word("type", &[("pkcs11", false), ("awskms", true)]) == Some(true) {
            KeyHolderWay::AwsKms(AwsCaKey::read_way(section))
        } else {
            KeyHolderWay::Pkcs11 {
                token: Pkcs11Token::read(section, base),
                create: section.bool("create").unwrap_or(false),
            }
        };
        Self { name, mounts, way }
    }

    /// The key that a request of a mount means.
    ///
    /// # Errors
    /// [`KeyWishError`].
    pub fn key(
        &self,
        mount: &str,
        wish: KeyWish,
        key_type: CaKeyType,
        seal: &SealConfig,
    ) -> Result<CaKeyConfig, KeyWishError> {
        if !self.mounts.iter().any(|of| of == mount) {
            return Err(KeyWishError::Mount(self.name.clone()));
        }
        let by = |wanted| KeyWishError::Field {
            holder: self.name.clone(),
            wanted,
        };
        match &self.way {
            KeyHolderWay::Pkcs11 { .. } if wish.key_label.is_empty() || !wish.key_id.is_empty() => Err(by("key_label")),
            KeyHolderWay::Pkcs11 { create: false, .. } if wish.create == Some(true) => {
                Err(KeyWishError::NoCreate(self.name.clone()))
            }
            KeyHolderWay::Pkcs11 { token, create } => {
                // SECURITY: whoever may rotate a CA key must not have the root key's guardian sign for people.
                if seals(seal).any(|(of, label)| of.token == token.token && *label == wish.key_label) {
                    return Err(KeyWishError::SealKey(wish.key_label));
                }
                Ok(CaKeyConfig::Pkcs11 {
                    key: Pkcs11Config {
                        token: token.clone(),
                        key_label: wish.key_label,
                        create: wish.create.unwrap_or(*create),
                    },
                    key_type,
                })
            }
            KeyHolderWay::AwsKms(_) if wish.key_id.is_empty() || !wish.key_label.is_empty() || wish.is_typed => {
                Err(by("key_id"))
            }
            KeyHolderWay::AwsKms(_) if wish.create == Some(true) => Err(KeyWishError::NoCreate(self.name.clone())),
            KeyHolderWay::AwsKms(way) => {
                let region = region_of_arn(&wish.key_id);
                let is_elsewhere = region.is_some_and(|of| way.key.region.as_deref().is_some_and(|here| here != of));
                if !is_key_id(&wish.key_id) || is_elsewhere {
                    return Err(KeyWishError::KeyId(wish.key_id.chars().take(200).collect()));
                }
                let mut key = way.clone();
                key.key.key_id = wish.key_id;
                Ok(CaKeyConfig::AwsKms(key))
            }
        }
    }
}

fn seals(seal: &SealConfig) -> impl Iterator<Item = (&Pkcs11Token, &String)> {
    let both = [Some(&seal.current), seal.previous.as_ref()].into_iter().flatten();
    both.filter_map(|settings| {
        if let SealSettings::Pkcs11(seal) = settings {
            Some((&seal.key.token, &seal.key.key_label))
        } else {
            None
        }
    })
}
