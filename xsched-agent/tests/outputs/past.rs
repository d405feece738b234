//! Events and histories over the API socket.

use serde_json::{Value, json};
use xsched_common::units::Class;
use xsched_testkit::{Agent, FakeClient, set_class, wait_for};

fn events(agent: &Agent) -> Vec<Value> {
    let snapshot = agent.ask_raw(r#"{"op":"list"}"#);
    snapshot["events"].as_array().expect("events").clone()
}

#[test]
fn joins_changes_and_ends_are_events() {
    let agent = Agent::start();
    let me = std::process::id();
    let client = FakeClient::join(&agent.run_dir);
    set_class(&agent, me, Class::High);
    wait_for("the change is an event", || {
        events(&agent).iter().any(|e| e["kind"] == "changed")
    });
    drop(client);
    wait_for("the end is an event", || {
        events(&agent).iter().any(|e| e["kind"] == "left")
    });
    let events = events(&agent);
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["number"], index as u64 + 1, "{events:?}");
        assert_eq!(event["pid"], me, "{event}");
        assert!(event["time_unix_ns"].as_u64() > Some(1_700_000_000_000_000_000));
    }
    let kinds: Vec<&Value> = events.iter().map(|e| &e["kind"]).collect();
    assert_eq!(kinds.len(), 3, "{events:?}");
    let changed = events.iter().find(|e| e["kind"] == "changed").expect("it");
    let actor = changed["actor"].as_str().expect("somebody did it");
    assert!(actor.contains(&format!("(pid {me}, ")), "{actor}");
    assert!(changed["text"].as_str().is_some_and(|t| t.contains("high")));
    let left = events.iter().find(|e| e["kind"] == "left").expect("it");
    assert!(
        left["text"]
            .as_str()
            .is_some_and(|t| t.contains("runs unscheduled")),
        "it lives on: {left}"
    );
}

#[test]
fn the_past_of_a_process_and_of_the_machine_grows() {
    let agent = Agent::start();
    let me = std::process::id();
    let client = FakeClient::join(&agent.run_dir);
    client.become_active();
    let ask = |pid: Value| agent.ask_raw(&json!({"op": "history", "pid": pid}).to_string());
    wait_for("two points", || {
        let history = ask(json!(me));
        history["points"].as_array().is_some_and(|p| p.len() >= 2)
    });
    let history = ask(json!(me));
    assert_eq!(history["type"], "history");
    assert_eq!(history["interval_ns"], 1_000_000_000);
    let points = history["points"].as_array().expect("points");
    let time = |point: &Value| point["time_unix_ns"].as_u64().expect("a time");
    let apart = time(&points[1]) - time(&points[0]);
    assert!((400_000_000..5_000_000_000).contains(&apart), "{apart} ns");
    assert_eq!(points[0]["class"], "normal");
    assert!(points[0]["burst_p99_ns"].is_null(), "no burst has ended");

    let machine = ask(Value::Null);
    assert!(machine["pid"].is_null());
    let last = machine["points"]
        .as_array()
        .and_then(|p| p.last())
        .expect("points");
    assert_eq!(last["class"], "normal", "what is active: {last}");

    let unknown = ask(json!(4_194_305));
    assert_eq!(unknown["code"], "no_such_process", "{unknown}");
}

#[test]
fn an_agent_says_who_it_is() {
    let agent = Agent::start();
    let hello = agent.ask_raw(r#"{"op":"hello"}"#);
    assert_eq!(hello["type"], "hello");
    assert_eq!(hello["api_version"], xsched_common::api::API_VERSION);
    assert_eq!(hello["agent_version"], env!("CARGO_PKG_VERSION"));
    let can = hello["capabilities"].as_array().expect("a list");
    assert!(can.contains(&json!("watch")) && can.contains(&json!("history")));
}
