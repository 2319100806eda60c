//! Bytes that people copy by hand: Crockford's base32 (no I, L, O, U) in groups, each with a check character that says which
//! group was mistyped.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use zeroize::Zeroizing;

/// Data characters in one group; the check character comes behind them.
const GROUP_CHARS: usize = 4;
const SYMBOLS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Crockford's alphabet, with the letters that look like digits read as those.
static CROCKFORD: LazyLock<Option<Encoding>> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str(SYMBOLS);
    specification.encoding().ok()
});

/// Why a text is not the one that was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// A character that is never printed.
    #[error("it holds {0:?}, which such codes never do")]
    Character(char),
    /// A group whose check character does not fit.
    #[error("group {0} is mistyped")]
    Group(usize),
    /// Groups are missing.
    #[error("it is cut short")]
    Short,
}

/// Plain base32 without groups.
#[must_use]
pub fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(CROCKFORD.as_ref().map(|code| code.encode(bytes)).unwrap_or_default())
}

/// The characters of a typed text: upper case, without blanks and dashes, O as 0, I and L as 1.
#[must_use]
pub fn typed(text: &str) -> Zeroizing<String> {
    let kept = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
    let read = kept.map(|c| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    });
    Zeroizing::new(read.collect())
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`CodeError`]
pub fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, CodeError> {
    if let Some(bad) = text.chars().find(|c| !SYMBOLS.contains(*c)) {
        return Err(CodeError::Character(bad));
    }
    let code = CROCKFORD.as_ref().ok_or(CodeError::Short)?;
    code.decode(text.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| CodeError::Short)
}

/// Groups of four characters and their check character, `ABCDx-EFGHx-…`.
#[must_use]
pub fn encode_groups(bytes: &[u8]) -> Zeroizing<String> {
    let plain = encode(bytes);
    let mut out = Zeroizing::new(String::new());
    for (at, group) in plain.as_bytes().chunks(GROUP_CHARS).enumerate() {
        if at > 0 {
            out.push('-');
        }
        out.extend(group.iter().copied().map(char::from));
        out.push(check_character(group, at));
    }
    out
}

/// Reads groups, typed with any blanks, dashes and case.
///
/// # Errors
/// [`CodeError`], with the number of the first group that is wrong.
pub fn decode_groups(text: &str) -> Result<Zeroizing<Vec<u8>>, CodeError> {
    let text = typed(text);
    if let Some(bad) = text.chars().find(|c| !SYMBOLS.contains(*c)) {
        return Err(CodeError::Character(bad));
    }
    let mut plain = Zeroizing::new(String::new());
    for (at, group) in text.as_bytes().chunks(GROUP_CHARS + 1).enumerate() {
        let (check, data) = group.split_last().ok_or(CodeError::Short)?;
        if data.is_empty() {
            return Err(CodeError::Short);
        }
        if char::from(*check) != check_character(data, at) {
            return Err(CodeError::Group(at + 1));
        }
        plain.extend(data.iter().copied().map(char::from));
    }
    decode(&plain)
}

/// Odd weights: any one wrong character changes the sum modulo 32. The group's place counts too, so that swapped groups show.
fn check_character(group: &[u8], at: usize) -> char {
    let value = |byte: &u8| SYMBOLS.bytes().position(|symbol| symbol == *byte).unwrap_or(0);
    let sum = group
        .iter()
        .zip([1, 3, 5, 7])
        .map(|(byte, weight)| value(byte) * weight)
        .sum::<usize>();
    let symbol = SYMBOLS.as_bytes().get((sum + 11 * (at + 1)) % 32);
    symbol.copied().map_or('?', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn groups_read_back_however_they_are_typed(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..80)) {
            let printed = encode_groups(&bytes);
            proptest::prop_assert_eq!(&*decode_groups(&printed).unwrap(), &bytes);
            let sloppy = printed.to_lowercase().replace('-', "  ").replace('0', "o").replace('1', "l");
            proptest::prop_assert_eq!(&*decode_groups(&sloppy).unwrap(), &bytes);
        }

        #[test]
        fn one_wrong_character_names_its_group(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 5..40), at in 0_usize..400, other in 0_usize..32) {
            let printed = encode_groups(&bytes).replace('-', "");
            let at = at % printed.len();
            let wrong = SYMBOLS.as_bytes()[other];
            proptest::prop_assume!(printed.as_bytes()[at] != wrong);
            let mut text = printed.into_bytes();
            text[at] = wrong;
            let read = decode_groups(std::str::from_utf8(&text).unwrap());
            proptest::prop_assert_eq!(read, Err(CodeError::Group(at / 5 + 1)));
        }
    }
}
