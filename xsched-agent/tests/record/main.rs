//! `record` on hipsim with real BPF: the trace is parsed back.
//!
//! Needs what `cargo build` builds, and root with BPF: without, these tests
//! fail, unless XSCHED_TEST_NO_BPF=1 leaves them out.

mod lines;
mod official;
mod picture;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use xsched_agent::record::Recorder;
use xsched_common::bpf::Drop as Reason;
use xsched_observe::{Kernel, Plan, Scope};
use xsched_testkit::callers::{Api, Fixture, Preload};
use xsched_testkit::machine::Program;
use xsched_testkit::{Agent, agent_command, built, no_bpf};

use picture::{Picture, Seen};

/// A device and a runtime of our own.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().expect("a temporary directory");
        hipsim::install::install(&built("libhipsim.so"), &dir.path().join("hip"))
            .expect("installs");
        Machine { dir }
    }

    fn start(&self, mut command: Command) -> Program {
        command
            .env("XSCHED_SHIM", built("libxsched_shim.so"))
            .env("HIPSIM_DEVICE", self.dir.path().join("device"))
            .env("LD_LIBRARY_PATH", self.dir.path().join("hip"))
            .stdout(Stdio::null());
        Program(command.spawn().expect("starts"))
    }

    fn native(&self, program: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new(built(program));
        command.args(arguments);
        self.start(command)
    }

    fn shimmed(&self, agent: &Agent, class: &str, program: &str, arguments: &[&str]) -> Program {
        let mut command = agent_command();
        command
            .args(["run", "--class", class, "--"])
            .arg(built(program))
            .args(arguments)
            .env("XSCHED_RUN_DIR", &agent.run_dir.0);
        self.start(command)
    }

    /// A copy of the agent that anybody may run, in a folder that anybody may
    /// write.
    fn for_everybody(&self) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
        };
        let bin = self.dir.path().join("bin");
        std::fs::create_dir(&bin).expect("a folder");
        mode(self.dir.path(), 0o755);
        mode(&self.dir.path().join("hip"), 0o755);
        mode(&bin, 0o777);
        let agent = bin.join("xsched-agent");
        xsched_testkit::copy_program(env!("CARGO_BIN_EXE_xsched-agent"), &agent);
        mode(&agent, 0o755);
        agent
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("trace.pftrace")
    }

    fn record(&self, arguments: &[&str]) -> Output {
        agent_command()
            .args(["record", "--json", "-o"])
            .arg(self.file())
            .args(arguments)
            .output()
            .expect("runs")
    }
}

/// A program without the shim, and two with it of which one holds back the other.
struct Company {
    native: Program,
    high: Program,
    low: Program,
    _agent: Agent,
}

impl Company {
    /// They are at work.
    fn start(machine: &Machine) -> Company {
        let agent = Agent::start();
        let batch =
            |class| machine.shimmed(&agent, class, "hipsim-batch", &["--kernel-time", "1ms"]);
        let company = Company {
            native: machine.native("hipsim-nullstream", &[]),
            high: batch("high"),
            low: batch("low"),
            _agent: agent,
        };
        std::thread::sleep(Duration::from_millis(500));
        company
    }
}

fn summary(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)))
}

