//! The trust bundle: everything that a host believes, in one text that can lie on any file server. It is signed by the bundle
//! key, which is not the CA key: who can make bundles cannot sign certificates, and the other way round.
//!
//! Three parts: the line `signet-trust-bundle-v1`, one line of JSON, and an SSH signature over both lines
//! (`PROTOCOL.sshsig`, namespace `trust-bundle.signet`), which `ssh-keygen -Y verify` checks too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::host_policy::HostRule;
use crate::krl::{Krl, KrlError};
use crate::sshsig::{SshSigError, SshSignature, VerifyError};
use crate::subject_key::{SubjectKey, SubjectKeyError};
use crate::time::UnixTime;

/// The SSHSIG namespace of a bundle.
pub const BUNDLE_NAMESPACE: &str = "trust-bundle.signet";
/// A KRL of a million scattered serials has 8 MB, and 11 MB as base64.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024 * 1024;

const HEADER: &str = "signet-trust-bundle-v1";

/// What a host believes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustBundle {
    /// The authority's name, for people.
    pub authority: String,
    /// The mount whose CA keys these are.
    pub mount: String,
    /// Counts up with each bundle; a host never goes back.
    pub version: u64,
    /// When it was signed, seconds since 1970.
    pub issued: u64,
    /// When a host should be alarmed that nothing newer came, seconds since 1970. What is installed stays.
    pub valid_until: u64,
    /// Lines of the CA keys that sign user certificates.
    pub user_ca_keys: Vec<String>,
    /// Lines of the CA keys that sign host certificates.
    #[serde(default)]
    pub host_ca_keys: Vec<String>,
    /// The KRL's own version.
    pub krl_version: u64,
    /// The KRL, base64.
    pub krl: String,
    /// Which principals open which account, by tags.
    #[serde(default)]
    pub rules: Vec<HostRule>,
    /// The break-glass document (see [`crate::breakglass`]); hosts believe it only when it is signed by a break-glass key
    /// they already hold. Empty for none.
    #[serde(default)]
    pub breakglass: String,
    /// Lines of the keys that may sign the next bundle, the signing key among them.
    pub bundle_keys: Vec<String>,
}

/// A bundle that was verified, with its parts read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBundle {
    bundle: TrustBundle,
    user_ca_keys: Vec<SubjectKey>,
    host_ca_keys: Vec<SubjectKey>,
    bundle_keys: Vec<SubjectKey>,
    krl: Vec<u8>,
}

