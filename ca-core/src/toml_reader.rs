//! Reads every TOML file that people write, key by key. A key is known by being asked for, so there is no second list of
//! keys to forget; all mistakes are told at once with their lines and the nearest right words, where serde would stop at
//! the first.

mod document;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::document::{Document, OpenTable};
use crate::mistake::Mistake;
use crate::time::parse_duration;

const A_TEXT: &str = "a text in quotes";
const A_LIST_OF_TEXTS: &str = "a list of texts: [\"a\", \"b\"]";
const A_LIST_OF_NUMBERS: &str = "a list of whole numbers: [3072, 4096]";
const A_TEXT_OR_TEXTS: &str = "a text or a list of texts";
const A_DURATION: &str = "a duration such as \"30m\"";

/// Reads a file that people know as `file`: `read` asks the top table for what it wants.
///
/// # Errors
/// Every mistake in `text`, in the order of the lines: what the syntax forbids; where the syntax holds, also what `read`
/// found wrong and each key that nobody asked for.
pub fn read<T>(file: &str, text: &str, read: impl FnOnce(&TableReader<'_>) -> T) -> Result<T, Vec<Mistake>> {
    let (value, mistakes) = read_beside_mistakes(file, text, read);
    if mistakes.is_empty() { Ok(value) } else { Err(mistakes) }
}

/// Reads what can be read beside the mistakes, so that other files can be checked against it.
pub(crate) fn read_beside_mistakes<T>(
    file: &str,
    text: &str,
    read: impl FnOnce(&TableReader<'_>) -> T,
) -> (T, Vec<Mistake>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let document = Rc::new(Document::new(file, text));
    let table = document.open(root.get_ref(), String::new(), Place(0));
    let value = read(&TableReader {
        document: Rc::clone(&document),
        table,
    });
    // Where the syntax is broken, a key that seems missing or unknown may be a splinter of the break.
    let mistakes = if errors.is_empty() {
        document.finish()
    } else {
        document.syntax_mistakes(&errors)
    };
    (value, mistakes)
}

/// Where something stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(usize);

/// A table of the file.
///
/// Getters return `None` or nothing both for an absent key and for a wrong one, having kept the mistake. Ask for every key
/// before turning back early: what nobody asks for is unknown.
#[derive(Debug, Clone)]
pub struct TableReader<'a> {
    document: Rc<Document<'a>>,
    table: Rc<OpenTable<'a>>,
}

impl<'a> TableReader<'a> {
    /// A text.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<String> {
        self.typed(key, A_TEXT, |value| value.as_str().map(str::to_owned))
    }

    /// A text that has to be there.
    #[must_use]
    pub fn required(&self, key: &str) -> Option<String> {
        if !self.has(key) {
            self.wrong_here(format!("`{key}` is missing{}", self.table.shown()));
        }
        self.string(key)
    }

    /// A text that `parse` understands, or a mistake that says what is `wanted`.
    #[must_use]
    pub fn parsed<T>(&self, key: &str, wanted: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let written = self.string(key)?;
        let parsed = parse(&written);
        if parsed.is_none() {
            self.wrong(key, format!("`{key}` is `{written}`, but must be {wanted}"));
        }
        parsed
    }

    /// One of a few words, by table; the mistake names the nearest.
    #[must_use]
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let written = self.string(key)?;
        let found = words.iter().find(|(word, _)| *word == written);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let text = format!("`{key}` is `{written}`, but must be {}", value::alternatives(&known));
            self.keep(self.mistake(self.place_of(key), text).did_you_mean(&written, known));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// A word that can be only one today, so that a later kind cannot be taken for it.
    pub fn only_word(&self, key: &str, only: &str) {
        self.word(key, &[(only, ())]).unwrap_or_default();
    }

    /// `true` or `false`.
    #[must_use]
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// A whole number within `allowed`.
    #[must_use]
    pub fn number(&self, key: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
        let number = self.typed(key, "a whole number", value::integer)?;
        self.within(key, number, "", &allowed)
    }

    /// A duration such as `"30m"`, or a whole number of seconds, in seconds within `allowed`.
    #[must_use]
    pub fn duration_secs(&self, key: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
        let read = self.typed(key, A_DURATION, |value| match value.as_str() {
            Some(text) => Some(parse_duration(text)),
            None => value::integer(value).map(Ok),
        })?;
        match read {
            Ok(secs) => self.within(key, secs, " s", &allowed),
            Err(error) => {
                self.wrong(key, format!("`{key}`: {error}"));
                None
            }
        }
    }

    /// A list of texts, each with its place; empty when the key is absent.
    #[must_use]
    pub fn strings(&self, key: &str) -> Vec<(String, Place)> {
        self.items(key, A_LIST_OF_TEXTS, |item| item.as_str().map(str::to_owned))
    }

    /// A list of whole numbers, each with its place; empty when the key is absent.
    #[must_use]
    pub fn numbers(&self, key: &str) -> Vec<(u64, Place)> {
        self.items(key, A_LIST_OF_NUMBERS, value::integer)
    }

    /// A text or a list of texts, where a number and a truth value count as the text they are written as; a single one is
    /// a list of one.
    #[must_use]
    pub fn scalars(&self, key: &str) -> Option<Vec<String>> {
        self.typed(key, A_TEXT_OR_TEXTS, |value| match value.as_array() {
            Some(items) => items.iter().map(|item| value::scalar(item.get_ref())).collect(),
            None => value::scalar(value).map(|text| vec![text]),
        })
    }

    /// A table of texts with free keys; empty when the key is absent.
    #[must_use]
    pub fn string_map(&self, key: &str) -> BTreeMap<String, String> {
        let Some(table) = self.table(key) else {
            return BTreeMap::new();
        };
        let entry = |name: String| table.string(&name).map(|text| (name, text));
        table.free_keys().into_iter().filter_map(entry).collect()
    }

    /// The table under a key (`[key]`).
    #[must_use]
    pub fn table(&self, key: &str) -> Option<Self> {
        let path = self.table.path_of(key);
        let table = self.typed(key, &format!("a table: [{path}]"), DeValue::as_table)?;
        Some(self.open(table, format!("[{path}]"), self.place_of(key)))
    }

    /// The tables of a list (`[[key]]`); none when the key is absent.
    #[must_use]
    pub fn tables(&self, key: &str) -> Vec<Self> {
        let header = format!("[[{}]]", self.table.path_of(key));
        let items = self.items(key, &format!("a list of tables: {header}"), DeValue::as_table);
        let open = |(table, place)| self.open(table, header.clone(), place);
        items.into_iter().map(open).collect()
    }

    /// All keys of a table whose keys are free, in the order of their names; none of them is unknown.
    #[must_use]
    pub fn free_keys(&self) -> Vec<String> {
        let keys: Vec<String> = self.table.keys().map(|key| key.get_ref().to_string()).collect();
        for key in &keys {
            self.table.ask(key);
        }
        keys
    }

    /// Whether the key stands in the file.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.ask(key);
        self.table.find(key).is_some()
    }

    /// Whether the key holds a list.
    #[must_use]
    pub fn is_list(&self, key: &str) -> bool {
        self.table.ask(key);
        self.table.find(key).is_some_and(|(_, value)| value.is_array())
    }

    /// The line on which the table starts, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.document.line(self.table.place())
    }

    /// The place of a key; that of the table where the key is absent.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Place {
        self.table.find(key).map_or(self.table.place(), |(place, _)| place)
    }

    /// Keeps a mistake at `key`, or at the table where the key is absent.
    pub fn wrong(&self, key: &str, text: impl Into<String>) {
        self.wrong_at(self.place_of(key), text);
    }

    /// Keeps a mistake at `key` with what to do next.
    pub fn wrong_hint(&self, key: &str, text: impl Into<String>, hint: impl Into<String>) {
        self.keep(self.mistake(self.place_of(key), text).hint(hint));
    }

    /// Keeps a mistake about the table as a whole.
    pub fn wrong_here(&self, text: impl Into<String>) {
        self.wrong_at(self.table.place(), text);
    }

    /// Keeps a mistake at a place.
    pub fn wrong_at(&self, place: Place, text: impl Into<String>) {
        self.keep(self.mistake(place, text));
    }

    /// A mistake at a place, to be completed and kept.
    #[must_use]
    pub fn mistake(&self, place: Place, text: impl Into<String>) -> Mistake {
        self.document.mistake(place, text)
    }

    /// Keeps a mistake, so that the file is refused.
    pub fn keep(&self, mistake: Mistake) {
        self.document.keep(mistake);
    }

    fn typed<T>(&self, key: &str, wanted: &str, read: impl FnOnce(&'a DeValue<'a>) -> Option<T>) -> Option<T> {
        self.table.ask(key);
        let (place, value) = self.table.find(key)?;
        let read = read(value);
        if read.is_none() {
            let found = value::kind(value);
            self.wrong_at(place, format!("`{key}` is {found}, but must be {wanted}"));
        }
        read
    }

    /// Reads a list; each item that `read` does not take is a mistake at the item.
    fn items<T>(&self, key: &str, wanted: &str, read: impl Fn(&'a DeValue<'a>) -> Option<T>) -> Vec<(T, Place)> {
        let items = self.typed(key, wanted, DeValue::as_array);
        let item = |item: &'a Spanned<DeValue<'a>>| {
            let place = Place(item.span().start);
            let read = read(item.get_ref());
            if read.is_none() {
                let found = value::kind(item.get_ref());
                self.wrong_at(place, format!("`{key}` holds {found}, but must be {wanted}"));
            }
            Some((read?, place))
        };
        items.into_iter().flatten().filter_map(item).collect()
    }

    fn within(&self, key: &str, found: u64, unit: &str, allowed: &RangeInclusive<u64>) -> Option<u64> {
        if allowed.contains(&found) {
            return Some(found);
        }
        let wanted = value::range(allowed, unit);
        self.wrong(key, format!("`{key}` is {found}{unit}, but must be {wanted}"));
        None
    }

    fn open(&self, table: &'a DeTable<'a>, header: String, place: Place) -> Self {
        Self {
            document: Rc::clone(&self.document),
            table: self.document.open(table, header, place),
        }
    }
}
