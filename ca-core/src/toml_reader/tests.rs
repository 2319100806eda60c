//! What a file may say, and how each mistake reads.

use super::*;

const GOOD: &str = r#"
name = "ca"
node = 0x1_0
ttl = "30m"
max_ttl = 3_600
open = true
kind = "user"
list = ["a", "b"]
bits = [2048, 0b100]
claims = { branch = ["main", 2], protected = true, id = 0x10 }

[people."bob@example.com"]
team = "x"

[[sink]]
path = "one"

[[sink]]
path = "two"
"#;

/// Asks for everything that [`GOOD`] holds.
fn ask(top: &TableReader<'_>) -> String {
    let words = [("user", 1), ("host", 2)];
    let claims = top.table("claims").map(|claims| {
        let keys = claims.free_keys();
        keys.iter()
            .map(|key| format!("{key}={:?}", claims.scalars(key).unwrap_or_default()))
            .collect::<Vec<_>>()
    });
    let people = top.table("people").map(|people| {
        let names = people.free_keys();
        names.iter().map(|name| people.string_map(name)).collect::<Vec<_>>()
    });
    let sinks = top.tables("sink");
    let paths: Vec<Option<String>> = sinks.iter().map(|sink| sink.required("path")).collect();
    let texts: Vec<String> = top.strings("list").into_iter().map(|(text, _)| text).collect();
    let bits: Vec<u64> = top.numbers("bits").into_iter().map(|(bits, _)| bits).collect();
    let address = |text: &str| text.parse::<std::net::IpAddr>().ok();
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {texts:?} {bits:?} {claims:?} {people:?} {paths:?}",
        top.required("name"),
        top.number("node", 1..=100),
        top.duration_secs("ttl", 60..=u64::MAX),
        top.duration_secs("max_ttl", 1..=7200),
        top.bool("open"),
        top.word("kind", &words),
        top.parsed("from", "an address such as 10.1.2.3", address),
    )
}

#[test]
fn every_kind_of_value_reads_as_written() {
    insta::assert_snapshot!(read("x.toml", GOOD, ask).unwrap());
}

/// What is wrong, the text of [`GOOD`] that changes, and what it becomes.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("a missing key", "name = \"ca\"\n", ""),
    ("a wrong type", "name = \"ca\"", "name = 5"),
    ("a negative number", "0x1_0", "-1"),
    ("a number past its range", "0x1_0", "101"),
    ("a duration that is none", "\"30m\"", "\"soon\""),
    ("a duration that is too short", "\"30m\"", "59"),
    ("a duration of another type", "\"30m\"", "1.5"),
    ("a misspelt word", "\"user\"", "\"usr\""),
    ("a word that parses to nothing", "open = true", "from = \"home\""),
    ("a list that is a text", "[\"a\", \"b\"]", "\"a\""),
    (
        "an item on a line of its own",
        "[\"a\", \"b\"]",
        "[\n    \"a\",\n    true,\n]",
    ),
    ("a list within a list", "[\"main\", 2]", "[[\"main\"]]"),
    (
        "a table that is a text",
        "[people.\"bob@example.com\"]\nteam = \"x\"",
        "[people]\n\"bob@example.com\" = \"x\"",
    ),
    (
        "a table that stands once",
        "[[sink]]\npath = \"one\"\n\n[[sink]]",
        "[sink]",
    ),
    ("a text that is a list, deep", "team = \"x\"", "team = []"),
    ("a missing key in a table", "path = \"two\"", ""),
    ("a misspelt key", "node =", "nod ="),
    (
        "an unknown key in a table",
        "path = \"two\"",
        "path = \"two\"\nformat = 1",
    ),
];

#[test]
fn every_mistake_is_told_with_its_line_and_table() {
    let told = MISTAKES.iter().map(|(name, from, to)| {
        assert!(GOOD.contains(from), "{name}: the row changes nothing");
        let mistakes = read("x.toml", &GOOD.replace(from, to), ask).expect_err(name);
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        format!("{name}\n    {}", mistakes.join("\n    "))
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_table_that_two_readers_ask_knows_the_keys_of_both() {
    let ask = |top: &TableReader<'_>| {
        let first = top.table("a").and_then(|a| a.string("x"));
        (first, top.table("a").and_then(|a| a.string("y")))
    };
    assert!(read("x.toml", "[a]\nx = \"1\"\ny = \"2\"\n", ask).is_ok());
    assert!(read("x.toml", "[a]\nx = \"1\"\nz = \"2\"\n", ask).is_err());
}

#[test]
fn a_broken_syntax_tells_no_mistakes_that_follow_from_it() {
    let mistakes = read("x.toml", "nme = \"x\"\n= 5\n[a\nx = = 3\n", |top| top.required("name")).unwrap_err();
    assert!(
        mistakes.iter().all(|mistake| !mistake.text.contains("name")),
        "{mistakes:?}"
    );
    let lines: Vec<Option<usize>> = mistakes.iter().map(|mistake| mistake.line).collect();
    assert!(lines.contains(&Some(2)) && lines.contains(&Some(4)), "{mistakes:?}");
    assert!(lines.is_sorted(), "{mistakes:?}");
}
