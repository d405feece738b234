//! Strict mode on runtimes with a dispatch table: the simulated device's
//! `.so.6` and `.so.7`, whose tables are laid out as the real ones.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use support::agent::Agent;
use support::{Guard, WATCHDOG, bin, eventually, shim, succeeded};
use xsched_common::gate::GateMode;
use xsched_common::page::Route;

struct Runtimes(tempfile::TempDir);

impl Runtimes {
    fn install() -> Runtimes {
        let exe = std::env::current_exe().expect("the test has a path");
        let built = exe.with_file_name("libhipsim.so");
        let dir = tempfile::tempdir().expect("a directory");
        hipsim::install::install(&built, &dir.path().join("hip")).expect("hipsim is built");
        Runtimes(dir)
    }

    /// `deepbind` on the runtime of this major version, for a library that
    /// asks for it by that name.
    fn program(&self, major: u8, agent: &Path, strict: &str) -> Command {
        let hip = self.0.path().join("hip");
        let runtime = hip.join(format!("libamdhip64.so.{major}"));
        let library = self.0.path().join(format!("libdeepbind{major}.so"));
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-DSHARED", "-O2", "-o"])
            .arg(&library)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/deepbind.c"))
            .arg(&runtime)
            .status()
            .expect("a C compiler");
        assert!(made.success());
        let mut command = Command::new(bin().join("deepbind"));
        command
            .arg(&runtime)
            .arg(&library)
            .env("LD_LIBRARY_PATH", &hip)
            .env("LD_PRELOAD", shim())
            .env("XSCHED_RUN_DIR", agent)
            .env("XSCHED_STRICT", strict)
            .env("HIPSIM_DEVICE", self.0.path().join("device"))
            .env_remove("XSCHED_VERBOSE");
        command
    }
}

/// The program and its lines.
struct Dialogue {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    _guard: Guard,
}

impl Dialogue {
    fn begin(command: &mut Command) -> Dialogue {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let guard = Guard::watch(&child);
        let input = child.stdin.take().expect("piped");
        let output = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Dialogue {
            child,
            input,
            lines,
            _guard: guard,
        }
    }

    /// The numbers of the next line: what failed, and milliseconds.
    fn numbers(&mut self) -> Vec<u64> {
        let line = self.lines.recv_timeout(WATCHDOG).expect("a line");
        line.split(' ')
            .map(|word| word.parse().unwrap_or_else(|_| panic!("{line}")))
            .collect()
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").expect("the program reads");
    }

    fn end(mut self) {
        drop(self.input);
        succeeded(self.child.wait().expect("the program ends"));
    }
}

#[test]
fn every_way_leads_through_the_gate_once() {
    let runtimes = Runtimes::install();
    for major in [6, 7] {
        let agent = Agent::start();
        let mut program = Dialogue::begin(&mut runtimes.program(major, agent.dir(), "1"));
        assert_eq!(program.numbers(), [0], "HIP {major}");
        let client = agent.client(0);
        let launches = || client.status().launch_totals().by_route[Route::Gated as usize];
        assert_eq!(launches(), 6, "HIP {major}: each launch is counted once");
        let device = client.device(0);
        let admitted = || device.admitted.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(admitted(), 6, "HIP {major}: and passes the gate once");
        eventually("idle", || !device.activity().active);

        for _way in ["deepbind", "pointer"] {
            client.set(0, GateMode::Closed);
            program.go_on();
            let [failed, took] = program.numbers()[..] else {
                panic!("two numbers");
            };
            assert_eq!(failed, 0);
            assert!(
                took >= 14,
                "HIP {major}: went past a closed gate in {took} ms"
            );
            client.set(0, GateMode::Open);
        }
        assert_eq!(program.numbers(), [0]);
        assert_eq!(launches(), 9, "HIP {major}: our own export is counted once");
        assert_eq!(admitted(), 9, "HIP {major}");
        program.end();
    }
}

#[test]
fn profilers_in_the_table_stay_in_the_chain() {
    let runtimes = Runtimes::install();
    for (when, expected) in [
        ("before", "0 5 0\n"),
        ("after", "0 0 5\n"),
        ("both", "0 5 5\n"),
    ] {
        let agent = Agent::start();
        let hip = runtimes.0.path().join("hip");
        let mut program = Command::new(bin().join("profiler"));
        program
            .arg(hip.join("libamdhip64.so.7"))
            .arg(when)
            .env("LD_PRELOAD", shim())
            .env("XSCHED_RUN_DIR", agent.dir())
            .env("XSCHED_STRICT", "1")
            .env("HIPSIM_DEVICE", runtimes.0.path().join("device"));
        assert_eq!(support::stdout_of(&mut program), expected, "{when}");
        let totals = agent.client(0).status().launch_totals();
        assert_eq!(totals.by_route, [5, 0], "{when}: gated, and once");
    }
}

#[test]
fn without_strict_mode_or_without_a_table_the_program_runs_as_ever() {
    let runtimes = Runtimes::install();
    let agent = Agent::start();
    for (major, strict) in [(7, "0"), (5, "1")] {
        let output = support::run(
            runtimes
                .program(major, agent.dir(), strict)
                .stdin(Stdio::null()),
        );
        let out = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{out}{said}");
        assert!(out.lines().all(|line| line.starts_with('0')), "{out}");
        if strict == "1" {
            assert!(said.contains("strict mode is not in force"), "{said}");
        } else {
            assert!(said.is_empty(), "{said}");
        }
    }
}
