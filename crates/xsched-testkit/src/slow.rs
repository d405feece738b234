//! Services that are slow for known causes, to see whether these are named.
//!
//! A service of 10 ms bursts with a target of 12 ms runs alone until its time
//! alone is known; then the cause is planted, and after some seconds the agent
//! is asked why the service was slow.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use xsched_common::api::{BlameCause, BlameRow, Request, Response};
use xsched_common::units::Nanos;

use super::machine::{Machine, Program};
use super::{Agent, agent_command, built};

/// What its bursts are to take.
pub const TARGET: Nanos = Nanos::from_millis(12);

/// A burst: so many kernels of 500 us.
const KERNELS: &str = "20";

/// Alone.
const LEARNING: Duration = Duration::from_secs(8);

/// With the cause, until its effects fill the time that is asked about.
const PLANTED: Duration = Duration::from_secs(7);

/// What is asked about.
const ASKED: Duration = Duration::from_secs(5);

/// A planted cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Twice the kernels.
    OwnWork,
    /// A realtime class has work.
    GateWait,
    /// A lower class has long kernels.
    InFlight,
    /// Another of the same class.
    Peer,
    /// A program without the shim.
    PastGate,
    /// Host code between the launches.
    HostGaps,
    /// Busy loops on its processor.
    ServiceCpu,
    /// The agent is stopped again and again beside a lower class.
    AgentHeldUp,
    /// Two at once.
    PastGateAndServiceCpu,
    /// Two at once.
    InFlightAndPastGate,
}

impl Plant {
    /// Every one.
    pub const ALL: [Plant; 10] = [
        Plant::OwnWork,
        Plant::GateWait,
        Plant::InFlight,
        Plant::Peer,
        Plant::PastGate,
        Plant::HostGaps,
        Plant::ServiceCpu,
        Plant::AgentHeldUp,
        Plant::PastGateAndServiceCpu,
        Plant::InFlightAndPastGate,
    ];

    /// The causes that are planted.
    pub fn causes(self) -> &'static [BlameCause] {
        match self {
            Plant::OwnWork => &[BlameCause::OwnWork],
            Plant::GateWait => &[BlameCause::GateWait],
            Plant::InFlight => &[BlameCause::InFlight],
            Plant::Peer => &[BlameCause::Peer],
            Plant::PastGate => &[BlameCause::PastGate],
            Plant::HostGaps => &[BlameCause::HostGaps],
            Plant::ServiceCpu => &[BlameCause::ServiceCpu],
            Plant::AgentHeldUp => &[BlameCause::AgentHeldUp],
            Plant::PastGateAndServiceCpu => &[BlameCause::PastGate, BlameCause::ServiceCpu],
            Plant::InFlightAndPastGate => &[BlameCause::PastGate, BlameCause::InFlight],
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was planted.
    pub plant: Plant,
    /// What the agent says.
    pub blame: BlameRow,
    /// Mean loss of a second by the service's own clock: what its requests
    /// took beyond the base that the agent accounts from, ns.
    pub loss_per_s: f64,
}

impl Outcome {
    /// A cause's share of the loss.
    pub fn share(&self, cause: BlameCause) -> f64 {
        let parts = self.blame.parts.iter().filter(|part| part.cause == cause);
        let time: u64 = parts.map(|part| part.time_ns.0).sum();
        self.blame.share(Nanos(time)).unwrap_or(0.0)
    }

    /// The cause that is named first.
    pub fn first(&self) -> Option<BlameCause> {
        let shares = BlameCause::ALL.map(|cause| (self.share(cause), cause));
        let most = shares.into_iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
        let unexplained = self.blame.share(self.blame.unexplained_ns).unwrap_or(1.0);
        (most.0 > unexplained).then_some(most.1)
    }

    /// By how many percent the agent's loss differs from the service's own.
    pub fn sum_error_percent(&self) -> f64 {
        100.0 * (self.said_per_s() / self.loss_per_s - 1.0).abs()
    }

