//! One device: processes of this face and of hipsim's HIP face contend on it, and a killed one leaves it usable.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::support::{Bench, built};

struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    /// Times of the next kernels, in us, sorted.
    fn times(&mut self, count: usize) -> Vec<u64> {
        let mut times: Vec<u64> = (0..count)
            .map(|_| self.line().parse().expect("us"))
            .collect();
        times.sort_unstable();
        times
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn both_faces_contend_on_one_device() {
    let bench = Bench::new();
    let kernels = bench.kernels();
    let hip = bench.path("hip");
    hipsim::install::install(&built("libhipsim.so"), &hip).expect("installs");
    let (ours, theirs) = (
        bench.compile("spin"),
        bench.compile_with("hip_spin", &hip, "libamdhip64.so.5"),
    );
    let stop = bench.path("stop");
    let mut spin = Running::start(bench.command(&ours).arg(&kernels).arg("-1").arg(&stop));
    assert_eq!(spin.line(), "ready");
    assert_eq!(spin.times(3)[1], 20_000, "alone: full speed");
    let mut neighbour = bench.command(&theirs);
    neighbour.env("LD_LIBRARY_PATH", &hip).arg(&stop);
    let mut neighbour = Running::start(&mut neighbour);
    assert_eq!(neighbour.line(), "ready");
    spin.times(3);
    let beside = spin.times(7)[3];
    assert!(
        (30_000..=44_000).contains(&beside),
        "beside another: {beside} us for 20,000"
    );
    std::fs::write(&stop, "").expect("writes");
    assert!(neighbour.child.wait().expect("ends").success());
}

/// `hsa_amd_queue_set_priority` counts between processes: 0 is low, 2 is high.
#[test]
fn a_queue_s_priority_goes_before_another_process_s() {
    let bench = Bench::new();
    let kernels = bench.kernels();
    let program = bench.compile("spin");
    let stop = bench.path("stop");
    let start = |count: &str, ns: &str, priority: &str| {
        let mut command = bench.command(&program);
        command.arg(&kernels).arg(count).arg(&stop);
        let mut running = Running::start(command.args([ns, "wait", priority]));
        assert_eq!(running.line(), "ready");
        running
    };
    let neighbour = start("-1", "20000000", "1");
    let beside = |ns, priority| start("5", ns, priority).times(5)[2];
    let high = beside("20000000", "2");
    assert!(
        (20_000..=24_000).contains(&high),
        "above: {high} us for 20,000"
    );
    let equal = beside("20000000", "1");
    assert!((30_000..=44_000).contains(&equal), "alike: {equal} us");
    // It has the gaps between the neighbour's kernels only.
    let low = beside("1000000", "0");
    assert!(low > 15_000, "below: {low} us for 1,000");
    drop(neighbour);
}

#[test]
fn killed_processes_leave_the_device_usable() {
    let bench = Bench::new();
    let kernels = bench.kernels();
    let program = bench.compile("spin");
    let stop = bench.path("stop");
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = since.expect("a clock after 1970").as_nanos() as u64 | 1;
    println!("seed {seed}");
    let mut state = seed;
    for round in 0..100 {
        // Xorshift: the moments differ from run to run, and cover starting and two kernels.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let spin = |mut command: Command, count: &str| {
            Running::start(command.arg(&kernels).arg(count).arg(&stop).arg("5000000"))
        };
        let mut victim = spin(bench.direct(&program), "-1");
        if round % 4 > 0 {
            assert_eq!(victim.line(), "ready");
        }
        std::thread::sleep(Duration::from_micros(state % 12_000));
        victim.child.kill().expect("killed");
        victim.child.wait().expect("reaped");
        let mut after = spin(bench.command(&program), "3");
        assert_eq!(after.line(), "ready");
        let times = after.times(3);
        assert!(times[2] < 7_500, "seed {seed}, round {round}: {times:?}");
        assert!(after.child.wait().expect("ends").success());
    }
}

/// The killed one leaves a kernel of a minute: it counts until somebody finds it dead, however that one waits.
#[test]
fn whoever_looks_or_is_called_finds_the_dead() {
    for way in ["look", "handler"] {
        let bench = Bench::new();
        let kernels = bench.kernels();
        let program = bench.compile("spin");
        let stop = bench.path("stop");
        let start = |count: &str, ns: &str, way: &str| {
            let mut command = bench.direct(&program);
            let arguments = [
                OsStr::new(count),
                stop.as_os_str(),
                OsStr::new(ns),
                OsStr::new(way),
            ];
            let mut running = Running::start(command.arg(&kernels).args(arguments));
            assert_eq!(running.line(), "ready");
            running
        };
        let mut living = start("-1", "20000000", way);
        living.times(2);
        let mut victim = start("1", "60000000000", "wait");
        let beside = (0..50).find(|_| living.times(1)[0] > 30_000);
        assert!(beside.is_some(), "{way}: the neighbour's kernel never ran");
        victim.child.kill().expect("killed");
        victim.child.wait().expect("reaped");
        // The one that ran when it died, and one more for a busy machine.
        living.times(2);
        let after = living.times(5);
        assert!(after[2] < 30_000, "{way}: {after:?} us for 20,000");
        std::fs::write(&stop, "").expect("writes");
        assert!(living.child.wait().expect("ends").success());
    }
}

#[test]
fn what_the_host_holds_up_slows_nobody() {
    let bench = Bench::new();
    let kernels = bench.kernels();
    let (spin, held) = (bench.compile("spin"), bench.compile("held"));
    let stop = bench.path("stop");
    let mut held = Running::start(bench.direct(&held).arg(&kernels).arg(&stop));
    assert_eq!(held.line(), "ready");
    let mut spin = Running::start(bench.command(&spin).arg(&kernels).arg("5").arg(&stop));
    assert_eq!(spin.line(), "ready");
    let times = spin.times(5);
    assert!(
        times[2] < 30_000,
        "beside one that waits: {times:?} us for 20,000"
    );
    std::fs::write(&stop, "").expect("writes");
    assert!(held.child.wait().expect("ends").success());
}
