//! Go-style flags in front of clap: `-role=r`, `--role=r` and `-role r` are the same, as Vault's users type them.
//!
//! Walks the words with the tree of commands in hand and hands clap the one spelling it reads. A flag it does not know is
//! refused here: handed on, `-rolex=1` before the host would silently become an option of ssh.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Why a command line cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgvError {
    /// No such flag at this verb.
    #[error("`{verb}` has no flag `{flag}`")]
    UnknownFlag {
        /// The verb with its parents, e.g. `signet ssh`.
        verb: String,
        /// As typed, without the value.
        flag: String,
        /// The nearest flag there is.
        nearest: Option<String>,
    },
    /// No such verb.
    #[error("`{word}` is not a command of `{verb}`")]
    UnknownVerb {
        /// Where it was looked for.
        verb: String,
        /// As typed.
        word: String,
        /// The nearest verb there is.
        nearest: Option<String>,
    },
    /// A flag that needs a value is the last word.
    #[error("flag `{0}` needs a value")]
    MissingValue(String),
    /// A flag that is not UTF-8.
    #[error("a flag is not valid UTF-8")]
    NotUtf8,
}

/// Rewrites `words` (with the program's name first) for clap. `root` has been built ([`Command::build`]), so that the
/// program builds the tree once and parses with the same one.
///
/// # Errors
/// [`ArgvError`], before anything has run.
pub fn rewrite(root: &Command, words: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, ArgvError> {
    let mut words = words.into_iter();
    let mut out: Vec<OsString> = words.next().into_iter().collect();
    let mut verb = root;
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            if word.as_encoded_bytes().starts_with(b"-") {
                return Err(ArgvError::NotUtf8);
            }
            out.push(word);
            continue;
        };
        if text == "--" {
            out.push(word);
            break;
        }
        if text.len() > 1 && text.starts_with('-') {
            out.push(flag(verb, text, &mut words)?);
        } else if verb.has_subcommands() {
            verb = verb.find_subcommand(text).ok_or_else(|| unknown_verb(verb, text))?;
            out.push(word);
        } else if takes_rest(verb) {
            // The host: everything from here on is ssh's own.
            out.push("--".into());
            out.push(word);
            break;
        } else {
            out.push(word);
        }
    }
    out.extend(words);
    Ok(out)
}

/// True for verbs that hand everything after their first bare word to another program.
fn takes_rest(verb: &Command) -> bool {
    verb.get_positionals().any(Arg::is_last_set)
}

fn flag(verb: &Command, text: &str, words: &mut impl Iterator<Item = OsString>) -> Result<OsString, ArgvError> {
    let body = text
        .strip_prefix("--")
        .or_else(|| text.strip_prefix('-'))
        .unwrap_or(text);
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    let mut letters = name.chars();
    if let (Some(letter), None) = (letters.next(), letters.next())
        && verb.get_arguments().any(|arg| arg.get_short() == Some(letter))
    {
        return Ok(value
            .map_or_else(|| format!("-{letter}"), |value| format!("-{letter}={value}"))
            .into());
    }
    let Some(arg) = verb.get_arguments().find(|arg| arg.get_long() == Some(name)) else {
        return Err(unknown_flag(verb, text, name));
    };
    match value {
        Some(value) => Ok(format!("--{name}={value}").into()),
        None if !needs_value(arg) => Ok(format!("--{name}").into()),
        None => {
            let value = words.next().ok_or_else(|| ArgvError::MissingValue(text.to_owned()))?;
            let mut joined = OsString::from(format!("--{name}="));
            joined.push(value);
            Ok(joined)
        }
    }
}

/// A flag whose value may be left out (`-no-exec`, but also `-no-exec=false`) never takes the next word, as in Go.
fn needs_value(arg: &Arg) -> bool {
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    takes && arg.get_num_args().is_none_or(|count| count.min_values() > 0)
}

fn unknown_flag(verb: &Command, text: &str, name: &str) -> ArgvError {
    let known = verb.get_arguments().filter_map(Arg::get_long);
    ArgvError::UnknownFlag {
        verb: path(verb),
        flag: text.split('=').next().unwrap_or(text).to_owned(),
        nearest: signet_core::mistake::nearest(name, known).map(|near| format!("-{near}")),
    }
}

fn unknown_verb(verb: &Command, word: &str) -> ArgvError {
    let known = verb.get_subcommands().map(Command::get_name);
    ArgvError::UnknownVerb {
        verb: path(verb),
        word: word.to_owned(),
        nearest: signet_core::mistake::nearest(word, known).map(str::to_owned),
    }
}

fn path(verb: &Command) -> String {
    verb.get_bin_name().unwrap_or_else(|| verb.get_name()).to_owned()
}

#[cfg(test)]
mod tests;
