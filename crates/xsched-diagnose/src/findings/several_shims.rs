//! Two different shims are in the process.

use xsched_common::api::Severity;

use super::check::{Check, Details, mapped, place};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "several-shims",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let mut kinds: Vec<_> = facts.mapped.shims().map(|(_, kind)| kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.len() < 2 {
        return None;
    }
    Some(Details {
        severity: Severity::Warning,
        title: format!(
            "several shims {}: each launch passes one or both of them",
            mapped(facts)
        ),
        evidence: facts
            .mapped
            .shims()
            .map(|(object, _)| place(facts, object))
            .collect(),
        effect: None,
        fix: "preload one shim only".into(),
    })
}
