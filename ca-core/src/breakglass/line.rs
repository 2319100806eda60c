//! One line of `breakglass_keys`, in a grammar so small that every sshd since 7.2 reads it as we do.

use std::fmt;

use crate::principal::{Principal, PrincipalError};
use crate::source_address::{SourceAddressError, SourceAddresses};
use crate::subject_key::{SubjectKey, SubjectKeyError};

/// sshd before 7.9 cuts lines at 8 KiB.
const LINE_BYTES_MAX: usize = 8 * 1024;
const PRINCIPALS_MAX: usize = 32;

/// What a line opens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Door A: the sealed key itself.
    SealedKey,
    /// Door B: a short certificate of the offline CA.
    OfflineCa,
}

/// A key with its options. Options are written in one order, each at most once:
/// `cert-authority,principals="…",restrict,pty,from="…",expiry-time="…",verify-required`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of sshd's own, and may stand with any other"
)]
pub struct Line {
    key: SubjectKey,
    cert_authority: bool,
    principals: Vec<Principal>,
    restrict: bool,
    pty: bool,
    from: Option<SourceAddresses>,
    expiry_time: Option<String>,
    verify_required: bool,
    comment: String,
}

/// Why a line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Blank, a comment, or too long.
    #[error("it is blank, a comment, or longer than {LINE_BYTES_MAX} bytes")]
    NotALine,
    /// A byte that a log or a terminal could be fooled with.
    #[error("it holds {0:?}, and only printable ASCII is taken")]
    Character(char),
    /// Quotes that do not close, or an option without its value.
    #[error("its options cannot be read")]
    Options,
    /// Not in the list.
    #[error("the option `{0}` is not allowed here")]
    OptionNotAllowed(String),
    /// sshd takes the first or the last, depending on the option.
    #[error("the option `{0}` stands there twice")]
    OptionTwice(String),
    /// A CA line without principals lets in every certificate without principals (OpenSSH up to 9.6).
    #[error("a `cert-authority` line needs `principals=\"…\"`")]
    NoPrincipals,
    /// Principals mean nothing on a plain key.
    #[error("`principals` stands on a line that is no `cert-authority`")]
    PrincipalsOnKey,
    /// More than anybody can oversee.
    #[error("it lists more than {PRINCIPALS_MAX} principals")]
    TooManyPrincipals,
    /// Cannot be a principal.
    #[error("it lists a principal that cannot be used")]
    Principal(#[from] PrincipalError),
    /// Cannot be networks.
    #[error("its `from` cannot be used")]
    From(#[from] SourceAddressError),
    /// Not a time that all sshd read.
    #[error("its `expiry-time` is not YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS")]
    ExpiryTime,
    /// `verify-required` does nothing on an ordinary key.
    #[error("`verify-required` stands on a key that is no security key, where sshd does not enforce it")]
    VerifyRequiredOnPlainKey,
    /// `pty` only undoes what `restrict` took away.
    #[error("`pty` stands there without `restrict`")]
    PtyWithoutRestrict,
    /// Its key.
    #[error("its key cannot be used")]
    Key(#[from] SubjectKeyError),
    /// Written in another order or with other blanks.
    #[error("it is not written in the one form that is taken: {0}")]
    Form(String),
}

impl Line {
    /// Door B: the offline CA, whose certificates must carry one of the principals; `restrict,pty`.
    ///
    /// # Errors
    /// [`LineError`] when there is no principal or too many.
    pub fn offline_ca(key: SubjectKey, principals: Vec<Principal>) -> Result<Self, LineError> {
        Self {
            cert_authority: true,
            principals,
            ..Self::plain(key)
        }
        .checked()
    }

    /// Door A: the sealed key; `restrict,pty`.
    #[must_use]
    pub fn sealed_key(key: SubjectKey) -> Self {
        Self::plain(key)
    }

    fn plain(key: SubjectKey) -> Self {
        Self {
            key,
            cert_authority: false,
            principals: Vec::new(),
            restrict: true,
            pty: true,
            from: None,
            expiry_time: None,
            verify_required: false,
            comment: String::new(),
        }
    }

    /// Lets the line end at a time, written as sshd reads it in the host's own time zone.
    ///
    /// # Errors
    /// [`LineError::ExpiryTime`]
    pub fn with_expiry_time(mut self, time: &str) -> Result<Self, LineError> {
        self.expiry_time = Some(expiry_time(time)?);
        Ok(self)
    }

    /// Lets the line open from these networks only.
    ///
    /// # Errors
    /// [`LineError::From`]
    pub fn with_from(mut self, networks: &str) -> Result<Self, LineError> {
        self.from = Some(SourceAddresses::parse(networks)?);
        Ok(self)
    }

    /// Wants the PIN at each use; for `sk-` keys.
    ///
    /// # Errors
    /// [`LineError::VerifyRequiredOnPlainKey`]
    pub fn with_verify_required(mut self) -> Result<Self, LineError> {
        self.verify_required = true;
        self.checked()
    }

    /// Adds the words behind the key.
    ///
    /// # Errors
    /// [`LineError::Character`]
    pub fn with_comment(mut self, comment: &str) -> Result<Self, LineError> {
        printable(comment)?;
        comment.trim().clone_into(&mut self.comment);
        Ok(self)
    }

    /// Reads a line, without its line end.
    ///
    /// # Errors
    /// [`LineError`]; the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        if text.is_empty() || text.starts_with('#') || text.len() > LINE_BYTES_MAX {
            return Err(LineError::NotALine);
        }
        printable(text)?;
        let (options, key) = split_options(text)?;
        let mut words = key.splitn(3, ' ');
        let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
            return Err(LineError::Key(SubjectKeyError::NotAKeyLine));
        };
        let mut line = Self {
            restrict: false,
            pty: false,
            comment: words.next().unwrap_or_default().to_owned(),
            ..Self::plain(SubjectKey::parse(&format!("{kind} {blob}"))?)
        };
        for option in options {
            line.take(option)?;
        }
        let line = line.checked()?;
        // One form only: two spellings of one thing are how two readers come to differ.
        let written = line.to_string();
        if written == text {
            Ok(line)
        } else {
            Err(LineError::Form(written))
        }
    }

    fn take(&mut self, option: &str) -> Result<(), LineError> {
        let (name, value) = match option.split_once('=') {
            Some((name, quoted)) => (name, Some(unquote(quoted)?)),
            None => (option, None),
        };
        let twice = || LineError::OptionTwice(name.to_owned());
        let flag = |flag: &mut bool| {
            if std::mem::replace(flag, true) {
                Err(twice())
            } else {
                Ok(())
            }
        };
        match (name, value) {
            ("cert-authority", None) => flag(&mut self.cert_authority),
            ("restrict", None) => flag(&mut self.restrict),
            ("pty", None) => flag(&mut self.pty),
            ("verify-required", None) => flag(&mut self.verify_required),
            ("principals", Some(list)) if self.principals.is_empty() => {
                self.principals = list.split(',').map(Principal::parse).collect::<Result<_, _>>()?;
                Ok(())
            }
            ("from", Some(list)) if self.from.is_none() => {
                self.from = Some(SourceAddresses::parse(list)?);
                Ok(())
            }
            ("expiry-time", Some(time)) if self.expiry_time.is_none() => {
                self.expiry_time = Some(expiry_time(time)?);
                Ok(())
            }
            ("principals" | "from" | "expiry-time", Some(_)) => Err(twice()),
            _ => Err(LineError::OptionNotAllowed(name.to_owned())),
        }
    }

    fn checked(self) -> Result<Self, LineError> {
        match (self.cert_authority, self.principals.len()) {
            (true, 0) => Err(LineError::NoPrincipals),
            (false, 1..) => Err(LineError::PrincipalsOnKey),
            (_, count) if count > PRINCIPALS_MAX => Err(LineError::TooManyPrincipals),
            _ if self.pty && !self.restrict => Err(LineError::PtyWithoutRestrict),
            // On a CA line the option concerns the certified key, which sshd sees only at the login.
            (false, _) if self.verify_required && !self.key.kind().is_security_key() => {
                Err(LineError::VerifyRequiredOnPlainKey)
            }
            _ => Ok(self),
        }
    }

    /// What it opens with.
    #[must_use]
    pub const fn door(&self) -> Door {
        if self.cert_authority {
            Door::OfflineCa
        } else {
            Door::SealedKey
        }
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &SubjectKey {
        &self.key
    }

    /// Its key, taken out.
    #[must_use]
    pub fn into_key(self) -> SubjectKey {
        self.key
    }

    /// The principals that a certificate needs one of; empty for a sealed key.
    #[must_use]
    pub fn principals(&self) -> &[Principal] {
        &self.principals
    }

    /// When it ends, as sshd reads it.
    #[must_use]
    pub fn expiry_time(&self) -> Option<&str> {
        self.expiry_time.as_deref()
    }

    /// The words behind the key.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// The options as they are written; empty for none.
    #[must_use]
    pub fn options(&self) -> String {
        let flag = |set: bool, name: &str| set.then(|| name.to_owned());
        let names: Vec<&str> = self.principals.iter().map(Principal::as_str).collect();
        let options = [
            flag(self.cert_authority, "cert-authority"),
            (!names.is_empty()).then(|| format!("principals=\"{}\"", names.join(","))),
            flag(self.restrict, "restrict"),
            flag(self.pty, "pty"),
            self.from.as_ref().map(|from| format!("from=\"{from}\"")),
            self.expiry_time.as_ref().map(|time| format!("expiry-time=\"{time}\"")),
            flag(self.verify_required, "verify-required"),
        ];
        options.into_iter().flatten().collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.options(), self.key.line(), self.comment.clone()];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join(" "))
    }
}

