//! One file under reading: its mistakes, and for each table that was opened the keys that were asked for.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Place;
use crate::mistake::{Mistake, line_of};

/// The file, shared by the readers of its tables.
#[derive(Debug)]
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    mistakes: RefCell<Vec<Mistake>>,
    /// By the table's address: a file may have as many tables as there are people.
    opened: RefCell<HashMap<usize, Rc<OpenTable<'a>>>>,
}

/// A table that somebody reads.
#[derive(Debug)]
pub(super) struct OpenTable<'a> {
    table: &'a DeTable<'a>,
    /// `[tls]`, `[[mount]]`; empty for the file's top.
    header: String,
    place: Place,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            mistakes: RefCell::new(Vec::new()),
            opened: RefCell::default(),
        }
    }

    /// Opens a table, or gives the one that is open: its keys may be asked for in several places.
    pub(super) fn open(&self, table: &'a DeTable<'a>, header: String, place: Place) -> Rc<OpenTable<'a>> {
        let mut opened = self.opened.borrow_mut();
        let open = opened.entry(std::ptr::from_ref(table).addr()).or_insert_with(|| {
            Rc::new(OpenTable {
                table,
                header,
                place,
                asked: RefCell::default(),
            })
        });
        Rc::clone(open)
    }

    pub(super) fn mistake(&self, place: Place, text: impl Into<String>) -> Mistake {
        Mistake::at_offset(self.file, self.text, place.0, text)
    }

    pub(super) fn keep(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    pub(super) fn line(&self, place: Place) -> usize {
        line_of(self.text, place.0)
    }

    /// What the syntax forbids, once a line: what follows on the same line is a splinter of the first break.
    pub(super) fn syntax_mistakes(&self, errors: &[toml::de::Error]) -> Vec<Mistake> {
        let mistake = |error: &toml::de::Error| {
            let place = Place(error.span().map_or(0, |span| span.start));
            self.mistake(place, error.message().trim().replace('\n', ", "))
        };
        let mut mistakes: Vec<Mistake> = errors.iter().map(mistake).collect();
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes.dedup_by_key(|mistake| mistake.line);
        mistakes
    }

    /// Every mistake that was kept, and each key of an open table that nobody asked for.
    pub(super) fn finish(&self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.take();
        for table in self.opened.borrow().values() {
            mistakes.extend(self.unknown_keys(table));
        }
        mistakes.sort();
        mistakes
    }

    fn unknown_keys(&self, table: &OpenTable<'a>) -> Vec<Mistake> {
        let known = table.asked.borrow();
        let known_words = || known.iter().map(String::as_str);
        let mistake = |key: &Spanned<DeString<'a>>| {
            let word: &str = key.get_ref();
            let text = format!("unknown key `{word}`{}", table.shown());
            let mistake = self.mistake(Place(key.span().start), text);
            let mistake = mistake.did_you_mean(word, known_words());
            match mistake.hint {
                Some(_) => mistake,
                None => mistake.hint(format!("known keys: {}", known_words().collect::<Vec<_>>().join(", "))),
            }
        };
        let unknown = |key: &&Spanned<DeString<'a>>| !known.contains(key.get_ref().as_ref());
        table.keys().filter(unknown).map(mistake).collect()
    }
}

impl<'a> OpenTable<'a> {
    /// Remembers that a key may stand here.
    pub(super) fn ask(&self, key: &str) {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(key) {
            asked.insert(key.to_owned());
        }
    }

    pub(super) fn find(&self, key: &str) -> Option<(Place, &'a DeValue<'a>)> {
        let (key, value) = self.table.get_key_value(key)?;
        Some((Place(key.span().start), value.get_ref()))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a Spanned<DeString<'a>>> {
        self.table.keys()
    }

    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// How a mistake names the table: ` in [tls]`, nothing for the file's top.
    pub(super) fn shown(&self) -> String {
        if self.header.is_empty() {
            String::new()
        } else {
            format!(" in {}", self.header)
        }
    }

    /// The path of a key as a header spells it: `auth.ssh-key`, `people."bob@example.com"`.
    pub(super) fn path_of(&self, key: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let key = if !key.is_empty() && key.chars().all(bare) {
            key.to_owned()
        } else {
            format!("{key:?}")
        };
        match self.header.trim_matches(['[', ']']) {
            "" => key,
            path => format!("{path}.{key}"),
        }
    }
}
