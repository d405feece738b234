//! The schema of the API's messages.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;
use xsched_common::api::{Request, Response};

/// A line, either way.
#[derive(JsonSchema, Serialize)]
#[schemars(title = "xsched API")]
#[serde(untagged)]
#[expect(dead_code, reason = "its schema is all that is wanted")]
enum Message {
    /// To the agent.
    Request(Request),
    /// From the agent.
    Response(Response),
}

/// The JSON schema (draft 2020-12) of a line of the API; `$defs` has
/// `Request` and `Response` by themselves.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Message>().to_value();
    plain(&mut schema);
    schema
}

/// Without what only Rust knows: `uint64` and other formats (`minimum` says
/// what they mean), and links between its documents.
fn plain(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("format").is_some_and(Value::is_string) {
                object.remove("format");
            }
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = text
                    .replace("[`", "`")
                    .replace("`]", "`")
                    .replace('\n', " ");
            }
            object.values_mut().for_each(plain);
        }
        Value::Array(values) => values.iter_mut().for_each(plain),
        _ => {}
    }
}
