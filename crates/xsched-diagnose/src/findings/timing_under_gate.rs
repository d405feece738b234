//! The program measured kernels, and its gate was not open.

use xsched_common::api::Severity;

use super::check::{Check, Details, grouped};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "timing-under-gate",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let process = facts.agent.as_ref()?.process.as_ref()?;
    let split = process.split_intervals.filter(|split| *split > 0)?;
    let pid = process.pid;
    Some(Details {
        severity: Severity::Warning,
        title: "times between events contain waits at the gate".into(),
        evidence: vec![format!(
            "{} intervals between two events on one stream were split by a gate that was not open",
            grouped(split)
        )],
        effect: Some(
            "an autotuner that compares such times may have chosen the wrong kernel, and may have \
             stored that choice"
                .into(),
        ),
        fix: format!(
            "tune before the program is scheduled (XSCHED_DISABLE=1), or while its gate is open: \
             xsched-agent boost --pid {pid}; then let it load what it found"
        ),
    })
}
