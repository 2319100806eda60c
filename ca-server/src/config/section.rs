//! Reads TOML tables key by key. Each section knows which keys were asked for, so that at the end every other key is a
//! mistake with its line and the nearest known word; several mistakes are reported at once.

use std::cell::RefCell;
use std::rc::Rc;

use signet_core::mistake::Mistake;
use signet_core::time::parse_duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table of a configuration file while it is being read.
///
/// Getters return `None` for an absent key and also for a wrong one, having noted the mistake. [`Section::finish`] must be
/// called last; it refuses the keys nobody asked for.
#[derive(Debug)]
pub struct Section<'a> {
    shared: Rc<Shared<'a>>,
    /// `tls`, `mount`; empty for the file's top.
    name: String,
    offset: usize,
    table: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
}

#[derive(Debug)]
struct Shared<'a> {
    file: &'a str,
    source: &'a str,
    mistakes: RefCell<Vec<Mistake>>,
}

/// Reads a whole file: `read` takes what it wants from the top section, and every mistake found on the way is returned.
///
/// # Errors
/// All mistakes, in the order of their lines.
pub fn read_file<T>(file: &str, source: &str, read: impl FnOnce(&Section<'_>) -> T) -> Result<T, Vec<Mistake>> {
    let document = DeTable::parse(source).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        vec![Mistake::at_offset(
            file,
            source,
            offset,
            error.message().lines().next().unwrap_or("not TOML"),
        )]
    })?;
    let shared = Rc::new(Shared {
        file,
        source,
        mistakes: RefCell::default(),
    });
    let top = Section {
        shared: Rc::clone(&shared),
        name: String::new(),
        offset: 0,
        table: document.get_ref(),
        known: RefCell::default(),
    };
    let value = read(&top);
    top.finish();
    let mut mistakes = shared.mistakes.take();
    mistakes.sort_by_key(|mistake| mistake.line);
    if mistakes.is_empty() { Ok(value) } else { Err(mistakes) }
}

impl<'a> Section<'a> {
    /// A text.
    #[must_use]
    pub fn text(&self, key: &'static str) -> Option<String> {
        self.typed(key, "a text in quotes", |value| match value {
            DeValue::String(text) => Some(text.to_string()),
            _ => None,
        })
    }

    /// A text that has to be there.
    #[must_use]
    pub fn required_text(&self, key: &'static str) -> String {
        let text = self.text(key);
        if text.is_none() && !self.has(key) {
            self.wrong_section(format!("`{key}` is missing{}", self.place()));
        }
        text.unwrap_or_default()
    }

