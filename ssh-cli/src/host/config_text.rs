//! The text of sshd's configuration with its includes, line by line: to say which file and line decides, and where ours goes.
//! What the lines come to is sshd's to say ([`super::sshd`]); nothing here decides it.

use std::path::{Path, PathBuf};

use super::files::{self, FileError};
use super::layout::Layout;

const INCLUDE_DEPTH_MAX: usize = 16;

/// One line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// The file, as a path inside the root.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// In lower case.
    pub keyword: String,
    /// The rest of the line, without quotes around it.
    pub value: String,
    /// The `Match` that it stands under.
    pub under: Option<String>,
}

impl Directive {
    /// `/etc/ssh/sshd_config:12`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// Every line of the configuration, in the order in which sshd reads them.
#[derive(Debug, Clone, Default)]
pub struct ConfigText {
    /// The lines.
    pub directives: Vec<Directive>,
}

impl ConfigText {
    /// Reads the host's configuration.
    ///
    /// # Errors
    /// [`FileError`] for the main file; an include that cannot be read is left out, as sshd itself says.
    pub fn read(layout: &Layout) -> Result<Self, FileError> {
        let text = files::read_text(&layout.sshd_config())?.unwrap_or_default();
        let mut config = Self::default();
        config.take(layout, Path::new("/etc/ssh/sshd_config"), &text, None, 0);
        Ok(config)
    }

    fn take(&mut self, layout: &Layout, file: &Path, text: &str, under: Option<String>, depth: usize) {
        let mut under = under;
        for (index, line) in text.lines().enumerate() {
            let Some((keyword, value)) = split(line) else { continue };
            if keyword == "match" {
                under = (!value.eq_ignore_ascii_case("all")).then(|| value.clone());
            }
            self.directives.push(Directive {
                file: file.to_owned(),
                line: index + 1,
                keyword: keyword.clone(),
                value: value.clone(),
                under: under.clone(),
            });
            if keyword == "include" && depth < INCLUDE_DEPTH_MAX {
                for path in included(layout, &value) {
                    let Ok(text) = std::fs::read(outside(layout, &path)) else {
                        continue;
                    };
                    self.take(layout, &path, &String::from_utf8_lossy(&text), under.clone(), depth + 1);
                }
            }
        }
    }

    /// The line of the main file that includes our drop-in for every login.
    #[must_use]
    pub fn includes_drop_ins(&self) -> Option<&Directive> {
        self.directives.iter().find(|line| {
            line.keyword == "include"
                && line.under.is_none()
                && line.file == Path::new("/etc/ssh/sshd_config")
                && shell_words(&line.value).iter().any(|pattern| {
                    let (folder, name) = absolute(pattern);
                    folder == Path::new("/etc/ssh/sshd_config.d") && matches(&name, "10-signet.conf")
                })
        })
    }

    /// The lines with this keyword (lower case) in files that are not ours.
    pub fn foreign<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'a Directive> {
        self.directives.iter().filter(move |line| {
            line.keyword == keyword
                && !line.value.starts_with("/etc/ssh/signet/")
                && line.file != Path::new("/etc/ssh/sshd_config.d/10-signet.conf")
                && line.under.as_deref() != Some("User breakglass")
        })
    }

    /// Where the first line with this keyword stands, for messages.
    #[must_use]
    pub fn place_of(&self, keyword: &str) -> Option<String> {
        self.directives
            .iter()
            .find(|line| line.keyword == keyword)
            .map(Directive::place)
    }
}

/// The files that an `Include` takes in, as paths inside the root, in sshd's order.
#[must_use]
pub fn included(layout: &Layout, patterns: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for pattern in shell_words(patterns) {
        let (folder, name) = absolute(&pattern);
        for path in glob(&outside(layout, &folder), &name) {
            paths.push(folder.join(path.file_name().unwrap_or_default()));
        }
    }
    paths
}

/// A path inside the root as one outside it.
#[must_use]
pub fn outside(layout: &Layout, inside: &Path) -> PathBuf {
    layout.root().join(inside.strip_prefix("/").unwrap_or(inside))
}

/// sshd takes relative patterns from `/etc/ssh`.
fn absolute(pattern: &str) -> (PathBuf, String) {
    let path = Path::new("/etc/ssh").join(pattern);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (path.parent().unwrap_or(Path::new("/")).to_owned(), name)
}