#[test]
fn a_recording_of_everything_reads_back() {
    if no_bpf() {
        return;
    }
    let _alone = alone();
    let machine = Machine::new();
    let Company {
        native, high, low, ..
    } = &Company::start(&machine);
    let out = machine.record(&["--duration", "2"]);
    let summary = summary(&out);
    let number = |name: &str| summary[name].as_u64().expect("a number");
    assert_eq!(
        number("events"),
        number("recorded") + number("lost"),
        "{summary}"
    );
    assert_eq!(number("lost"), 0, "{summary}");
    assert_eq!(out.status.code(), Some(0), "{summary}");
    assert!((2_000_000_000..4_000_000_000).contains(&number("duration_ns")));

    let picture = Picture::read(&machine.file());
    let launch = "hipModuleLaunchKernel";
    let launches = picture.moments.iter().filter(|m| m.name == launch).count();
    assert_eq!(launches as u64, number("launches"), "{summary}");
    let native_launches: Vec<&Seen> = picture.of(&picture.moments, native.pid(), launch).collect();
    // It launches 1,000 a second.
    assert!(native_launches.len() > 200, "{}", native_launches.len());
    for launch in &native_launches {
        assert_eq!(launch.details["caller"], "hipsim-nullstream");
        assert_eq!(launch.details["route"], "direct");
        assert_eq!(picture.tracks[&launch.track].name(), "null stream");
    }
    let mut processes = picture.tracks.values().filter_map(|t| t.process.as_ref());
    let described = processes.find(|process| process.pid == Some(native.pid() as i32));
    let labels = &described.expect("its track").process_labels;
    assert_eq!(labels, &["hip"], "whose runtime it uses");
    let bursts: Vec<&Seen> = picture.of(&picture.slices, native.pid(), "burst").collect();
    assert!(bursts.len() > 5, "{summary}");
    for burst in &bursts {
        assert_eq!(burst.details["launches"], "64");
        assert!(burst.to - burst.from > 50_000_000);
    }
    let waits = picture.of(&picture.slices, native.pid(), "hipStreamSynchronize");
    assert!(waits.count() >= bursts.len(), "each burst ends with a wait");

    // Launches take time on their threads, too.
    let slices: Vec<&Seen> = picture.of(&picture.slices, native.pid(), launch).collect();
    assert!(
        slices.len() + 64 > native_launches.len(),
        "{} of {}",
        slices.len(),
        native_launches.len()
    );
    assert!(
        slices
            .iter()
            .all(|s| s.category == "launch" && s.to > s.from)
    );

    // The low one waits while the high one works.
    let routes: BTreeSet<&str> = picture
        .of(&picture.moments, high.pid(), launch)
        .map(|launch| launch.details["route"].as_str())
        .collect();
    assert!(routes.contains("through the shim"), "{routes:?}");
    let held = picture.of(&picture.slices, low.pid(), "gate wait");
    let longest = held.map(|wait| wait.to - wait.from).max();
    assert!(
        longest.is_some_and(|ns| ns > 5_000_000),
        "{longest:?}, {summary}"
    );
    assert!(
        picture
            .moments
            .iter()
            .any(|m| m.name == "end of the recording")
    );
}

#[test]
fn an_interrupt_ends_a_recording_of_one_process_cleanly() {
    if no_bpf() {
        return;
    }
    let machine = Machine::new();
    let program = machine.native("hipsim-nullstream", &[]);
    let other = machine.native("hipsim-nullstream", &[]);
    std::thread::sleep(Duration::from_millis(200));
    let recording = agent_command()
        .args([
            "record",
            "--json",
            "--pid",
            &program.pid().to_string(),
            "-o",
        ])
        .arg(machine.file())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    std::thread::sleep(Duration::from_millis(1_000));
    let pid = rustix::process::Pid::from_raw(recording.id() as i32).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("SIGINT");
    let out = recording.wait_with_output().expect("ends");
    let summary = summary(&out);
    assert_eq!(out.status.code(), Some(0), "{summary}");
    assert_eq!(summary["processes"], 1, "{summary}");
    let picture = Picture::read(&machine.file());
    let launch = "hipModuleLaunchKernel";
    assert!(picture.of(&picture.moments, program.pid(), launch).count() > 50);
    assert_eq!(picture.of(&picture.moments, other.pid(), launch).count(), 0);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(machine.file())
            .expect("the trace")
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "others' arguments are in it");
}

#[test]
fn what_cannot_be_recorded_is_said_in_one_line() {
    if no_bpf() {
        return;
    }
    let machine = Machine::new();
    let out = machine.record(&["--pid", "4194305", "--duration", "1"]);
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{error}");
    assert!(
        error.contains("does not exist") && error.lines().count() == 1,
        "{error}"
    );
    let me = std::process::id().to_string();
    let out = machine.record(&["--pid", &me, "--duration", "0.3"]);
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{error}");
    assert!(error.contains("no call was seen"), "{error}");
    Picture::read(&machine.file());
    let out = agent_command()
        .args(["record", "-o", "/nonexistent/trace", "--duration", "1"])
        .output()
        .expect("runs");
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{error}");
    assert!(
        error.contains("cannot create /nonexistent/trace"),
        "{error}"
    );
}

