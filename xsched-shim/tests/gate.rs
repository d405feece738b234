//! The gate against a test agent.

use crate::support;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use support::agent::Agent;
use support::scripted::ScriptedProgram;
use support::{eventually, median};
use xsched_common::gate::{GateMode, Guard};
use xsched_common::page::{Edges, Route};
use xsched_common::units::StreamClass;

const MS: Duration = Duration::from_millis(1);

fn joined() -> (
    Agent,
    ScriptedProgram,
    std::sync::Arc<support::agent::Client>,
) {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    scripted.run("sync");
    let client = agent.client(0);
    (agent, scripted, client)
}

#[test]
fn the_first_launch_joins_and_tells_about_the_process() {
    let (_agent, mut scripted, client) = joined();
    assert_eq!(client.hello.pid, scripted.pid());
    assert_eq!(client.status().pid.load(Relaxed), scripted.pid());
    let devices: Vec<_> = client
        .status()
        .devices()
        .map(|(_, d)| d.pci().expect("known").to_string())
        .collect();
    assert_eq!(devices, ["0000:c1:00.0", "0000:c2:00.0"]);

    scripted.run("create 1");
    scripted.run("launch 5 1");
    scripted.run("graph 0");
    scripted.run("sync");
    let totals = client.status().launch_totals();
    assert_eq!(totals.by_route, [7, 0]);
    assert_eq!(totals.by_stream[StreamClass::Created as usize], 5);
    assert_eq!(totals.by_stream[StreamClass::Null as usize], 2);
    let mut name = [0; xsched_common::page::CALLER_NAME_LEN];
    let caller = client.status().callers.iter().find(|c| {
        c.launches[Route::Gated as usize]
            .iter()
            .any(|n| n.load(Relaxed) > 0)
    });
    assert_eq!(
        caller.and_then(|c| c.name(&mut name)),
        Some(&b"scripted"[..])
    );
    assert_eq!(client.device(0).admitted.load(Relaxed), 7);
    assert_eq!(client.device(0).in_flight.load(Relaxed), 0);
}

/// The first thread's launches and those of all others are counted apart, and
/// belong to one name.
#[test]
fn every_threads_launches_are_counted_once() {
    let (_agent, mut scripted, client) = joined();
    scripted.run("launch 10 0");
    scripted.run("threads 4 2000");
    scripted.run("launch 5 0");
    scripted.run("sync");
    let status = client.status();
    assert_eq!(status.launch_totals().total(), 1 + 10 + 4 * 2000 + 5);
    let mut name = [0; xsched_common::page::CALLER_NAME_LEN];
    let mut by_name = |wanted: &[u8]| {
        let slots = status.callers.iter();
        let named = slots.filter(|slot| slot.name(&mut name) == Some(wanted));
        let counts = named.map(|slot| slot.launches.as_flattened().iter());
        counts.flatten().map(|n| n.load(Relaxed)).sum::<u64>()
    };
    assert_eq!(by_name(b"scripted"), status.launch_totals().total());
    assert_eq!(client.device(0).in_flight.load(Relaxed), 0);
    assert!(!client.device(0).activity().active);
}

#[test]
fn a_closed_gate_trickles_and_opens() {
    let (_agent, mut scripted, client) = joined();
    client.set(0, GateMode::Closed);
    let main: Vec<_> = (0..5).map(|_| scripted.run("launch 1 0")).collect();
    assert!(main.iter().all(|&t| t >= 14 * MS), "{main:?}");
    assert!(median(main.clone()) < 60 * MS, "{main:?}");
    scripted.run("sync");
    let worker: Vec<_> = (0..3).map(|_| scripted.run("worker 1")).collect();
    assert!(worker.iter().all(|&t| t >= 90 * MS), "{worker:?}");
    assert!(median(worker.clone()) < 200 * MS, "{worker:?}");
    let guards = &client.status().guards;
    assert!(guards[Guard::Trickle as usize].load(Relaxed) >= 8);
    assert_eq!(client.status().waits.load(Relaxed), 8);
    assert_eq!(client.status().gate_waits.counts().total(), 8);

    // Another device's gate is its own.
    scripted.run("device 1");
    assert!(scripted.run("launch 1 0") < 10 * MS);
    scripted.run("device 0");

    scripted.begin("worker 1");
    eventually("waiting", || client.device(0).waiting.load(Relaxed) == 1);
    assert!(client.device(0).activity().active);
    client.set(0, GateMode::Open);
    let waited = scripted.end().took;
    assert!(waited < 60 * MS, "the wake must end the wait: {waited:?}");
    assert_eq!(client.device(0).waiting.load(Relaxed), 0);
}

