//! Boosts and suspensions end by themselves; values have bounds.

use serde_json::Value;
use xsched_testkit::wait_for;

use crate::fixture::{Configured, Idle};

#[test]
fn holds_end_by_themselves() {
    let configured = Configured::start("");
    let process = Idle::start("1");
    let pid = process.pid();
    for (op, field, hold) in [
        ("boost", "duration_ms", "boosted"),
        ("suspend", "timeout_ms", "suspended"),
    ] {
        let line = format!(r#"{{"op":"{op}","pid":{pid},"{field}":200}}"#);
        let settled = configured.ask(&line);
        assert_eq!(settled["hold"]["hold"], hold);
        let remaining = settled["hold"]["remaining_ns"].as_u64().expect("a time");
        assert!(remaining <= 200_000_000, "{remaining}");
        wait_for("it has ended", || {
            configured.explain(pid)["settled"]["hold"] == Value::Null
        });
        for bad in [0, 9, 3_600_001] {
            let line = format!(r#"{{"op":"{op}","pid":{pid},"{field}":{bad}}}"#);
            assert_eq!(configured.ask_any(&line)["code"], "bad_value", "{bad}");
        }
    }
    for line in [
        format!(r#"{{"op":"set","pid":{pid}}}"#),
        format!(r#"{{"op":"set","pid":{pid},"slo_p99_ns":18446744073709551615}}"#),
    ] {
        assert_eq!(configured.ask_any(&line)["code"], "bad_value", "{line}");
    }
    for line in [
        format!(r#"{{"op":"set","pid":{pid},"weight":0}}"#),
        format!(r#"{{"op":"set","pid":{pid},"weight":10001}}"#),
        r#"{"op":"set","pid":-1,"class":"low"}"#.to_owned(),
    ] {
        assert_eq!(configured.ask_any(&line)["code"], "malformed", "{line}");
    }
    let gone = r#"{"op":"explain","pid":4294967295}"#;
    assert_eq!(configured.ask_any(gone)["code"], "no_such_process");
}
