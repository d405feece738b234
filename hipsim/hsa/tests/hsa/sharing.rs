//! One device: processes of this face and of hipsim's HIP face contend on it, and a killed one leaves it usable.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use crate::support::{Bench, built};

struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut std::process::Command) -> Self {
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

#[test]
fn killed_processes_leave_the_device_usable() {
    let bench = Bench::new();
    let kernels = bench.kernels();
    let program = bench.compile("spin");
    let stop = bench.path("stop");
    for round in 0..20 {
        let mut command = bench.command(&program);
        // Killed itself, not timeout(1) around it.
        let mut direct = std::process::Command::new(&program);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => direct.env(name, value),
                None => direct.env_remove(name),
            };
        }
        let mut victim = Running::start(direct.arg(&kernels).arg("-1").arg(&stop));
        victim.line();
        std::thread::sleep(std::time::Duration::from_micros(700 * round));
        victim.child.kill().expect("killed");
        command.arg(&kernels).arg("3").arg(&stop);
        let mut after = Running::start(&mut command);
        let times = after.times(3);
        assert!(times[2] < 30_000, "round {round}: {times:?}");
        assert!(after.child.wait().expect("ends").success());
    }
}