    /// What the agent says was lost in a second, ns.
    fn said_per_s(&self) -> f64 {
        self.blame.loss_ns.0 as f64 / self.blame.over_ns.as_secs_f64()
    }
}

/// One plant at a time: an agent sees every program on the machine, and one
/// past the gate may be on any device.
static TURN: Mutex<()> = Mutex::new(());

/// How much everything here comes before whatever else the machine does: that
/// would be a cause that nobody has planted.
const FIRST: i32 = -12;

/// Plants a cause, and asks. Needs BPF and root. The calling thread keeps the
/// priority that its programs run at.
pub fn run(plant: Plant) -> Outcome {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    rustix::process::setpriority_process(None, FIRST).expect("root");
    let machine = Machine::with(Agent::start_observing());
    let mode = match plant {
        // In the others those of a class take turns, which is gate wait.
        Plant::Peer => "priority",
        _ => "slo",
    };
    let mode = machine.agent.cli(&["mode", mode]);
    assert!(mode.status.success(), "{mode:?}");
    let times = machine.dir.path().join("times");
    let learning = format!("{}ms", LEARNING.as_millis());
    let mut command = agent_command();
    command
        .args(["run", "--class", "high", "--slo", "12ms", "--"])
        .arg(built("hipsim-service"))
        .args(["--kernels", KERNELS, "--kernel-time", "500us"])
        .args(["--period", "40ms", "--duration", "60s", "--times"])
        .arg(&times);
    match plant {
        Plant::OwnWork => drop(command.args(["--later", &learning, "--later-kernels", "40"])),
        Plant::HostGaps => drop(command.args(["--later", &learning, "--later-pause", "900us"])),
        _ => {}
    }
    if plant.causes().contains(&BlameCause::ServiceCpu) {
        // Host code, which needs a processor.
        command.args(["--think", "100us"]);
        on_processor(&mut command, LAST);
    }
    let service = machine.spawn(&mut command);
    std::thread::sleep(LEARNING);
    let planted = Planted::of(plant, &machine);
    let end = Instant::now() + PLANTED;
    planted.hold_until(end, &machine.agent);
    let over_ms = ASKED.as_millis() as u64;
    let pid = service.pid();
    let asked = now_ns();
    let blame = match machine.agent.ask(&Request::Slow { pid, over_ms }) {
        Response::Slow(slowness) => slowness.blame.unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    drop((planted, service));
    let text = std::fs::read_to_string(&times).expect("the service's times");
    Outcome {
        plant,
        loss_per_s: loss_per_s(&text, &blame, asked),
        blame,
    }
}

/// What the requests of the last seconds lost, by their own times.
fn loss_per_s(text: &str, blame: &BlameRow, asked: u64) -> f64 {
    let number = |text: Option<&str>| text?.parse::<u64>().ok();
    let request = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        Some((number(fields.next())?, number(fields.next())?))
    };
    // A request that was due before the one before had ended waited for that:
    // no burst of its own.
    let mut ended = 0;
    let requests = text.lines().filter_map(request).map(|(at, took)| {
        let (begun, end) = (at.max(ended), at + took);
        ended = end;
        (begun, end.saturating_sub(begun))
    });
    let requests: Vec<(u64, u64)> = requests.collect();
    let limit = blame.limit_ns.unwrap_or(TARGET);
    let base = blame.own_ns.unwrap_or(limit).min(limit);
    let from = asked.saturating_sub(blame.over_ns.0);
    let recent = requests.iter().filter(|(at, _)| (from..asked).contains(at));
    let lost = recent
        .filter(|(_, took)| *took > limit.0)
        .map(|(_, took)| (took - base.0) as f64);
    lost.sum::<f64>() / blame.over_ns.as_secs_f64()
}

fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The processor that a service and the loops beside it share.
const LAST: usize = 1;

fn on_processor(command: &mut Command, number: usize) {
    // SAFETY: between fork and exec only a system call.
    unsafe {
        command.pre_exec(move || {
            let mut set = rustix::thread::CpuSet::new();
            set.set(number);
            Ok(rustix::thread::sched_setaffinity(None, &set)?)
        })
    };
}

/// What stays for as long as the cause does.
#[derive(Default)]
struct Planted {
    _programs: Vec<Program>,
    stops_agent: bool,
}

impl Planted {
    fn of(plant: Plant, machine: &Machine) -> Planted {
        let batch = |class: &str, kernel: &str| {
            machine.run(class, "hipsim-batch", &["--kernel-time", kernel])
        };
        let past = || machine.native("hipsim-batch", &["--kernel-time", "200us"], &[]);
        let programs = match plant {
            Plant::OwnWork | Plant::HostGaps => Vec::new(),
            Plant::GateWait => vec![machine.run(
                "realtime",
                "hipsim-service",
                &[
                    "--kernels",
                    "30",
                    "--kernel-time",
                    "500us",
                    "--period",
                    "31ms",
                    "--duration",
                    "60s",
                ],
            )],
            Plant::InFlight => vec![batch("low", "15ms")],
            Plant::Peer => vec![batch("high", "200us")],
            Plant::PastGate => vec![past()],
            Plant::ServiceCpu => vec![busy(machine), busy(machine)],
            Plant::AgentHeldUp => vec![batch("low", "200us")],
            Plant::PastGateAndServiceCpu => vec![past(), busy(machine), busy(machine)],
            Plant::InFlightAndPastGate => vec![past(), batch("low", "15ms")],
        };
        Planted {
            _programs: programs,
            stops_agent: plant == Plant::AgentHeldUp,
        }
    }

    fn hold_until(&self, end: Instant, agent: &Agent) {
        let pid = Pid::from_raw(agent.child.id().cast_signed()).expect("a pid");
        while self.stops_agent && Instant::now() < end {
            kill_process(pid, Signal::STOP).expect("SIGSTOP");
            // Shorter than a lease.
            std::thread::sleep(Duration::from_millis(200));
            kill_process(pid, Signal::CONT).expect("SIGCONT");
            // Not in step with the service: it is stopped in bursts and between.
            std::thread::sleep(Duration::from_millis(131));
        }
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        if self.stops_agent {
            // Its next tick.
            std::thread::sleep(Duration::from_millis(700));
        }
    }
}

/// A busy loop that comes before the service on its processor.
fn busy(machine: &Machine) -> Program {
    let mut command = Command::new("nice");
    command.args(["-n", "-7", "sh", "-c", "while :; do :; done"]);
    on_processor(&mut command, LAST);
    machine.spawn(&mut command)
}

/// For people: a row of a table.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?}: {} of {} bursts slow, {:.1} ms a second lost ({:.1} by its own clock); {}",
            self.plant,
            self.blame.slow,
            self.blame.bursts,
            self.said_per_s() / 1e6,
            self.loss_per_s / 1e6,
            self.blame.summary
        )
    }
}
