//! Reads the whole file although something in it is wrong: what cannot be
//! read is told of, left out, and the rest is read again, so that everything
//! wrong is found at once.

use std::ops::Range;

use serde::Deserialize as _;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::file::File;
use super::problems::Problems;
use super::schema::{self, Keys};

/// Problems of one file that are looked for.
const MOST: usize = 100;

/// What could be read of a file.
pub(super) enum Read {
    /// All of it.
    Whole(File),
    /// All but what is told of.
    Parts(File),
    /// Nothing that makes sense.
    Nothing,
}

/// Reads a table, and tells of what cannot be read.
pub(super) fn read(mut table: Spanned<DeTable<'_>>, problems: &mut Problems<'_>) -> Read {
    let schema = schema::schema();
    schema::unknown_keys(table.get_ref(), &schema, problems);
    let mut left_out: Vec<String> = Vec::new();
    for _ in 0..MOST {
        let error = match File::deserialize(Deserializer::from(table.clone())) {
            Ok(file) if left_out.is_empty() => return Read::Whole(file),
            Ok(file) => return Read::Parts(file),
            Err(error) => error,
        };
        let at = error.span().unwrap_or(0..0);
        let removed = remove(table.get_mut(), &at);
        let missing = between_ticks(error.message(), "missing field `");
        // An unknown key was found already, with a better hint, and what is
        // missing because it was left out was told of.
        let told = error.message().starts_with("unknown field")
            || missing.is_some_and(|field| left_out.iter().any(|name| name == field));
        if !told {
            let keys = Keys::of(&schema);
            let text = match (missing, &removed) {
                (Some(field), Some(removed)) => without(field, removed),
                (None, Some(removed)) if is_of_serde(error.message()) => wrong_kind(removed, keys),
                _ => error.message().to_owned(),
            };
            problems.error(at, text);
        }
        match removed {
            Some(removed) => left_out.extend(removed.path.last().cloned()),
            None => return Read::Nothing,
        }
    }
    Read::Nothing
}

/// A value that was taken out.
struct Removed {
    /// The keys that lead to it.
    path: Vec<String>,
    /// What it is, for people.
    kind: &'static str,
}

/// Takes the innermost key out at which, or in whose value, an error is.
fn remove(table: &mut DeTable<'_>, at: &Range<usize>) -> Option<Removed> {
    let mut here = None;
    let mut removed: Option<Removed> = None;
    for (key, value) in table.iter_mut() {
        removed = match value.get_mut() {
            DeValue::Table(table) => remove(table, at),
            DeValue::Array(array) => remove_from(array, at),
            _ => None,
        };
        let span = value.span();
        if removed.is_none() && (key.span() == *at || span.start <= at.start && at.end <= span.end)
        {
            here = Some(key.clone());
            removed = Some(Removed {
                path: Vec::new(),
                kind: kind(value.get_ref()),
            });
        }
        if let Some(removed) = &mut removed {
            removed.path.insert(0, key.get_ref().to_string());
            break;
        }
    }
    if let Some(key) = here {
        table.remove(&key);
    }
    removed
}

/// The same in the tables of an array; one that is wrong as a whole goes as a
/// whole.
fn remove_from(array: &mut DeArray<'_>, at: &Range<usize>) -> Option<Removed> {
    for item in array.iter_mut() {
        if let DeValue::Table(table) = item.get_mut()
            && let Some(removed) = remove(table, at)
        {
            return Some(removed);
        }
    }
    let is_wrong = |item: &Spanned<DeValue<'_>>| {
        matches!(item.get_ref(), DeValue::Table(_)) && item.span() == *at
    };
    let wrong = array.iter().position(is_wrong)?;
    let mut rest = DeArray::new();
    for (place, item) in std::mem::replace(array, DeArray::new())
        .into_iter()
        .enumerate()
    {
        if place != wrong {
            rest.push(item);
        }
    }
    *array = rest;
    Some(Removed {
        path: Vec::new(),
        kind: "a table",
    })
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Whether the message is serde's own, in Rust's attributes.
fn is_of_serde(message: &str) -> bool {
    [
        "invalid type: ",
        "invalid value: ",
        "invalid length ",
        "unknown variant ",
        "wanted ",
    ]
    .iter()
    .any(|beginning| message.starts_with(beginning))
}

fn between_ticks<'m>(message: &'m str, beginning: &str) -> Option<&'m str> {
    message.strip_prefix(beginning)?.split('`').next()
}

