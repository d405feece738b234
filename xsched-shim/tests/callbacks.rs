//! Callbacks that launch, at a gate.

use crate::support;

use support::agent::Agent;
use support::dialogue::Dialogue;
use support::simulated::Simulated;
use xsched_common::gate::GateMode;

/// Behind the kernels that fill the cap and wait for the callback, each launch
/// of one waited for a stall: 16 rounds where there are 2,128 without a gate.
#[test]
fn callbacks_that_launch_are_not_starved_by_a_cap() {
    let _alone = crate::alone();
    let agent = Agent::start();
    let device = Simulated::install();
    let mut program =
        Dialogue::begin(&mut device.command(device.compile("callbacks"), agent.dir()));
    assert_eq!(program.line(), "joined");
    let client = agent.client(0);
    let mut run = |mode| {
        client.set(0, mode);
        program.say("run 1500");
        let [rounds, calls, worst] = program.numbers()[..] else {
            panic!("three numbers");
        };
        println!("{mode:?}: {rounds} rounds, {worst} us");
        assert_eq!(calls, 10 * rounds);
        rounds
    };
    let native = run(GateMode::Open);
    for cap in [1, 2, 8] {
        let capped = run(GateMode::Capped(cap));
        assert!(6 * capped > native, "{capped} of {native} at {cap}");
    }
    // One kernel per 100 ms, and no round is lost.
    assert!((1..=4).contains(&run(GateMode::Closed)));
    program.end();
}
