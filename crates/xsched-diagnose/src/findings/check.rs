//! What a check is, and what several of them say.

use xsched_common::api::Severity;

use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::facts::calls::ObservedCall;
use crate::facts::mapped::MappedObject;

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

/// What part of the observed launches `part` is; `None` when calls were not
/// observed.
pub fn effect(
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
pub fn bypass_effect(facts: &Facts, bypasses: &[&Bypass<'_>]) -> Option<String> {
    effect(
        facts,
        |call| facts.is_direct(call) && bypasses.iter().any(|b| covers(facts, b, call)),
        "never reach the shim",
    )
}

/// Whether a bypassing reference is the way that an observed call took.
pub fn covers(facts: &Facts, bypass: &Bypass<'_>, call: &ObservedCall) -> bool {
    bypass.binding.symbol == call.api && facts.object(bypass.binding.object).path == call.object
}

/// The worst that a set of bypasses does.
pub fn bypass_severity(bypasses: &[&Bypass<'_>]) -> Severity {
    if bypasses.iter().any(|b| b.lets_launches_escape()) {
        Severity::Error
    } else {
        Severity::Warning
    }
}

/// Names of the objects that `bypasses` start from, for a title.
pub fn importers(facts: &Facts, bypasses: &[&Bypass<'_>]) -> String {
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
pub fn mapped(facts: &Facts) -> &'static str {
    match facts.pid {
        Some(_) => "are mapped",
        None => "would be loaded",
    }
}

/// An object for a line of evidence, with its address if it has one.
pub fn place(facts: &Facts, object: &MappedObject) -> String {
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
pub fn grouped(n: u64) -> String {
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
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_040), "1,040");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