    /// A list of texts; absent is the empty list.
    #[must_use]
    pub fn texts(&self, key: &'static str) -> Vec<String> {
        self.typed(key, "a list of texts", |value| {
            let DeValue::Array(items) = value else { return None };
            items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => Some(text.to_string()),
                    _ => None,
                })
                .collect()
        })
        .unwrap_or_default()
    }

    /// `true` or `false`.
    #[must_use]
    pub fn flag(&self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", |value| match value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A whole number within `allowed`.
    #[must_use]
    pub fn number(&self, key: &'static str, allowed: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = self.typed(key, "a whole number", |value| match value {
            DeValue::Integer(number) => u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok(),
            _ => None,
        })?;
        if allowed.contains(&number) {
            return Some(number);
        }
        self.wrong(
            key,
            format!(
                "`{key}` is {number}; allowed are {} to {}",
                allowed.start(),
                allowed.end()
            ),
        );
        None
    }

    /// A duration such as `"30m"`, in seconds, within `allowed`.
    #[must_use]
    pub fn duration(&self, key: &'static str, allowed: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let written = self.typed(key, "a duration such as \"30m\"", |value| match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.as_str().to_owned()),
            _ => None,
        })?;
        match parse_duration(&written) {
            Ok(secs) if allowed.contains(&secs) => Some(secs),
            Ok(secs) => {
                let (least, most) = (allowed.start(), allowed.end());
                self.wrong(key, format!("`{key}` is {secs} s; allowed are {least} s to {most} s"));
                None
            }
            Err(error) => {
                self.wrong(key, format!("`{key}`: {error}"));
                None
            }
        }
    }

    /// One of a few words, by table; the mistake names the nearest.
    #[must_use]
    pub fn word<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let written = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == written).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let text = format!("`{key}` is `{written}`; known are {}", known.join(", "));
            self.note(self.mistake(key, text).did_you_mean(&written, known));
        }
        found
    }

    /// A word that can be only one today, so that a later kind cannot be taken for it.
    pub fn only_word(&self, key: &'static str, only: &'static str) {
        drop(self.word(key, &[(only, key)]).map(str::to_owned));
    }

    /// The subtable `key` (`[key]`).
    #[must_use]
    pub fn section(&self, key: &'static str) -> Option<Section<'a>> {
        self.know(key);
        let (offset, value) = self.find(key)?;
        if let DeValue::Table(table) = value {
            return Some(self.child(key, offset, table));
        }
        self.wrong(key, format!("`{key}` must be a section: write [{}]", self.path_of(key)));
        None
    }

    /// The subtables `[[key]]`; none when absent.
    #[must_use]
    pub fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        self.know(key);
        let Some((_, value)) = self.find(key) else {
            return Vec::new();
        };
        let tables = match value {
            DeValue::Array(items) => items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::Table(table) => Some(self.child(key, item.span().start, table)),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        tables.unwrap_or_else(|| {
            self.wrong(
                key,
                format!("`{key}` may stand several times: write [[{}]]", self.path_of(key)),
            );
            Vec::new()
        })
    }

    /// A table of texts or lists of texts with free keys, such as `bound_claims`; a single text is a list of one.
    #[must_use]
    pub fn free_map(&self, key: &'static str) -> Vec<(String, Vec<String>)> {
        self.typed(key, "a table of texts or lists of texts", |value| {
            let DeValue::Table(table) = value else { return None };
            table
                .iter()
                .map(|(name, value)| Some((name.get_ref().to_string(), texts_of(value.get_ref())?)))
                .collect()
        })
        .unwrap_or_default()
    }

    /// Whether the key stands in the file.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Notes a mistake at `key`, or at the section when the key is absent.
    pub fn wrong(&self, key: &str, text: impl Into<String>) {
        self.note(self.mistake(key, text));
    }

    /// Notes a mistake at `key` with what to do next.
    pub fn wrong_hint(&self, key: &str, text: impl Into<String>, hint: impl Into<String>) {
        self.note(self.mistake(key, text).hint(hint));
    }

    /// Notes a mistake about the section as a whole.
    pub fn wrong_section(&self, text: impl Into<String>) {
        self.note(Mistake::at_offset(
            self.shared.file,
            self.shared.source,
            self.offset,
            text,
        ));
    }

    /// Refuses each key that nobody asked for.
    pub fn finish(&self) {
        let known = self.known.borrow();
        for (key, _) in self.table {
            let word: &str = key.get_ref();
            if known.contains(&word) {
                continue;
            }
            let text = format!("unknown key `{word}`{}", self.place());
            let mistake = Mistake::at_offset(self.shared.file, self.shared.source, key.span().start, text);
            self.note(mistake.did_you_mean(word, known.iter().copied()));
        }
    }

    fn typed<T>(&self, key: &'static str, wanted: &str, read: impl Fn(&DeValue<'_>) -> Option<T>) -> Option<T> {
        self.know(key);
        let (_, value) = self.find(key)?;
        let read = read(value);
        if read.is_none() {
            self.wrong(key, format!("`{key}` must be {wanted}"));
        }
        read
    }

    fn find(&self, key: &str) -> Option<(usize, &'a DeValue<'a>)> {
        let found = self.table.iter().find(|(name, _)| name.get_ref() == key);
        found.map(|(name, value): (&Spanned<_>, &Spanned<DeValue<'a>>)| (name.span().start, value.get_ref()))
    }

    fn know(&self, key: &'static str) {
        self.known.borrow_mut().push(key);
    }

    fn child(&self, key: &str, offset: usize, table: &'a DeTable<'a>) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
            name: self.path_of(key),
            offset,
            table,
            known: RefCell::default(),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    fn place(&self) -> String {
        if self.name.is_empty() {
            String::new()
        } else {
            format!(" in [{}]", self.name)
        }
    }

    fn mistake(&self, key: &str, text: impl Into<String>) -> Mistake {
        let offset = self.find(key).map_or(self.offset, |(offset, _)| offset);
        Mistake::at_offset(self.shared.file, self.shared.source, offset, text)
    }

    fn note(&self, mistake: Mistake) {
        self.shared.mistakes.borrow_mut().push(mistake);
    }
}

fn texts_of(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::String(text) => Some(vec![text.to_string()]),
        DeValue::Boolean(flag) => Some(vec![flag.to_string()]),
        DeValue::Integer(number) => Some(vec![number.as_str().to_owned()]),
        DeValue::Array(items) => items
            .iter()
            .map(|item| texts_of(item.get_ref())?.into_iter().next())
            .collect::<Option<Vec<_>>>(),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
