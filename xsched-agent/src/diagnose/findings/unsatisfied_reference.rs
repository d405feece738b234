//! No object defines a function under the node that a reference names: ld.so
//! ends the program.

use xsched_common::api::Severity;

use super::super::bindings::Target;
use super::super::bypass::Bypass;
use super::super::elf::versioned_name;
use super::super::facts::Facts;
use super::{Check, Details};

pub const CHECK: Check = Check {
    code: "unsatisfied-reference",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    // Without all libraries nothing can be said about what they lack.
    if !facts.missing.is_empty() {
        return None;
    }
    let unsatisfied = facts.bindings.iter();
    let mut evidence: Vec<String> = unsatisfied
        .filter(|b| b.target == Target::Unsatisfied)
        .map(|b| {
            format!(
                "{} refers to {}, which no object defines",
                facts.object(b.object).path,
                versioned_name(&b.symbol, b.node.as_deref())
            )
        })
        .collect();
    evidence.dedup();
    if evidence.is_empty() {
        return None;
    }
    evidence.extend(
        facts
            .survey
            .runtimes()
            .map(|r| format!("the runtime is {}", r.path)),
    );
    Some(Details {
        severity: Severity::Error,
        title: "functions are missing: ld.so would end the program with \"symbol lookup error\""
            .into(),
        evidence,
        effect: None,
        fix: "use the release of the runtime that the program was built with, or a later one of \
              the same SONAME; a library that the program opens can be named with --lib"
            .into(),
    })
}
