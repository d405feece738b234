//! Programs that time kernels between events, at a gate.

use crate::support;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use support::agent::{Agent, Client};
use support::dialogue::Dialogue;
use support::median;
use support::simulated::Simulated;
use xsched_common::gate::GateMode;
use xsched_common::page::ListMeaning;

struct Run {
    _agent: Agent,
    _device: Simulated,
    program: Dialogue,
    client: Arc<Client>,
}

fn run() -> Run {
    let agent = Agent::start();
    let device = Simulated::install();
    let mut command = device.command(device.compile("timing"), agent.dir());
    let mut program = Dialogue::begin(&mut command);
    assert_eq!(program.line(), "joined");
    let client = agent.client(0);
    Run {
        _agent: agent,
        _device: device,
        program,
        client,
    }
}

impl Run {
    /// What the events around so many launches of 20 us say, us.
    fn time(&mut self, rounds: u32, launches: u32) -> Vec<u64> {
        self.program.say(&format!("time {rounds} {launches}"));
        self.program.numbers()
    }

    fn split(&self) -> u64 {
        self.client.status().split_intervals.load(Relaxed)
    }
}

/// 763 to 1,060 ms, when each of the launches waited by itself.
#[test]
fn a_closed_gate_does_not_split_what_is_timed() {
    let mut run = run();
    let open = median(run.time(20, 20));
    assert!((400..2_000).contains(&open), "{open} us");
    run.client.set(0, GateMode::Closed);
    let closed = run.time(6, 20);
    let most = 3 * open + 2_000;
    assert!(
        closed.iter().all(|us| *us < most),
        "{closed:?}, open {open} us"
    );
    assert_eq!(run.split(), 0);
    run.program.end();
}

/// One that closes amid an interval lets the rest of it through.
#[test]
fn a_gate_that_changes_does_not_split_what_is_timed() {
    let mut run = run();
    let open = median(run.time(20, 20));
    run.program.say("time 40 20");
    let modes = [GateMode::Closed, GateMode::Open, GateMode::Capped(2)];
    let mut at = modes.iter().cycle();
    let said = loop {
        run.client.set(0, *at.next().expect("without end"));
        let wait = std::time::Duration::from_micros(700);
        if let Some(line) = run.program.line_within(wait) {
            break line;
        }
    };
    let times: Vec<u64> = said.split(' ').map(|us| us.parse().expect("us")).collect();
    // A processor may be taken away amid one.
    let off = times.iter().filter(|us| **us > 3 * open + 2_000).count();
    assert!(off as u64 <= 2 + run.split(), "{times:?}");
    run.program.end();
}

/// Whoever puts events around everything passes a closed gate no more often
/// than it trickles, by what an interval may take.
#[test]
fn timing_is_no_way_round_the_gate() {
    not_round_the_gate(&[]);
}

/// The record is not among those; what is measured is.
#[test]
fn nor_is_it_where_only_some_functions_are_gated() {
    not_round_the_gate(&["hipModuleLaunchKernel"]);
}

fn not_round_the_gate(gated: &[&str]) {
    let mut run = run();
    let scope = &run.client.page().scope;
    let only = ListMeaning::OnlyGated;
    scope.set_apis(only, gated).expect("there is room");
    run.time(2, 20);
    run.client.set(0, GateMode::Closed);
    let before = run.client.status().launch_totals().total();
    let begun = Instant::now();
    let times = run.time(3, 45);
    let seconds = begun.elapsed().as_secs_f64();
    let passed = run.client.status().launch_totals().total() - before;
    assert_eq!(passed, 3 * 45);
    // 32 with the record, the others one by one every 16 ms.
    assert!(seconds > 3.0 * 10.0 * 0.016, "{seconds} s, {times:?}");
    assert_eq!(run.split(), 3, "and it is said");
    // Whole ones wait at their record, and pay for what passes with it.
    let begun = Instant::now();
    run.time(6, 20);
    let seconds = begun.elapsed().as_secs_f64();
    assert!(seconds > 5.0 * 0.09, "{seconds} s");
    run.program.end();
}

/// At a cap no more than it admits: the last of twenty is launched when the
/// eighteenth is complete. It is said to be split.
#[test]
fn a_cap_holds_for_what_is_timed() {
    let mut run = run();
    run.program.say("length 90");
    run.time(10, 20);
    run.client.set(0, GateMode::Capped(2));
    run.program.say("issue 9 20");
    let took = run.program.numbers();
    assert!(median(took.clone()) > 15 * 90, "{took:?}");
    assert_eq!(run.split(), 9);
    run.program.end();
}

#[test]
fn events_that_keep_no_time_change_nothing() {
    let mut run = run();
    run.time(2, 20);
    run.client.set(0, GateMode::Closed);
    run.program.say("record 10");
    let took = run.program.number();
    assert!(took > 10 * 14_000, "one by one: {took} us");
    assert_eq!(run.split(), 0);
    run.program.end();
}
