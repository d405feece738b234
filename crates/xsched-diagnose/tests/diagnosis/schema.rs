//! The JSON is as docs/diagnose.schema.json says.

use serde_json::Value;
use xsched_testkit::schema::{departures, diagnosis};

use super::*;

#[test]
fn the_schema_has_every_code_and_no_others() {
    let codes: Vec<&str> = xsched_diagnose::codes().collect();
    assert_eq!(
        diagnosis()["$defs"]["finding"]["properties"]["code"]["enum"],
        serde_json::json!(codes)
    );
}

#[test]
fn departures_are_noticed() {
    let set = fixtures();
    let process = set.start("program", None, &["./liblazy.so", "1", "0"]);
    let report = serde_json::to_value(examine(&process)).expect("serializable");
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
        let found = departures(&diagnosis(), &damaged);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