fn without(field: &str, of: &Removed) -> String {
    let example = match field {
        "match" => "match = { unit = \"serve.service\" }",
        "name" => "name = \"serving\"",
        _ => return format!("`{field}` is missing"),
    };
    let whose = of.path.last().map_or("it", String::as_str);
    format!("this {whose} has no `{field}`: add one, as {example}")
}

/// What the key takes, with an example.
fn wrong_kind(removed: &Removed, keys: Keys<'_>) -> String {
    let key = removed.path.last().map_or("", String::as_str);
    let found = removed.kind;
    match keys.at(&removed.path).map(|schema| takes(schema, keys)) {
        Some((what, example)) => {
            // The right kind, and out of its range.
            let is_text = found == "a text" && what.starts_with("one of");
            let found = match is_text || what.starts_with(found) {
                true => String::new(),
                false => format!(", not {found}"),
            };
            format!("`{key}` takes {what}{found}: write it as {key} = {example}")
        }
        None => format!("`{key}` does not take {found}: see `xsched-agent config example`"),
    }
}

/// The values that a schema names, if it names all that it allows: in a list, or
/// each with a description of its own.
fn named(schema: &Value) -> Vec<&Value> {
    let values = |key| schema.get(key).and_then(Value::as_array);
    if let Some(names) = values("enum") {
        return names.iter().collect();
    }
    let described = values("oneOf").into_iter().flatten();
    let names: Option<Vec<&Value>> = described.map(|one| one.get("const")).collect();
    names.unwrap_or_default()
}

/// What a schema allows, and an example of it.
fn takes(schema: &Value, keys: Keys<'_>) -> (String, String) {
    let schema = keys.resolve(schema);
    let names = named(schema);
    if let Some(first) = names.first() {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        return (format!("one of {}", names.join(", ")), first.to_string());
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        let mut all = any.iter().map(|schema| takes(schema, keys));
        let (mut what, example) = all.next().unwrap_or_default();
        for (other, _) in all {
            what = format!("{what} or {other}");
        }
        return (what, example);
    }
    let example = schema.pointer("/examples/0").map(Value::to_string);
    let example = |otherwise: &str| example.clone().unwrap_or_else(|| otherwise.to_owned());
    let limit = |name| schema.get(name).map(Value::to_string);
    let range = match (limit("minimum"), limit("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" from {least} on"),
        _ => String::new(),
    };
    let least = limit("minimum").filter(|least| least != "0");
    let least = least
        .or_else(|| limit("maximum"))
        .unwrap_or_else(|| "1".to_owned());
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => ("true or false".to_owned(), "true".to_owned()),
        Some("integer") => (format!("a whole number{range}"), least),
        Some("number") => (format!("a number{range}"), least),
        Some("string") => {
            let text = example("\"...\"");
            let what = match text.as_str() {
                "\"30ms\"" => "a time with its unit",
                _ => "a text",
            };
            (what.to_owned(), text)
        }
        Some("array") => {
            let (_, item) = schema
                .get("items")
                .map(|items| takes(items, keys))
                .unwrap_or_default();
            ("a list".to_owned(), format!("[{item}]"))
        }
        _ => ("a table".to_owned(), "{ ... }".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::check::check;

    #[test]
    fn values_that_have_names_are_listed() {
        for (text, expected) in [
            (
                "[defaults]\nclass = \"highest\"\n",
                "2:9: `class` takes one of \"low\", \"normal\", \"high\", \"realtime\": write it as class = \"low\"",
            ),
            (
                "[[rule]]\nname = \"a\"\nmatch = { user = 1 }\ntime_slices = \"yes\"\n",
                "4:15: `time_slices` takes one of \"on\", \"off\": write it as time_slices = \"on\"",
            ),
            (
                "[platform.nvidia]\ntime_slices = true\n",
                "2:15: `time_slices` takes one of \"on\", \"off\", not true or false: write it as time_slices = \"on\"",
            ),
            (
                "[platform.amd]\nqueue_priority = \"high\"\n",
                "2:18: `queue_priority` takes one of \"off\", \"by-class\": write it as queue_priority = \"off\"",
            ),
        ] {
            let problems = check(text).expect_err("refused");
            let [problem] = problems.as_slice() else {
                panic!("{text}{problems:?}");
            };
            let found = format!("{}:{}: {}", problem.line, problem.column, problem.message);
            assert_eq!(found, expected);
        }
    }
}
