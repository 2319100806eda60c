//! A mistake in a file that somebody wrote, with its place and the nearest right word. Loading collects all of them, so
//! that a person mends a file once and not once per mistake.

use std::fmt;

/// One mistake in a configuration or policy file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file's path as the person knows it (relative to the policies folder, or as given on the command line).
    pub file: String,
    /// The line, counted from 1, where one can be named.
    pub line: Option<usize>,
    /// What is wrong and why: one lowercase clause.
    pub text: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Mistake {
    /// Makes a mistake about a whole file.
    pub fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: None,
            text: text.into(),
            hint: None,
        }
    }

    /// Makes a mistake at the line that holds byte `offset` of `source`.
    pub fn at_offset(file: impl Into<String>, source: &str, offset: usize, text: impl Into<String>) -> Self {
        Self::new(file, text).line(line_of(source, offset))
    }

    /// Says on which line it is (counted from 1).
    #[must_use]
    pub fn line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds "did you mean …" when a known word is near.
    #[must_use]
    pub fn did_you_mean<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, known) {
            Some(right) => self.hint(format!("did you mean `{right}`?")),
            None => self,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.text)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// The line, counted from 1, that holds byte `offset` of `source`.
#[must_use]
pub fn line_of(source: &str, offset: usize) -> usize {
    source.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The known word nearest to `word`, if one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near_enough = (word.chars().count() / 3).max(1) + 1;
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word_is_found_and_far_ones_are_not() {
        let known = ["allowed_users", "allowed_domains", "default_user"];
        assert_eq!(nearest("alowed_users", known), Some("allowed_users"));
        assert_eq!(nearest("default_usr", known), Some("default_user"));
        assert_eq!(nearest("frobnicate", known), None);
    }

    #[test]
    fn a_mistake_reads_as_file_line_text_hint() {
        let mistake = Mistake::at_offset("roles/a.toml", "x = 1\ny = 2\n", 6, "unknown key `y`").hint("remove it");
        assert_eq!(mistake.to_string(), "roles/a.toml:2: unknown key `y` (remove it)");
    }
}
