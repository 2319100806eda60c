//! AWS writes its PKCS #7 as a stream: with indefinite lengths and the document in pieces (X.690, "BER"). Here it becomes DER
//! before anything reads it, so that each reading after this has one meaning only.

const DEPTH_MAX: usize = 16;
const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;
const END_OF_CONTENTS: [u8; 2] = [0, 0];

/// The one element that `bytes` are, in DER; `None` when they are no element, more than one, or hold what no PKCS #7 has
/// (tags of several bytes, lengths that are longer than need be, deep nesting).
pub(super) fn to_der(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes;
    let der = element(&mut rest, DEPTH_MAX)?;
    rest.is_empty().then_some(der)
}

fn element(input: &mut &[u8], depth: usize) -> Option<Vec<u8>> {
    let deeper = depth.checked_sub(1)?;
    let tag = byte(input)?;
    // Tags of several bytes, and the mark that ends an indefinite length, which is no element.
    if tag & 0x1f == 0x1f || tag == 0 {
        return None;
    }
    let constructed = tag & CONSTRUCTED != 0;
    let content = match length(input)? {
        Length::Definite(length) => {
            let mut inside = take(input, length)?;
            if constructed {
                children(&mut inside, tag, deeper, <[u8]>::is_empty)?
            } else {
                inside.to_vec()
            }
        }
        Length::Indefinite if constructed => {
            let content = children(input, tag, deeper, |rest| rest.starts_with(&END_OF_CONTENTS))?;
            take(input, END_OF_CONTENTS.len())?;
            content
        }
        Length::Indefinite => return None,
    };
    // A text in pieces is one text.
    let tag = if tag == OCTET_STRING | CONSTRUCTED {
        OCTET_STRING
    } else {
        tag
    };
    laid_out(tag, &content)
}

/// The elements up to the end; of a text in pieces, the pieces' contents.
fn children(input: &mut &[u8], parent: u8, depth: usize, ends: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    while !ends(input) {
        if parent == OCTET_STRING | CONSTRUCTED {
            if byte(input)? != OCTET_STRING {
                return None;
            }
            let Length::Definite(length) = length(input)? else {
                return None;
            };
            content.extend_from_slice(take(input, length)?);
        } else {
            content.extend(element(input, depth)?);
        }
    }
    Some(content)
}

enum Length {
    Definite(usize),
    Indefinite,
}

/// X.690, "Length octets": up to two bytes of length are enough for any document.
fn length(input: &mut &[u8]) -> Option<Length> {
    let definite = |length: usize, least: usize| (length >= least).then_some(Length::Definite(length));
    match byte(input)? {
        short @ 0..=0x7f => Some(Length::Definite(usize::from(short))),
        0x80 => Some(Length::Indefinite),
        0x81 => definite(usize::from(byte(input)?), 0x80),
        0x82 => definite(usize::from(u16::from_be_bytes([byte(input)?, byte(input)?])), 0x100),
        _ => None,
    }
}

fn laid_out(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len()).ok()?;
    let [high, low] = length.to_be_bytes();
    let mut element = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    element.extend_from_slice(content);
    Some(element)
}

fn byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER_PERMISSIVE;

    use super::*;

    #[test]
    fn streams_become_der_and_what_is_neither_is_refused() {
        let rows: &[(&str, &str, Option<&str>)] = &[
            ("DER stays", "3003020101", Some("3003020101")),
            ("an indefinite sequence", "30800201010000", Some("3003020101")),
            ("a text in two pieces", "2480040161040262630000", Some("0403616263")),
            ("a text in pieces of definite length", "24030401610000", None),
            ("a definite text in pieces", "2403040161", Some("040161")),
            (
                "nested",
                "3080308005000000a08030000000 0000",
                Some("3008 3002 0500 a002 3000"),
            ),
            ("a piece that is no text", "24800201610000", None),
            ("no end", "3080020101", None),
            ("half an end", "308002010100", None),
            ("an indefinite primitive", "04800000", None),
            ("something behind", "300002", None),
            ("a length that is longer than need be", "308103020101", None),
            ("a length of four bytes", "308400000003020101", None),
            ("more announced than there is", "3004020101", None),
            ("nothing", "", None),
            ("an end alone", "0000", None),
            ("a long tag", "3f1f0101", None),
        ];
        for (name, input, want) in rows {
            let bytes = |text: &str| HEXLOWER_PERMISSIVE.decode(text.replace(' ', "").as_bytes()).ok();
            let Some(input) = bytes(input) else {
                assert_eq!(*want, None, "{name}");
                continue;
            };
            assert_eq!(to_der(&input), want.and_then(bytes), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_comes_out_is_der_already(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            // Nested starts and ends make elements likelier than chance would.
            let nested = [&[0x30, 0x80][..], &bytes, &[0, 0]].concat();
            for input in [bytes.as_slice(), &nested] {
                if let Some(der) = to_der(input) {
                    proptest::prop_assert_eq!(to_der(&der), Some(der));
                }
            }
        }
    }

    #[test]
    fn deep_nesting_ends_early() {
        assert_eq!(to_der(&[0x30, 0x80].repeat(8_000)), None);
    }
}
