//! Vault's weak typing: what its framework takes for a bool, a string, a map, a duration. Clients lean on it, so a strict
//! decoder breaks real ones; everything past this module is strictly typed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::time::parse_duration;

/// The fields of a request or of a role document, as sent.
#[derive(Debug, Clone, Default)]
pub struct Fields(Map<String, Value>);

/// A field that cannot be read as its declared type. Displays Vault's own text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Field validation failed: error converting input for field \"{field}\": {reason}")]
pub struct FieldError {
    /// The field's name.
    pub field: String,
    /// Why it cannot be read.
    pub reason: String,
}

/// The body is not a JSON object.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Not JSON at all.
    #[error("error parsing JSON")]
    Syntax(#[source] serde_json::Error),
    /// JSON, but not an object.
    #[error("the body must be a JSON object")]
    NotAnObject,
}

impl Fields {
    /// Reads a JSON object; an empty body is an empty object.
    ///
    /// # Errors
    /// [`BodyError`] when the bytes are not a JSON object. Depth and size are the caller's to limit beforehand.
    pub fn from_json(body: &[u8]) -> Result<Self, BodyError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body).map_err(BodyError::Syntax)? {
            Value::Object(map) => Ok(Self(map)),
            Value::Null => Ok(Self::default()),
            _ => Err(BodyError::NotAnObject),
        }
    }

    /// Wraps an object that was read already.
    #[must_use]
    pub const fn from_map(map: Map<String, Value>) -> Self {
        Self(map)
    }

    /// Sets a field, as a query parameter or a path does.
    pub fn insert(&mut self, field: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(field.into(), value.into());
    }

    /// Whether the key is present at all, whatever its value.
    #[must_use]
    pub fn contains(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// The value as sent.
    #[must_use]
    pub fn raw(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// The keys as sent.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The keys that are not among `known`, sorted.
    #[must_use]
    pub fn unknown(&self, known: &[&str]) -> Vec<String> {
        let mut unknown: Vec<String> = self
            .0
            .keys()
            .filter(|key| !known.contains(&key.as_str()))
            .cloned()
            .collect();
        unknown.sort_unstable();
        unknown
    }

    fn present(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// A string: strings, numbers (their text), bools (`"1"`, `"0"`). `null` counts as absent.
    ///
    /// # Errors
    /// [`FieldError`] for arrays and objects.
    pub fn string(&self, field: &str) -> Result<Option<String>, FieldError> {
        self.present(field).map(|value| weak_string(field, value)).transpose()
    }

    /// A bool: bools, numbers, `"true" "false" "t" "f" "1" "0"`, and `""` for false.
    ///
    /// # Errors
    /// [`FieldError`] for anything else.
    pub fn bool(&self, field: &str) -> Result<Option<bool>, FieldError> {
        self.present(field).map(|value| weak_bool(field, value)).transpose()
    }

    /// A whole number: numbers, numeric strings, floats that are whole.
    ///
    /// # Errors
    /// [`FieldError`] for anything else.
    pub fn int(&self, field: &str) -> Result<Option<i64>, FieldError> {
        self.present(field).map(|value| weak_int(field, value)).transpose()
    }

    /// A duration in seconds: numbers and every form of [`parse_duration`]; `""` is 0.
    ///
    /// # Errors
    /// [`FieldError`] for negative values and anything else.
    pub fn duration_secs(&self, field: &str) -> Result<Option<u64>, FieldError> {
        self.present(field).map(|value| weak_duration(field, value)).transpose()
    }

    /// A map of strings: an object, or a list of objects that are merged in order (the form of many old role documents).
    /// Values are printed as text; `null` is the empty text.
    ///
    /// # Errors
    /// [`FieldError`] for anything else.
    pub fn map(&self, field: &str) -> Result<Option<BTreeMap<String, String>>, FieldError> {
        let Some(raw) = self.raw_map(field)? else {
            return Ok(None);
        };
        raw.iter()
            .map(|(key, value)| Ok((key.clone(), option_text(field, value)?)))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A map whose values stay as sent; an object or a list of objects.
    ///
    /// # Errors
    /// [`FieldError`] for anything else.
    pub fn raw_map(&self, field: &str) -> Result<Option<Map<String, Value>>, FieldError> {
        let Some(value) = self.present(field) else {
            return Ok(None);
        };
        match value {
            Value::Object(map) => Ok(Some(map.clone())),
            Value::Array(items) => {
                let mut merged = Map::new();
                for item in items {
                    let Value::Object(map) = item else {
                        return Err(expected(field, "a map", item));
                    };
                    merged.extend(map.clone());
                }
                Ok(Some(merged))
            }
            other => Err(expected(field, "a map", other)),
        }
    }

    /// A list of strings: an array, or a comma-separated text. Items are trimmed, empty ones dropped.
    ///
    /// # Errors
    /// [`FieldError`] for anything else.
    pub fn comma_list(&self, field: &str) -> Result<Option<Vec<String>>, FieldError> {
        let Some(value) = self.present(field) else {
            return Ok(None);
        };
        match value {
            Value::Array(items) => items
                .iter()
                .map(|item| weak_string(field, item))
                .collect::<Result<Vec<_>, _>>()
                .map(|list| Some(list.into_iter().filter(|item| !item.is_empty()).collect())),
            other => Ok(Some(
                split_commas(&weak_string(field, other)?).map(str::to_owned).collect(),
            )),
        }
    }
}

/// Splits a comma-separated text, trims the items and drops empty ones.
pub fn split_commas(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn weak_string(field: &str, value: &Value) -> Result<String, FieldError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(yes) => Ok(if *yes { "1" } else { "0" }.to_owned()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(expected(field, "a string", value)),
    }
}

/// The value of an option, printed as text. Vault prints a null as `<nil>`; an empty value is what was meant.
fn option_text(field: &str, value: &Value) -> Result<String, FieldError> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(yes) => Ok(yes.to_string()),
        other => weak_string(field, other),
    }
}

fn weak_bool(field: &str, value: &Value) -> Result<bool, FieldError> {
    match value {
        Value::Bool(yes) => Ok(*yes),
        Value::Number(number) => Ok(number.as_f64().is_some_and(|n| n != 0.0)),
        Value::String(text) => match text.as_str() {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            _ => Err(expected(field, "a bool", value)),
        },
        _ => Err(expected(field, "a bool", value)),
    }
}

fn weak_int(field: &str, value: &Value) -> Result<i64, FieldError> {
    let number = match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            number
                .as_f64()
                .filter(|n| n.fract() == 0.0)
                .and_then(|n| format!("{n:.0}").parse().ok())
        }),
        Value::String(text) if text.is_empty() => Some(0),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(yes) => Some(i64::from(*yes)),
        _ => None,
    };
    number.ok_or_else(|| expected(field, "a whole number", value))
}