/// Files in a folder whose names fit a pattern of `*` and `?`, sorted by bytes; hidden ones only if the pattern says so.
#[must_use]
pub fn glob(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            matches(pattern, &name) && (pattern.starts_with('.') || !name.starts_with('.'))
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Whether a text fits a pattern of `*` and `?`, as OpenSSH matches.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = pattern.as_str();
            std::iter::successors(Some(text), |text| {
                let mut chars = text.chars();
                chars.next().map(|_| chars.as_str())
            })
            .any(|text| matches(rest, text))
        }
        Some(wanted) => {
            let mut chars = text.chars();
            chars
                .next()
                .is_some_and(|found| (wanted == '?' || wanted == found) && matches(pattern.as_str(), chars.as_str()))
        }
    }
}

/// Keyword and value of a line; `None` for empty lines and comments.
fn split(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find([' ', '\t', '=']).unwrap_or(line.len());
    let (keyword, rest) = line.split_at_checked(end)?;
    let value = rest.trim().trim_start_matches('=').trim();
    let value = match value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some(inner) if !inner.contains('"') => inner,
        _ => value,
    };
    Some((keyword.to_ascii_lowercase(), value.to_owned()))
}

/// Words as a shell splits them, with both kinds of quotes and without expansions.
#[must_use]
pub fn shell_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, ConfigText) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let config = ConfigText::read(&Layout::under(root.path())).unwrap();
        (root, config)
    }

    #[test]
    fn lines_are_read_in_sshds_order_with_their_places() {
        let (_root, config) = host(&[
            (
                "etc/ssh/sshd_config",
                "# x\nInclude sshd_config.d/*.conf\nUsePAM=yes\nMatch User \"a b\"\n X11Forwarding no\n",
            ),
            ("etc/ssh/sshd_config.d/50-b.conf", "Port 1\nMatch Group x\nPort 2\n"),
            ("etc/ssh/sshd_config.d/05-a.conf", "TrustedUserCAKeys \"/x\"\n"),
            ("etc/ssh/sshd_config.d/.hidden.conf", "Port 3\n"),
        ]);
        let seen: Vec<String> = config
            .directives
            .iter()
            .map(|d| format!("{} {} {} {:?}", d.place(), d.keyword, d.value, d.under))
            .collect();
        assert_eq!(
            seen,
            [
                "/etc/ssh/sshd_config:2 include sshd_config.d/*.conf None",
                "/etc/ssh/sshd_config.d/05-a.conf:1 trustedusercakeys /x None",
                "/etc/ssh/sshd_config.d/50-b.conf:1 port 1 None",
                "/etc/ssh/sshd_config.d/50-b.conf:2 match Group x Some(\"Group x\")",
                "/etc/ssh/sshd_config.d/50-b.conf:3 port 2 Some(\"Group x\")",
                "/etc/ssh/sshd_config:3 usepam yes None",
                "/etc/ssh/sshd_config:4 match User \"a b\" Some(\"User \\\"a b\\\"\")",
                "/etc/ssh/sshd_config:5 x11forwarding no Some(\"User \\\"a b\\\"\")",
            ]
        );
        assert_eq!(config.includes_drop_ins().unwrap().line, 2);
        assert_eq!(
            config.place_of("trustedusercakeys").unwrap(),
            "/etc/ssh/sshd_config.d/05-a.conf:1"
        );
    }

    #[test]
    fn an_include_that_does_not_hold_for_everybody_is_none_for_us() {
        for (text, wanted) in [
            ("Include /etc/ssh/sshd_config.d/*.conf\n", true),
            ("Include /etc/ssh/other/*.conf /etc/ssh/sshd_config.d/*.conf\n", true),
            ("#Include /etc/ssh/sshd_config.d/*.conf\n", false),
            ("Match User x\nInclude /etc/ssh/sshd_config.d/*.conf\n", false),
            ("Match User x\nMatch all\nInclude /etc/ssh/sshd_config.d/*.conf\n", true),
            ("Include /etc/ssh/sshd_config.d/50-*.conf\n", false),
        ] {
            let (_root, config) = host(&[("etc/ssh/sshd_config", text)]);
            assert_eq!(config.includes_drop_ins().is_some(), wanted, "{text}");
        }
    }
}
