//! Somebody replaced entries of the runtime's dispatch table: a profiler, or
//! another tool that stands below every route of the linker.

use std::collections::BTreeMap;

use xsched_common::api::Severity;

use super::check::{Check, Details, place};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::facts::calls::is_launch;
use crate::facts::dispatch::Redirection;
use crate::facts::mapped::{ObjectIndex, Role};

pub const CHECK: Check = Check {
    code: "dispatch-table-changed",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let mut by_owner: BTreeMap<ObjectIndex, Vec<&Redirection>> = BTreeMap::new();
    for entry in &facts.redirections {
        // A shim that does this is doing its work.
        if !matches!(facts.object(entry.to).role, Role::Shim(_)) {
            by_owner.entry(entry.to).or_default().push(entry);
        }
    }
    let (&first, _) = by_owner.iter().max_by_key(|(_, entries)| entries.len())?;
    let evidence = by_owner.iter().map(|(&owner, entries)| {
        let launches = entries.iter().filter(|e| is_launch(e.symbol)).count();
        let example = entries.iter().find(|e| is_launch(e.symbol));
        let example = example.or(entries.first()).map_or(String::new(), |e| {
            format!("; {} at {:#x}", e.symbol, e.entry)
        });
        format!(
            "functions that lead to {}: {}, of which launch: {launches}{example}",
            place(facts, facts.object(owner)),
            entries.len()
        )
    });
    Some(Details {
        severity: Severity::Warning,
        title: format!(
            "{} stands behind the runtime's exports: a profiler or another tool",
            facts.object(first).basename()
        ),
        evidence: evidence.collect(),
        effect: None,
        fix: "nothing, if the profiler is meant to be there: its time counts as the program's; \
              otherwise start the program without it (ROCP_TOOL_LIBRARIES, rocprofv3)"
            .into(),
    })
}