fn weak_duration(field: &str, value: &Value) -> Result<u64, FieldError> {
    let secs = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => parse_duration(text).ok(),
        _ => None,
    };
    secs.ok_or_else(|| expected(field, "a duration such as 30m, 90s or 3600", value))
}

fn expected(field: &str, what: &str, value: &Value) -> FieldError {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    };
    FieldError {
        field: field.to_owned(),
        reason: format!("expected {what}, got '{got}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn bools_are_weak() {
        for (json, want) in [
            ("true", Some(true)),
            ("\"true\"", Some(true)),
            ("\"1\"", Some(true)),
            ("\"f\"", Some(false)),
            ("\"\"", Some(false)),
            ("1", Some(true)),
            ("0", Some(false)),
            ("null", None),
        ] {
            assert_eq!(fields(&format!("{{\"x\":{json}}}")).bool("x"), Ok(want), "{json}");
        }
        assert!(fields(r#"{"x":"yes"}"#).bool("x").is_err());
        assert!(fields(r#"{"x":[]}"#).bool("x").is_err());
    }

    #[test]
    fn strings_durations_and_ints_are_weak() {
        let f = fields(r#"{"n":22,"b":true,"d":"30m0s","e":"","i":"22","w":22.0,"neg":-5,"arr":["a"]}"#);
        assert_eq!(f.string("n"), Ok(Some("22".to_owned())));
        assert_eq!(f.string("b"), Ok(Some("1".to_owned())));
        assert_eq!(f.duration_secs("d"), Ok(Some(1800)));
        assert_eq!(f.duration_secs("e"), Ok(Some(0)));
        assert_eq!(f.duration_secs("n"), Ok(Some(22)));
        assert_eq!(f.int("i"), Ok(Some(22)));
        assert_eq!(f.int("w"), Ok(Some(22)));
        assert!(f.duration_secs("neg").is_err());
        assert!(f.string("arr").is_err());
        assert_eq!(f.string("absent"), Ok(None));
    }

    #[test]
    fn a_list_of_maps_is_a_map() {
        let f = fields(r#"{"m":[{"permit-pty":""},{"a":1}],"o":{"x":null,"y":true},"e":[],"s":"{}"}"#);
        let merged = f.map("m").unwrap().unwrap();
        assert_eq!(merged.get("permit-pty").map(String::as_str), Some(""));
        assert_eq!(merged.get("a").map(String::as_str), Some("1"));
        let values = f.map("o").unwrap().unwrap();
        assert_eq!((values["x"].as_str(), values["y"].as_str()), ("", "true"));
        assert_eq!(f.map("e").unwrap(), Some(BTreeMap::new()));
        let text = f.map("s").unwrap_err().to_string();
        assert_eq!(
            text,
            "Field validation failed: error converting input for field \"s\": expected a map, got 'string'"
        );
    }

    #[test]
    fn lists_are_arrays_or_commas() {
        let f = fields(r#"{"a":"x, y,,z","b":["x","y"]}"#);
        assert_eq!(f.comma_list("a").unwrap().unwrap(), ["x", "y", "z"]);
        assert_eq!(f.comma_list("b").unwrap().unwrap(), ["x", "y"]);
    }
}
