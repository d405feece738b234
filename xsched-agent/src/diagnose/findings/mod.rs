//! The findings: one file each, one code each. docs/DIAGNOSE.md has an entry
//! for every code.

mod abi_mismatch;
mod api_not_covered;
mod binding_bypass;
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
mod passthrough;
mod preload_missing;
mod priority_inversion;
mod secure_exec;
mod several_runtimes;
mod several_shims;
mod shim_disabled;
mod shim_not_loaded;
mod static_binary;
mod symbol_version_bypass;
mod timing_under_gate;
mod unsatisfied_reference;

use xsched_common::api::{Finding, Severity};

use super::bypass::{self, Bypass};
use super::calls::ObservedCall;
use super::facts::Facts;
use super::survey::MappedObject;

/// A thing that can be wrong with a process.
pub struct Check {
    /// Stable code.
    pub code: &'static str,
    /// Whether it is wrong with this one; proven, with evidence. The
    /// bypasses are those of the facts, explained once for all checks.
    pub check: fn(&Facts, &[Bypass<'_>]) -> Option<Details>,
}

/// A finding without what all findings have in common.
#[derive(Clone, Debug)]
pub struct Details {
    /// How bad it is.
    pub severity: Severity,
    /// One line for people.
    pub title: String,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What it costs, if that was measured.
    pub effect: Option<String>,
    /// What to do.
    pub fix: String,
}

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
    passthrough::CHECK,
    preload_missing::CHECK,
    priority_inversion::CHECK,
    secure_exec::CHECK,
    several_runtimes::CHECK,
    several_shims::CHECK,
    shim_disabled::CHECK,
    shim_not_loaded::CHECK,
    static_binary::CHECK,
    symbol_version_bypass::CHECK,
    timing_under_gate::CHECK,
    unsatisfied_reference::CHECK,
];

/// What is wrong with the process.
pub fn of(facts: &Facts) -> Vec<Finding> {
    let bypasses = bypass::find(facts);
    CHECKS
        .iter()
        .filter_map(|check| {
            let Details {
                severity,
                title,
                evidence,
                effect,
                fix,
            } = (check.check)(facts, &bypasses)?;
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

/// What part of the observed launches `part` is; `None` when calls were not
/// observed.
fn effect(
    facts: &Facts,
    part: impl Fn(&ObservedCall) -> bool,
    what_happens: &str,
) -> Option<String> {
    let observed = facts.observed.as_ref()?;
    let total: u64 = facts.launches().map(|c| c.count).sum();
    let affected: u64 = facts.launches().filter(|c| part(c)).map(|c| c.count).sum();
    let seconds = observed.duration.as_secs_f64();
    Some(match (affected, total) {
        (_, 0) => format!("no launch was made in the {seconds:.1} s of observation"),
        (0, _) => format!(
            "none of the {} launches in the {seconds:.1} s of observation came this way",
            grouped(total)
        ),
        _ => {
            let percent = affected as f64 * 100.0 / total as f64;
            let (some, all) = (observed.per_second(affected), observed.per_second(total));
            if some >= 10.0 {
                format!(
                    "{} of {} launches/s {what_happens} ({percent:.0}%)",
                    grouped(some.round() as u64),
                    grouped(all.round() as u64)
                )
            } else {
                format!(
                    "{} of {} launches in {seconds:.1} s {what_happens} ({percent:.0}%)",
                    grouped(affected),
                    grouped(total)
                )
            }
        }
    })
}

/// The effect of a set of bypasses: launches that went that way.
fn bypass_effect(facts: &Facts, bypasses: &[&Bypass<'_>]) -> Option<String> {
    effect(
        facts,
        |call| facts.is_direct(call) && bypasses.iter().any(|b| covers(facts, b, call)),
        "never reach the shim",
    )
}

/// Whether a bypassing reference is the way that an observed call took.
fn covers(facts: &Facts, bypass: &Bypass<'_>, call: &ObservedCall) -> bool {
    bypass.binding.symbol == call.api && facts.object(bypass.binding.object).path == call.object
}

/// The worst that a set of bypasses does.
fn bypass_severity(bypasses: &[&Bypass<'_>]) -> Severity {
    if bypasses.iter().any(|b| b.lets_launches_escape()) {
        Severity::Error
    } else {
        Severity::Warning
    }
}

/// Names of the objects that `bypasses` start from, for a title.
fn importers(facts: &Facts, bypasses: &[&Bypass<'_>]) -> String {
    let mut names: Vec<&str> = bypasses
        .iter()
        .map(|b| facts.object(b.binding.object).basename())
        .collect();
    names.dedup();
    match names[..] {
        [] => String::new(),
        [one] => one.to_owned(),
        [one, two] => format!("{one} and {two}"),
        [one, ..] => format!("{one} and {} other objects", names.len() - 1),
    }
}

/// What several objects are: nothing is mapped where files are predicted.
fn mapped(facts: &Facts) -> &'static str {
    match facts.pid {
        Some(_) => "are mapped",
        None => "would be loaded",
    }
}

/// An object for a line of evidence, with its address if it has one.
fn place(facts: &Facts, object: &MappedObject) -> String {
    match facts.pid {
        None => object.path.clone(),
        Some(_) => {
            let namespace = match facts.namespace(object) {
                Some(n) if n > 0 => format!(" in link namespace {n}"),
                _ => String::new(),
            };
            format!("{} at {:#x}{namespace}", object.path, object.base)
        }
    }
}

/// `n` with commas between thousands.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
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

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_040), "1,040");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