/// Why a bundle is refused; what the host holds stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Longer than any bundle.
    #[error("it is longer than any trust bundle ({BUNDLE_BYTES_MAX} bytes)")]
    TooLong,
    /// The three parts are not there.
    #[error("it is not a trust bundle")]
    NotABundle,
    /// The signature's armor is broken.
    #[error("its signature cannot be read")]
    Signature(#[from] SshSigError),
    /// Signed by a key that this host was not told to believe.
    #[error("it is signed by {found}, which this host was not told to believe")]
    Foreign {
        /// The fingerprint of the key that the signature names.
        found: String,
    },
    /// The signature does not fit.
    #[error("its signature is not right")]
    Verify(#[from] VerifyError),
    /// The JSON is not a bundle's.
    #[error("its content is damaged: {0}")]
    Damaged(String),
    /// A key in it cannot be used.
    #[error("it holds an unusable {what} key")]
    Key {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: SubjectKeyError,
    },
    /// Its KRL is none: with it in place nobody could log in.
    #[error("its KRL cannot be used")]
    Krl(#[from] KrlError),
    /// No CA key at all: with it in place nobody could log in.
    #[error("it holds no CA key")]
    NoCaKey,
    /// Of another mount; one bundle key signs for all mounts of an authority.
    #[error("it is for the mount `{found}`, and this host follows `{wanted}`")]
    OtherMount {
        /// Whose it is.
        found: String,
        /// Whose it has to be.
        wanted: String,
    },
    /// Too old to be believed.
    #[error("it was valid until {}", UnixTime::from_secs(*valid_until))]
    Expired {
        /// Seconds since 1970.
        valid_until: u64,
    },
    /// Older than what this host has seen.
    #[error("it is version {version}, and this host has seen version {newest} already")]
    RolledBack {
        /// Its version.
        version: u64,
        /// The newest that the host has seen.
        newest: u64,
    },
}

impl TrustBundle {
    /// The text that is signed: header and JSON.
    ///
    /// # Errors
    /// [`BundleError::Damaged`] when it cannot be written as JSON.
    pub fn signed_text(&self) -> Result<String, BundleError> {
        let json = serde_json::to_string(self).map_err(|error| BundleError::Damaged(error.to_string()))?;
        Ok(format!("{HEADER}\n{json}\n"))
    }

    /// Puts a signed text and its signature together.
    ///
    /// # Errors
    /// [`BundleError::Signature`]
    pub fn with_signature(signed_text: &str, signature: &SshSignature) -> Result<String, BundleError> {
        Ok(format!("{signed_text}{}", signature.to_armor()?))
    }

    /// Puts a KRL's bytes in.
    pub fn set_krl(&mut self, version: u64, krl: &[u8]) {
        self.krl_version = version;
        self.krl = STANDARD.encode(krl);
    }
}

impl VerifiedBundle {
    /// Verifies a bundle's text against the keys that this host was told to believe, the mount that it follows, and the newest
    /// version it has seen of that mount (0 for none). Only then is anything in it read.
    ///
    /// # Errors
    /// [`BundleError`]; the first thing that is wrong.
    pub fn open(
        text: &str,
        pinned: &[SubjectKey],
        mount: &str,
        now: UnixTime,
        newest: u64,
    ) -> Result<Self, BundleError> {
        let verified = Self::open_held(text, pinned)?;
        if verified.bundle.mount != mount {
            return Err(BundleError::OtherMount {
                found: verified.bundle.mount,
                wanted: mount.to_owned(),
            });
        }
        let TrustBundle {
            version, valid_until, ..
        } = verified.bundle;
        if version < newest {
            return Err(BundleError::RolledBack { version, newest });
        }
        if now.secs() >= valid_until {
            return Err(BundleError::Expired { valid_until });
        }
        Ok(verified)
    }

    /// As [`Self::open`] for the bundle that the host holds already: it stays in force when it is expired.
    ///
    /// # Errors
    /// [`BundleError`]; never `OtherMount`, `RolledBack` or `Expired`.
    pub fn open_held(text: &str, pinned: &[SubjectKey]) -> Result<Self, BundleError> {
        if text.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLong);
        }
        let (content, armor) = split(text).ok_or(BundleError::NotABundle)?;
        let signature = SshSignature::from_armor(armor)?;
        let signer = pinned
            .iter()
            .find(|key| key.blob() == signature.unverified_key_blob())
            .ok_or_else(|| BundleError::Foreign {
                found: fingerprint(signature.unverified_key_blob()),
            })?;
        signature.verify(signer, BUNDLE_NAMESPACE, content.as_bytes())?;
        let json = content.split_once('\n').map_or("", |(_, json)| json);
        let bundle: TrustBundle =
            serde_json::from_str(json).map_err(|error| BundleError::Damaged(error.to_string()))?;
        Self::read(bundle)
    }

    fn read(bundle: TrustBundle) -> Result<Self, BundleError> {
        let krl = STANDARD
            .decode(&bundle.krl)
            .map_err(|error| BundleError::Damaged(error.to_string()))?;
        Krl::parse(&krl)?;
        if bundle.user_ca_keys.is_empty() {
            return Err(BundleError::NoCaKey);
        }
        Ok(Self {
            user_ca_keys: keys("CA", &bundle.user_ca_keys)?,
            host_ca_keys: keys("host CA", &bundle.host_ca_keys)?,
            bundle_keys: keys("bundle", &bundle.bundle_keys)?,
            krl,
            bundle,
        })
    }

    /// What it says.
    #[must_use]
    pub const fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// The CA keys that sign user certificates; at least one.
    #[must_use]
    pub fn user_ca_keys(&self) -> &[SubjectKey] {
        &self.user_ca_keys
    }

    /// The CA keys that sign host certificates.
    #[must_use]
    pub fn host_ca_keys(&self) -> &[SubjectKey] {
        &self.host_ca_keys
    }

    /// The keys that may sign the next bundle.
    #[must_use]
    pub fn bundle_keys(&self) -> &[SubjectKey] {
        &self.bundle_keys
    }

    /// The KRL's bytes, which read as a KRL.
    #[must_use]
    pub fn krl(&self) -> &[u8] {
        &self.krl
    }
}

fn keys(what: &'static str, lines: &[String]) -> Result<Vec<SubjectKey>, BundleError> {
    let key = |line: &String| SubjectKey::parse(line).map_err(|source| BundleError::Key { what, source });
    lines.iter().map(key).collect()
}

/// Header and JSON with their line ends, and the armor behind them.
fn split(text: &str) -> Option<(&str, &str)> {
    let json_starts = HEADER.len() + 1;
    let rest = text.strip_prefix(HEADER)?.strip_prefix('\n')?;
    let signed_ends = json_starts + rest.find('\n')? + 1;
    text.split_at_checked(signed_ends)
}

fn fingerprint(blob: &[u8]) -> String {
    SubjectKey::from_blob(blob.to_vec()).map_or_else(|_| "an unknown kind of key".to_owned(), |key| key.fingerprint())
}

#[cfg(test)]
mod tests;
