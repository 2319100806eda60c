//! Reads TOML that people wrote, key by key, and collects every mistake with its line and the nearest right word.
//! Serde would stop at the first one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::mistake::{Mistake, line_of};

/// One TOML file under reading.
#[derive(Debug)]
pub(crate) struct TomlReader<'a> {
    file: &'a str,
    text: &'a str,
    mistakes: RefCell<Vec<Mistake>>,
}

/// A table in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableReader<'r, 'a> {
    reader: &'r TomlReader<'a>,
    table: &'r DeTable<'a>,
    place: usize,
}

impl<'a> TomlReader<'a> {
    /// Prepares to read `text`, which people know as `file`.
    pub(crate) const fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            mistakes: RefCell::new(Vec::new()),
        }
    }

    /// Reads the syntax; mistakes in it are kept and what could be read is returned.
    pub(crate) fn parse(&self) -> Spanned<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            self.mistake(offset, error.message().trim().replace('\n', ", "));
        }
        table
    }

    /// Makes a reader of a parsed table.
    pub(crate) fn table<'r>(&'r self, table: &'r Spanned<DeTable<'a>>) -> TableReader<'r, 'a> {
        TableReader {
            reader: self,
            table: table.get_ref(),
            place: table.span().start,
        }
    }

    /// Keeps a mistake at a byte offset.
    pub(crate) fn mistake(&self, offset: usize, text: impl Into<String>) {
        self.keep(Mistake::at_offset(self.file, self.text, offset, text));
    }

    /// Keeps a mistake.
    pub(crate) fn keep(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    /// A mistake at a byte offset, to be completed and kept.
    pub(crate) fn at(&self, offset: usize, text: impl Into<String>) -> Mistake {
        Mistake::at_offset(self.file, self.text, offset, text)
    }

    /// The line that holds a byte offset.
    pub(crate) fn line(&self, offset: usize) -> usize {
        line_of(self.text, offset)
    }

    /// `value` if no mistake was found.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Vec<Mistake>> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        if mistakes.is_empty() { Ok(value) } else { Err(mistakes) }
    }
}

impl<'r, 'a> TableReader<'r, 'a> {
    /// The file this table is in.
    pub(crate) const fn reader(&self) -> &'r TomlReader<'a> {
        self.reader
    }

    /// Where the table starts.
    pub(crate) const fn place(&self) -> usize {
        self.place
    }

    /// Keeps a mistake for each key that is not among `known`.
    pub(crate) fn only(&self, known: &[&str]) {
        for key in self.table.keys() {
            let word: &str = key.get_ref();
            if !known.contains(&word) {
                let mistake = self.reader.at(key.span().start, format!("unknown key `{word}`"));
                let mistake = mistake.did_you_mean(word, known.iter().copied());
                let known_keys = || format!("known keys: {}", known.join(", "));
                let hint = mistake.hint.clone().unwrap_or_else(known_keys);
                self.reader.keep(mistake.hint(hint));
            }
        }
    }

    /// A text value with its byte offset.
    pub(crate) fn string(&self, key: &str) -> Option<(String, usize)> {
        let value = self.value(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some((text.to_owned(), value.span().start)),
            None => self.wrong_type(key, value, "a text in quotes"),
        }
    }

    /// A text value that must be there.
    pub(crate) fn required(&self, key: &str) -> Option<(String, usize)> {
        if self.value(key).is_none() {
            self.reader.mistake(self.place, format!("`{key}` is missing"));
        }
        self.string(key)
    }

