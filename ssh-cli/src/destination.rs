//! What the words behind `signet ssh`'s own flags mean to ssh: who logs in where.
//!
//! Reads them as ssh's getopt does (`-p22`, `-l user`, clusters, `-o User=x`), changes nothing, and refuses names that a
//! `ProxyCommand` or `Match exec` of the user's configuration could hand to a shell (CVE-2023-51385, CVE-2025-61984).

use std::ffi::{OsStr, OsString};

/// Flags of ssh that take no value; every other letter takes one, joined or as the next word.
const FLAGS: &str = "1246AaCfGgKkMNnqsTtVvXxYy";
/// What a shell, ssh's own `%` expansion or a host pattern would read as more than a letter.
const FORBIDDEN: &str = ";|&$`\"'\\<>(){}%*?!,#~";

/// Why the words are not handed to ssh.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DestinationError {
    /// No host at all.
    #[error("there is no host to connect to")]
    NoHost,
    /// An ssh option at the end lacks its value.
    #[error("ssh's option `-{0}` needs a value")]
    MissingValue(char),
    /// The host or user is empty.
    #[error("the {0} in `{1}` is empty")]
    Empty(&'static str, String),
    /// It would be read as an option.
    #[error("the {0} `{1}` begins with `-`, which ssh would read as an option")]
    Dash(&'static str, String),
    /// It holds a character that does not belong in a name.
    #[error("the {0} `{1}` holds `{2}`, which a shell in somebody's ssh configuration could run")]
    Forbidden(&'static str, String, String),
}

/// ssh's words, taken apart but unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Options that stood before the host (after `--`).
    pub before: Vec<OsString>,
    /// As typed: `host`, `user@host` or `ssh://user@host:port`.
    pub target: String,
    /// Options and command behind it.
    pub after: Vec<OsString>,
    /// Who logs in, when the words say so; the first mention counts, as in ssh.
    pub user: Option<String>,
    /// The host as typed, without user and port.
    pub host: String,
    /// How many of `after` are options of ssh, before the remote command begins.
    pub after_options: usize,
    /// `-F file`, when given.
    pub config_file: Option<OsString>,
    /// The words name more than one user.
    names_user_twice: bool,
}

impl Destination {
    /// Reads the words.
    ///
    /// # Errors
    /// Any [`DestinationError`]; ssh has not run.
    pub fn parse(words: &[OsString]) -> Result<Self, DestinationError> {
        let mut scan = Scan::default();
        let target_at = scan.options(words, 0)?;
        let target = words.get(target_at).ok_or(DestinationError::NoHost)?;
        let target = target.to_str().ok_or_else(|| {
            DestinationError::Forbidden(
                "host",
                escape(&target.to_string_lossy()),
                "bytes that are not UTF-8".to_owned(),
            )
        })?;
        let (user, host) = split_target(target);
        if let Some(user) = user {
            check("user", user, target)?;
            scan.set_user(user);
        }
        check("host", host, target)?;
        let after_at = target_at + 1;
        let command_at = scan.options(words, after_at)?;
        if let Some(user) = &scan.user {
            check("user", user, target)?;
        }
        let before = words.get(..target_at).unwrap_or_default();
        Ok(Self {
            before: before.iter().filter(|word| *word != "--").cloned().collect(),
            target: target.to_owned(),
            after: words.get(after_at..).unwrap_or_default().to_vec(),
            user: scan.user,
            host: host.to_owned(),
            after_options: command_at - after_at,
            config_file: scan.config_file,
            names_user_twice: scan.names_user_twice,
        })
    }

    /// The words in the order in which ssh gets them: options, `--`, target, command. The `--` keeps the target from ever
    /// being an option, and ssh reads no option behind it, so those that were typed after the host move before it.
    pub fn words(&self) -> impl Iterator<Item = &OsStr> {
        let command = self.after.get(self.after_options..).unwrap_or_default();
        self.words_without_command()
            .chain(command.iter().map(OsString::as_os_str))
    }

    /// The same without the remote command, for `ssh -G`.
    pub fn words_without_command(&self) -> impl Iterator<Item = &OsStr> {
        // Of several users the first one typed counts; in the new order that must be said.
        let user = self.user.as_deref().filter(|_| self.names_user_twice);
        let pinned = user.into_iter().flat_map(|user| [OsStr::new("-l"), OsStr::new(user)]);
        let late = self.after.iter().take(self.after_options).filter(|word| *word != "--");
        let options = self.before.iter().chain(late).map(OsString::as_os_str);
        pinned
            .chain(options)
            .chain([OsStr::new("--"), OsStr::new(&self.target)])
    }
}

/// What the options say that matters here.
#[derive(Default)]
struct Scan {
    user: Option<String>,
    names_user_twice: bool,
    config_file: Option<OsString>,
}

impl Scan {
    /// Reads options from `start`; answers where the first word stands that is none.
    fn options(&mut self, words: &[OsString], start: usize) -> Result<usize, DestinationError> {
        let mut at = start;
        while let Some(word) = words.get(at) {
            if word == "--" {
                return Ok(at + 1);
            }
            let bytes = word.as_encoded_bytes();
            if bytes.len() < 2 || !bytes.starts_with(b"-") {
                return Ok(at);
            }
            at += 1;
            let text = word.to_string_lossy();
            if let Some((letter, joined)) = value_option(&text) {
                if joined.is_empty() {
                    let value = words.get(at).ok_or(DestinationError::MissingValue(letter))?;
                    self.note(letter, value);
                    at += 1;
                } else {
                    self.note(letter, OsStr::new(joined));
                }
            }
        }
        Ok(at)
    }

    fn note(&mut self, letter: char, value: &OsStr) {
        match letter {
            'l' => self.set_user(&value.to_string_lossy()),
            'F' => self.config_file = Some(value.to_owned()),
            'o' => {
                let value = value.to_string_lossy();
                let value = value.trim_start();
                let end = value.find(|character: char| character == '=' || character.is_whitespace());
                if let Some((key, rest)) = end.and_then(|end| value.split_at_checked(end))
                    && key.eq_ignore_ascii_case("user")
                {
                    let name = rest
                        .trim_start_matches(|c: char| c == '=' || c.is_whitespace())
                        .trim_end();
                    self.set_user(name.trim_matches('"'));
                }
            }
            _ => {}
        }
    }

    fn set_user(&mut self, user: &str) {
        self.names_user_twice |= self.user.is_some();
        self.user.get_or_insert_with(|| user.to_owned());
    }
}

/// The first letter of a cluster that takes a value, and the text joined to it.
fn value_option(word: &str) -> Option<(char, &str)> {
    let mut letters = word.strip_prefix('-')?.chars();
    while let Some(letter) = letters.next() {
        if !FLAGS.contains(letter) {
            return Some((letter, letters.as_str()));
        }
    }
    None
}

fn split_target(target: &str) -> (Option<&str>, &str) {
    let (rest, is_uri) = match target.strip_prefix("ssh://") {
        Some(rest) => (rest.trim_end_matches('/'), true),
        None => (target, false),
    };
    // ssh splits at the last `@`: user names of directory services hold one.
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    (user, if is_uri { uri_host(host) } else { host })
}

/// `host:port` or `[address]:port` without the port.
fn uri_host(authority: &str) -> &str {
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    authority.split(':').next().unwrap_or(authority)
}

fn check(what: &'static str, name: &str, target: &str) -> Result<(), DestinationError> {
    if name.is_empty() {
        return Err(DestinationError::Empty(what, escape(target)));
    }
    if name.starts_with('-') {
        return Err(DestinationError::Dash(what, escape(name)));
    }
    let bad = name
        .chars()
        .find(|c| c.is_control() || c.is_whitespace() || !c.is_ascii() || FORBIDDEN.contains(*c));
    match bad {
        Some(bad) => Err(DestinationError::Forbidden(
            what,
            escape(name),
            escape(&bad.to_string()),
        )),
        None => Ok(()),
    }
}

/// Refuses a principal list that could not be a list of login names.
///
/// # Errors
/// [`DestinationError`] for the first name that is refused.
pub fn check_principals(list: &str) -> Result<(), DestinationError> {
    list.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .try_for_each(|name| check("principal", name, list))
}

fn escape(text: &str) -> String {
    signet_core::inspect::escape(text)
}

#[cfg(test)]
mod tests;
