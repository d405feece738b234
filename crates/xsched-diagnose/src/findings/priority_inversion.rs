//! The process waits for one whose gate is closed for the sake of higher
//! classes.

use xsched_common::api::Severity;

use super::check::{Check, Details};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "priority-inversion",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let agent = facts.agent.as_ref()?;
    let own = agent.process.as_ref()?;
    let waits = &facts.waits;
    let first = waits.first()?;
    let mut evidence = Vec::new();
    for wait in waits {
        let Some(holder) = agent.others.iter().find(|row| row.pid == wait.holder) else {
            continue;
        };
        let reason = holder.gate.as_ref().map_or("", |gate| gate.reason.as_str());
        evidence.push(wait.evidence.clone());
        let line = format!(
            "{} (pid {}) is of class {}, and its gate is closed: {reason}",
            holder.command,
            holder.pid,
            holder.class.name()
        );
        if !evidence.contains(&line) {
            evidence.push(line);
        }
    }
    Some(Details {
        severity: Severity::Warning,
        title: format!(
            "a thread of this process, of class {}, waits for process {}, which the gate holds back",
            own.class.name(),
            first.holder
        ),
        evidence,
        effect: None,
        fix: format!(
            "give both the same class: xsched-agent set --pid {} --class {}",
            first.holder,
            own.class.name()
        ),
    })
}
