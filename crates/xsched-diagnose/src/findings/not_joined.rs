//! Our shim is mapped, an agent runs, and the process has not joined it.

use std::time::Duration;

use xsched_common::api::{Severity, ShimState};
use xsched_common::platform::names::ShimKind;

use super::abi_mismatch;
use super::check::{Check, Details, effect, grouped};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "not-joined",
    check,
};

/// Shims look for a new agent more often than this.
const SETTLED: Duration = Duration::from_secs(10);

fn check(facts: &Facts, bypasses: &[Bypass<'_>]) -> Option<Details> {
    let (shim, ShimKind::Ours) = facts.shim()? else {
        return None;
    };
    let agent = facts.agent.as_ref()?;
    let process = agent.process.as_ref()?;
    // A shim joins when the runtime is first used, so one launch must have been made.
    let joined = process.shim != ShimState::Mapped;
    let disabled = facts.environment.option("XSCHED_DISABLE") == Some("1");
    let explained = disabled || abi_mismatch::abis(facts).is_some();
    if joined || explained || process.launches == 0 || agent.uptime < SETTLED {
        return None;
    }
    if !launch_reached_it(facts, bypasses) {
        return None;
    }
    let mut evidence = vec![
        format!(
            "the agent has been running for {} s, has seen {} launches, and the process has not \
             joined it",
            agent.uptime.as_secs(),
            grouped(process.launches)
        ),
        format!("{} is mapped", shim.path),
    ];
    if let Some(dir) = facts.environment.option("XSCHED_RUN_DIR") {
        evidence.push(format!("it was started with XSCHED_RUN_DIR={dir}"));
    }
    if shim.elf.shim_note.is_none() {
        evidence.push(
            "possible cause: the shim says no ABI, so it is of a release that this agent may not \
             understand"
                .into(),
        );
    }
    evidence.push(
        "possible cause: the process cannot reach the agent's socket (container, user, \
         XSCHED_RUN_DIR)"
            .into(),
    );
    Some(Details {
        severity: Severity::Error,
        title: "the process runs unscheduled: its shim has not joined the agent".into(),
        evidence,
        effect: effect(facts, |_| true, "run unscheduled"),
        fix:
            "start it with XSCHED_VERBOSE=1, which says why; install shim and agent of one release"
                .into(),
    })
}

/// A shim joins at the first launch that reaches it: where all go past it,
/// that is the fault, and another finding. Without observed launches nothing
/// else is claimed either where some are known to go past it.
fn launch_reached_it(facts: &Facts, bypasses: &[Bypass<'_>]) -> bool {
    let mut launches = facts.launches().peekable();
    match launches.peek() {
        Some(_) => launches.any(|call| !facts.is_direct(call)),
        None => {
            let escapes = bypasses.iter().any(Bypass::lets_launches_escape);
            !escapes && facts.held.is_empty()
        }
    }
}
