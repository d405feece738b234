//! Its bursts take longer than they should, and where the time went.

use xsched_common::api::{BlameCause, BlamePart, BlameRow, ProcessRow, Severity};
use xsched_common::units::Nanos;

use super::check::{Check, Details, grouped};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "slow-bursts",
    check,
};

/// A target is one of the 99th percentile: that one burst in a hundred misses
/// it is what it means.
const MEANT_SLOW: u64 = 100;

/// Fewer bursts than these tell nothing of one in a hundred.
const ENOUGH: u64 = 20;

/// Parts below this share of the loss are left out.
const WORTH_A_LINE: f64 = 0.05;

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let process = facts.agent.as_ref()?.process.as_ref()?;
    let blame = process.blame.as_ref()?;
    let limit = blame.limit_ns?;
    if blame.bursts < ENOUGH || blame.slow * MEANT_SLOW <= blame.bursts {
        return None;
    }
    // Without a target nobody has said that it is too slow.
    let (severity, than) = match process.slo {
        Some(_) => (Severity::Warning, "its target"),
        None => (Severity::Info, "one half as much again as alone"),
    };
    let mut evidence = vec![blame.summary.clone()];
    let worth = |part: &&BlamePart| share(blame, part) >= WORTH_A_LINE;
    evidence.extend(
        blame
            .parts
            .iter()
            .filter(worth)
            .map(|part| line(blame, part)),
    );
    let explained = |part: &&BlamePart| part.time_ns > blame.unexplained_ns;
    let most = blame.parts.first().filter(explained);
    Some(Details {
        severity,
        title: format!("bursts take longer than {limit}, {than}"),
        evidence,
        effect: Some(format!(
            "{} of {} bursts in {:.0} s",
            grouped(blame.slow),
            grouped(blame.bursts),
            blame.over_ns.as_secs_f64()
        )),
        fix: fix(process, most),
    })
}

fn share(blame: &BlameRow, part: &BlamePart) -> f64 {
    blame.share(part.time_ns).unwrap_or(0.0)
}

fn line(blame: &BlameRow, part: &BlamePart) -> String {
    let whose = match part.pid {
        Some(pid) => format!(", process {pid}"),
        None => String::new(),
    };
    format!(
        "{:.0}% {}{whose}: {} a slow burst, {} at most",
        100.0 * share(blame, part),
        part.cause.label(),
        Nanos(part.time_ns.0 / blame.slow.max(1)),
        Nanos(part.at_most_ns.0 / blame.slow.max(1)),
    )
}

/// What helps against the largest part.
fn fix(process: &ProcessRow, most: Option<&BlamePart>) -> String {
    let own = process.pid;
    let Some(part) = most else {
        return format!("see more of it: xsched-agent explain --slow {own}");
    };
    let other = part.pid.unwrap_or_default();
    match part.cause {
        BlameCause::OwnWork => format!(
            "give it less work at once, or a target that it can reach alone: xsched-agent set {own} --slo \
             TIME"
        ),
        BlameCause::GateWait => format!(
            "raise it above whom it waits for: xsched-agent set {own} --class CLASS; why it is where it \
             is: xsched-agent explain {own}"
        ),
        BlameCause::InFlight => format!(
            "nothing interrupts a kernel: let process {other} launch shorter ones"
        ),
        BlameCause::Peer => format!(
            "put process {other} into a lower class: xsched-agent set {other} --class normal"
        ),
        BlameCause::PastGate => format!(
            "bring process {other} under the shim; why it escapes: xsched-agent diagnose {other}"
        ),
        BlameCause::HostGaps => {
            "the device waits for the program's own code between launches: look there, with a profiler"
                .to_owned()
        }
        BlameCause::ServiceCpu => format!(
            "give it a processor: taskset, a control group with CPUWeight, or less else to do beside \
             process {own}"
        ),
        BlameCause::AgentHeldUp => {
            "give the agent processor time: CPUWeight and Nice of its unit; what it says: journalctl -u \
             xsched-agent"
                .to_owned()
        }
    }
}
