//! Points in time and lifetimes, in whole seconds as certificates hold them. The clock itself is a parameter.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// Wraps seconds since the epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0
    }

    /// This time plus `secs`, stopping at the end of the range.
    #[must_use]
    pub const fn plus(self, secs: u64) -> Self {
        Self(self.0.saturating_add(secs))
    }

    /// This time minus `secs`, stopping at the epoch.
    #[must_use]
    pub const fn minus(self, secs: u64) -> Self {
        Self(self.0.saturating_sub(secs))
    }

    /// Seconds from this time until `later`; 0 when `later` is not later.
    #[must_use]
    pub const fn secs_until(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }

    /// Hour of the day in UTC, 0–23.
    #[must_use]
    pub const fn hour_utc(self) -> u64 {
        (self.0 / 3600) % 24
    }

    /// Day of the week in UTC, 1 = Monday … 7 = Sunday (ISO 8601).
    #[must_use]
    pub const fn weekday_utc(self) -> u64 {
        // 1970-01-01 was a Thursday.
        (self.0 / 86_400 + 3) % 7 + 1
    }

    /// Reads an RFC 3339 time in UTC, such as `2026-11-22T03:00:00Z`.
    ///
    /// # Errors
    /// [`DurationParseError`] when the text is not such a time.
    pub fn parse_rfc3339(text: &str) -> Result<Self, DurationParseError> {
        humantime::parse_rfc3339(text)
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map(|since| Self(since.as_secs()))
            .ok_or_else(|| DurationParseError(text.to_owned()))
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC; times past the year 9999, which no certificate of ours has, as plain seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const YEAR_10000: u64 = 253_402_300_800;
        if self.0 >= YEAR_10000 {
            return write!(f, "{} s after 1970", self.0);
        }
        write!(
            f,
            "{}",
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0))
        )
    }
}

/// The window in which a certificate is valid: `valid_after ≤ now < valid_before` (draft-ietf-sshm-cert, "valid after").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    valid_after: UnixTime,
    valid_before: UnixTime,
}

impl Validity {
    /// Makes the window from `backdate_secs` before `now` until `ttl_secs` after it.
    ///
    /// Returns `None` for an empty window and for the two values that OpenSSH reads as "always" and "for ever": 0 and
    /// `u64::MAX`.
    #[must_use]
    pub fn around(now: UnixTime, backdate_secs: u64, ttl_secs: u64) -> Option<Self> {
        let valid_after = now.secs().checked_sub(backdate_secs).filter(|after| *after > 0)?;
        let valid_before = now.secs().checked_add(ttl_secs).filter(|before| *before < u64::MAX)?;
        (ttl_secs > 0 && valid_after < valid_before).then_some(Self {
            valid_after: UnixTime(valid_after),
            valid_before: UnixTime(valid_before),
        })
    }

    /// First second at which the certificate is valid.
    #[must_use]
    pub const fn valid_after(&self) -> UnixTime {
        self.valid_after
    }

    /// First second at which it no longer is.
    #[must_use]
    pub const fn valid_before(&self) -> UnixTime {
        self.valid_before
    }
}

/// Not a duration, or not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write it like 30m, 1h30m, 90s, 1d or 3600")]
pub struct DurationParseError(pub String);

/// Reads a duration as Vault does: `3600`, `30m`, `1h30m`, `1.5h`, `90s`, `500ms`, `1d` (whole days, not mixed). In seconds,
/// fractions of one dropped. The empty text is 0.
///
/// # Errors
/// [`DurationParseError`] for anything else, negative values included.
pub fn parse_duration(text: &str) -> Result<u64, DurationParseError> {
    let wrong = || DurationParseError(text.to_owned());
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(0);
    }
    if let Ok(secs) = trimmed.parse::<u64>() {
        return Ok(secs);
    }
    if let Some(days) = trimmed.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()) {
        return days.checked_mul(86_400).ok_or_else(wrong);
    }
    let nanos = go_duration_nanos(trimmed).ok_or_else(wrong)?;
    u64::try_from(nanos / 1_000_000_000).map_err(|_| wrong())
}

/// Reads Go's duration syntax: a sequence of decimal numbers with a unit each.
fn go_duration_nanos(text: &str) -> Option<u128> {
    const LONGEST: usize = 64;
    let mut rest = text;
    let mut total: u128 = 0;
    if rest.len() > LONGEST {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !(c.is_ascii_digit() || c == '.'));
        let (unit, next) = split_where(after, |c| c.is_ascii_digit() || c == '.');
        let unit_nanos: u128 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3_600 * 1_000_000_000,
            _ => return None,
        };
        total = total.checked_add(decimal_times(number, unit_nanos)?)?;
        rest = next;
    }
    Some(total)
}

fn split_where(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

/// `number` (digits with at most one point) times `unit`, fractions dropped.
fn decimal_times(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.chars() {
        scale /= 10;
        total = total.checked_add(scale.checked_mul(u128::from(digit.to_digit(10)?))?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_vault_reads_them() {
        let rows = [
            ("30m", Some(1800)),
            ("30m0s", Some(1800)),
            ("1h30m", Some(5400)),
            ("1.5h", Some(5400)),
            ("90s", Some(90)),
            ("500ms", Some(0)),
            ("1500ms", Some(1)),
            ("3600", Some(3600)),
            ("1d", Some(86_400)),
            ("", Some(0)),
            ("0s", Some(0)),
            ("-1s", None),
            ("1d2h", None),
            ("h", None),
            ("1e300h", None),
            ("99999999999999999999999h", None),
            ("1.2.3s", None),
            ("soon", None),
        ];
        for (text, secs) in rows {
            assert_eq!(parse_duration(text).ok(), secs, "{text}");
        }
    }

    #[test]
    fn the_window_is_never_empty_always_or_for_ever() {
        let now = UnixTime::from_secs(1_000);
        assert!(Validity::around(now, 30, 60).is_some());
        assert!(Validity::around(now, 30, 0).is_none(), "empty");
        assert!(Validity::around(now, 1_000, 60).is_none(), "valid_after 0 means always");
        assert!(
            Validity::around(now, 30, u64::MAX - 1_000).is_none(),
            "u64::MAX means for ever"
        );
        assert!(Validity::around(now, 30, u64::MAX).is_none(), "overflow");
    }

    #[test]
    fn weekdays_and_hours_are_utc() {
        let sunday = UnixTime::parse_rfc3339("2026-11-22T03:41:00Z").unwrap();
        assert_eq!((sunday.weekday_utc(), sunday.hour_utc()), (7, 3));
        assert_eq!(sunday.to_string(), "2026-11-22T03:41:00Z");
    }
}
