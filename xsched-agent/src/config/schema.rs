//! The file's JSON schema, and what it knows that serde does not: the names
//! that are allowed at each place.

use std::ops::Range;

use schemars::generate::SchemaSettings;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use xsched_common::hip::{ENTRY_POINTS, EntryClass, entry_point};

use super::file::File;
use super::problems::Problems;

/// How alike two names must be for the one to be taken for the other's
/// misspelling (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.75;

/// The schema, for editors and other checkers.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07();
    let schema = settings.into_generator().into_root_schema_for::<File>();
    let mut value = schema.to_value();
    without_null(&mut value);
    value
}

/// TOML has no null: what is optional is left out.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(any)) = object.get_mut("anyOf") {
                any.retain(|schema| schema.get("type").is_none_or(|t| t != "null"));
                if let [Value::Object(only)] = any.as_mut_slice() {
                    let only = std::mem::take(only);
                    object.remove("anyOf");
                    for (key, value) in only {
                        object.entry(key).or_insert(value);
                    }
                }
            }
            if object.get("default").is_some_and(|default| {
                default.is_null() || default.as_object().is_some_and(serde_json::Map::is_empty)
            }) {
                object.remove("default");
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(values) => values.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Finds all keys that the schema does not know: serde stops at the first
/// and cannot say which name was meant.
pub(super) fn unknown_keys(table: &DeTable<'_>, problems: &mut Problems<'_>) {
    let root = schema();
    let mut search = Search {
        root: &root,
        problems,
    };
    search.table(table, &root);
}

struct Search<'s, 'p, 't> {
    root: &'s Value,
    problems: &'p mut Problems<'t>,
}

impl<'s> Search<'s, '_, '_> {
    fn table(&mut self, table: &DeTable<'_>, schema: &'s Value) {
        let schema = self.resolve(schema);
        let properties = schema.get("properties").and_then(Value::as_object);
        // Keys of a certain form: whether they have it is serde's to say.
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let additional = patterns
            .and_then(|patterns| patterns.values().next())
            .or_else(|| schema.get("additionalProperties"));
        for (key, value) in table {
            let known = properties.and_then(|properties| properties.get(key.get_ref().as_ref()));
            match (known, additional) {
                (Some(schema), _) => self.value(value, schema),
                (None, Some(schema @ Value::Object(_))) => self.value(value, schema),
                (None, Some(Value::Bool(false))) => {
                    let names = properties.into_iter().flat_map(|names| names.keys());
                    self.unknown(key.get_ref(), key.span(), names);
                }
                (None, _) => {}
            }
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, schema: &'s Value) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, schema),
            DeValue::Array(values) => {
                if let Some(items) = self.resolve(schema).get("items") {
                    for value in values {
                        self.value(value, items);
                    }
                }
            }
            _ => {}
        }
    }

    /// Follows `$ref`, also where it stands beside a description in `allOf`.
    fn resolve(&self, schema: &'s Value) -> &'s Value {
        let reference = schema.get("$ref").or_else(|| {
            let all = schema.get("allOf")?.as_array()?;
            all.iter().find_map(|part| part.get("$ref"))
        });
        reference
            .and_then(Value::as_str)
            .and_then(|path| self.root.pointer(path.strip_prefix('#')?))
            .unwrap_or(schema)
    }

    fn unknown<'n>(
        &mut self,
        key: &str,
        span: Range<usize>,
        names: impl Iterator<Item = &'n String> + Clone,
    ) {
        let hint = match nearest(key, names.clone().map(String::as_str)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => {
                let names: Vec<&str> = names.map(String::as_str).collect();
                format!("known here: {}", names.join(", "))
            }
        };
        self.problems
            .error(span, format!("unknown key `{key}`: {hint}"));
    }
}

/// The name that was probably meant.
fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// Why a function cannot be let past the gate, if it cannot.
pub(super) fn not_gated(symbol: &str) -> Option<String> {
    let is_gated = |class| {
        matches!(
            class,
            EntryClass::Launch | EntryClass::Memcpy | EntryClass::Memset | EntryClass::Graph
        )
    };
    match entry_point(symbol) {
        Some((_, entry)) if is_gated(entry.class) => None,
        Some(_) => Some(format!("`{symbol}` is never gated: leave it out")),
        None => {
            let gated = ENTRY_POINTS.iter().filter(|entry| is_gated(entry.class));
            let hint = match nearest(symbol, gated.map(|entry| entry.symbol)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "use a name as hipLaunchKernel or hipMemcpyAsync".to_owned(),
            };
            Some(format!("no function `{symbol}` is gated: {hint}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_no_null_and_no_open_table() {
        fn walk(value: &Value) {
            if let Some(object) = value.as_object() {
                assert_ne!(object.get("type"), Some(&Value::from("null")), "{value}");
                if object.contains_key("properties") {
                    assert_eq!(object["additionalProperties"], false, "{value}");
                }
            }
            match value {
                Value::Object(object) => object.values().for_each(walk),
                Value::Array(values) => values.iter().for_each(walk),
                _ => {}
            }
        }
        walk(&schema());
    }
}
