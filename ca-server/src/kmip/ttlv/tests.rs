use data_encoding::HEXLOWER_PERMISSIVE;
use proptest::collection::vec;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::{DEPTH_MAX, ITEMS_MAX, Item, MESSAGE_BYTES_MAX, TtlvError, Value, message_length};
use crate::kmip::tag::Tag;

fn bytes(hex: &str) -> Vec<u8> {
    let packed: String = hex.split_whitespace().collect();
    HEXLOWER_PERMISSIVE.decode(packed.as_bytes()).unwrap()
}

/// "KMIP Specification Version 1.4", section 9.1.2 "Examples".
#[test]
fn the_examples_of_the_standard_are_read_and_written() {
    let tag = Tag(0x42_0020);
    let of_bytes = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
    for (value, hex) in [
        (Value::Integer(8), "420020 02 00000004 0000000800000000"),
        (
            Value::LongInteger(123_456_789_000_000_000),
            "420020 03 00000008 01B69B4BA5749200",
        ),
        (
            Value::BigInteger(of_bytes(&bytes("0000000003FD35EB6BC2DF4618080000"))),
            "420020 04 00000010 0000000003FD35EB6BC2DF4618080000",
        ),
        (Value::Enumeration(255), "420020 05 00000004 000000FF00000000"),
        (Value::Boolean(true), "420020 06 00000008 0000000000000001"),
        (
            Value::Text("Hello World".to_owned()),
            "420020 07 0000000B 48656C6C6F20576F726C640000000000",
        ),
        (
            Value::Bytes(of_bytes(&[1, 2, 3])),
            "420020 08 00000003 0102030000000000",
        ),
        (Value::DateTime(1_205_495_800), "420020 09 00000008 0000000047DA67F8"),
        (Value::Interval(864_000), "420020 0A 00000004 000D2F0000000000"),
        (
            Value::Structure(vec![
                Item::word(Tag(0x42_0004), 254),
                Item::integer(Tag(0x42_0005), 255),
            ]),
            "420020 01 00000020 420004 05 00000004 000000FE00000000 420005 02 00000004 000000FF00000000",
        ),
    ] {
        let item = Item::new(tag, value);
        assert_eq!(*item.encode().unwrap(), bytes(hex), "{item:?}");
        assert_eq!(Item::decode(&bytes(hex)).unwrap(), item);
    }
}

fn refused(rows: Vec<(&str, Vec<u8>, TtlvError)>) {
    for (name, given, reason) in rows {
        assert_eq!(Item::decode(&given), Err(reason), "{name}");
    }
}

#[test]
fn bytes_that_are_cut_or_badly_padded_are_refused() {
    refused(vec![
        ("nothing", Vec::new(), TtlvError::Truncated),
        ("half a header", bytes("420020 02 0000"), TtlvError::Truncated),
        ("a header alone", bytes("420020 02 00000004"), TtlvError::Truncated),
        ("half a value", bytes("420020 02 00000004 0000"), TtlvError::Truncated),
        (
            "a value without its padding",
            bytes("420020 02 00000004 00000008"),
            TtlvError::Truncated,
        ),
        (
            "padding that is not zero",
            bytes("420020 02 00000004 0000000800000001"),
            TtlvError::Padding { tag: 0x42_0020 },
        ),
        (
            "a text padded with spaces",
            bytes("420020 07 00000001 4120202020202020"),
            TtlvError::Padding { tag: 0x42_0020 },
        ),
        (
            "a length past the end",
            bytes("420020 08 FFFFFFFF 0102030000000000"),
            TtlvError::Truncated,
        ),
        (
            "an item longer than the structure around it",
            bytes("420020 01 00000010 420004 08 00000009 0000000000000000 0000000000000000"),
            TtlvError::Truncated,
        ),
        (
            "a structure that ends inside an item",
            bytes("420020 01 00000004 42000405 00000000"),
            TtlvError::Truncated,
        ),
    ]);
}