#[test]
fn a_cap_bounds_what_is_in_flight() {
    let (_agent, mut scripted, client) = joined();
    scripted.run("kernel_us 300");
    for streams in [1, 3] {
        client.set(0, GateMode::Capped(4));
        for i in 0..streams {
            scripted.run(&format!("create {i}"));
        }
        scripted.run("resetmax");
        scripted.run(&format!("threads {streams} 60"));
        let max = scripted.stat("max");
        // Threads that are between the gate and the runtime may overshoot.
        assert!(
            (2..=4 + streams).contains(&max),
            "{max} in flight, {streams} streams, {} stalls",
            client.status().guards[Guard::Stall as usize].load(Relaxed)
        );
        scripted.run("sync");
        let device = client.device(0);
        assert_eq!(device.in_flight.load(Relaxed), 0);
        eventually("idle", || !device.activity().active);
    }
    assert_eq!(
        client.status().guards[Guard::Stall as usize].load(Relaxed),
        0,
        "completions must be seen without stalls"
    );
    let t = client.device(0).kernel_ns.load(Relaxed);
    assert!(
        (150_000..900_000).contains(&t),
        "T = {t} ns for 300 us kernels"
    );
    assert!(scripted.stat("records") > 0);

    // The device stays busy under the cap: no slower than the kernels.
    client.set(0, GateMode::Capped(8));
    let took = scripted.run("launch 200 0") + scripted.run("sync");
    assert!(took < 150 * MS, "200 kernels of 300 us took {took:?}");
}

#[test]
fn one_thread_with_many_streams_sees_them_all_complete() {
    let (_agent, mut scripted, client) = joined();
    scripted.run("kernel_us 200");
    for i in 0..8 {
        scripted.run(&format!("create {i}"));
        scripted.run(&format!("launch 5 {i}"));
    }
    client.set(0, GateMode::Capped(4));
    // 40 commands on eight streams without a fence: the waiter must fence
    // the other streams too.
    let took = scripted.run("launch 1 0");
    assert!(took < 19 * MS, "{took:?}");
    assert_eq!(
        client.status().guards[Guard::Stall as usize].load(Relaxed),
        0
    );
    scripted.run("destroy 3");
    scripted.run("launch 3 4");
    scripted.run("sync");
}

#[test]
fn the_doorbell_rings_on_wanted_edges_only() {
    let (_agent, mut scripted, client) = joined();
    client.rings();
    scripted.run("launch 1 0");
    scripted.run("sync");
    assert_eq!(client.rings(), 0);
    client.want(0, Edges::ACTIVE);
    scripted.run("launch 10 0");
    assert_eq!(client.rings(), 1);
    scripted.run("sync");
    assert_eq!(client.rings(), 0);
    client.want(0, Edges::ACTIVE.with(Edges::IDLE));
    for sync in ["sync", "streamsync 0", "read"] {
        scripted.run("launch 3 0");
        assert_eq!(client.rings(), 1, "{sync}");
        scripted.run(sync);
        assert_eq!(client.rings(), 1, "{sync}");
    }
    scripted.run("launch 3 0");
    scripted.run("record 0");
    client.rings();
    scripted.run("eventsync");
    assert_eq!(client.rings(), 1, "an event tells too");
    scripted.run("kernel_us 2000");
    scripted.run("launch 2 0");
    scripted.run("record 0");
    client.rings();
    scripted.run("eventpoll");
    assert_eq!(client.rings(), 1, "and polling it");
    let bursts = client.status().bursts.counts();
    assert!(bursts.total() >= 7);
    let longest = bursts.max().expect("bursts").0;
    assert!((3_900_000..60_000_000).contains(&longest), "{longest}");
}

#[test]
fn small_copies_and_captures_are_not_gated() {
    let (_agent, mut scripted, client) = joined();
    scripted.run("create 1");
    client.set(0, GateMode::Closed);
    assert!(scripted.run("copy 1024 1") < 10 * MS);
    assert!(scripted.run("copy 65536 1") >= 14 * MS);
    scripted.run("sync");

    scripted.run("capture 1");
    assert!(scripted.run("launch 20 1") < 10 * MS);
    // Another stream is gated as ever, but nothing is recorded meanwhile.
    let records = scripted.stat("records");
    scripted.run("kernel_us 1000");
    assert!(scripted.run("launch 1 0") >= 14 * MS);
    assert_eq!(scripted.stat("records"), records);
    scripted.run("endcapture 1");
    assert_eq!(scripted.stat("captured"), 20);
    assert!(scripted.run("launch 1 1") >= 14 * MS);
    let totals = client.status().launch_totals();
    assert_eq!(totals.by_route[Route::Passthrough as usize], 20);
}

