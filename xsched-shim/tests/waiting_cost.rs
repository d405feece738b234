//! What the processor spends on a thread that waits at a capped gate and
//! looks for the end of a kernel (`next_look` in `xsched_common::gate`):
//! `cargo test --release -p xsched-shim --test costs waiting -- --nocapture`.

use crate::support;

use std::time::{Duration, Instant};

use support::agent::Agent;
use support::scripted::ScriptedProgram;
use xsched_common::gate::GateMode;

/// Time on a processor that the process's main thread has had.
fn on_processor(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
    let first = text.split(' ').next().expect("three numbers");
    Duration::from_nanos(first.parse().expect("nanoseconds"))
}

/// Launches kernels for a second at this cap: the part of a core that it
/// took, and of the time that the kernels did.
fn launching(kernel_us: u32, cap: u16) -> (f64, f64) {
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    scripted.run("sync");
    agent.client(0).set(0, GateMode::Capped(cap));
    scripted.run(&format!("kernel_us {kernel_us}"));
    // T settles.
    scripted.run("launch 50 0");
    let kernels = 1_000_000 / kernel_us;
    let (began, before) = (Instant::now(), on_processor(scripted.pid()));
    scripted.run(&format!("launch {kernels} 0"));
    let (took, used) = (began.elapsed(), on_processor(scripted.pid()) - before);
    let kernels = Duration::from_micros(u64::from(kernels * kernel_us));
    let device = kernels.as_secs_f64() / took.as_secs_f64();
    (used.as_secs_f64() / took.as_secs_f64(), device)
}

/// A waiter that slept through most of a long kernel, as it meant to, looks
/// closely then: 5 ms each, and not half as much again. The best of three,
/// for a busy machine lets a thread run when it likes.
#[test]
fn a_lone_long_kernel_is_followed_at_once() {
    let _alone = crate::alone();
    let busy = (0..3).map(|_| launching(5_000, 1).1).fold(0.0, f64::max);
    assert!(busy > 0.75, "device busy {:.1}%", busy * 100.0);
}

#[test]
fn looking_for_the_end_of_a_kernel_takes_little_of_a_core() {
    let _alone = crate::alone();
    for (kernel_us, cap) in [(60, 9), (300, 2), (300, 1), (5_000, 1)] {
        let (core, device) = launching(kernel_us, cap);
        println!(
            "kernels of {kernel_us} us, cap {cap}: {:.1}% of a core, device busy {:.1}%",
            core * 100.0,
            device * 100.0
        );
        assert!(core < 0.35, "{kernel_us} us, cap {cap}: {core}");
    }
}