fn printable(text: &str) -> Result<(), LineError> {
    match text.chars().find(|c| !matches!(c, ' '..='~')) {
        Some(bad) => Err(LineError::Character(bad)),
        None => Ok(()),
    }
}

/// The options in front of the key, split at commas outside quotes, and the rest.
fn split_options(text: &str) -> Result<(Vec<&str>, &str), LineError> {
    let first = text.split(' ').next().unwrap_or_default();
    // No option's name looks like a key type.
    if ["ssh-", "ecdsa-", "sk-"].iter().any(|start| first.starts_with(start)) {
        return Ok((Vec::new(), text));
    }
    let mut options = Vec::new();
    let (mut rest, mut quoted) = (text, false);
    let mut at = 0;
    loop {
        let Some(c) = rest.as_bytes().get(at) else {
            return Err(LineError::Options);
        };
        match c {
            // sshd lets `\"` stand for a quote inside a value; nothing we allow needs one.
            b'\\' => return Err(LineError::Options),
            b'"' => quoted = !quoted,
            b',' | b' ' if !quoted => {
                let (option, after) = rest.split_at_checked(at).ok_or(LineError::Options)?;
                options.push(option);
                let (separator, after) = after.split_at_checked(1).ok_or(LineError::Options)?;
                if separator == " " {
                    return Ok((options, after));
                }
                (rest, at) = (after, 0);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
}

fn unquote(text: &str) -> Result<&str, LineError> {
    text.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|value| !value.is_empty() && !value.contains('"'))
        .ok_or(LineError::Options)
}

/// Without a `Z`: sshd before 9.1 does not read it, and would refuse the whole line.
fn expiry_time(text: &str) -> Result<String, LineError> {
    let number = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u32>().ok());
    let digits = matches!(text.len(), 8 | 12 | 14) && text.bytes().all(|byte| byte.is_ascii_digit());
    let within = |at: usize, max: u32| text.len() <= at || number(at, at + 2).is_some_and(|value| value <= max);
    let date = number(0, 4).is_some_and(|year| (1971..=9999).contains(&year))
        && number(4, 6).is_some_and(|month| (1..=12).contains(&month))
        && number(6, 8).is_some_and(|day| (1..=31).contains(&day));
    if digits && date && within(8, 23) && within(10, 59) && within(12, 59) {
        Ok(text.to_owned())
    } else {
        Err(LineError::ExpiryTime)
    }
}
