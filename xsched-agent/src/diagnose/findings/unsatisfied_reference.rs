//! No object defines a function or a version node that is asked for: ld.so
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
    evidence.extend(missing_nodes(facts));
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
        title: "functions or versions are missing: ld.so would end the program".into(),
        evidence,
        effect: None,
        fix: "use the release of the runtime that the program was built with, or a later one of \
              the same SONAME; a library that the program opens can be named with --lib"
            .into(),
    })
}

/// ld.so checks at the start that every library defines the nodes that others
/// insist on, whoever defines the functions (`_dl_check_map_versions`). One
/// without any nodes is let through with a message.
fn missing_nodes(facts: &Facts) -> Vec<String> {
    let mut out = Vec::new();
    for object in &facts.survey.objects {
        for needed in &object.elf.needed_nodes {
            let provider = facts
                .survey
                .runtimes()
                .find(|r| r.elf.soname.as_deref().unwrap_or(r.basename()) == needed.library);
            if let Some(runtime) = provider
                && facts.pid.is_none()
                && runtime.elf.is_versioned()
                && !runtime.elf.defined_nodes.contains(&needed.node)
            {
                out.push(format!(
                    "{} insists on version {} of {}, which {} does not define",
                    object.path, needed.node, needed.library, runtime.path
                ));
            }
        }
    }
    out
}