    /// A list of texts, each with its byte offset; empty when the key is absent.
    pub(crate) fn strings(&self, key: &str) -> Vec<(String, usize)> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type::<()>(key, value, "a list of texts: [\"a\", \"b\"]");
            return Vec::new();
        };
        let item = |item: &Spanned<DeValue<'a>>| match item.get_ref().as_str() {
            Some(text) => Some((text.to_owned(), item.span().start)),
            None => self.wrong_type(key, item, "a list of texts: [\"a\", \"b\"]"),
        };
        array.iter().filter_map(item).collect()
    }

    /// A table of texts; empty when the key is absent.
    pub(crate) fn string_map(&self, key: &str) -> BTreeMap<String, String> {
        let Some((table, _)) = self.subtable(key) else {
            return BTreeMap::new();
        };
        let entry = |name: String| table.string(&name).map(|(text, _)| (name, text));
        table.keys().into_iter().filter_map(|(name, _)| entry(name)).collect()
    }

    /// A table under a key.
    pub(crate) fn subtable(&self, key: &str) -> Option<(TableReader<'r, 'a>, usize)> {
        let value = self.value(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some((
                TableReader {
                    table,
                    place: value.span().start,
                    ..*self
                },
                value.span().start,
            )),
            None => self.wrong_type(key, value, "a table"),
        }
    }

    /// The tables of an array of tables (`[[key]]`); empty when the key is absent.
    pub(crate) fn subtables(&self, key: &str) -> Vec<TableReader<'r, 'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type::<()>(key, value, &format!("a list of tables: [[{key}]]"));
            return Vec::new();
        };
        let item = |item: &'r Spanned<DeValue<'a>>| match item.get_ref().as_table() {
            Some(table) => Some(TableReader {
                table,
                place: item.span().start,
                ..*self
            }),
            None => self.wrong_type(key, item, &format!("a list of tables: [[{key}]]")),
        };
        array.iter().filter_map(item).collect()
    }

    /// A truth value.
    pub(crate) fn bool(&self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref().as_bool() {
            Some(yes) => Some(yes),
            None => self.wrong_type(key, value, "true or false"),
        }
    }

    /// A duration in seconds, written as `"30m"` or as a whole number of seconds, with its byte offset.
    pub(crate) fn duration_secs(&self, key: &str) -> Option<(u64, usize)> {
        let value = self.value(key)?;
        let place = value.span().start;
        let text = value
            .get_ref()
            .as_str()
            .or_else(|| value.get_ref().as_integer().map(toml::de::DeInteger::as_str));
        match text.map(crate::time::parse_duration) {
            Some(Ok(secs)) => Some((secs, place)),
            Some(Err(error)) => {
                self.reader.mistake(place, format!("`{key}`: {error}"));
                None
            }
            None => self.wrong_type(key, value, "a duration such as \"30m\""),
        }
    }

    /// A list of whole numbers.
    pub(crate) fn numbers(&self, key: &str) -> Vec<u32> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let numbers = value.get_ref().as_array().and_then(|array| {
            array
                .iter()
                .map(|item| item.get_ref().as_integer()?.as_str().parse().ok())
                .collect::<Option<Vec<u32>>>()
        });
        numbers.unwrap_or_else(|| {
            self.wrong_type(key, value, "a list of whole numbers: [3072, 4096]")
                .unwrap_or_default()
        })
    }

    /// Whether the key holds a list.
    pub(crate) fn is_array(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().is_array())
    }

    /// The byte offset of a key's value; that of the table where the key is absent.
    pub(crate) fn place_of(&self, key: &str) -> usize {
        self.value(key).map_or(self.place, |value| value.span().start)
    }

    /// The keys with their byte offsets, in the order of their names.
    pub(crate) fn keys(&self) -> Vec<(String, usize)> {
        self.table
            .keys()
            .map(|key| (key.get_ref().to_string(), key.span().start))
            .collect()
    }

    fn value(&self, key: &str) -> Option<&'r Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    fn wrong_type<T>(&self, key: &str, value: &Spanned<DeValue<'a>>, wanted: &str) -> Option<T> {
        let Range { start, .. } = value.span();
        self.reader.mistake(
            start,
            format!("`{key}` is {}, but must be {wanted}", value.get_ref().type_str()),
        );
        None
    }
}
