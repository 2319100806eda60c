//! Which records a question is about.

use serde_json::Value;

use super::event::EventKind;
use crate::mistake::nearest;
use crate::time::UnixTime;

/// A question to the ledger; every part that is given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// The person, exactly.
    pub person: Option<String>,
    /// The role, exactly.
    pub role: Option<String>,
    /// A principal of the certificate, exactly.
    pub principal: Option<String>,
    /// The serial, decimal as sshd logs it.
    pub serial: Option<u64>,
    /// The key ID, exactly.
    pub key_id: Option<String>,
    /// The subject key's fingerprint, `SHA256:…`.
    pub fingerprint: Option<String>,
    /// The event's word.
    pub event: Option<EventKind>,
    /// From this time on.
    pub since: Option<UnixTime>,
    /// Before this time.
    pub until: Option<UnixTime>,
}

/// A part of the question that no record could ever fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no event is called `{word}`{}", hint.as_ref().map(|hint| format!(": did you mean `{hint}`?")).unwrap_or_default())]
pub struct QueryError {
    /// What was written.
    pub word: String,
    /// The nearest event.
    pub hint: Option<&'static str>,
}

impl Query {
    /// Reads an event's word.
    ///
    /// # Errors
    /// [`QueryError`] with the nearest word.
    pub fn event_of(word: &str) -> Result<EventKind, QueryError> {
        EventKind::ALL
            .iter()
            .find(|kind| kind.as_str() == word)
            .copied()
            .ok_or_else(|| QueryError {
                word: word.to_owned(),
                hint: nearest(word, EventKind::ALL.iter().map(|kind| kind.as_str())),
            })
    }

    /// Whether the record fits.
    #[must_use]
    pub fn fits(&self, record: &Value) -> bool {
        let is = |name: &str, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| record.get(name).and_then(Value::as_str) == Some(wanted))
        };
        let serial = self.serial.map(|serial| serial.to_string());
        is("person", self.person.as_deref())
            && is("role", self.role.as_deref())
            && is("serial", serial.as_deref())
            && is("key_id", self.key_id.as_deref())
            && is("fingerprint", self.fingerprint.as_deref())
            && is("event", self.event.map(EventKind::as_str))
            && self.principal_fits(record)
            && self.time_fits(record)
    }

    /// A text that every fitting record's line contains: lets a search skip lines without parsing them.
    #[must_use]
    pub fn needle(&self) -> Option<String> {
        let plain = |text: &&String| text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\');
        let texts = [
            &self.key_id,
            &self.fingerprint,
            &self.principal,
            &self.person,
            &self.role,
        ];
        let serial = self.serial.map(|serial| serial.to_string());
        serial
            .iter()
            .chain(texts.into_iter().flatten())
            .find(plain)
            .map(|text| format!("\"{text}\""))
    }

    fn principal_fits(&self, record: &Value) -> bool {
        self.principal.as_deref().is_none_or(|wanted| {
            let listed = record.get("principals").and_then(Value::as_array);
            listed.is_some_and(|listed| listed.iter().any(|principal| principal.as_str() == Some(wanted)))
        })
    }

    fn time_fits(&self, record: &Value) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let time = record
            .get("time")
            .and_then(Value::as_str)
            .and_then(|time| UnixTime::parse_rfc3339(time).ok());
        time.is_some_and(|time| {
            self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time < until)
        })
    }
}
