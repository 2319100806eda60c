//! The one canonical form of a request's path, made before any check looks at it, so that no two checks can read the same
//! bytes differently (CVE-2026-3605 and its family). What cannot be made canonical is refused, never repaired.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A segment of dots only: `.`, `..` and longer.
    #[error("the path holds a segment of dots")]
    Dots,
    /// A percent escape that is cut short or hides a character which has a meaning in paths.
    #[error("the path holds a percent escape that is not allowed")]
    Escape,
    /// A control character, a backslash, or anything outside ASCII.
    #[error("the path holds a character that is not allowed")]
    Character,
}

/// Brings the path after `/v1/` into its canonical form: escapes decoded, no empty segments, no slash at either end.
///
/// Doubled slashes come from clients that join a mount written `ssh/` with `/sign/x`; Vault's own client cleans them.
///
/// # Errors
/// [`PathError`] for what two readers could take for two different paths.
///
/// # Security
/// Every check (route, mount, policy) has to use the answer and nothing else.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, PathError> {
    let decoded = decoded(path)?;
    if decoded
        .bytes()
        .any(|byte| !(b' '..=b'~').contains(&byte) || byte == b'\\')
    {
        return Err(PathError::Character);
    }
    if decoded
        .split('/')
        .any(|segment| !segment.is_empty() && segment.bytes().all(|byte| byte == b'.'))
    {
        return Err(PathError::Dots);
    }
    if !decoded.contains("//") && !decoded.starts_with('/') && !decoded.ends_with('/') {
        return Ok(decoded);
    }
    let segments: Vec<&str> = decoded.split('/').filter(|segment| !segment.is_empty()).collect();
    Ok(Cow::Owned(segments.join("/")))
}

/// Decodes escapes once. `%2e`, `%2f`, `%5c` and `%25` are refused: whoever needs them wants a second reader to see another path.
fn decoded(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut pieces = path.split('%');
    let mut text = String::with_capacity(path.len());
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (hex, rest) = piece.split_at_checked(2).ok_or(PathError::Escape)?;
        if !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(PathError::Escape);
        }
        let byte = u8::from_str_radix(hex, 16).map_err(|_| PathError::Escape)?;
        if !(b' '..=b'~').contains(&byte) || matches!(byte, b'.' | b'/' | b'\\' | b'%') {
            return Err(PathError::Escape);
        }
        text.push(char::from(byte));
        text.push_str(rest);
    }
    Ok(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_paths_are_left_as_they_are_without_a_copy() {
        assert!(matches!(
            canonical("team/a/ssh/sign/my-role"),
            Ok(Cow::Borrowed("team/a/ssh/sign/my-role"))
        ));
    }

    #[test]
    fn slashes_are_cleaned_as_clients_expect() {
        for path in ["ssh//sign/x", "/ssh/sign/x", "ssh/sign/x/", "ssh///sign//x//"] {
            assert_eq!(canonical(path).unwrap(), "ssh/sign/x", "{path}");
        }
        assert_eq!(canonical("ssh/roles/test%40Name").unwrap(), "ssh/roles/test@Name");
    }

    #[test]
    fn cve_2026_3605_paths_with_two_readings_are_refused() {
        for path in [
            "ssh/./sign/x",
            "ssh/../sys/mounts",
            "..",
            "ssh/...",
            "ssh/%2e%2e/x",
            "ssh/%2E/x",
            "ssh%2fsign/x",
            "ssh/sign%5cx",
            "ssh/%252e%252e/x",
            "ssh/sign/x%00",
            "ssh/sign/x%0a",
            "ssh/sign/%",
            "ssh/sign/%4",
            "ssh/sign/%+1",
            "ssh\\sign",
            "ssh/\u{2024}\u{2024}/x",
            "ssh/\u{ff0e}\u{ff0e}/x",
            "ssh/%e2%80%a4/x",
        ] {
            assert!(canonical(path).is_err(), "{path:?}");
        }
    }
}
