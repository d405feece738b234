//! A suspended program: its gate is closed for as long as the suspension
//! lasts, and a closed gate trickles, so it hangs in nothing for ever.

use std::time::Duration;

use xsched_common::platform::Platform;
use xsched_testkit::{Agent, wait_for};

use crate::shim::median;
use crate::shim::scripted::ScriptedProgram;

const MS: Duration = Duration::from_millis(1);

/// How long launches of a suspended program take by its main thread and by
/// others.
fn suspended_launches(platform: Platform) -> [Vec<Duration>; 2] {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start_on(platform, &agent.run_dir.0);
    scripted.run("launch 1 0");
    scripted.run("sync");
    let pid = scripted.pid();
    let suspend = format!(r#"{{"op":"suspend","pid":{pid},"timeout_ms":60000}}"#);
    agent.ask_raw(&suspend);
    wait_for("closing", || {
        let snapshot = agent.ask_raw(r#"{"op":"list"}"#);
        let mut rows = snapshot["processes"].as_array().into_iter().flatten();
        rows.any(|row| row["pid"] == pid && row["gate"]["state"] == "closed")
    });
    let took = [(6, "launch 1 0"), (4, "worker 1")]
        .map(|(count, command)| (0..count).map(|_| scripted.run(command)).collect());
    agent.ask_raw(&format!(r#"{{"op":"resume","pid":{pid}}}"#));
    scripted.run("launch 50 0");
    assert_eq!(scripted.stat("launches"), 1 + 6 + 4 + 50);
    scripted.quit();
    took
}

/// One launch each 16 ms by the main thread (on a busy machine kernels seem
/// long, and it is up to 100 ms), each 100 ms by any other
/// (`xsched_common::gate::Limits`). Where the agent's heart is held up for as
/// long as a lease, the program runs free: that says nothing.
fn a_suspended_program_trickles_by_thread(platform: Platform) {
    let _machine = crate::alone();
    let mut seen = Vec::new();
    let trickles = (0..4).any(|_| {
        let [main, worker] = suspended_launches(platform);
        let held =
            main.iter().all(|&took| took >= 14 * MS) && worker.iter().all(|&took| took >= 90 * MS);
        let goes_on = median(main.clone()) < 200 * MS && median(worker.clone()) < 400 * MS;
        seen.push((main, worker));
        held && goes_on
    });
    assert!(trickles, "{seen:?}");
}

on_each_platform! {
    a_suspended_program_trickles_by_thread
}
