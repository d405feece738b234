//! The file's JSON schema, and what it knows that serde does not: the names
//! that are allowed at each place.

use std::ops::Range;

use schemars::generate::SchemaSettings;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
pub(super) fn unknown_keys(table: &DeTable<'_>, schema: &Value, problems: &mut Problems<'_>) {
    let mut search = Search {
        keys: Keys::of(schema),
        problems,
    };
    search.table(table, schema);
}

/// What a schema says of keys.
#[derive(Clone, Copy)]
pub(super) struct Keys<'s> {
    root: &'s Value,
}

impl<'s> Keys<'s> {
    pub fn of(schema: &'s Value) -> Keys<'s> {
        Keys { root: schema }
    }

    /// What is allowed at the end of a path of keys.
    pub fn at(self, path: &[String]) -> Option<&'s Value> {
        path.iter()
            .try_fold(self.root, |schema, key| {
                let table = self.items(self.resolve(schema));
                self.known(table, key).or_else(|| additional(table))
            })
            .map(|schema| self.resolve(schema))
    }

    fn known(self, table: &'s Value, key: &str) -> Option<&'s Value> {
        table.get("properties")?.get(key)
    }

    /// Of an array its items, of all else itself.
    fn items(self, schema: &'s Value) -> &'s Value {
        schema
            .get("items")
            .map_or(schema, |items| self.resolve(items))
    }

    /// Follows `$ref`, also where it stands beside a description in `allOf`.
    pub fn resolve(self, schema: &'s Value) -> &'s Value {
        let reference = schema.get("$ref").or_else(|| {
            let all = schema.get("allOf")?.as_array()?;
            all.iter().find_map(|part| part.get("$ref"))
        });
        reference
            .and_then(Value::as_str)
            .and_then(|path| self.root.pointer(path.strip_prefix('#')?))
            .unwrap_or(schema)
    }
}

/// What keys of a certain form lead to: whether they have it is serde's to
/// say.
fn additional(table: &Value) -> Option<&Value> {
    let patterns = table.get("patternProperties").and_then(Value::as_object);
    patterns
        .and_then(|patterns| patterns.values().next())
        .or_else(|| table.get("additionalProperties"))
}

struct Search<'s, 'p, 't> {
    keys: Keys<'s>,
    problems: &'p mut Problems<'t>,
}

impl<'s> Search<'s, '_, '_> {
    fn table(&mut self, table: &DeTable<'_>, schema: &'s Value) {
        let schema = self.keys.resolve(schema);
        let properties = schema.get("properties").and_then(Value::as_object);
        for (key, value) in table {
            let known = self.keys.known(schema, key.get_ref());
            match (known, additional(schema)) {
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
                if let Some(items) = self.keys.resolve(schema).get("items") {
                    for value in values {
                        self.value(value, items);
                    }
                }
            }
            _ => {}
        }
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
    alike(word, names).into_iter().next()
}

/// The names that look like `word`, the likest first.
pub(super) fn alike<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut alike: Vec<(f64, &str)> = names
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    alike.into_iter().map(|(_, name)| name).collect()
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