#[test]
fn types_with_lengths_or_values_that_they_cannot_have_are_refused() {
    refused(vec![
        (
            "a number of eight bytes",
            bytes("420020 02 00000008 0000000000000001"),
            TtlvError::Length {
                tag: 0x42_0020,
                length: 8,
            },
        ),
        (
            "a long number of four bytes",
            bytes("420020 03 00000004 0000000100000000"),
            TtlvError::Length {
                tag: 0x42_0020,
                length: 4,
            },
        ),
        (
            "a yes that is two",
            bytes("420020 06 00000008 0000000000000002"),
            TtlvError::Value { tag: 0x42_0020 },
        ),
        (
            "a big number of no bytes",
            bytes("420020 04 00000000"),
            TtlvError::Length {
                tag: 0x42_0020,
                length: 0,
            },
        ),
        (
            "a text that is no UTF-8",
            bytes("420020 07 00000001 FF00000000000000"),
            TtlvError::Value { tag: 0x42_0020 },
        ),
        (
            "the type nought",
            bytes("420020 00 00000000"),
            TtlvError::Type { number: 0 },
        ),
        (
            "a type of KMIP 2",
            bytes("420020 0B 00000008 0000000000000000"),
            TtlvError::Type { number: 0x0B },
        ),
        (
            "an answer in HTTP",
            b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
            TtlvError::Tag { tag: 0x48_5454 },
        ),
        (
            "bytes after the end",
            bytes("420020 02 00000004 0000000800000000 00"),
            TtlvError::LeftOver { bytes: 1 },
        ),
    ]);
}

#[test]
fn what_is_too_deep_too_many_or_too_long_is_refused() {
    let nested = |depth: usize| {
        let mut item = Item::structure(Tag(0x42_0020), Vec::new());
        for _ in 1..depth {
            item = Item::structure(Tag(0x42_0020), vec![item]);
        }
        item.encode().unwrap().to_vec()
    };
    let wide = |count: usize| {
        let items = vec![Item::integer(Tag(0x42_0005), 1); count];
        Item::structure(Tag(0x42_0020), items).encode().unwrap().to_vec()
    };
    refused(vec![
        ("structures too deep", nested(DEPTH_MAX + 1), TtlvError::TooMuch),
        ("items too many", wide(ITEMS_MAX), TtlvError::TooMuch),
        (
            "a message too long",
            vec![0x42; MESSAGE_BYTES_MAX + 1],
            TtlvError::TooLong {
                length: MESSAGE_BYTES_MAX + 1,
            },
        ),
    ]);
    assert!(Item::decode(&nested(DEPTH_MAX)).is_ok());
    assert!(Item::decode(&wide(ITEMS_MAX - 1)).is_ok());
}

#[test]
fn a_length_is_refused_before_anything_is_read_after_it() {
    let header = |hex: &str| bytes(hex).try_into().unwrap();
    assert_eq!(message_length(header("42007B 01 00000010")), Ok(24));
    let longest = message_length(header("42007B 01 0000FFF8"));
    assert_eq!(longest, Ok(MESSAGE_BYTES_MAX));
    assert!(matches!(
        message_length(header("42007B 01 0000FFF9")),
        Err(TtlvError::TooLong { .. })
    ));
    assert!(matches!(
        message_length(header("42007B 01 FFFFFFFF")),
        Err(TtlvError::TooLong { .. })
    ));
    assert_eq!(
        message_length(header("485454502F312E31")),
        Err(TtlvError::Type { number: b'P' })
    );
}

#[test]
fn what_may_be_a_key_is_not_shown() {
    let shown = format!("{:?}", Item::bytes(Tag(0x42_0043), b"hunter2hunter2"));
    assert!(shown.contains("14 bytes") && !shown.contains("hunter2"), "{shown}");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Value::Integer),
        any::<i64>().prop_map(Value::LongInteger),
        vec(any::<[u8; 8]>(), 1..4).prop_map(|blocks| Value::BigInteger(Zeroizing::new(blocks.concat()))),
        any::<u32>().prop_map(Value::Enumeration),
        any::<bool>().prop_map(Value::Boolean),
        any::<String>().prop_map(Value::Text),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(Zeroizing::new(bytes))),
        any::<i64>().prop_map(Value::DateTime),
        any::<u32>().prop_map(Value::Interval),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        vec((0x42_0000..0x43_0000_u32, inner), 0..6).prop_map(|items| {
            let item = |(tag, value)| Item::new(Tag(tag), value);
            Value::Structure(items.into_iter().map(item).collect())
        })
    })
}

proptest! {
    #[test]
    fn decode_of_encode_is_the_item(tag in 0x54_0000..0x55_0000_u32, value in value()) {
        let item = Item::new(Tag(tag), value);
        let encoded = item.encode().unwrap();
        prop_assert_eq!(encoded.len() % 8, 0);
        prop_assert_eq!(Item::decode(&encoded).unwrap(), item);
    }

    /// Whatever is read is written again byte by byte: there is one way to say a thing.
    #[test]
    fn encode_of_decode_is_the_bytes(value in value(), flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = Item::new(Tag(0x42_0020), value).encode().unwrap().to_vec();
        for (at, byte) in flips {
            let length = bytes.len();
            bytes[at.index(length)] = byte;
        }
        if let Ok(item) = Item::decode(&bytes) {
            prop_assert_eq!(item.encode().unwrap().to_vec(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        drop(Item::decode(&bytes));
    }
}
