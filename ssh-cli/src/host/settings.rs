//! `host.toml`: where this host's authority is and what the host is. Written by `bake`, completed by `enroll`, read by `sync`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use signet_core::mistake::Mistake;
use signet_core::toml_reader;

use super::files::{self, FileError, Files};
use super::layout::Layout;

/// How far a host's sync is shifted by default, so that a fleet does not ask all at once.
pub const JITTER_SECS: u64 = 300;
/// The mount whose bundle a host fetches when nothing else is said.
pub const MOUNT: &str = "ssh";

const JITTER_SECS_MAX: u64 = 24 * 3600;
const WORD_BYTES_MAX: usize = 64;

/// Where sshd's log is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSource {
    /// systemd's journal.
    Journal,
    /// A file such as `/var/log/auth.log`.
    File(PathBuf),
}

/// The settings of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// The authority's address; `None` on a host that gets its bundle otherwise or not at all.
    pub address: Option<String>,
    /// PEM file of the roots to believe for the authority's TLS.
    pub ca_cert: Option<PathBuf>,
    /// The mount whose trust bundle this host follows.
    pub mount: String,
    /// Where the bundle is fetched instead: `http(s)://…` or the path of a file.
    pub bundle_url: Option<String>,
    /// The name as enrolled.
    pub host: Option<String>,
    /// The host's tags: they choose the rules of the bundle.
    pub tags: BTreeSet<String>,
    /// Where sshd's log is.
    pub log: LogSource,
    /// The most that a sync waits before it asks.
    pub jitter_secs: u64,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            address: None,
            ca_cert: None,
            mount: MOUNT.to_owned(),
            bundle_url: None,
            host: None,
            tags: BTreeSet::new(),
            log: LogSource::Journal,
            jitter_secs: JITTER_SECS,
        }
    }
}

/// `host.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is wrong in it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Mistakes(Vec<Mistake>),
}

impl HostSettings {
    /// Reads the host's settings; `None` where there are none.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn read(layout: &Layout) -> Result<Option<Self>, SettingsError> {
        let path = layout.settings();
        let Some(text) = files::read_text(&path)? else {
            return Ok(None);
        };
        Self::parse(&path.display().to_string(), &text)
            .map(Some)
            .map_err(SettingsError::Mistakes)
    }

    /// Reads the text of `host.toml`, known to people as `file`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        toml_reader::read(file, text, |table| {
            let tags = table.strings("tags").into_iter().filter_map(|(tag, place)| {
                if is_word(&tag) {
                    return Some(tag);
                }
                table.wrong_at(place, format!("`{tag}` cannot be a tag"));
                None
            });
            Self {
                address: table.string("address"),
                ca_cert: table.string("ca_cert").map(PathBuf::from),
                mount: table.string("mount").unwrap_or_else(|| MOUNT.to_owned()),
                bundle_url: table.string("bundle_url"),
                host: table.string("host"),
                tags: tags.collect(),
                log: table
                    .parsed("log", "`journal` or the full path of a file", LogSource::parse)
                    .unwrap_or(LogSource::Journal),
                jitter_secs: table
                    .duration_secs("jitter", 0..=JITTER_SECS_MAX)
                    .unwrap_or(JITTER_SECS),
            }
        })
    }

    /// The text of `host.toml`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text =
            String::from("# Written by `signet host bake` and `signet host enroll`; read by `signet host sync`.\n");
        let mut line = |key: &str, value: String| text.extend([key, " = ", &value, "\n"]);
        if let Some(address) = &self.address {
            line("address", quoted(address));
        }
        if let Some(path) = &self.ca_cert {
            line("ca_cert", quoted(&path.display().to_string()));
        }
        line("mount", quoted(&self.mount));
        if let Some(url) = &self.bundle_url {
            line("bundle_url", quoted(url));
        }
        if let Some(host) = &self.host {
            line("host", quoted(host));
        }
        let tags: Vec<String> = self.tags.iter().map(|tag| quoted(tag)).collect();
        line("tags", format!("[{}]", tags.join(", ")));
        match &self.log {
            LogSource::Journal => line("log", quoted("journal")),
            LogSource::File(path) => line("log", quoted(&path.display().to_string())),
        }
        line("jitter", quoted(&format!("{}s", self.jitter_secs)));
        text
    }

    /// Writes `host.toml`; answers whether anything changed.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn write(&self, files: &Files, layout: &Layout) -> Result<bool, FileError> {
        files.put(&layout.settings(), self.to_toml().as_bytes(), files::PUBLIC)
    }
}

impl LogSource {
    /// Reads `journal` or a full path.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "journal" => Some(Self::Journal),
            path if path.starts_with('/') => Some(Self::File(PathBuf::from(path))),
            _ => None,
        }
    }
}

/// Letters, digits, `.`, `_`, `-` and `:`, as tags have them.
#[must_use]
pub fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= WORD_BYTES_MAX
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':'))
}

/// JSON's strings are TOML's basic strings.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_back_as_they_were_written() {
        let settings = HostSettings {
            address: Some("https://ca.example.com:8200".to_owned()),
            ca_cert: Some("/etc/ssl/ca \"1\".pem".into()),
            mount: "ssh-prod".to_owned(),
            bundle_url: Some("/mnt/bundle".to_owned()),
            host: Some("i-1.web.example.com".to_owned()),
            tags: BTreeSet::from(["web".to_owned(), "eu:west".to_owned()]),
            log: LogSource::File("/var/log/auth.log".into()),
            jitter_secs: 90,
        };
        for settings in [settings, HostSettings::default()] {
            assert_eq!(HostSettings::parse("host.toml", &settings.to_toml()), Ok(settings));
        }
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        for (text, want) in [
            (
                "adress = \"x\"",
                "host.toml:1: unknown key `adress` (did you mean `address`?)",
            ),
            ("tags = [\"a b\"]", "host.toml:1: `a b` cannot be a tag"),
            (
                "log = \"auth.log\"",
                "host.toml:1: `log` is `auth.log`, but must be `journal` or the full path of a file",
            ),
        ] {
            let mistakes = HostSettings::parse("host.toml", text).unwrap_err();
            assert_eq!(mistakes.first().unwrap().to_string(), want);
        }
    }
}
