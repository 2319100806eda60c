//! How flag values are read.

use signet_core::time::UnixTime;

/// A truth value as Go's flag package reads it.
///
/// # Errors
/// A sentence, for anything else.
pub fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true and false are values here".to_owned()),
    }
}

/// A lifetime such as `30m`, in seconds.
///
/// # Errors
/// A sentence, for anything else, and for zero.
pub fn ttl(text: &str) -> Result<u64, String> {
    match signet_core::time::parse_duration(text) {
        Ok(0) => Err("a certificate cannot live for no time".to_owned()),
        Ok(secs) => Ok(secs),
        Err(_) => Err("write a lifetime like 30m, 1h30m or 90s".to_owned()),
    }
}

/// A time: `2026-11-22T03:00:00Z`, or `2h` for two hours ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// This time.
    At(UnixTime),
    /// So many seconds before now.
    Ago(u64),
}

impl Moment {
    /// The time, seen from `now`.
    #[must_use]
    pub const fn from(self, now: UnixTime) -> UnixTime {
        match self {
            Self::At(time) => time,
            Self::Ago(secs) => now.minus(secs),
        }
    }
}

/// A time, or how long ago it was.
///
/// # Errors
/// A sentence, for anything else.
pub fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(time) = UnixTime::parse_rfc3339(text) {
        return Ok(Moment::At(time));
    }
    match signet_core::time::parse_duration(text) {
        Ok(secs) => Ok(Moment::Ago(secs)),
        Err(_) => Err("write a time like 2026-11-22T03:00:00Z, or 2h for two hours ago".to_owned()),
    }
}

/// `name` or `name=value`.
///
/// # Errors
/// A sentence, when there is no name.
pub fn extension(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("write an extension like permit-pty or name@example.com=value".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// `Name=value` or `Name: value`.
///
/// # Errors
/// A sentence, when it is no header, or one of Vault's own.
pub fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(['=', ':']).ok_or("write a header like Name=value")?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    {
        return Err("write a header like Name=value".to_owned());
    }
    if name.to_ascii_lowercase().starts_with("x-vault-") {
        return Err("headers that begin with X-Vault- are set by flags of their own".to_owned());
    }
    if value.chars().any(char::is_control) {
        return Err("a header's value is one line of text".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The path of a mount, without slashes at its ends.
///
/// # Errors
/// A sentence, when it is empty or climbs.
pub fn mount(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    let bad = |part: &&str| matches!(*part, "." | "..") || part.chars().any(|c| c.is_control() || "?#%".contains(c));
    if parts.is_empty() || parts.iter().any(bad) {
        return Err("write a mount like ssh or team/a/ssh".to_owned());
    }
    Ok(parts.join("/"))
}

/// A role's name, which becomes one segment of a path.
///
/// # Errors
/// A sentence, when it cannot be one.
pub fn role(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_alphanumeric() || "_-.@".contains(c);
    let ends = |c: char| c.is_alphanumeric() || c == '_';
    if !text.is_empty() && text.chars().all(fine) && text.starts_with(ends) && text.ends_with(ends) {
        Ok(text.to_owned())
    } else {
        Err("a role's name has letters, digits, `_`, `-`, `.` and `@`".to_owned())
    }
}