#[test]
fn signals_neither_end_nor_restart_a_wait() {
    let (_agent, mut scripted, client) = joined();
    scripted.run("alarm 1000");
    client.set(0, GateMode::Closed);
    let took = scripted.run("launch 1 0");
    assert!((14 * MS..250 * MS).contains(&took), "{took:?}");
    assert!(scripted.ask("alarms").error >= 5, "signals came");
    assert_eq!(scripted.ask("errno").error, 4242, "errno survives a wait");
}

#[test]
fn a_stalled_device_lets_one_pass() {
    let (_agent, mut scripted, client) = joined();
    client.set(0, GateMode::Capped(1));
    scripted.run("kernel_us 500000");
    scripted.run("launch 1 0");
    let took = scripted.run("launch 1 0");
    assert!((19 * MS..200 * MS).contains(&took), "{took:?}");
    assert_eq!(
        client.status().guards[Guard::Stall as usize].load(Relaxed),
        1
    );
}

#[test]
fn the_programs_last_error_survives_the_gate() {
    let (_agent, mut scripted, client) = joined();
    scripted.run("kernel_us 1000");
    client.set(0, GateMode::Capped(1));
    scripted.run("launch 5 0");
    assert_eq!(
        scripted.ask("peekerror").error,
        0,
        "our polling leaves no trace"
    );
    scripted.run("failnext 1");
    assert_eq!(scripted.ask("launch 1 0").error, 1, "the error is returned");
    scripted.run("launch 4 0");
    assert_eq!(scripted.ask("lasterror").error, 1, "and still there");
}

#[test]
fn the_runtimes_own_calls_are_not_gated() {
    let (_agent, mut scripted, client) = joined();
    let before = client.status().launch_totals().total();
    client.set(0, GateMode::Closed);
    assert!(scripted.run("reenter") < 10 * MS);
    assert_eq!(client.status().launch_totals().total(), before);
}

#[test]
fn a_gate_that_changes_all_the_time_loses_nothing() {
    let (agent, mut scripted, client) = joined();
    scripted.run("kernel_us 20");
    for i in 0..8 {
        scripted.run(&format!("create {i}"));
    }
    scripted.begin("threads 8 1500");
    let mut seed = 7u32;
    let mut answer = None;
    while answer.is_none() {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        client.set(
            0,
            match seed >> 30 {
                0 => GateMode::Closed,
                1 => GateMode::Open,
                _ => GateMode::Capped((seed >> 20 & 31) as u16),
            },
        );
        answer = scripted.answers_within(MS * (1 + (seed >> 16 & 3)));
    }
    scripted.run("sync");
    assert_eq!(scripted.stat("launches"), 1 + 8 * 1500);
    assert_eq!(client.device(0).admitted.load(Relaxed), 1 + 8 * 1500);
    assert_eq!(client.device(0).in_flight.load(Relaxed), 0);
    assert_eq!(client.device(0).waiting.load(Relaxed), 0);
    eventually("idle", || !client.device(0).activity().active);
    assert_eq!(agent.joined(), 1);
    scripted.quit();
}

#[test]
fn more_streams_than_the_table_holds() {
    let (_agent, mut scripted, client) = joined();
    for i in 0..1000 {
        scripted.run(&format!("create {i}"));
        scripted.run(&format!("launch 2 {i}"));
    }
    assert!(client.device(0).in_flight.load(Relaxed) <= 2000);
    scripted.run("sync");
    assert_eq!(client.device(0).in_flight.load(Relaxed), 0);
    eventually("idle", || !client.device(0).activity().active);
}

/// Nobody may put a fence on the default stream for another stream's sake
/// (`hip/fence.rs`): its work is told complete by the blocking streams.
#[test]
fn default_stream_work_holds_no_other_stream_back() {
    let (_agent, mut scripted, client) = joined();
    scripted.run("kernel_us 200");
    scripted.run("create 1");
    scripted.run("launch 12 0");
    client.set(0, GateMode::Capped(2));
    // 32 kernels of 200 us.
    let took = scripted.run("launch 20 1");
    assert!(took < 150 * MS, "{took:?}");
    let stalls = client.status().guards[Guard::Stall as usize].load(Relaxed);
    assert_eq!(stalls, 0);
    let in_flight = client.device(0).in_flight.load(Relaxed);
    assert!(
        in_flight <= 4,
        "{in_flight}: the default stream's are known"
    );
}
