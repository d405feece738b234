//! The JSON is as docs/diagnose.schema.json says.

use serde_json::Value;

use super::*;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../../docs/diagnose.schema.json")).expect("JSON")
}

/// Where `value` departs from a schema, for the keywords that ours uses.
fn departures(root: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let known = [
        "$ref",
        "$schema",
        "$defs",
        "title",
        "description",
        "type",
        "enum",
        "minimum",
        "required",
        "properties",
        "additionalProperties",
        "items",
    ];
    for keyword in schema.as_object().expect("a schema").keys() {
        assert!(
            known.contains(&keyword.as_str()),
            "unknown keyword {keyword}"
        );
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#'));
        return departures(root, target.expect("defined"), value, at, out);
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    let of_type = match &schema["type"] {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|n| is(n.as_str().expect("a name"))),
        _ => true,
    };
    if !of_type {
        out.push(format!("{at}: {value} is not {}", schema["type"]));
        return;
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        out.push(format!("{at}: {value} is none of {values:?}"));
    }
    if let Some(minimum) = schema["minimum"].as_i64()
        && value.as_i64().is_some_and(|n| n < minimum)
    {
        out.push(format!("{at}: {value} is less than {minimum}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        if value.get(name).is_none() {
            out.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, part) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(schema) => departures(root, schema, part, &format!("{at}/{name}"), out),
            None if schema["additionalProperties"] == false => {
                out.push(format!("{at}: {name} is unknown"));
            }
            None => {}
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        departures(root, &schema["items"], item, &format!("{at}/{index}"), out);
    }
}

/// All departures of a report from the schema.
pub fn check(value: &Value) -> Vec<String> {
    let (schema, mut out) = (schema(), Vec::new());
    departures(&schema, &schema, value, "", &mut out);
    out
}

#[test]
fn the_schema_has_every_code_and_no_others() {
    let codes: Vec<&str> = xsched_diagnose::codes().collect();
    assert_eq!(
        schema()["$defs"]["finding"]["properties"]["code"]["enum"],
        serde_json::json!(codes)
    );
}

#[test]
fn departures_are_noticed() {
    let set = fixtures();
    let process = set.start("program", None, &["./liblazy.so", "1", "0"]);
    let report = serde_json::to_value(examine(&process)).expect("serializable");
    assert_eq!(check(&report), [""; 0]);
    let damage: [fn(&mut Value); 6] = [
        |r| r["pid"] = Value::from("7"),
        |r| r["pid"] = Value::from(-1),
        |r| r["bindings"][0]["via"] = Value::from("magic"),
        |r| r["findings"][0]["code"] = Value::from("no-such-code"),
        |r| r["extra"] = Value::Null,
        |r| drop(r.as_object_mut().expect("an object").remove("limits")),
    ];
    for damage in damage {
        let mut damaged = report.clone();
        damage(&mut damaged);
        assert_eq!(check(&damaged).len(), 1, "{:?}", check(&damaged));
    }
}
