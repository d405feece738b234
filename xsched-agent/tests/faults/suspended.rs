//! A suspended program: its gate is closed for as long as the suspension
//! lasts, and a closed gate trickles, so it hangs in nothing for ever.

use std::time::Duration;

use crate::common::Agent;
use crate::shim::median;
use crate::shim::puppet::Puppet;

const MS: Duration = Duration::from_millis(1);

/// One launch each 16 ms by the main thread, each 100 ms by any other
/// (`xsched_common::gate::Limits`), until it is resumed.
#[test]
fn a_suspended_program_trickles_by_thread() {
    let _machine = crate::alone();
    let agent = Agent::start();
    let mut puppet = Puppet::start(&agent.run_dir.0);
    puppet.run("launch 1 0");
    puppet.run("sync");
    let pid = puppet.pid();
    let settled = agent.ask_raw(&format!(
        r#"{{"op":"suspend","pid":{pid},"timeout_ms":60000}}"#
    ));
    assert_eq!(settled["hold"]["hold"], "suspended", "{settled}");

    let mut each = |count, command| -> Vec<_> { (0..count).map(|_| puppet.run(command)).collect() };
    let main = each(15, "launch 1 0");
    assert!(main.iter().all(|&took| took >= 14 * MS), "{main:?}");
    assert!(median(main.clone()) < 60 * MS, "{main:?}");
    let worker = each(5, "worker 1");
    assert!(worker.iter().all(|&took| took >= 90 * MS), "{worker:?}");
    assert!(median(worker.clone()) < 200 * MS, "{worker:?}");

    agent.ask_raw(&format!(r#"{{"op":"resume","pid":{pid}}}"#));
    assert!(puppet.run("launch 50 0") < 14 * MS * 50 / 2);
    assert_eq!(puppet.stat("launches"), 1 + 15 + 5 + 50);
    puppet.quit();
}
