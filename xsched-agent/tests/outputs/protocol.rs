//! docs/PROTOCOL.md and docs/protocol.schema.json against the real agent.

use std::process::Command;

use jsonschema::Validator;
use serde_json::{Value, json};
use xsched_common::api::{API_VERSION, Request, Response};
use xsched_testkit::machine::Machine;
use xsched_testkit::{Agent, FakeClient, wait_for};

use crate::fixture;

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");

fn shipped() -> Value {
    serde_json::from_str(include_str!("../../../docs/protocol.schema.json")).expect("JSON")
}

/// Checks one direction; unknown fields are departures here, although
/// clients must ignore them, so that none goes undocumented.
fn validator(of: &str) -> Validator {
    let mut schema = shipped();
    forbid_unknown(&mut schema);
    let root = schema.as_object_mut().expect("a schema");
    root.remove("anyOf").expect("both directions");
    root.insert("$ref".into(), json!(format!("#/$defs/{of}")));
    jsonschema::validator_for(&schema).expect("a schema")
}

fn forbid_unknown(schema: &mut Value) {
    let definitions = schema["$defs"].as_object_mut().expect("definitions");
    let mut messages = Vec::new();
    for direction in ["Request", "Response"] {
        let variants = definitions[direction]["oneOf"].as_array_mut();
        for variant in variants.expect("one of them") {
            // Their own field (`op`, `type`) and those of what they refer to.
            variant["unevaluatedProperties"] = json!(false);
            messages.extend(variant["$ref"].as_str().map(str::to_owned));
        }
    }
    for (name, definition) in definitions.iter_mut() {
        let part = !messages.contains(&format!("#/$defs/{name}"));
        if part && definition["type"] == "object" {
            definition["additionalProperties"] = json!(false);
        }
    }
}

#[track_caller]
fn check(validator: &Validator, message: &Value) {
    let departures: Vec<String> = validator
        .iter_errors(message)
        .map(|e| format!("{}: {e}", e.instance_path))
        .collect();
    assert!(departures.is_empty(), "{departures:#?}\n{message:#}");
}

#[test]
fn the_schema_is_that_of_the_types() {
    assert!(
        shipped() == xsched_agent::export::schema(),
        "run: xsched-agent proxy --schema > docs/protocol.schema.json"
    );
}

#[test]
fn a_full_snapshot_fits_and_damage_is_noticed() {
    let validator = validator("Response");
    let response = Response::Snapshot(Box::new(fixture::snapshot()));
    let good = serde_json::to_value(response).expect("serialises");
    check(&validator, &good);
    let damage: [fn(&mut Value); 8] = [
        |s| s["extra"] = json!(1),
        |s| s["processes"][0]["extra"] = json!(1),
        |s| s["processes"][0]["pid"] = json!("7"),
        |s| s["processes"][0]["class"] = json!("urgent"),
        |s| s["processes"][0]["burst"]["p99_ns"] = json!(-1),
        |s| s["events"][0]["kind"] = json!("nonsense"),
        |s| s["devices"][0]["classes"][0]["open"] = Value::Null,
        |s| drop(s.as_object_mut().expect("an object").remove("agent")),
    ];
    for (index, damage) in damage.iter().enumerate() {
        let mut damaged = good.clone();
        damage(&mut damaged);
        assert!(
            !validator.is_valid(&damaged),
            "damage {index} goes unnoticed"
        );
    }
}

