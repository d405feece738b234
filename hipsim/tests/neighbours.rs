//! Neighbours that are stopped, frozen, out of memory or in namespaces of their own leave the device usable.
//!
//! Needs root for namespaces and control groups; a test that cannot have them says so and passes.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Bench, Running, finish, start};

fn bench() -> (Bench, PathBuf) {
    let bench = Bench::new();
    let program = bench.compile("../../samples/c/batch");
    (bench, program)
}

/// The arguments of the sample batch program: kernels of 200 us, of which 5,000 a second are possible.
fn arguments(duration: &str) -> [&str; 6] {
    [
        "--kernel-time",
        "200us",
        "--ahead",
        "256",
        "--duration",
        duration,
    ]
}

fn batch(bench: &Bench, program: &Path, duration: &str) -> Running {
    start(bench.command(program).args(arguments(duration)))
}

/// The same inside what `unshare` makes of its options, or nothing where that is not allowed.
fn unshared(bench: &Bench, program: &Path, options: &[&str], duration: &str) -> Option<Running> {
    let allowed = Command::new("unshare").args(options).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("LEFT OUT: unshare {options:?} is not allowed here");
        return None;
    }
    let mut command = bench.command("unshare");
    command.args(options).arg(program).args(arguments(duration));
    Some(start(&mut command))
}

fn per_second(running: Running) -> f64 {
    let (status, out, err) = running.wait();
    assert!(status.success(), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).expect(&out);
    report["per_s"].as_f64().expect("per_s")
}

fn assert_half_each(rates: [f64; 2]) {
    for rate in rates {
        assert!((1_900.0..3_200.0).contains(&rate), "{rates:?} per second");
    }
    let sum = rates[0] + rates[1];
    assert!((4_300.0..5_700.0).contains(&sum), "{rates:?} per second");
}

#[test]
fn time_namespaces_share_the_device() {
    let (bench, program) = bench();
    for shift in ["--monotonic=100000", "--monotonic=-50"] {
        let options = ["--time", shift, "--fork"];
        let Some(odd) = unshared(&bench, &program, &options, "1500ms") else {
            return;
        };
        let beside = batch(&bench, &program, "1500ms");
        assert_half_each([odd, beside].map(per_second));
        // And the device is as good as new for whoever comes after.
        let after = per_second(batch(&bench, &program, "500ms"));
        assert!(after > 4_000.0, "{shift}: {after} per second afterwards");
    }
}

#[test]
fn namespaces_of_other_kinds_share_the_device() {
    let (bench, program) = bench();
    let options = [
        "--net",
        "--ipc",
        "--uts",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
    ];
    let Some(odd) = unshared(&bench, &program, &options, "1500ms") else {
        return;
    };
    let beside = batch(&bench, &program, "1500ms");
    assert_half_each([odd, beside].map(per_second));
}

#[test]
fn a_process_stopped_at_any_point_holds_nobody_up() {
    let (bench, program) = bench();
    let mut stopped = Vec::new();
    for round in 0..30 {
        // The delays sweep over loading, attaching and the first launches.
        let victim = batch(&bench, &program, "10s");
        std::thread::sleep(Duration::from_micros(400 * round));
        // SAFETY: signals a child of ours that has not been waited for.
        unsafe { libc::kill(victim.id() as i32, libc::SIGSTOP) };
        stopped.push(victim);
    }
    // Each had at most 256 kernels queued; those run out first.
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    let rate = per_second(batch(&bench, &program, "2s"));
    assert!(rate > 3_000.0, "{rate} per second beside stopped processes");
    assert!(begun.elapsed() < Duration::from_secs(8));
}

/// The one place where a stopped process would hold a lock that others want.
#[test]
fn a_process_stopped_while_it_attaches_holds_nobody_up() {
    let (bench, program) = bench();
    finish(bench.command(&program).args(arguments("10ms")));
    let file = fs::OpenOptions::new()
        .write(true)
        .open(bench.path("device"));
    let file = file.expect("the device");
    // SAFETY: plain data; zero is a valid value of every field.
    let mut first_byte: libc::flock = unsafe { std::mem::zeroed() };
    (first_byte.l_type, first_byte.l_len) = (libc::F_WRLCK as libc::c_short, 1);
    // SAFETY: a valid descriptor and flock structure.
    let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const first_byte) };
    assert_eq!(locked, 0);
    let begun = Instant::now();
    finish(bench.command(&program).args(arguments("100ms")));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(
        took > Duration::from_millis(900),
        "{took:?}: the lock was not held"
    );
}

/// A control group of version 2 that is gone with the value.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let root = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1).zip(line.split(' ').nth(2)))
            .find_map(|(at, kind)| (kind == "cgroup2").then_some(at))?;
        let path = Path::new(root).join(format!("hipsim-{name}-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    fn set(&self, file: &str, value: &str) -> bool {
        fs::write(self.0.join(file), value).is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.set("cgroup.freeze", "0");
        for _ in 0..100 {
            // Fails while a process of the group is still ending.
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_frozen_process_holds_nobody_up_and_goes_on_when_it_thaws() {
    let (bench, program) = bench();
    let Some(group) = Group::new("frozen") else {
        eprintln!("LEFT OUT: no control groups of version 2 that this user may make");
        return;
    };
    let frozen = batch(&bench, &program, "4s");
    std::thread::sleep(Duration::from_millis(300));
    assert!(group.set("cgroup.procs", &frozen.id().to_string()));
    assert!(group.set("cgroup.freeze", "1"));
    std::thread::sleep(Duration::from_millis(200));
    let rate = per_second(batch(&bench, &program, "1s"));
    assert!(rate > 4_000.0, "{rate} per second beside a frozen process");
    assert!(group.set("cgroup.freeze", "0"));
    let thawed = per_second(frozen);
    assert!(
        thawed > 1_000.0,
        "{thawed} per second over a life with a pause"
    );
}

/// Killed for want of memory at any point: the limits sweep over its life.
#[test]
fn a_process_out_of_memory_leaves_the_device_usable() {
    let (bench, program) = bench();
    let mut ended = 0;
    for kilobytes in (1_500..12_000).step_by(500) {
        let script = format!("ulimit -v {kilobytes}; exec \"$@\"");
        let mut command = bench.command("sh");
        command.args(["-c", &script, "sh"]).arg(&program);
        let (status, _, _) = start(command.args(arguments("50ms"))).wait();
        ended += usize::from(!status.success());
    }
    assert!(ended > 2, "{ended} of them lacked memory");
    let rate = per_second(batch(&bench, &program, "1s"));
    assert!(rate > 4_000.0, "{rate} per second afterwards");
}
