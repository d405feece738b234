//! Several processes on one device: shares, order, and processes killed at any point.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{Bench, Running, start};

/// The sample batch program with its kernel time, for `duration`.
fn batch(bench: &Bench, program: &PathBuf, duration: &str, discipline: &str) -> Running {
    batch_ahead(bench, program, duration, discipline, "256")
}

fn batch_ahead(
    bench: &Bench,
    program: &PathBuf,
    duration: &str,
    discipline: &str,
    ahead: &str,
) -> Running {
    start(
        bench
            .command(program)
            .env("HIPSIM_DISCIPLINE", discipline)
            .args([
                "--kernel-time",
                "200us",
                "--duration",
                duration,
                "--ahead",
                ahead,
            ]),
    )
}

fn per_second(running: Running) -> f64 {
    let (status, out, err) = running.wait();
    assert!(status.success(), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).expect(&out);
    report["per_s"].as_f64().expect("per_s")
}

fn bench() -> (Bench, PathBuf) {
    let bench = Bench::new();
    let program = bench.compile("../../samples/c/batch");
    (bench, program)
}

#[test]
fn two_saturating_processes_get_half_each_and_waste_nothing() {
    let (bench, program) = bench();
    let alone = per_second(batch(&bench, &program, "1s", "amd"));
    // 200 us per kernel: 5,000 per second, minus the first launch and the last wait.
    assert!(
        (4_500.0..5_050.0).contains(&alone),
        "alone: {alone} per second"
    );
    let pair = [
        batch(&bench, &program, "2s", "amd"),
        batch(&bench, &program, "2s", "amd"),
    ];
    let [first, second] = pair.map(per_second);
    for share in [first / alone, second / alone] {
        assert!(
            (0.42..0.62).contains(&share),
            "{first} and {second} of {alone}"
        );
    }
    let sum = (first + second) / alone;
    assert!(
        (0.93..1.12).contains(&sum),
        "{first} and {second} of {alone}"
    );
}

#[test]
fn fifo_divides_by_arrival() {
    let (bench, program) = bench();
    let pair = [
        batch(&bench, &program, "1s", "fifo"),
        batch(&bench, &program, "1s", "fifo"),
    ];
    let [first, second] = pair.map(per_second);
    assert!(
        (4_000.0..5_600.0).contains(&(first + second)),
        "{first} and {second}"
    );
}

fn kill_repeatedly(discipline: &str) {
    let (bench, program) = bench();
    // With 2.4 s of work queued; killed while it attaches, launches, waits: the delays sweep over its life.
    for round in 0..30 {
        let mut victim = batch_ahead(&bench, &program, "10s", discipline, "12000");
        std::thread::sleep(Duration::from_micros(700 * round));
        victim.kill();
    }
    let beside = batch(&bench, &program, "2s", discipline);
    std::thread::sleep(Duration::from_millis(300));
    let mut victim = batch_ahead(&bench, &program, "10s", discipline, "12000");
    std::thread::sleep(Duration::from_millis(200));
    victim.kill();
    // Alone but for 0.2 of the 2 s: were the dead ones still on the device, it would get half or less.
    let rate = per_second(beside);
    assert!(
        rate > 4_000.0,
        "{rate} per second after the others were killed"
    );
}

#[test]
fn a_killed_process_leaves_the_device_usable() {
    kill_repeatedly("amd");
}

#[test]
fn a_killed_process_leaves_the_device_usable_under_fifo() {
    kill_repeatedly("fifo");
}

/// A process that is stopped, not dead, holds no lock and does not hold up the others.
#[test]
fn a_stopped_process_holds_nobody_up() {
    let (bench, program) = bench();
    let stopped = batch(&bench, &program, "10s", "amd");
    std::thread::sleep(Duration::from_millis(200));
    // SAFETY: signals a child of ours that has not been waited for.
    unsafe { libc::kill(stopped.id() as i32, libc::SIGSTOP) };
    let begun = Instant::now();
    // Its at most 256 kernels queued ahead (51 ms) drain; then the device is free.
    let rate = per_second(batch(&bench, &program, "1s", "amd"));
    assert!(rate > 4_300.0, "{rate} per second beside a stopped process");
    assert!(begun.elapsed() < Duration::from_secs(5));
}
