//! Holds JSON against the schemas of the documentation.

use serde_json::Value;

/// The schema of diagnosis reports.
pub fn diagnosis() -> Value {
    let text = include_str!("../../../docs/diagnose.schema.json");
    serde_json::from_str(text).expect("docs/diagnose.schema.json is JSON")
}

/// Where `value` departs from `schema`: one line each, with the place.
pub fn departures(schema: &Value, value: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).expect("a schema");
    validator
        .iter_errors(value)
        .map(|e| format!("{}: {e}", e.instance_path))
        .collect()
}
