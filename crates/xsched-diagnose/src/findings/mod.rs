//! The findings: one file each, one code each. docs/DIAGNOSE.md has an entry
//! for every code.

mod abi_mismatch;
mod api_not_covered;
mod binding_bypass;
mod check;
mod default_stream;
mod dispatch_table_changed;
mod fork_after_init;
mod gate_guards;
mod legacy_stream;
mod library_missing;
mod lookup_bypass;
mod namespace_bypass;
mod not_joined;
mod observed_bypass;
mod other_interposer;
mod passthrough;
mod preload_missing;
mod priority_inversion;
mod queues_oversubscribed;
mod secure_exec;
mod several_runtimes;
mod several_shims;
mod sharing_server;
mod shim_disabled;
mod shim_not_loaded;
mod slow_bursts;
mod static_binary;
mod symbol_version_bypass;
mod timing_under_gate;
mod unknown_function;
mod unsatisfied_reference;

use xsched_common::api::Finding;

use crate::bypasses::Bypass;
use crate::facts::Facts;
use check::{Check, Details};

/// All checks.
pub const CHECKS: &[Check] = &[
    abi_mismatch::CHECK,
    api_not_covered::CHECK,
    binding_bypass::CHECK,
    default_stream::CHECK,
    dispatch_table_changed::CHECK,
    fork_after_init::CHECK,
    gate_guards::CHECK,
    legacy_stream::CHECK,
    library_missing::CHECK,
    lookup_bypass::CHECK,
    namespace_bypass::CHECK,
    not_joined::CHECK,
    observed_bypass::CHECK,
    other_interposer::CHECK,
    passthrough::CHECK,
    preload_missing::CHECK,
    priority_inversion::CHECK,
    queues_oversubscribed::CHECK,
    secure_exec::CHECK,
    several_runtimes::CHECK,
    several_shims::CHECK,
    sharing_server::CHECK,
    shim_disabled::CHECK,
    shim_not_loaded::CHECK,
    slow_bursts::CHECK,
    static_binary::CHECK,
    symbol_version_bypass::CHECK,
    timing_under_gate::CHECK,
    unknown_function::CHECK,
    unsatisfied_reference::CHECK,
];

/// What is wrong with the process; `bypasses` are those of the facts.
pub fn of(facts: &Facts, bypasses: &[Bypass<'_>]) -> Vec<Finding> {
    CHECKS
        .iter()
        .filter_map(|check| {
            let Details {
                severity,
                title,
                evidence,
                effect,
                fix,
            } = (check.check)(facts, bypasses)?;
            Some(Finding {
                code: check.code.to_owned(),
                severity,
                pid: facts.pid.unwrap_or(0),
                platform: facts.platform(),
                title,
                evidence: shortened(evidence),
                effect,
                fix,
            })
        })
        .collect()
}

/// Lines that a person reads; the JSON's bindings and calls have them all.
const MAX_EVIDENCE: usize = 12;

fn shortened(mut evidence: Vec<String>) -> Vec<String> {
    if evidence.len() > MAX_EVIDENCE {
        let more = evidence.len() - MAX_EVIDENCE;
        evidence.truncate(MAX_EVIDENCE);
        evidence.push(format!("and {more} more: see bindings and calls in --json"));
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_distinct() {
        assert!(CHECKS.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn long_evidence_says_how_much_was_left_out() {
        let lines = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(shortened(lines(MAX_EVIDENCE)).len(), MAX_EVIDENCE);
        let long = shortened(lines(MAX_EVIDENCE + 30));
        assert!(long[MAX_EVIDENCE].starts_with("and 30 more"));
    }
}