/// Capabilities(7) as a setpriv argument, and what is to be recorded with
/// them by somebody who is not root, of root's process.
#[test]
fn the_fewest_capabilities_that_record() {
    if no_bpf() {
        return;
    }
    let machine = Machine::new();
    let agent = machine.for_everybody();
    let program = machine.native("hipsim-nullstream", &[]);
    std::thread::sleep(Duration::from_millis(300));
    let record = |capabilities: &str| {
        let trace = machine.dir.path().join("bin/trace");
        let out = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(format!("--inh-caps=-all,{capabilities}"))
            .arg(format!("--ambient-caps=-all,{capabilities}"))
            .arg(format!("--bounding-set=-all,{capabilities}"))
            .arg(&agent)
            .args(["record", "--json", "--duration", "0.3", "--pid"])
            .arg(program.pid().to_string())
            .arg("-o")
            .arg(trace)
            .output()
            .expect("setpriv is there");
        let summary: Option<Value> = serde_json::from_slice(&out.stdout).ok();
        let recorded = summary.and_then(|s| s["recorded"].as_u64());
        (recorded, String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let needs = |fewest: &[&str]| {
        let (recorded, error) = record(&fewest.join(","));
        assert!(
            recorded.is_some_and(|calls| calls > 50),
            "{fewest:?}: {recorded:?} {error}"
        );
        for left_out in fewest {
            let rest: Vec<&str> = fewest.iter().copied().filter(|c| c != left_out).collect();
            let (recorded, error) = record(&rest.join(","));
            assert_eq!(recorded.unwrap_or(0), 0, "{fewest:?} without {left_out}");
            assert!(!error.is_empty(), "without {left_out}: it says why");
        }
    };
    let hip = machine.dir.path().join("hip");
    needs(&["+bpf", "+perfmon", "+sys_ptrace"]);
    // A runtime in a folder that is root's own.
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&hip, private).expect("mode");
    needs(&["+bpf", "+perfmon", "+sys_ptrace", "+dac_read_search"]);
    // One that an update has removed.
    std::fs::remove_dir_all(&hip).expect("removed");
    needs(&[
        "+bpf",
        "+perfmon",
        "+sys_ptrace",
        "+dac_read_search",
        "+checkpoint_restore",
    ]);
}

/// What cannot be measured there is null, and said; not zero, and not a wait
/// until the end of the recording.
#[test]
fn where_returns_would_do_harm_lengths_are_unknown_and_that_is_said() {
    if no_bpf() {
        return;
    }
    let machine = Machine::new();
    let service = machine.native("hipsim-service", &["--period", "10ms"]);
    let plan = Plan {
        kernel: Kernel(6, 12),
        ..Plan::recording(Scope::Pid(service.0.id()))
    };
    let file = std::fs::File::create(machine.file()).expect("a file");
    let mut recorder = Recorder::start(plan, file).expect("records");
    let deadline = std::time::Instant::now() + xsched_testkit::DEADLINE;
    while recorder.progress().launches < 20 {
        recorder.turn().expect("goes on");
        assert!(std::time::Instant::now() < deadline, "no launches");
    }
    let (summary, _) = recorder.finish().expect("ends");
    assert_eq!((summary.waits, summary.bursts), (None, None));
    let said = |limit: &String| limit.contains("lengths of waits") && limit.contains("6.14");
    assert!(summary.limits.iter().any(said), "{:?}", summary.limits);
    let json = serde_json::to_value(&summary).expect("JSON");
    assert!(
        json["waits"].is_null() && json["bursts"].is_null(),
        "{json}"
    );
    let picture = Picture::read(&machine.file());
    let pid = service.0.id();
    let sync = "hipStreamSynchronize";
    assert!(picture.of(&picture.moments, pid, sync).count() > 0);
    assert_eq!(picture.of(&picture.slices, pid, sync).count(), 0);
}

/// A flood of calls is recorded by whoever records everything, too.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// With a ring that is too small for the flood: what is not in the trace is
/// in its count of losses.
#[test]
fn a_recording_knows_what_it_lost() {
    if no_bpf() {
        return;
    }
    let _alone = alone();
    let fixture = Fixture::build();
    let mut program = fixture.start(Preload::Nothing);
    let mut recorder =
        Recorder::start(Plan::recording(Scope::Pid(program.pid())), io::sink()).expect("recorder");
    // Nobody reads meanwhile: 32 MiB hold about 500,000 beginnings and ends.
    program.call('a', Api::Launch, 0x5000, 500_000);
    recorder.turn().expect("turn");
    program.call('a', Api::Launch, 0x5000, 1_000);
    let (summary, _) = recorder.finish().expect("finished");
    assert_eq!(summary.events, 2 * 501_000, "{summary:?}");
    assert_eq!(summary.unaccounted(), 0, "{summary:?}");
    assert!(
        summary.lost > 100_000 && summary.recorded > 200_000,
        "{summary:?}"
    );
    assert_eq!(
        summary.lost_by_reason[Reason::RecordFull.name()],
        summary.lost
    );
    assert_eq!(
        summary.kernels, 1,
        "symbols tell what an address stands for"
    );
    let ends = summary.recorded - summary.launches;
    assert!(summary.launches.abs_diff(ends) <= 1, "{summary:?}");
}