/// Each request of the document, and what comes back.
#[test]
fn real_messages_fit() {
    let machine = Machine::with(Agent::start());
    let batch = machine.run("low", "hipsim-batch", &["--kernel-time", "200us"]);
    let pid = batch.pid();
    machine.row("it has joined", pid, |row| row["shim"] == "joined");
    wait_for("it has a past", || {
        let history = machine
            .agent
            .ask_raw(&json!({"op": "history", "pid": pid}).to_string());
        history["points"].as_array().is_some_and(|p| !p.is_empty())
    });
    let requests = [
        (json!({"op": "hello"}), "hello"),
        (json!({"op": "list"}), "snapshot"),
        (json!({"op": "watch", "interval_ms": 100}), "snapshot"),
        (json!({"op": "history", "pid": pid}), "history"),
        (json!({"op": "history"}), "history"),
        (json!({"op": "slow", "pid": pid}), "slow"),
        (
            json!({"op": "set", "pid": pid, "class": "normal", "weight": 200}),
            "settled",
        ),
        (
            json!({"op": "unset", "pid": pid, "terms": ["class"]}),
            "settled",
        ),
        (json!({"op": "unset", "pid": pid}), "settled"),
        (json!({"op": "settings"}), "settings"),
        (
            json!({"op": "boost", "pid": pid, "duration_ms": 500}),
            "settled",
        ),
        (
            json!({"op": "suspend", "pid": pid, "timeout_ms": 500}),
            "settled",
        ),
        (json!({"op": "resume", "pid": pid}), "settled"),
        (json!({"op": "explain", "pid": pid}), "explanation"),
        (json!({"op": "set_mode", "mode": "share"}), "mode_set"),
        (json!({"op": "reload"}), "reloaded"),
        (
            json!({"op": "diagnose", "pid": pid, "duration_ms": 0}),
            "diagnosis",
        ),
        (
            json!({"op": "set", "pid": 4_194_305, "class": "low"}),
            "error",
        ),
        (json!({"op": "set", "pid": "x"}), "error"),
        (json!({"op": "nonsense"}), "error"),
    ];
    let (to, from) = (validator("Request"), validator("Response"));
    let mut seen = std::collections::BTreeSet::new();
    for (request, kind) in &requests {
        let response = machine.agent.ask_raw(&request.to_string());
        assert_eq!(response["type"], *kind, "{request}: {response}");
        check(&from, &response);
        if *kind == "error" {
            let code = response["code"].as_str().expect("a code");
            assert!(DOCUMENT.contains(&format!("| `{code}` |")), "{code}");
        } else {
            check(&to, request);
            seen.insert(request["op"].as_str().expect("an op").to_owned());
        }
    }
    assert_eq!(seen.len(), Request::OPS.len(), "every request: {seen:?}");
}

#[test]
fn the_document_names_every_request_and_error() {
    for op in Request::OPS {
        assert!(DOCUMENT.contains(&format!("\n| `{op}` |")), "{op}");
    }
    // Wherever its lines break.
    let prose = DOCUMENT.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(prose.contains(&format!("(`api_version`, now {API_VERSION},")));
    let types = shipped();
    let codes = types["$defs"]["Failure"]["properties"]["code"]["description"]
        .as_str()
        .expect("documented")
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert!(codes.len() >= 8, "{codes:?}");
    for code in codes {
        assert!(DOCUMENT.contains(&format!("\n| `{code}` |")), "{code}");
    }
}

#[test]
fn the_example_runs_as_it_is() {
    let agent = Agent::start();
    let client = FakeClient::join(&agent.run_dir);
    wait_for("the client is in the snapshot", || {
        let snapshot = agent.ask_raw(r#"{"op":"list"}"#);
        snapshot["processes"]
            .as_array()
            .is_some_and(|p| !p.is_empty())
    });
    let example = DOCUMENT
        .split("```python\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("an example");
    let out = Command::new("python3")
        .args(["-c", example])
        .env("XSCHED_RUN_DIR", &agent.run_dir.0)
        .output()
        .expect("python3 is there: apt-get install python3");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(
        text.starts_with(&format!(
            "agent {} speaks version {API_VERSION}\n",
            env!("CARGO_PKG_VERSION")
        )),
        "{text}"
    );
    assert!(
        text.contains(&format!("\n{} ", std::process::id())),
        "{text}"
    );
    drop(client);
}
