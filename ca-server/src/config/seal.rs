//! `[seal]`: what stands before the store, and `[seal.previous]`, what stood there before a migration.

use std::path::{Path, PathBuf};

use signet_core::toml_reader::TableReader;

use super::AwsConfig;
use super::KmipConfig;
use super::Pkcs11Seal;
use crate::seal::SealKind;
use crate::seal::passphrase::Source;

/// The key file's name in the data folder.
const KEY_FILE: &str = "barrier.key";

/// The seal in force, and the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealConfig {
    /// The one that the store is to be under.
    pub current: SealSettings,
    /// The one that the store may still be under.
    pub previous: Option<SealSettings>,
}

/// One kind of seal with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealSettings {
    /// A file that only the server's user can read.
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// People with shares; how many is said at `sys/init`.
    Shamir,
    /// A passphrase.
    Passphrase {
        /// Where it comes from.
        source: Source,
    },
    /// A key in AWS KMS.
    AwsKms(AwsConfig),
    /// A key on a PKCS#11 token.
    Pkcs11(Pkcs11Seal),
    /// A key in a KMIP server.
    Kmip(KmipConfig),
}

impl SealSettings {
    /// Which kind.
    #[must_use]
    pub const fn kind(&self) -> SealKind {
        match self {
            Self::KeyFile { .. } => SealKind::KeyFile,
            Self::Shamir => SealKind::Shamir,
            Self::Passphrase { .. } => SealKind::Passphrase,
            Self::AwsKms(_) => SealKind::AwsKms,
            Self::Pkcs11(_) => SealKind::Pkcs11,
            Self::Kmip(_) => SealKind::Kmip,
        }
    }
}

impl SealConfig {
    /// A key file in the data folder, as without `[seal]`.
    #[must_use]
    pub fn in_data(data: &Path) -> Self {
        Self {
            current: SealSettings::KeyFile {
                path: data.join(KEY_FILE),
            },
            previous: None,
        }
    }

    pub(super) fn read(top: &TableReader<'_>, base: &Path, data: &Path, server: &str) -> Self {
        let Some(section) = top.table("seal") else {
            return Self::in_data(data);
        };
        Self {
            current: settings(&section, base, data, server),
            previous: section
                .table("previous")
                .map(|previous| settings(&previous, base, data, server)),
        }
    }
}

fn settings(section: &TableReader<'_>, base: &Path, data: &Path, server: &str) -> SealSettings {
    let kinds = SealKind::ALL.map(|kind| (kind.as_str(), kind));
    match section.word("type", &kinds).unwrap_or(SealKind::KeyFile) {
        SealKind::Shamir => SealSettings::Shamir,
        SealKind::Passphrase => SealSettings::Passphrase {
            source: source(section, base),
        },
        SealKind::AwsKms => SealSettings::AwsKms(AwsConfig::read_seal(section, server)),
        SealKind::Pkcs11 => SealSettings::Pkcs11(Pkcs11Seal::read(section, base)),
        SealKind::Kmip => SealSettings::Kmip(KmipConfig::read(section, base)),
        SealKind::KeyFile => SealSettings::KeyFile {
            path: section
                .string("path")
                .map_or_else(|| data.join(KEY_FILE), |path| base.join(path)),
        },
    }
}

fn source(section: &TableReader<'_>, base: &Path) -> Source {
    match (section.string("credential"), section.string("file")) {
        (None, None) => Source::Prompt,
        (None, Some(file)) => Source::File(base.join(file)),
        (Some(name), None) => {
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                section.wrong("credential", "`credential` is a name, as in `LoadCredential=NAME:…`");
            }
            Source::Credential(name)
        }
        (Some(_), Some(_)) => {
            section.wrong("file", "[seal] takes `credential` or `file`, not both");
            Source::Prompt
        }
    }
}
