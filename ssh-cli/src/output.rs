//! The only place that writes to stdout: tables, JSON, YAML, single fields.

use std::io::Write as _;

use serde_json::Value;
use signet_core::inspect::escape;

use crate::config::Environment;
use crate::report::{Exit, Failure};

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// The same in YAML.
    Yaml,
}

impl Format {
    /// What the flag says, else the environment, else a table.
    ///
    /// # Errors
    /// A usage [`Failure`].
    pub fn chosen(flag: Option<&str>, environment: &Environment) -> Result<Self, Failure> {
        let setting = environment.setting("FORMAT");
        flag.or(setting.as_deref()).map_or(Ok(Self::default()), Self::parse)
    }

    /// Reads the word.
    ///
    /// # Errors
    /// A usage [`Failure`].
    pub fn parse(text: &str) -> Result<Self, Failure> {
        match text.to_ascii_lowercase().as_str() {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "yaml" | "yml" => Ok(Self::Yaml),
            _ => Err(Failure::usage(format!("`{text}` is not a format")).hint("there are: table, json, yaml")),
        }
    }
}

/// Writes text as it is.
///
/// # Errors
/// When stdout is full or broken; a reader that has gone (`| head`) is no error.
pub fn text(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())
}

/// Writes bytes as they are.
///
/// # Errors
/// As [`text`].
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::from_error(Exit::Failed, &error)),
        _ => Ok(()),
    }
}

/// Writes a whole document as JSON or YAML.
///
/// # Errors
/// As [`text`].
pub fn document(value: &Value, format: Format) -> Result<(), Failure> {
    match format {
        Format::Yaml => text(&yaml(value)),
        Format::Json | Format::Table => text(&format!(
            "{}\n",
            serde_json::to_string_pretty(value).unwrap_or_default()
        )),
    }
}

/// Writes rows as Vault does: name, value, under a line of dashes.
///
/// # Errors
/// As [`text`].
pub fn pairs(value: &Value) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| vec![name.clone(), plain(value)])
            .collect(),
        other => vec![vec!["value".to_owned(), plain(other)]],
    };
    table(&["Key", "Value"], &rows)
}

/// Writes a table with a line of dashes under its head.
///
/// # Errors
/// As [`text`].
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.add_row(head.iter().map(ToString::to_string));
    table.add_row(head.iter().map(|name| "-".repeat(name.len())));
    for row in rows {
        table.add_row(row.iter().map(|cell| escape(cell.trim_end())));
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 3));
    });
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    text(&format!("{}\n", lines.join("\n")))
}

/// A value as one cell.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "n/a".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.iter().all(|item| !item.is_array() && !item.is_object()) => {
            list.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Writes one field of `data`, as Vault's `-field` does.
///
/// # Errors
/// A usage error that names the fields there are.
pub fn field(data: &Value, name: &str) -> Result<(), Failure> {
    let Some(value) = data.get(name) else {
        let fields = data.as_object().into_iter().flatten();
        let known: Vec<&str> = fields.map(|(name, _)| name.as_str()).collect();
        return Err(Failure::usage(format!("there is no field `{name}` in the answer"))
            .hint(format!("there are: {}", known.join(", "))));
    };
    text(&format!("{}\n", plain(value).trim_end()))
}

/// JSON's strings and scalars are YAML's, so only the nesting is laid out anew.
fn yaml(value: &Value) -> String {
    let mut out = String::new();
    write_yaml(value, 0, &mut out);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn write_yaml(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, inner) in map {
                let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                let name = if is_plain {
                    name.clone()
                } else {
                    Value::from(name.as_str()).to_string()
                };
                out.extend([indent.as_str(), &name, ":"]);
                nested_yaml(inner, depth, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for inner in list {
                out.extend([indent.as_str(), "-"]);
                nested_yaml(inner, depth, out);
            }
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn nested_yaml(inner: &Value, depth: usize, out: &mut String) {
    let has_lines =
        inner.as_object().is_some_and(|map| !map.is_empty()) || inner.as_array().is_some_and(|list| !list.is_empty());
    if has_lines {
        out.push('\n');
        write_yaml(inner, depth + 1, out);
    } else {
        out.extend([" ", &inner.to_string(), "\n"]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_nests_and_quotes() {
        let value = json!({"a": {"b": [1, "x: y", {"c": null}], "e f": {}}, "g": []});
        assert_eq!(
            yaml(&value),
            "a:\n  b:\n    - 1\n    - \"x: y\"\n    -\n      c: null\n  \"e f\": {}\ng: []\n"
        );
    }
}
