//! Launches passed a gate that did not admit them, so that nothing hangs.

use xsched_common::api::Severity;

use super::check::{Check, Details, grouped};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "gate-guards",
    check,
};

/// A trickle of one launch in a hundred is what a closed gate is meant to
/// let through.
const TRICKLE_SHARE: u64 = 100;

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let process = facts.agent.as_ref()?.process.as_ref()?;
    let guards = process.guards?;
    let trickles = guards.trickle * TRICKLE_SHARE > process.launches;
    if guards.stall == 0 && guards.lease == 0 && !trickles {
        return None;
    }
    let pid = process.pid;
    let fired: Vec<(u64, &str, String)> = [
        (
            guards.trickle,
            "trickle: the gate was closed for 100 ms (the main thread: 16 ms, or 32 kernel times if those \
             are longer)",
            format!(
                "trickle: classes above it are never idle; to see why it is below them: \
                 xsched-agent explain --pid {pid}; to raise it: xsched-agent set --pid {pid} --class \
                 CLASS"
            ),
        ),
        (
            guards.stall,
            "stall: nothing completed for 20 ms, or four kernel times if those are longer, or 5 s",
            "stall: a kernel waits for another launch of its process, or is longer than the agent \
             knows"
                .into(),
        ),
        (
            guards.lease,
            "lease: the agent's heartbeat stood still for 250 ms",
            "lease: the agent was stopped or starved of processor time; what it says: journalctl \
             -u xsched-agent"
                .into(),
        ),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .collect();
    let fixes: Vec<&str> = fired.iter().map(|(.., fix)| fix.as_str()).collect();
    Some(Details {
        severity: Severity::Warning,
        title: "launches passed a gate that did not admit them".into(),
        evidence: fired
            .iter()
            .map(|(count, meaning, _)| format!("{} by {meaning}", grouped(*count)))
            .collect(),
        effect: Some(format!(
            "{} of {} launches since the process was first seen",
            grouped(guards.trickle + guards.stall + guards.lease),
            grouped(process.launches)
        )),
        fix: fixes.join(". "),
    })
}
